/* weights.h - lays matrices and vectors of a model out once, in huge-page memory.
 *
 * First everything that is wanted is named; then weights_load() allocates one
 * region, packs with the team, and fills in the addresses that were asked for.
 *
 * Threads    One thread at a time; loading uses the team.
 * Ownership  weights_open() / weights_close(); what was filled in dies with it.
 *            The model is read by weights_load() only.
 * Units      _bytes.
 * Errors     -ENOMEM with a sentence that says how much was needed.
 */
#ifndef PETALS_COMPUTE_CPU_WEIGHTS_H
#define PETALS_COMPUTE_CPU_WEIGHTS_H

#include "compute/backend.h"
#include "compute/cpu/kernels.h"

/* Rows as stored, for looking them up. */
struct table {
	enum dtype dtype;
	uint32_t rows, columns;
	const uint8_t *data;
};

struct weights;

int weights_open(struct weights **out, const struct model *m, uint32_t items_max,
		 struct error *e);
void weights_close(struct weights *w);                  /* NULL is fine */

/* What a matrix of a dtype becomes: how it is laid out, and what multiplies it. */
struct matrix_kind {
	enum panel_format format;
	enum operand_format operand;
};
struct matrix_kind weights_kind(enum compute_mode mode, enum weight_format f, enum dtype d);

/* The next two leave NULL in *out->panels or *out when the model has no such tensor. */
void weights_want_matrix(struct weights *w, enum role role, uint32_t block,
			 struct matrix_kind kind, struct matrix *out);
void weights_want_vector(struct weights *w, enum role role, uint32_t block, uint32_t padded,
			 const float **out);
void weights_want_table(struct weights *w, enum role role, struct table *out);

/* Weights that quantising found absurd are told to the log, with the tensor's name. */
int weights_load(struct weights *w, struct team *t, struct load_progress progress,
		 struct error *e);
uint64_t weights_bytes(const struct weights *w);

/* Row r of a packed matrix widened to f32, and of a table. */
void matrix_row(const struct matrix *m, uint32_t r, float *out);
void table_row(const struct table *t, uint32_t r, float *out);

#endif
