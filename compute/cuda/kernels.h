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
 *              CUDA_K_STEP: bf16 by two mma.sync, the first with k 0-3, 8-11, 16-19, 24-27 of
 *              the step, the second with the others; f32 one by one.  Runs are added in order,
 *              then the bias, then the residual.  Every kernel for a format follows it, for
 *              few rows or many.
 *   attention  keys in steps of ATTENTION_KEYS at absolute positions, running maximum.
 *   norms      128 strided sums, then a tree.
 * Contraction is off (-fmad=false): a*b+c is one FMA only where the source says fmaf().
 *
 * Threads    Kernels run in the order of their queue.
 * Ownership  Addresses are the device's; the caller keeps them alive until the queue ran.
 * Units      Elements; strides of elements.  Rows are tokens of the batch.
 * Errors     None: shapes are checked by whoever launches.
 */
#ifndef PETALS_COMPUTE_CUDA_KERNELS_H
#define PETALS_COMPUTE_CUDA_KERNELS_H

#include "compute/model/arch.h"
#include "compute/row.h"

#ifdef __cplusplus
#define CUDA_ADDRESS(type) type *__restrict__
#else
#define CUDA_ADDRESS(type) type *
#endif

enum {
	CUDA_K_STEP = 32,           /* k of two mma; columns are padded to it with zeros */
	CUDA_ROW_THREADS = 128,     /* of kernels that take a row per thread block */
	LINEAR_RUNS = 4,
	LINEAR_FEATURES = 16,       /* output features of a thread block */
	LINEAR_ROWS = 8,            /* rows of a tile, and of an f32 thread block */
	LINEAR_TILES_MAX = 8,       /* of a bf16 thread block: linear_bf16_1, _2, _4, _8 */
	ATTENTION_KEYS = 64,        /* of a step, and threads */
	ATTENTION_DIMS = 1024 / ATTENTION_KEYS,         /* of a thread, at most */
};

/* Steps of run r of a sum over `steps` steps: [first, end). */
#define LINEAR_RUN_STEPS(steps) (((steps) + LINEAR_RUNS - 1) / LINEAR_RUNS)

/* A row of the batch: where it comes from, where it goes, which page table it has. */
struct cuda_row {
	const uint8_t *in;
	uint8_t *out;               /* NULL: not wanted */
	uint32_t in_encoding, out_encoding;
	uint32_t position;
	uint32_t first_page;        /* its entry's page table begins here in `pages` */
};

/* Activations that a matrix multiplies: bf16 or f32, `stride` elements a row, those past
 * the columns zero.
 */

/* row_in: x[r] = decode(row[r].in); cosines and sines of the row's position.
 *   x (rows, hidden) f32; cosines, sines (rows, half)
 * Grid (rows), CUDA_ROW_THREADS.  Angles are f32 products, as models were trained with.
 */
struct row_in_args {
	CUDA_ADDRESS(const struct cuda_row) row;
	CUDA_ADDRESS(const float) frequencies;          /* (half) */
	CUDA_ADDRESS(float) x;
	CUDA_ADDRESS(float) cosines;
	CUDA_ADDRESS(float) sines;
	uint32_t hidden, half;
};

/* row_out: row[r].out = encode(x[r]), where wanted.  Grid (rows), CUDA_ROW_THREADS. */
struct row_out_args {
	CUDA_ADDRESS(const struct cuda_row) row;
	CUDA_ADDRESS(const float) x;
	uint32_t hidden;
};

/* row_round: x[r] = decode(encode(x[r])) in place.  Grid (rows), CUDA_ROW_THREADS. */
struct row_round_args {
	CUDA_ADDRESS(float) x;
	uint32_t hidden, encoding;
};

/* operand: out = x as an operand.  Grid (rows), CUDA_ROW_THREADS. */
struct operand_args {
	CUDA_ADDRESS(const float) x;                    /* (rows, columns) */
	CUDA_ADDRESS(void) out;                         /* (rows, stride) */
	uint32_t columns, stride, bf16;
};

/* norm: rms    x * weight / sqrt(mean(x^2) + epsilon)
 *       layer  (x - mean) / sqrt(var + epsilon) * weight + bias
 * into an operand and/or, maybe in place, as f32.  Grid (rows), CUDA_ROW_THREADS.
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

/* linear_f32, linear_bf16_TILES: out[r][n] = sum_k x[r][k] w[n][k] (+ bias[n]) (+ add[r][n])
 *   w    (features rounded up to LINEAR_FEATURES, columns), columns a multiple of CUDA_K_STEP
 *   out  (rows, features) f32; may be add
 * Grid (features / LINEAR_FEATURES up, rows / (LINEAR_ROWS x TILES) up), LINEAR_RUNS warps.
 */
