/* kernels.h - one contract per CPU kernel, and the table that picks its path.
 *
 * Every kernel exists in portable C (the slow twin), AVX2 and AVX-512: path.h lists
 * what a path provides, and each path is a set of 16-lane primitives (lanes_*.h)
 * under shared bodies (*_body.h).  All paths give the same bits:
 * each output element is computed by one fixed sequence of operations (FMA where
 * it says FMA, contraction is off), whatever the number of rows, threads
 * or the instruction set.  Compute threads run with denormals flushed (FTZ, DAZ),
 * which kernels_thread_init() sets, because AVX512-BF16 flushes in any case.
 *
 * Matrix formats (struct matrix): output features in panels of 32, so that one
 * vector lane owns one output element and adds its terms in the order of k.
 * A group is 32 consecutive k; the last one is filled up with zeros.
 *   PANEL_F32   [panel][k][32] f32
 *   PANEL_F16   [panel][k][32] f16
 *   PANEL_BF16  [panel][k / 2][32][2] bf16          pairs of k
 *   PANEL_Q8    [panel][group]{ f16 d[32]; u8 [8][32][4] }                  q + 128
 *   PANEL_Q4_0  [panel][group]{ f16 d[32]; 4-bit [4][32][8] }               q + 8
 *   PANEL_Q4_1  [panel][group]{ f16 d[32]; f16 m[32]; 4-bit [4][32][8] }
 *               byte j of 4: k = 8 c + j in its low half, k = 8 c + 4 + j in its high
 *   PANEL_I8    [panel]{ f32 scale[32]; [group] u8 [8][32][4] }             q + 128
 *
 * What a row of activations is multiplied as, its operand, says in what arithmetic:
 *   OPERAND_F32   f32; weights widened to f32       acc = fma(x, w, acc)
 *   OPERAND_BF16  pairs of bf16; weights rounded to bf16; odd, then even, each an
 *                 FMA, as VDPBF16PS does
 *   OPERAND_INT8  quantised per group (da = absmax / 127, nearest even); dot products with
 *                 the integers less their offset are exact in int32, then
 *                 acc = fma(float(dot), d x da, acc) and for PANEL_Q4_1
 *                 acc = fma(m, da x sum, acc), group by group
 * Formats that are not an operand's own are widened on the way, some columns at a time, and
 * give the bits of the wide panels.  PANEL_I8 counts as integers throughout (d = 1): its
 * scale multiplies the sum.  OPERAND_INT8 takes the quantised formats, OPERAND_BF16 all but
 * PANEL_F32 and PANEL_F16, OPERAND_F32 all.
 *
 * Threads    Kernels are pure; linear_*() uses the team it is given.
 * Ownership  matrix_pack() writes into memory of matrix_bytes() bytes, 64-aligned.
 * Units      Elements.
 * Errors     None beyond asserts; formats are checked when packing.
 */
#ifndef PETALS_COMPUTE_CPU_KERNELS_H
#define PETALS_COMPUTE_CPU_KERNELS_H

#include "compute/team.h"
#include "compute/model/model.h"

enum panel_format {
	PANEL_F32, PANEL_F16, PANEL_BF16, PANEL_Q8, PANEL_Q4_0, PANEL_Q4_1, PANEL_I8,
	PANEL_FORMATS
};
enum operand_format { OPERAND_F32, OPERAND_BF16, OPERAND_INT8, OPERAND_FORMATS };
enum { PANEL = 32 };                    /* output features of a panel */

enum cpu_path { PATH_PORTABLE, PATH_AVX2, PATH_AVX512, PATHS };

struct kernels;                         /* the chosen path's functions */
const struct kernels *kernels_best(void);
const struct kernels *kernels_path(enum cpu_path p);    /* NULL: this host cannot */
const char *kernels_name(const struct kernels *k);
void kernels_thread_init(void);         /* once in every thread that computes */

struct matrix {
	enum panel_format format;
	enum operand_format operand;
	uint32_t rows, columns;         /* output and input features */
	const void *panels;             /* rows rounded up to whole panels, zero-filled */
	const float *bias;              /* (rows) padded to panels, or NULL */
};
uint64_t matrix_bytes(enum panel_format f, uint32_t rows, uint32_t columns);
/* PANEL_Q8 and PANEL_Q4_1 take their own dtype alone; PANEL_I8 and PANEL_Q4_0 hold what
 * quantise.h makes of any dtype (INT8, INT4); the float panels round any dtype.  Panels
 * [first_panel, end_panel) only, so that packing can be shared out; panels is the whole
 * matrix.  Returns how many weights quantising found that are not finite.
 */
uint64_t matrix_pack(enum panel_format f, const struct weight *w, uint32_t first_panel,
		     uint32_t end_panel, void *panels);

