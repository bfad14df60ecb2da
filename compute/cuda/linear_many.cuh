/* linear_many.cuh - activations times a matrix of any format for more than 64 rows: 128 rows by
 * 128 features a thread block, so that neither side is read often.
 *
 * Four warps side by side take 32 features each of 64 rows, four below them of the other 64.
 * Records of the matrix, as they are, and activations come into shared memory in the background,
 * MANY_STAGES steps deep; each warp unpacks what it multiplies.  A run of k is summed after the
 * other, the sum of runs stays in registers.  Fragments are 16 aligned bytes a lane on either
 * side, conflict-free as they lie, and in the k order of the kernels for few rows, which
 * ldmatrix would not give.
 *
 * Thread blocks that are neighbours share the matrix and differ in rows.
 */
#ifndef PETALS_COMPUTE_CUDA_LINEAR_MANY_CUH
#define PETALS_COMPUTE_CUDA_LINEAR_MANY_CUH

#include "compute/cuda/linear.cuh"
#include "compute/cuda/linear_piece.cuh"

enum {
	MANY_STAGES = 3, MANY_ROW_TILES = LINEAR_MANY_ROWS / LINEAR_ROWS / 2,
	MANY_X_BYTES = LINEAR_MANY_ROWS * STEP_BYTES,
	MANY_COPIES = 2,                /* of a thread, of either side and step, at most */
};
static_assert(MANY_X_BYTES == MANY_COPIES * LINEAR_MANY_THREADS * 16, "every piece has a thread");

#define MANY_STAGE_BYTES(format) (LINEAR_MANY_TILES * TILE_BYTES(format) + MANY_X_BYTES)

/* What this thread copies at each step: NULL, nothing. */
struct copies {
	const uint8_t *w[MANY_COPIES], *x[MANY_COPIES];
	uint32_t w_step;
};

/* Piece i of the four records of a step; NULL: there is no such tile. */
DEVICE const uint8_t *many_source(const struct linear_args *a, uint32_t i, const uint32_t format)
{
	uint32_t each = TILE_BYTES(format) / 16, in = i % each;
	struct place p = place_of(a, blockIdx.y * LINEAR_MANY_TILES + i / each);
	uint64_t steps = a->columns / CUDA_K_STEP;
	const uint8_t *w;

	if (i >= LINEAR_MANY_TILES * each || p.part >= LINEAR_PARTS)
		return NULL;
	w = (const uint8_t *)a->part[p.part].w;
	if (format == CUDA_BF16 && a->in_rows) {
		uint64_t feature = p.tile * TILE_FEATURES + in / 4;

		return w + feature * a->columns * 2 + in % 4 * 16;
	}
	return w + p.tile * steps * TILE_BYTES(format) + in * 16;
}

DEVICE void many_plan(const struct linear_args *a, const uint32_t format, struct copies *c)
{
	uint32_t first_row = blockIdx.x * LINEAR_MANY_ROWS;

	c->w_step = format == CUDA_BF16 && a->in_rows ? (uint32_t)STEP_BYTES : TILE_BYTES(format);
#pragma unroll
	for (uint32_t j = 0; j < MANY_COPIES; j++) {
		uint32_t i = j * LINEAR_MANY_THREADS + threadIdx.x, row = first_row + i / 4;

		c->w[j] = many_source(a, i, format);
		c->x[j] = NULL;
		if (row < a->rows)
			c->x[j] = (const uint8_t *)a->x + (uint64_t)row * a->columns * 2 +
				  i % 4 * 16;
	}
}

DEVICE void many_fill(const struct copies *c, uint32_t step, uint32_t steps, const uint32_t format,
		      uint8_t *stage)
{
#pragma unroll
	for (uint32_t j = 0; j < MANY_COPIES; j++) {
		uint8_t *to = stage + (j * LINEAR_MANY_THREADS + threadIdx.x) * 16;

		if (step < steps && c->w[j])
			copy_async16(to, c->w[j] + (uint64_t)step * c->w_step, 16);
		if (step < steps && c->x[j])
			copy_async16(to + LINEAR_MANY_TILES * TILE_BYTES(format),
				     c->x[j] + (uint64_t)step * STEP_BYTES, 16);
	}
	copy_commit();
}

