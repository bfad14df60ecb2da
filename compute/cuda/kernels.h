/* kernels.h - one contract per CUDA kernel, and the list from which launches are made.
 *
 * A kernel is extern "C", is called petals_NAME, and takes one struct by value.  A row
 * of CUDA_KERNELS below and a struct here make it launchable (queue.h); adding a kernel is
 * adding both, a .cu file named after the operation, and its slow twin in the test of
 * that name.  Sources are CUDA C without templates, so that the host's compiler can build
 * them, too: tests/cuda/ runs them on a CPU.
 *
 * Numerics, which the identity promise rests on.  An output element is computed by one
 * sequence of operations that depends on its own row and on constants of the model alone,
 * never on how many rows there are, nor on their place in the batch:
 *   linear     k in LINEAR_RUNS runs (LINEAR_RUN_STEPS below), each summed from 0 by steps of
 *              CUDA_K_STEP: f32 one by one, else by two mma.sync in bf16, the first with k 0-3,
 *              8-11, 16-19, 24-27 of the step, the second with the others.  int8, q8_0, q4_0
 *              and q4_1 numbers are bf16 without rounding; f16 is the exact sum of two bf16,
 *              whose second takes another two mma.  q8_0, q4_0, q4_1: a step is summed from 0,
 *              then run = fma(scale, step, run); q4_1 adds fma(minimum, the step's sum of x).
 *              Runs are added in order, times int8's scale, then the bias, then the residual.
 *              Every kernel for a format follows it, for few rows or many.
 *   attention  attention.h.
 *   norms      NORM_THREADS strided sums, then a tree.
 * Contraction is off (-fmad=false): a*b+c is one FMA only where the source says fmaf().
 *
 * Threads    Kernels run in the order of their queue.
 * Ownership  Addresses are the device's; the caller keeps them alive until the queue ran.
 * Units      Elements; strides of elements.  Rows are tokens of the batch.
 * Errors     None: shapes are checked by whoever launches.
 */
#ifndef PETALS_COMPUTE_CUDA_KERNELS_H
#define PETALS_COMPUTE_CUDA_KERNELS_H

#include "compute/cuda/layout.h"
#include "compute/model/arch.h"
#include "compute/row.h"

#ifdef __cplusplus
#define CUDA_ADDRESS(type) type *__restrict__
#else
#define CUDA_ADDRESS(type) type *
#endif

enum {
	CUDA_K_STEP = 32,           /* k of two mma; columns are padded to it with zeros */
	SHEET_SEGMENTS = 5,
	CUDA_ROW_THREADS = 128,
	CUDA_ROW_COLUMNS = 1024,    /* of a row, for a thread block of them */
	NORM_THREADS = 512,         /* a row per thread block */
	BEST_THREADS = 512,
	DRAW_THREADS = 512,
	DRAW_CANDIDATES = 1024,     /* of a row; top-k and top-p that want more are the host's */
	NORM_HELD = 32,             /* numbers of a row that a thread keeps */
	LINEAR_RUNS = 4,
	LINEAR_PARTS = 3,           /* matrices of a launch */
	LINEAR_ROWS = 8,            /* rows of a tile */
	LINEAR_TILES_MAX = 8,       /* of a thread block for few rows: linear_FORMAT_1, 2, 4, 8 */
	LINEAR_MANY_TILES = 4,      /* tiles of features of a thread block for many rows, */
	LINEAR_MANY_ROWS = 128,     /* its rows, */
	LINEAR_MANY_THREADS = 256,
	LINEAR_F32_FEATURES = 16,   /* and of an f32 one: an element per thread */
	ATTENTION_KEYS = 64,        /* of a step, and threads */
	ATTENTION_DIMS = 1024 / ATTENTION_KEYS,         /* of a thread, at most */
	ATTEND_THREADS = 128,
	ATTEND_QUERIES = 16,        /* of a tile */
	ATTEND_TILES = ATTEND_THREADS / 32,             /* of a thread block of attend_many */
	ATTEND_STEP = 64,           /* keys */
	ATTEND_RANGE = 256,         /* keys */
	ATTEND_DIMS_MAX = 256,
	ATTEND_STAGE_BYTES = ATTEND_STEP * 32 * 2,      /* of a step's keys or values, 32 dims */
	ATTEND_STAGES_MAX = 4,      /* of attend_few's ring; else 2 */
};

/* Steps of run r of a sum over `steps` steps: [first, end). */
#define LINEAR_RUN_STEPS(steps) (((steps) + LINEAR_RUNS - 1) / LINEAR_RUNS)

