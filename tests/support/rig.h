/* rig.h - a whole model on a backend, cut into spans as a test likes, with
 * rows encoded between them as on a wire.
 *
 * Threads    A rig belongs to its test.
 * Ownership  rig_open() / rig_close(); sequences die with rig_sequence_close().
 * Units      Rows are tokens.
 * Errors     Failures fail the test with the product's sentence.
 */
#ifndef PETALS_TESTS_RIG_H
#define PETALS_TESTS_RIG_H

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/kvcache.h"

enum { RIG_SPANS_MAX = 64 };

struct rig_options {
	const struct model *model;
	const struct backend *backend;
	enum compute_mode compute;
	enum weight_format weights;
	enum cpu_path path;             /* the rig is not available when the host lacks it */
	bool fast;                      /* struct device_options' */
	uint32_t threads;
	uint32_t page_tokens;
	uint32_t pages;                 /* of each span */
	uint32_t rows_max, entries_max, tokens_max;
	uint32_t spans;                 /* about equal; blocks: one each */
	enum row_encoding wire;         /* between spans, and what blocks round to */
	bool halves;                    /* each span runs its blocks as two ranges */
};

struct rig {
	struct rig_options options;
	struct device *device;
	struct edge *edge;
	uint32_t spans, hidden, vocabulary;
	struct span *span[RIG_SPANS_MAX];
	struct kvcache *cache[RIG_SPANS_MAX];
	uint8_t *wire[2];               /* rows_max encoded rows */
	/* Called with the rows that left a span: end block, rows x hidden f32. */
	void (*left)(void *ctx, uint32_t end, const float *rows, uint32_t count);
	void *ctx;
};

struct rig_sequence {
	struct sequence *kv[RIG_SPANS_MAX];
	uint32_t position;
};

/* Defaults: the CPU backend, f32, the best path, 2 threads, pages of 16, one span, f32 wire. */
void rig_options_default(struct rig_options *o, const struct model *m);
void rig_open(struct rig *r, const struct rig_options *o);
void rig_close(struct rig *r);

void rig_sequence_open(struct rig *r, struct rig_sequence *s, uint32_t tokens_max);
void rig_sequence_close(struct rig *r, struct rig_sequence *s);

/* One step of each of several sequences in one batch: tokens in, hidden states of all
 * rows after the last block out (rows x hidden), one after the other.
 */
struct rig_step {
	struct rig_sequence *sequence;
	const uint32_t *tokens;
	uint32_t rows;
};
void rig_run(struct rig *r, const struct rig_step *steps, uint32_t count, float *out);
/* One sequence, `rows` tokens in chunks of `chunk`; out is all rows. */
void rig_chunks(struct rig *r, struct rig_sequence *s, const uint32_t *tokens, uint32_t rows,
		uint32_t chunk, float *out);
/* Greedy: feeds the last hidden state on; out has `count` tokens. */
void rig_greedy(struct rig *r, struct rig_sequence *s, const float *last, uint32_t *out,
		uint32_t count);

#endif
