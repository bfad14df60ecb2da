/* path.h - what one instruction set's path provides: the innermost kernels.
 *
 * A path file (path*.c) includes its lanes_*.h, then every *_body.h, and fills one
 * struct kernels.  Everything above (linear.c, operand.c, attention.c) is common.
 *
 * Row tiles: rows are split into the fewest tiles of at most TILE_ROWS, as evenly as
 * can be; a tile of R rows interleaves its rows, so that one step reads R
 * neighbouring numbers.  A step is one k (f32), a pair of k (bf16) or a group.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Elements; *_bytes; strides of floats unless they say bytes.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_PATH_H
#define PETALS_COMPUTE_CPU_PATH_H

#include "compute/cpu/kernels.h"

enum {
	LANES = 16,
	TILE_ROWS = 12,
	NARROW_ROWS = 3,                /* so few are not worth widening panels for */
	STEP_KEYS = 64,                 /* keys of a softmax step */
};

/* Sanitizers guard every access: unrolled, a path would take minutes to compile. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KEEP_LOOPS
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEP_LOOPS
#endif
#ifdef KEEP_LOOPS
#define UNROLLED
#else
#define UNROLLED _Pragma("GCC unroll 12")
#endif

/* One group of a quantised operand tile of R rows:
 * { f32 da[R]; f32 da x sum[R]; i32 -8 x sum[R]; i8 q[8][R][4] }
 */
enum { OPERAND_GROUP_BYTES = 3 * 4 + GROUP };   /* per row */

/* sums[r][0..31] += what `steps` steps add, for the rows of one tile. */
struct tile {
	const uint8_t *w[2];            /* first and second 16 outputs of the first step */
	size_t w_bytes;                 /* from step to step; float formats only */
	const void *x;                  /* the operand tile at the first step */
	float *sums;
	uint32_t sums_stride;
	uint32_t steps;
	bool first;                     /* start from zero instead of sums */
	const uint8_t *ahead[2];        /* fetched into the cache while w is used, as if it had
					 * w's layout; NULL: nothing */
};
typedef void tile_fn(const struct tile *t);

/* Panel steps as an operand's own wide ones, each of WIDE_STEP_BYTES. */
enum { WIDE_STEP_BYTES = PANEL * 4 };
typedef void expand_fn(const uint8_t *w, uint32_t steps, void *out);

/* The end of a linear: rows x n numbers leave the sums of one panel. */
struct finish {
	const float *sums, *up_sums;    /* rows x PANEL; up_sums: gated, else NULL */
	const float *scales, *up_scales;        /* PANEL that multiply them, or NULL */
	const float *bias, *up_bias;    /* n of each, or NULL */
	uint32_t rows, n;               /* n <= PANEL */
	float *out;
	uint32_t out_stride;
	const float *add;               /* or NULL */
	uint32_t add_stride;
	enum linear_act act;
	enum activation_kind gate;      /* when gated */
};

/* One query row's share of one softmax step. */
struct softmax_row {
	const float *dots;              /* STEP_KEYS */
	float scale, slope;
	float distance;                 /* position of the step's first key less the query's */
	uint32_t first, end;            /* the keys it may see, within the step */
	float *maximum;                 /* running; -infinity at the start */
	float *sum_lanes;               /* running, LANES of them */
	float *out;                     /* running, scaled down when the maximum rises */
	uint32_t dims;                  /* of out; multiple of LANES */
	void *weights;                  /* STEP_KEYS f32 or bf16; what it may not see is 0 */
};

struct kernels {
	const char *name;
	/* Interleaved operands, by rows - 1; formats that some operand owns. */
	tile_fn *const *tile[PANEL_FORMATS];
	/* The rest; NULL where a format is the operand's own, or not for it. */
	expand_fn *const *expand[OPERAND_FORMATS];
	/* The same formats, by rows - 1 below NARROW_ROWS; whole panel steps. */
	tile_fn *const *const *narrow[OPERAND_FORMATS];
	/* Operand of row-major STEP_KEYS f32 or bf16 weights: attention's values. */
	tile_fn *const *values_f32, *const *values_bf16;
	/* Fills row r of an operand tile of R rows; x has `columns` numbers. */
	void (*operand_bf16)(const float *x, uint32_t columns, uint32_t r, uint32_t rows,
			     uint16_t *tile);
	void (*operand_int8)(const float *x, uint32_t columns, uint32_t r, uint32_t rows,
			     uint8_t *tile);
	void (*finish)(const struct finish *f);
	void (*norm_rms)(const float *x, const float *weight, uint32_t n, float epsilon,
			 float *out);
	void (*norm_layer)(const float *x, const float *weight, const float *bias, uint32_t n,
			   float epsilon, float *out);
	void (*rope_row)(float *x, uint32_t heads, uint32_t head_dim, uint32_t dims,
			 const float *cosines, const float *sines);
	void (*to_bf16)(const float *x, uint32_t n, uint16_t *out);
	void (*softmax_f32)(const struct softmax_row *s);
	void (*softmax_bf16)(const struct softmax_row *s);
	/* out[0..n) = x / the sum of sum_lanes. */
	void (*softmax_finish)(const float *x, const float *sum_lanes, uint32_t n, float *out);
};

extern const struct kernels kernels_portable, kernels_avx2, kernels_avx512;

static inline uint32_t row_tiles(uint32_t rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS; }

/* First row of tile i; tile i ends where tile i + 1 begins. */
static inline uint32_t row_tile_first(uint32_t rows, uint32_t i)
{
	uint32_t tiles = row_tiles(rows), more = rows % tiles;

	return i * (rows / tiles) + MIN(i, more);
}

/* Columns of a step, of a panel and of an operand. */
static inline uint32_t panel_step_columns(enum panel_format f)
{
	return f == PANEL_F32 || f == PANEL_F16 ? 1 : f == PANEL_BF16 ? 2 : GROUP;
}

static inline uint32_t operand_step_columns(enum operand_format o)
{
	return o == OPERAND_F32 ? 1 : o == OPERAND_BF16 ? 2 : GROUP;
}

static inline uint32_t panel_steps(enum panel_format f, uint32_t columns)
{
	return (columns + panel_step_columns(f) - 1) / panel_step_columns(f);
}

static inline uint32_t operand_steps(enum operand_format o, uint32_t columns)
{
	return (columns + operand_step_columns(o) - 1) / operand_step_columns(o);
}

/* A panel is a head (PANEL_I8's scales, else nothing) and steps. */
uint32_t panel_head_bytes(enum panel_format f);
uint32_t panel_step_bytes(enum panel_format f);
static inline uint64_t panel_bytes(enum panel_format f, uint32_t columns)
{
	return panel_head_bytes(f) + (uint64_t)panel_steps(f, columns) * panel_step_bytes(f);
}

/* Of one row of one step. */
static inline uint32_t operand_step_bytes(enum operand_format o)
{
	return o == OPERAND_INT8 ? OPERAND_GROUP_BYTES : 4;
}

#endif
