/* linear_bf16.cu - activations times a bf16 matrix, for 8, 16, 32 and 64 rows at a time.
 *
 * A thread block owns 16 features of its rows; each of its warps sums one run of k.  The
 * matrix is the wide side of the mma, so that few rows waste no reads of it, and is read
 * once, in pieces of 16 bytes: lane t of four takes k 8t..8t + 7 of a step of 32, and gives
 * them to two mma as if they were the k that its fragments want.  Activations are dealt out
 * alike, so products still meet their own.
 *
 * Bytes per step of up to 64 rows: the matrix once, each activation row once per 16 features
 * (from L1 or L2), the results.
 */
#include "compute/cuda/linear.cuh"

enum { AHEAD = 4 };                     /* steps whose pieces are asked for at a time */

struct piece { uint4 low, high; };      /* of rows g and g + 8 of the matrix */

/* One step of 32 k for `tiles` tiles of 8 rows. */
DEVICE void multiply(const struct linear_args *a, const struct piece *p, uint32_t step,
		     uint32_t first_row, const uint32_t tiles, float (*c)[4])
{
	const uint32_t m[4] = { p->low.x, p->high.x, p->low.y, p->high.y };
	const uint32_t n[4] = { p->low.z, p->high.z, p->low.w, p->high.w };
	uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;

#pragma unroll
	for (uint32_t i = 0; i < tiles; i++) {
		uint32_t row = first_row + i * 8 + g;
		uint4 x = { 0, 0, 0, 0 };

		if (row < a->rows)
			x = *(const uint4 *)((const uint16_t *)a->x + (uint64_t)row * a->columns +
					     step * CUDA_K_STEP + 8 * t);
		const uint32_t v[2] = { x.x, x.y }, w[2] = { x.z, x.w };

		mma_bf16(c[i], m, v);
		mma_bf16(c[i], n, w);
	}
}

/* Sums the warp's run of k: c[tile] as mma lays it out. */
DEVICE void sum_run(const struct linear_args *a, uint32_t first_row, const uint32_t tiles,
		    float (*c)[4])
{
	uint32_t lane = threadIdx.x % WARP, run = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
	uint32_t steps = a->columns / CUDA_K_STEP, each = LINEAR_RUN_STEPS(steps);
	uint32_t end = min((run + 1) * each, steps);
	const uint16_t *w = (const uint16_t *)a->w + 8 * t +
			    (uint64_t)(blockIdx.x * LINEAR_FEATURES + g) * a->columns;

	for (uint32_t step = run * each; step < end; step += AHEAD) {
		struct piece ahead[AHEAD];

#pragma unroll
		for (uint32_t j = 0; j < AHEAD; j++)
			if (step + j < end) {
				const uint16_t *at = w + (step + j) * CUDA_K_STEP;

				ahead[j].low = load_once16(at);
				ahead[j].high = load_once16(at + 8ull * a->columns);
			}
#pragma unroll
		for (uint32_t j = 0; j < AHEAD; j++)
			if (step + j < end)
				multiply(a, &ahead[j], step + j, first_row, tiles, c);
	}
}

/* runs is (LINEAR_RUNS, 8 x tiles, LINEAR_FEATURES) in shared memory. */
DEVICE void linear_rows(const struct linear_args *a, const uint32_t tiles, float *runs)
{
	uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
	uint32_t rows = 8 * tiles, first_row = blockIdx.y * rows;
	float c[LINEAR_TILES_MAX][4] = { { 0 } };
	float *run = runs + threadIdx.x / WARP * rows * LINEAR_FEATURES;

	sum_run(a, first_row, tiles, c);
#pragma unroll
	for (uint32_t i = 0; i < tiles; i++)
		for (uint32_t k = 0; k < 4; k++)
			run[(i * 8 + 2 * t + k % 2) * LINEAR_FEATURES + g + k / 2 * 8] = c[i][k];
	__syncthreads();
	linear_finish(a, runs, rows, first_row);
}

#define LINEAR_BF16(tiles)                                                                 \
	KERNEL(linear_bf16_##tiles)(const struct linear_args a)                            \
	{                                                                                  \
		__shared__ float runs[LINEAR_RUNS * 8 * tiles * LINEAR_FEATURES];          \
                                                                                           \
		linear_rows(&a, tiles, runs);                                              \
	}
LINEAR_BF16(1)
LINEAR_BF16(2)
LINEAR_BF16(4)
LINEAR_BF16(8)