/* A row of the batch: where it comes from, where it goes, which page table it has. */
struct cuda_row {
	const uint8_t *in;          /* NULL: it fills the batch up; zeros, and stored nowhere */
	uint8_t *out;               /* NULL: not wanted */
	uint32_t in_encoding, out_encoding;
	uint32_t position;
	uint32_t first_page;        /* its entry's page table begins here in `pages` */
};

/* Activations that a matrix multiplies: bf16 or f32, `stride` elements a row, those past
 * the columns zero.
 */

/* sheet: copies segments of 16-byte units out of host memory.
 * Any grid, CUDA_ROW_THREADS.
 */
struct cuda_segment { const void *from; void *to; };
struct sheet_args {
	CUDA_ADDRESS(const uint32_t) units;             /* (SHEET_SEGMENTS) also there */
	struct cuda_segment segments[SHEET_SEGMENTS];
};

/* Kernels whose grid is "by row" go through the columns of row blockIdx.x, shared among as many
 * thread blocks as the grid is high, CUDA_ROW_THREADS each.
 */

/* row_in: x[r] = decode(row[r].in); cosines and sines of the row's position.
 *   x (rows, hidden) f32; cosines, sines (rows, half)
 * Grid by row.  Angles are f32 products, as models were trained with.
 */
struct row_in_args {
	CUDA_ADDRESS(const struct cuda_row) row;
	CUDA_ADDRESS(const float) frequencies;          /* (half) */
	CUDA_ADDRESS(float) x;
	CUDA_ADDRESS(float) cosines;
	CUDA_ADDRESS(float) sines;
	uint32_t hidden, half;
};

/* row_out: row[r].out = encode(x[r]), where wanted.  Grid by row. */
struct row_out_args {
	CUDA_ADDRESS(const struct cuda_row) row;
	CUDA_ADDRESS(const float) x;
	uint32_t hidden;
};

/* row_round: x[r] = decode(encode(x[r])) in place.  Grid by row. */
struct row_round_args {
	CUDA_ADDRESS(float) x;
	uint32_t hidden, encoding;
};

/* measure_read: sums[thread] = exclusive or of the words of 16-byte pieces thread, thread +
 * threads, ...  Any grid of whole warps.
 */
struct measure_read_args {
	CUDA_ADDRESS(const void) from;
	CUDA_ADDRESS(uint32_t) sums;                    /* (threads) */
	uint64_t count;                                 /* pieces of 16 bytes */
};

/* measure_write: every word of `count` pieces becomes value.  Any grid. */
struct measure_write_args {
	CUDA_ADDRESS(void) to;
	uint64_t count;
	uint32_t value;
};

/* operand: out = x as an operand.  Grid by row. */
struct operand_args {
	CUDA_ADDRESS(const float) x;                    /* (rows, columns) */
	CUDA_ADDRESS(void) out;                         /* (rows, stride) */
	uint32_t columns, stride, bf16;
};

/* norm: rms    x * weight / sqrt(mean(x^2) + epsilon)
 *       layer  (x - mean) / sqrt(var + epsilon) * weight + bias
 * into an operand and/or, maybe in place, as f32.  Grid (rows), NORM_THREADS.
 */
struct norm_args {
	const float *x;                                 /* (rows, columns) */
	CUDA_ADDRESS(const float) weight;
	CUDA_ADDRESS(const float) bias;                 /* or NULL */
	float *out;                                     /* (rows, columns), or NULL */
	void *operand;                                  /* (rows, stride), or NULL */
	uint32_t columns, stride, bf16, layer;
	float epsilon;
};

/* linear: out[r][n] = sum_k x[r][k] w[n][k] (+ bias[n]) (+ add[r][n]), laid out as layout.h says
 *   x    (rows, columns) bf16 or f32, columns a multiple of CUDA_K_STEP
 *   out  (rows, features) f32 of each part; that of part 0 may be add
 * or, for few rows of what is not f32, into an operand:
 *   LINEAR_ACT    operand[r][n] = act(what out would be)
 *   LINEAR_GATED  operand[r][n] = act(part 0) * part 1; as many features in both
 * Parts are matrices that x is multiplied with at once, of one format.
 *   linear_f32           part 0 alone.  Grid (features / LINEAR_F32_FEATURES up, rows / LINEAR_ROWS
 *                        up), LINEAR_RUNS warps
 *   linear_FORMAT_TILES  grid (tiles of all parts / w up, rows / (LINEAR_ROWS x TILES) up), w x
 *                        LINEAR_RUNS warps; w is at most LINEAR_WARPS.  LINEAR_GATED: half of w for
 *                        each part; the grid counts tiles of part 0 / (w / 2)
 *   linear_FORMAT_many   grid (rows / LINEAR_MANY_ROWS up, tiles of all parts / LINEAR_MANY_TILES
 *                        up), LINEAR_MANY_THREADS
 */
