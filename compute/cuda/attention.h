/* attention.h - which kernel attends for which rows of a batch, and in what order it sums.
 *
 * What we promise.  A row's attention has the same bits whether it is computed alone or with
 * its whole prompt, whoever shares the batch, whatever the size of a page.  So the kernels
 * for few rows, where reading keys is what takes time, and for many, where products are,
 * follow one sequence of operations, which absolute positions alone cut:
 *   scores    of 16 queries and 8 keys by mma.sync, dims 32 by 32; scaled, ALiBi added by one
 *             FMA, keys not seen -infinity; in powers of two
 *   steps     of ATTEND_STEP keys: running maximum; weights 2^(score - maximum), rounded to
 *             bf16; sums of weights and of weighted values by mma.sync, 32 keys by 32, after
 *             those before them shrank by 2^(maximum before - maximum)
 *   ranges    of ATTEND_RANGE keys: each sums from 0 by steps in order; ranges are put together
 *             in order, f32, and divided by the sum of weights at last
 * A step that a row does not see changes nothing of it: weights are 0 and nothing shrinks.
 * attend_few computes ranges in any order and shares the keys and dims of one among warps;
 * attend_many goes through them one by one.  A decode step of a single head uses a sixteenth
 * of what its mma compute: at 64 keys x 128 dims that is a tenth of the time their bytes take.
 *
 * f32 pages, and heads of more than ATTEND_DIMS_MAX dims, are attention.cu's for every row.
 *
 * The kernels read what to do from device memory: a step of other lengths is the same
 * launches with another sheet.
 *
 * Threads    One at a time, the queue's.
 * Ownership  Device memory is an arena's; the host's, which must be pinned, its caller's.
 * Units      Rows, tokens; _bytes.
 * Errors     The queue's.
 */
#ifndef PETALS_COMPUTE_CUDA_ATTENTION_H
#define PETALS_COMPUTE_CUDA_ATTENTION_H

#include "compute/cuda/arena.h"
#include "compute/cuda/queue.h"

struct cuda_attention_options {
	struct cuda_kv kv;              /* without pages */
	uint32_t heads, window;
	float scale;
	uint32_t rows_max, entries_max, tokens_max;
	uint64_t tokens_room;           /* of the KV pages */
};

struct cuda_attention {
	struct cuda_attention_options o;
	bool tiled;                     /* else attention.cu does it all */
	enum cuda_kernel many;          /* the one for these dims */
	uint32_t stages;
	uint32_t few_room, merge_room, many_room, vector_room;
	/* on the device: a sheet, and its items: few, merge, many */
	struct cuda_attend_sheet *sheet;
	float *parts, *range_maxima, *range_sums;
	/* on the host, pinned: the same */
	struct cuda_attend_sheet *host;
	uint32_t vectors;               /* of this batch */
};

/* What a layer's rows attend with; addresses are the device's. */
struct cuda_attention_rows {
	struct cuda_kv kv;
	const struct cuda_row *row;
	const uint32_t *pages;
	const float *q;                 /* unless tiled */
	const uint16_t *q_bf16;         /* when tiled */
	const float *slopes;
	void *out;                      /* (rows, cuda_operand_stride(heads x head_dim)) */
	bool operand_bf16;
	uint32_t rows;
	bool recorded;                  /* for whichever batch of few rows: a graph's */
};

void cuda_attention_init(struct cuda_attention *t, const struct device *d,
			 const struct cuda_attention_options *o);
void cuda_attention_want(struct cuda_attention *t, struct cuda_arena *a);
uint64_t cuda_attention_host_bytes(const struct cuda_attention *t);
void cuda_attention_host(struct cuda_attention *t, void *pinned);
/* Elements of a row of q_bf16. */
uint32_t cuda_attention_q_width(const struct cuda_attention *t);

/* A batch: begin, then its entries in order of rows.  The lists are then to be sent over. */
void cuda_attention_begin(struct cuda_attention *t);
void cuda_attention_add(struct cuda_attention *t, uint32_t first_row, uint32_t rows,
			uint32_t position);
/* The lists in use, as from and to where, and units of 16 bytes. */
enum { CUDA_ATTENTION_SEGMENTS = 3 };
void cuda_attention_segments(const struct cuda_attention *t,
			     struct cuda_segment out[CUDA_ATTENTION_SEGMENTS],
			     uint32_t units[CUDA_ATTENTION_SEGMENTS]);
/* Whether it is launches that a graph may have recorded. */
bool cuda_attention_is_few(const struct cuda_attention *t);
/* What the lists say, for one block's keys and values. */
void cuda_attend(const struct cuda_attention *t, struct cuda_queue *q,
		 const struct cuda_attention_rows *rows);

#endif
