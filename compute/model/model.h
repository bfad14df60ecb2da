/* model.h - one opened checkpoint, Hugging Face directory or GGUF file, seen
 * as logical matrices whatever its layout on disk.
 *
 * Fused, transposed and permuted storage ends here: a weight view's row r is
 * the logical row r (output feature), as kernels and references want it.
 * Opening maps files and checks the directory; tensor bytes are touched only
 * by whoever reads rows.
 *
 * Threads    Read-only after open; any thread.
 * Ownership  model_open() / model_close(); views die with the model.
 * Units      Rows are output features, columns input features.
 * Errors     -EINVAL, -ENOENT, -ENOTSUP with a sentence that names the file,
 *            the tensor, the expected and the found shape.
 */
#ifndef PETALS_COMPUTE_MODEL_MODEL_H
#define PETALS_COMPUTE_MODEL_MODEL_H

#include "compute/model/config.h"
#include "compute/model/dtype.h"

struct model;

enum weight_order {
	WEIGHT_PLAIN,          /* logical row r is stored row row0 + r */
	WEIGHT_TRANSPOSED,     /* element (r, c) is stored at [c][row0 + r] */
	WEIGHT_PER_HEAD,       /* head h's rows start at (3 h + part) head_dim (BLOOM) */
	WEIGHT_ROTARY_PAIRS,   /* GGUF: within a head, row 2 i + j holds logical row
				* i + j head_dim / 2 */
};

struct weight {
	const char *name;      /* as stored, for messages */
	enum dtype dtype;
	enum weight_order order;
	uint32_t rows, columns;       /* logical; a vector has rows == 1 */
	uint32_t row0, stored_columns, head_dim, part;
	const uint8_t *data;          /* of the stored tensor */
};

/* path is a directory or a .gguf file.  Checks that every tensor the family
 * needs is there with the right shape, for blocks [first, end) and, if edges,
 * the embedding, final norm and head.
 */
int model_open(struct model **out, const char *path, struct error *e);
int model_check(const struct model *m, uint32_t first, uint32_t end, bool edges,
		struct error *e);
/* A model of these dimensions that no file holds: seeded numbers (synthetic.h), matrices stored
 * as `dtype`, which must divide their columns.
 */
int model_open_synthetic(struct model **out, const struct model_config *c, enum dtype dtype,
			 struct error *e);
void model_close(struct model *m);                     /* NULL is fine */

const struct model_config *model_config(const struct model *m);
const char *model_path(const struct model *m);
const struct gguf *model_gguf(const struct model *m);  /* NULL for a directory */

/* 64 bits that name these weights: config, tensor directory and a sample of
 * each tensor's bytes.  Two hosts serve the same model iff it agrees.
 */
uint64_t model_fingerprint(const struct model *m);
/* Most common dtype among the block matrices, which `--compute auto` looks at. */
enum dtype model_dtype(const struct model *m);

/* block is ignored for edge roles.  False: this model has no such tensor.
 * The head of a tied model is its embedding.
 */
bool model_weight(const struct model *m, enum role role, uint32_t block, struct weight *out);

/* Logical row r widened to f32, columns elements. */
void weight_row(const struct weight *w, uint32_t r, float *out);
/* The stored bytes of logical row r, dtype_row_bytes() of them; NULL when the
 * order is WEIGHT_TRANSPOSED.
 */
const void *weight_row_raw(const struct weight *w, uint32_t r);
/* Columns [column, column + columns) of rows [row, row + rows) of a matrix, widened, to
 * out[r * stride + c]; at most 32 rows, and whole groups but for a row's end.  Cheap in any order.
 */
enum { WEIGHT_PART_ROWS = 32 };
void weight_part(const struct weight *w, uint32_t row, uint32_t rows, uint32_t column,
		 uint32_t columns, float *out, size_t stride);

#endif