/* As many as registers have room for, beside a second thread block with one tile of rows. */
#define LINEAR_WARPS(format, tiles)                                                       \
	((tiles) == 1 || ((tiles) == 8 && (format) == CUDA_Q4_1) ? 2 :                    \
	 ((tiles) == 8 && (format) != CUDA_BF16) ||                                       \
	 ((tiles) == 4 && ((format) == CUDA_F16 || (format) == CUDA_Q4_1)) ? 3 : 4)

enum linear_end { LINEAR_OUT, LINEAR_ACT, LINEAR_GATED };

struct linear_part {
	CUDA_ADDRESS(const void) w;
	CUDA_ADDRESS(const float) bias;                 /* or NULL */
	float *out;
	uint32_t features;                              /* 0: there is no such part */
};

struct linear_args {
	struct linear_part part[LINEAR_PARTS];
	CUDA_ADDRESS(const void) x;
	const float *add;                               /* to part 0, or NULL */
	uint32_t columns, rows;
	uint32_t in_rows;                               /* bf16 of CUDA_BF16_ROWS */
	uint32_t end, act;                              /* enum activation_kind */
	void *operand;                                  /* (rows, operand_stride) bf16 */
	uint32_t operand_stride;
};

/* gate: out = act(gate) * up, or act(gate) without up, as an operand.  Grid by row. */
struct gate_args {
	CUDA_ADDRESS(const float) gate;                 /* (rows, columns) */
	CUDA_ADDRESS(const float) up;                   /* likewise, or NULL */
	CUDA_ADDRESS(void) out;                         /* (rows, stride) */
	uint32_t columns, stride, bf16;
	uint32_t act;                                   /* enum activation_kind */
};

/* One block's share of a page: K as [kv head][token][dims], then V as [kv head][token / 8][dims]
 * [token % 8], dims being head_dim padded to 8 with zeros; bf16 or f32.  So that 8 dims of a key,
 * and 8 keys of a dim of the values, are 16 bytes of bf16: what a lane gives to the mma that
 * sums over them.  8 tokens take as many bytes of K as of V, and begin as far in.
 */
struct cuda_kv {
	uint8_t *pages;                                 /* this block's share of page 0 */
	uint64_t page_bytes;                            /* from a page to the next */
	uint64_t v_bytes;                               /* from K to V */
	uint32_t kv_heads, head_dim, dims, page_tokens, bf16;
};

/* append: rotates q and k, and writes k and v into the pages, q in place or as bf16; zeros to
 * where the rows of the operand end which attention fills.
 *   q (rows, heads x head_dim); k, v (rows, kv_heads x head_dim)
 *   q_bf16 (rows, heads, head_dim padded to 32 with zeros)
 * Grid (rows, kv_heads), CUDA_ROW_THREADS.
 */
struct append_args {
	struct cuda_kv kv;
	CUDA_ADDRESS(const struct cuda_row) row;
	CUDA_ADDRESS(const uint32_t) pages;             /* page tables of all entries */
	float *q;
	uint16_t *q_bf16;                               /* or NULL: in place */
	CUDA_ADDRESS(const float) k;
	CUDA_ADDRESS(const float) v;
	CUDA_ADDRESS(const float) cosines;              /* (rows, rope_dims / 2) */
	CUDA_ADDRESS(const float) sines;
	CUDA_ADDRESS(void) out;                         /* (rows, stride) */
	uint32_t heads, rope_dims, stride, operand_bf16;
};

/* Consecutive queries of one sequence: query n is head n % group, of the heads that share a kv
 * head, of the sequence's row n / group in this batch.
 */
struct cuda_attend_item {
	uint32_t row;               /* the sequence's first */
	uint32_t query, count;      /* [query, query + count) */
	uint32_t range, ranges;     /* few: its range; of how many */
	uint32_t vector;            /* few, merge: of the (first) range's results, the first */
};

/* How many items of each kernel a batch has. */
struct cuda_attend_sheet { uint32_t few, merge, many, unused; };