/* Activation rows made ready, once for all matrices that read them.  64-aligned.
 * linear_*() must be given the same rows.
 */
uint64_t operand_bytes(enum operand_format o, uint32_t rows, uint32_t columns);
void operand_prepare(const struct kernels *k, struct team *t, enum operand_format o,
		     const float *x, uint32_t rows, uint32_t columns, void *operand);

/* out[r][n] = sum_k x[r][k] w[n][k] (+ bias) (then add[r][n] is added) (then act).
 * out row stride out_stride; add may be out itself; add may be NULL.
 */
enum linear_act { LINEAR_NONE, LINEAR_GELU_TANH, LINEAR_GELU_ERF, LINEAR_RELU };
struct linear_out {
	float *out;
	uint32_t out_stride;
	const float *add;
	uint32_t add_stride;
	enum linear_act act;
};
void linear(const struct kernels *k, struct team *t, const struct matrix *m,
	    const void *operand, uint32_t rows, const struct linear_out *o);
/* Several matrices of the same columns over the same operand, as one parallel operation
 * (q, k, v).
 */
void linear_many(const struct kernels *k, struct team *t, const struct matrix *const *m,
		 const struct linear_out *o, uint32_t count, const void *operand, uint32_t rows);
/* out[r][n] = act(gate) * up, biases included: both matrices over one operand. */
void linear_gated(const struct kernels *k, struct team *t, const struct matrix *gate,
		  const struct matrix *up, const void *operand, uint32_t rows,
		  enum activation_kind act, float *out, uint32_t out_stride);

/* rms:   out = x * weight / sqrt(mean(x^2) + epsilon)
 * layer: out = (x - mean) / sqrt(var + epsilon) * weight + bias
 * Sums run in 16 lanes (element i in lane i % 16), then a fixed tree.  One row.
 */
void norm_rms(const struct kernels *k, const float *x, const float *weight, uint32_t n,
	      float epsilon, float *out);
void norm_layer(const struct kernels *k, const float *x, const float *weight,
		const float *bias, uint32_t n, float epsilon, float *out);

/* Rotates pairs (i, i + dims / 2) of each head of one row by position x frequency;
 * cosines and sines come precomputed: dims / 2 of each.
 */
void rope_row(const struct kernels *k, float *x, uint32_t heads, uint32_t head_dim,
	      uint32_t dims, const float *cosines, const float *sines);

/* KV pages of one block: page_tokens tokens of every kv head.
 *   f32   K: [kv head][tile][dim][16 tokens]          V: [kv head][token][dim]
 *   bf16  K: [kv head][tile][dim / 2][16 tokens][2]   V: [kv head][token / 2][dim][2]
 * in tiles of 16 tokens.  K's dims are padded to 2, V's to 32, with zeros.
 */
struct kv_layout {
	bool f32;
	uint32_t kv_heads, head_dim, page_tokens;
	uint32_t k_dims, v_dims;        /* head_dim padded */
	uint64_t k_bytes, v_bytes;      /* of one block's share of a page: K, then V */
};
void kv_layout_init(struct kv_layout *l, bool f32, uint32_t kv_heads, uint32_t head_dim,
		    uint32_t page_tokens);
/* Writes one token's k and v rows (kv_heads x head_dim f32) at `slot` of a page. */
void kv_append(const struct kernels *k, const struct kv_layout *l, uint8_t *page,
	       uint32_t slot, const float *k_row, const float *v_row);

/* Attention of consecutive query rows of one sequence and the query heads of kv heads
 * [first_head, end_head), over positions max(0, p - window + 1)..p for the query at p; the k and
 * v of every row must have been appended.  Scores are q.k * scale (+ slope * (key - query
 * position) for ALiBi); softmax with running maximum over steps of 64 keys at absolute
 * positions, in order; so neither page size nor chunking changes a bit.  Keys beyond a
 * row's range add nothing, whatever their slots hold.  pages[i] is the address of
 * the block's share of page i.  Rows are cheapest in runs of 32 or more.
 */
struct attention_args {
	const struct kv_layout *layout;
	uint8_t *const *pages;
	uint32_t position;              /* of the first query row */
	uint32_t rows;
	uint32_t heads;                 /* query heads in all */
	uint32_t window;                /* 0: none */
	float scale;
	const float *slopes;            /* (heads), NULL: no ALiBi */
	const float *q;                 /* rows x q_stride; head h at h * head_dim */
	uint32_t q_stride;
	float *out;                     /* rows x out_stride, likewise */
	uint32_t out_stride;
};
void attention(const struct kernels *k, const struct attention_args *a, uint32_t first_head,
	       uint32_t end_head, uint32_t first_row, uint32_t end_row, void *scratch);
/* Of one call at a time, 64-aligned: one per worker. */
uint64_t attention_scratch_bytes(const struct kv_layout *l, uint32_t heads);

#endif