struct linear_args {
	CUDA_ADDRESS(const void) w;
	CUDA_ADDRESS(const float) bias;                 /* or NULL */
	CUDA_ADDRESS(const void) x;                     /* (rows, columns) of w's type */
	const float *add;                               /* (rows, features), or NULL */
	float *out;
	uint32_t features, columns, rows;
};

/* gate: out = act(gate) * up, or act(gate) without up, as an operand.
 * Grid (rows), CUDA_ROW_THREADS.
 */
struct gate_args {
	CUDA_ADDRESS(const float) gate;                 /* (rows, columns) */
	CUDA_ADDRESS(const float) up;                   /* likewise, or NULL */
	CUDA_ADDRESS(void) out;                         /* (rows, stride) */
	uint32_t columns, stride, bf16;
	uint32_t act;                                   /* enum activation_kind */
};

/* One block's share of a page: K, then V, each [kv head][token][dims], dims being head_dim
 * padded to 8 with zeros; bf16 or f32.
 */
struct cuda_kv {
	uint8_t *pages;                                 /* this block's share of page 0 */
	uint64_t page_bytes;                            /* from a page to the next */
	uint64_t v_bytes;                               /* from K to V */
	uint32_t kv_heads, head_dim, dims, page_tokens, bf16;
};

/* append: rotates q in place and k, and writes k and v into the pages.
 *   q (rows, heads x head_dim); k, v (rows, kv_heads x head_dim)
 * Grid (rows), CUDA_ROW_THREADS.
 */
struct append_args {
	struct cuda_kv kv;
	CUDA_ADDRESS(const struct cuda_row) row;
	CUDA_ADDRESS(const uint32_t) pages;             /* page tables of all entries */
	float *q, *k, *v;
	CUDA_ADDRESS(const float) cosines;              /* (rows, rope_dims / 2) */
	CUDA_ADDRESS(const float) sines;
	uint32_t heads, rope_dims;
};

/* attention: out[r][h] = softmax(q[r][h] . K * scale + slope * (key - position)) V over keys
 * max(0, p - window + 1)..p, as an operand.  Slots beyond add nothing, whatever they hold.
 * Grid (heads, rows), ATTENTION_KEYS threads.
 */
struct attend_args {
	struct cuda_kv kv;
	CUDA_ADDRESS(const struct cuda_row) row;
	CUDA_ADDRESS(const uint32_t) pages;
	CUDA_ADDRESS(const float) q;                    /* (rows, heads x head_dim) */
	CUDA_ADDRESS(const float) slopes;               /* (heads), NULL: no ALiBi */
	CUDA_ADDRESS(void) out;                         /* (rows, stride) */
	uint32_t heads, window, stride, operand_bf16;
	float scale;
};

/* embed: out[r] = table[tokens[r]] * scale (+ positions[position + r]), f32.
 * Grid (rows), CUDA_ROW_THREADS.
 */
struct embed_args {
	CUDA_ADDRESS(const uint32_t) tokens;            /* (rows) */
	CUDA_ADDRESS(const void) table;                 /* (vocabulary, stride) bf16 or f32 */
	CUDA_ADDRESS(float) out;                        /* (rows, columns) */
	uint32_t columns, stride, bf16;
	float scale;
};

/* add_positions: x[r] += table[first + r].  Grid (rows), CUDA_ROW_THREADS. */
struct add_positions_args {
	CUDA_ADDRESS(float) x;                          /* (rows, columns) */
	CUDA_ADDRESS(const float) table;                /* (positions, columns) */
	uint32_t columns, first;
};

#define CUDA_KERNELS(KERNEL)                                  \
	KERNEL(ROW_IN, row_in, struct row_in_args)            \
	KERNEL(ROW_OUT, row_out, struct row_out_args)         \
	KERNEL(ROW_ROUND, row_round, struct row_round_args)   \
	KERNEL(OPERAND, operand, struct operand_args)         \
	KERNEL(NORM, norm, struct norm_args)                  \
	KERNEL(LINEAR_F32, linear_f32, struct linear_args)    \
	KERNEL(LINEAR_BF16_1, linear_bf16_1, struct linear_args) \
	KERNEL(LINEAR_BF16_2, linear_bf16_2, struct linear_args) \
	KERNEL(LINEAR_BF16_4, linear_bf16_4, struct linear_args) \
	KERNEL(LINEAR_BF16_8, linear_bf16_8, struct linear_args) \
	KERNEL(GATE, gate, struct gate_args)                  \
	KERNEL(APPEND, append, struct append_args)            \
	KERNEL(ATTENTION, attention, struct attend_args) \
	KERNEL(EMBED, embed, struct embed_args)               \
	KERNEL(ADD_POSITIONS, add_positions, struct add_positions_args)

enum cuda_kernel {
#define KERNEL(upper, name, args) CUDA_KERNEL_##upper,
	CUDA_KERNELS(KERNEL)
#undef KERNEL
	CUDA_KERNEL_COUNT
};

#endif