/* attention: out[r][h] = softmax(q[r][h] . K * scale + slope * (key - position)) V over keys
 * max(0, p - window + 1)..p, as an operand's columns.  Slots beyond add nothing, whatever they
 * hold.
 *   attention      f32 pages, or heads that the others do not take; a key per thread.
 *                  Grid (heads, rows), ATTENTION_KEYS threads.
 *   attend_few     bf16 pages: up to ATTEND_QUERIES queries and one range, for each item and kv
 *                  head.  Any grid, ATTEND_THREADS.
 *   attend_merge   the ranges of the same queries put together, where there are several.
 *                  Any grid, ATTEND_THREADS.
 *   attend_many_DIMS   up to ATTEND_TILES tiles of queries; heads of up to DIMS.
 *                  Grid (items x kv_heads), ATTEND_THREADS.
 * Results of ranges are vectors, [range][kv head][query] of each item of `merge`.
 */
struct attend_args {
	struct cuda_kv kv;
	CUDA_ADDRESS(const struct cuda_row) row;
	CUDA_ADDRESS(const uint32_t) pages;
	CUDA_ADDRESS(const float) q;                    /* attention: (rows, heads x head_dim) */
	CUDA_ADDRESS(const uint16_t) q_bf16;            /* attend_*: as append leaves it */
	CUDA_ADDRESS(const float) slopes;               /* (heads), NULL: no ALiBi */
	CUDA_ADDRESS(void) out;                         /* (rows, stride) */
	CUDA_ADDRESS(const struct cuda_attend_sheet) sheet;
	CUDA_ADDRESS(const struct cuda_attend_item) few;
	CUDA_ADDRESS(const struct cuda_attend_item) merge;
	CUDA_ADDRESS(const struct cuda_attend_item) many;
	CUDA_ADDRESS(float) parts;                      /* (vectors, dims) */
	CUDA_ADDRESS(float) range_maxima;               /* (vectors) */
	CUDA_ADDRESS(float) range_sums;                 /* (vectors) */
	uint32_t heads, window, stride, operand_bf16;
	uint32_t stages;                                /* of attend_few's ring */
	float scale;
};

/* embed: out[r] = table[tokens[r]] * scale (+ positions[position + r]), f32.
 * Grid by row.
 */
struct embed_args {
	CUDA_ADDRESS(const uint32_t) tokens;            /* (rows) */
	CUDA_ADDRESS(const void) table;                 /* (rows, stride) as layout.h says */
	CUDA_ADDRESS(float) out;                        /* (rows, columns) */
	uint32_t columns, stride, rows;
	uint32_t format;                                /* enum cuda_format */
	float scale;
};

/* add_positions: x[r] += table[first + r].  Grid by row. */
struct add_positions_args {
	CUDA_ADDRESS(float) x;                          /* (rows, columns) */
	CUDA_ADDRESS(const float) table;                /* (positions, columns) */
	uint32_t columns, first;
};

/* best: of each row of logits, what sampler_math.h's logits_summarise() says, in its own layout.
 * Grid (rows), BEST_THREADS.
 */
struct cuda_best { uint32_t token; float logit, largest, sum; };
struct best_args {
	CUDA_ADDRESS(const float) logits;               /* (rows, vocabulary) */
	CUDA_ADDRESS(struct cuda_best) out;             /* (rows) */
	uint32_t vocabulary;
};

/* draw: a row whose draw says so gets another token and its logit: drawn as sampler.h's
 * sampler_next() would, or CUDA_UNDECIDED.  `draws` is in the layout of sampler_math.h's.
 * Grid (rows), DRAW_THREADS; after best.
 */
#define CUDA_UNDECIDED 0xffffffffu
#define DRAW_SUMS(vocabulary) (((vocabulary) + 255) / 256)
struct cuda_draw { double share; float scale, top_p, min_p; uint32_t top_k; };
struct draw_args {
	CUDA_ADDRESS(const float) logits;               /* (rows, vocabulary) */
	CUDA_ADDRESS(const struct cuda_draw) draws;     /* (rows) */
	CUDA_ADDRESS(float) sums;                       /* (rows, DRAW_SUMS) scratch */
	CUDA_ADDRESS(struct cuda_best) best;            /* (rows) */
	uint32_t vocabulary;
};

