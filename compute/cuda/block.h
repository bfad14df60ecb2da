/* block.h - one transformer block over a batch of rows, for every family, as launches.
 *
 * Threads    One thread at a time per queue.
 * Ownership  Plain storage; the addresses are the span's arenas'.
 * Units      Rows are tokens of the batch; elements.
 * Errors     The queue's.
 */
#ifndef PETALS_COMPUTE_CUDA_BLOCK_H
#define PETALS_COMPUTE_CUDA_BLOCK_H

#include "compute/cuda/attention.h"
#include "compute/cuda/lt.h"
#include "compute/cuda/weights.h"

struct cuda_norm_shape { uint32_t columns; bool layer; float epsilon; };

/* What all blocks of a span have in common. */
struct cuda_shape {
	const struct arch *arch;
	uint32_t hidden, heads, kv_heads, head_dim, intermediate, window, rope_dims;
	uint32_t q_width, kv_width;
	float scale;
	struct cuda_norm_shape norm;
	enum norm_place norm_place;
	enum activation_kind activation;
	enum row_encoding round;
	bool bf16;                      /* matrices, operands, pages; else f32 */
	struct cuda_kv kv;              /* without pages */
	uint64_t share_bytes;           /* of a page, per block */
};

struct cuda_block {
	float *norm1_w, *norm1_b, *norm2_w, *norm2_b;
	struct cuda_matrix q, k, v, o, gate, up, down;
};
enum { CUDA_BLOCK_ITEMS = 4 + 2 * 7 };  /* of weights.h that a block wants at most */

/* The memory of a step. */
struct cuda_pass {
	struct cuda_queue *queue;
	const struct cuda_shape *shape;
	struct cuda_attention attention;
	uint32_t rows;
	bool recorded;                  /* for whichever rows: a graph's */
	struct cuda_row *row;           /* (rows) */
	uint32_t *pages;                /* page tables of all entries */
	float *slopes;                  /* (heads), NULL without ALiBi */
	float *x;                       /* (rows, hidden) the residual stream */
	float *q;                       /* (rows, q_width) */
	uint16_t *q_bf16;               /* likewise, as append leaves it; NULL: not tiled */
	float *k, *v;                   /* (rows, kv_width) */
	float *up, *gate;               /* (rows, intermediate) */
	void *operand;                  /* (rows, widest operand) */
	void *inner;                    /* (rows, intermediate), an operand, too */
	float *cosines, *sines;         /* (rows, rope_dims / 2) */
};

void cuda_shape_init(struct cuda_shape *s, const struct model_config *c, bool bf16,
		     uint32_t page_tokens, enum row_encoding round);
void cuda_block_want(struct cuda_weights *w, bool bf16, uint32_t block, struct cuda_block *out);
/* Makes the plans of its matrices. */
int cuda_block_prepare(struct cuda_lt *lt, const struct cuda_block *b, struct error *e);
/* Weights that a step of one row reads. */
uint64_t cuda_block_step_bytes(const struct cuda_block *b);
/* Elements of a row of the widest operand but the inner one. */
uint32_t cuda_operand_widest(const struct cuda_shape *s);

/* x becomes the block's output, rounded; keys and values go to its share of the pages, which
 * for page 0 begins at `pages`.
 */
void cuda_block_run(const struct cuda_pass *p, const struct cuda_block *b, uint8_t *pages,
		    uint64_t page_bytes);

/* Also the edge's: a norm of rows into an operand and/or f32 rows (either may be NULL). */
struct cuda_norm_shape cuda_norm_shape(const struct model_config *c);
void cuda_norm(struct cuda_queue *q, const struct cuda_norm_shape *n, const float *x,
	       uint32_t rows, const float *weight, const float *bias, float *out, void *operand,
	       bool bf16);
void cuda_operand(struct cuda_queue *q, const float *x, uint32_t rows, uint32_t columns,
		  bool bf16, void *out);

#endif