/* The sum of the runs so far takes in the run that ended. */
DEVICE void many_add_run(float (*total)[TILE_HALVES][4], float (*run)[TILE_HALVES][4])
{
#pragma unroll
	for (uint32_t i = 0; i < MANY_ROW_TILES * TILE_HALVES * 4; i++) {
		total[i / 8][i / 4 % 2][i % 4] += run[i / 8][i / 4 % 2][i % 4];
		run[i / 8][i / 4 % 2][i % 4] = 0;
	}
}

DEVICE void many_sum(const struct linear_args *a, const uint32_t format, uint8_t *shared,
		     float (*total)[TILE_HALVES][4])
{
	uint32_t steps = a->columns / CUDA_K_STEP, each = LINEAR_RUN_STEPS(steps), left = each;
	uint32_t warp = threadIdx.x / WARP, lane = lane_once(), slot = 0;
	uint32_t w_at = warp % LINEAR_MANY_TILES * TILE_BYTES(format);
	uint32_t x_at = LINEAR_MANY_TILES * TILE_BYTES(format) +
			warp / LINEAR_MANY_TILES * (MANY_X_BYTES / 2) + lane * 16;
	float run[MANY_ROW_TILES][TILE_HALVES][4] = { { { 0 } } };
	struct copies c;

	many_plan(a, format, &c);
	wait_for_previous();
	let_next_start();
	for (uint32_t i = 0; i + 1 < MANY_STAGES; i++)
		many_fill(&c, i, steps, format, shared + i * MANY_STAGE_BYTES(format));
	for (uint32_t step = 0; step < steps; step++) {
		uint8_t *stage = shared + slot * MANY_STAGE_BYTES(format);
		uint32_t next = slot ? slot - 1 : MANY_STAGES - 1;
		struct piece p;

		copy_wait(MANY_STAGES - 2);
		__syncthreads();
		many_fill(&c, step + MANY_STAGES - 1, steps, format,
			  shared + next * MANY_STAGE_BYTES(format));
		piece_take(&p, stage + w_at, lane, format);
		multiply_tile(&p, stage + x_at, MANY_ROW_TILES, format, run);
		slot = slot + 1 < MANY_STAGES ? slot + 1 : 0;
		if (--left == 0 || step + 1 == steps) {
			many_add_run(total, run);
			left = each;
		}
	}
}

DEVICE void linear_many(const struct linear_args *a, const uint32_t format, uint8_t *shared)
{
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
	float total[MANY_ROW_TILES][TILE_HALVES][4] = { { { 0 } } };
	struct place p = place_of(a, blockIdx.y * LINEAR_MANY_TILES + warp % LINEAR_MANY_TILES);
	uint32_t first_row = blockIdx.x * LINEAR_MANY_ROWS +
			     warp / LINEAR_MANY_TILES * (LINEAR_MANY_ROWS / 2);

	many_sum(a, format, shared, total);
	if (p.part >= LINEAR_PARTS)
		return;
#pragma unroll
	for (uint32_t i = 0; i < MANY_ROW_TILES * TILE_HALVES * 4; i++)
		linear_store(a, p.part, first_row + i / 8 * LINEAR_ROWS + 2 * t + i % 2,
			     p.tile * TILE_FEATURES + i / 4 % 2 * 16 + i / 2 % 2 * 8 + g,
			     total[i / 8][i / 4 % 2][i % 4], format);
}

#define LINEAR_MANY(name, format)                                                          \
	LINEAR_KERNEL(name##_many, LINEAR_MANY_THREADS, 1)(const struct linear_args a)     \
	{                                                                                  \
		__shared__ __align__(16) uint8_t shared[MANY_STAGES *                      \
							MANY_STAGE_BYTES(format)];         \
                                                                                           \
		linear_many(&a, format, shared);                                           \
	}

#define LINEAR_ALL(name, format)        \
	LINEAR_FEW(name, format, 1)     \
	LINEAR_FEW(name, format, 2)     \
	LINEAR_FEW(name, format, 4)     \
	LINEAR_FEW(name, format, 8)     \
	LINEAR_MANY(name, format)

#endif