#define LINEAR_KERNELS_OF(KERNEL, UPPER, name)                          \
	KERNEL(LINEAR_##UPPER##_1, linear_##name##_1, struct linear_args) \
	KERNEL(LINEAR_##UPPER##_2, linear_##name##_2, struct linear_args) \
	KERNEL(LINEAR_##UPPER##_4, linear_##name##_4, struct linear_args) \
	KERNEL(LINEAR_##UPPER##_8, linear_##name##_8, struct linear_args) \
	KERNEL(LINEAR_##UPPER##_MANY, linear_##name##_many, struct linear_args)
#define LINEAR_KERNELS(KERNEL)                      \
	LINEAR_KERNELS_OF(KERNEL, BF16, bf16)       \
	LINEAR_KERNELS_OF(KERNEL, F16, f16)         \
	LINEAR_KERNELS_OF(KERNEL, INT8, int8)       \
	LINEAR_KERNELS_OF(KERNEL, Q8_0, q8_0)       \
	LINEAR_KERNELS_OF(KERNEL, Q4_0, q4_0)       \
	LINEAR_KERNELS_OF(KERNEL, Q4_1, q4_1)

#define CUDA_KERNELS(KERNEL)                                  \
	KERNEL(SHEET, sheet, struct sheet_args)               \
	KERNEL(ROW_IN, row_in, struct row_in_args)            \
	KERNEL(ROW_OUT, row_out, struct row_out_args)         \
	KERNEL(ROW_ROUND, row_round, struct row_round_args)   \
	KERNEL(MEASURE_READ, measure_read, struct measure_read_args) \
	KERNEL(MEASURE_WRITE, measure_write, struct measure_write_args) \
	KERNEL(OPERAND, operand, struct operand_args)         \
	KERNEL(NORM, norm, struct norm_args)                  \
	KERNEL(LINEAR_F32, linear_f32, struct linear_args)    \
	LINEAR_KERNELS(KERNEL)                                \
	KERNEL(GATE, gate, struct gate_args)                  \
	KERNEL(APPEND, append, struct append_args)            \
	KERNEL(ATTENTION, attention, struct attend_args)      \
	KERNEL(ATTEND_FEW, attend_few, struct attend_args)    \
	KERNEL(ATTEND_MERGE, attend_merge, struct attend_args) \
	KERNEL(ATTEND_MANY_64, attend_many_64, struct attend_args) \
	KERNEL(ATTEND_MANY_128, attend_many_128, struct attend_args) \
	KERNEL(ATTEND_MANY_256, attend_many_256, struct attend_args) \
	KERNEL(EMBED, embed, struct embed_args)               \
	KERNEL(ADD_POSITIONS, add_positions, struct add_positions_args) \
	KERNEL(BEST, best, struct best_args)                  \
	KERNEL(DRAW, draw, struct draw_args)

/* Those that call wait_for_previous() before they touch what a step writes: they may be started
 * before what precedes them has ended (queue.c).  A matrix may be read before: no kernel that a
 * product follows writes it.
 */
#define LINEAR_EARLY_OF(KERNEL, UPPER)                                                  \
	KERNEL(LINEAR_##UPPER##_1) KERNEL(LINEAR_##UPPER##_2) KERNEL(LINEAR_##UPPER##_4) \
	KERNEL(LINEAR_##UPPER##_8) KERNEL(LINEAR_##UPPER##_MANY)
#define CUDA_EARLY_KERNELS(KERNEL)                                                           \
	KERNEL(SHEET) KERNEL(ROW_IN) KERNEL(ROW_OUT) KERNEL(ROW_ROUND) KERNEL(OPERAND)       \
	KERNEL(NORM) KERNEL(GATE) KERNEL(APPEND) KERNEL(ATTENTION) KERNEL(ATTEND_FEW)        \
	KERNEL(ATTEND_MERGE) KERNEL(ATTEND_MANY_64) KERNEL(ATTEND_MANY_128)                  \
	KERNEL(ATTEND_MANY_256) KERNEL(EMBED) KERNEL(ADD_POSITIONS) KERNEL(BEST)       \
	KERNEL(DRAW) LINEAR_EARLY_OF(KERNEL, BF16) LINEAR_EARLY_OF(KERNEL, F16)              \
	LINEAR_EARLY_OF(KERNEL, INT8) LINEAR_EARLY_OF(KERNEL, Q8_0)                          \
	LINEAR_EARLY_OF(KERNEL, Q4_0) LINEAR_EARLY_OF(KERNEL, Q4_1)

enum cuda_kernel {
#define KERNEL(upper, name, args) CUDA_KERNEL_##upper,
	CUDA_KERNELS(KERNEL)
#undef KERNEL
	CUDA_KERNEL_COUNT
};

#endif
