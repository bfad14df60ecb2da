/* block.h - one transformer block over a batch of rows, for every family.
 *
 * Threads    One thread at a time; uses the device's team.
 * Ownership  Plain storage; the pointers are the span's.
 * Units      Rows are tokens of the batch; strides of floats.
 * Errors     block_shape_init(): -ENOTSUP with a sentence.
 */
#ifndef PETALS_COMPUTE_CPU_BLOCK_H
#define PETALS_COMPUTE_CPU_BLOCK_H

#include "compute/cpu/device.h"
#include "compute/cpu/weights.h"

/* What all blocks of a span have in common. */
struct block_shape {
	const struct arch *arch;
	uint32_t hidden, heads, kv_heads, head_dim, intermediate, window, rope_dims;
	uint32_t q_width, kv_width;
	float epsilon, scale;
	enum norm_place norm_place;
	enum activation_kind activation;
	enum row_encoding round;
	struct kv_layout kv;
	const float *slopes;            /* (heads), NULL without ALiBi */
};

struct block_weights {
	const float *norm1_w, *norm1_b, *norm2_w, *norm2_b;
	struct matrix q, k, v, o, gate, up, down;
};
enum { BLOCK_ITEMS = 4 + 2 * 7 };       /* of weights.h that a block wants at most */

/* Where a row of the batch belongs. */
struct batch_row {
	uint32_t entry;
	uint32_t position;
};

/* An entry as attention needs it. */
struct batch_part {
	uint32_t first_row, rows, position;
	uint32_t first_task;            /* of attention */
	uint8_t **pages;                /* addresses of this block's share */
	uint32_t page_count;
};

/* The memory of a step, and what the batch looks like. */
struct block_pass {
	struct device *device;
	const struct block_shape *shape;
	uint32_t rows, parts, attention_tasks;
	uint32_t heads_each;            /* kv heads of a task of attention, for single rows */
	struct batch_part *part;        /* (parts) */
	struct batch_row *row;          /* (rows) */
	float *x;                       /* (rows, hidden) the residual stream */
	float *normed;                  /* (rows, hidden) */
	float *q, *mixed;               /* (rows, q_width) */
	float *k, *v;                   /* (rows, kv_width) */
	float *inner;                   /* (rows, intermediate) */
	float *cosines, *sines;         /* (rows, rope_dims / 2) */
	void *operand;
	uint8_t *scratch;               /* of attention, one per worker */
	uint64_t scratch_bytes;
};

int block_shape_init(struct block_shape *s, const struct model_config *c, enum compute_mode mode,
		     uint32_t page_tokens, enum row_encoding round, struct error *e);
void block_want(struct weights *w, const struct model *m, enum compute_mode mode,
		enum weight_format format, uint32_t block, struct block_weights *out);
/* Of the largest operand that a block prepares for so many rows. */
uint64_t block_operand_bytes(const struct block_weights *w, uint32_t rows);
/* Weights that a step of one row reads. */
uint64_t block_step_bytes(const struct block_weights *w);

/* Tasks that attention over `rows` rows of one entry is cut into. */
uint32_t block_attention_tasks(const struct block_pass *p, uint32_t rows);
/* x becomes the block's output, rounded; the rows' keys and values are in their pages. */
void block_run(const struct block_pass *p, const struct block_weights *w);

#endif
