/* linear_few.cuh - activations times a matrix of any format for 8, 16, 32 and 64 rows at a time:
 * as fast as the matrix can be read.
 *
 * A thread block owns w tiles of 32 features, w from 1 to 4, and has LINEAR_RUNS warps for
 * each, one per run of k; bits do not depend on w.
 *
 *   matrix       device memory -> registers, 16 bytes a lane, AHEAD steps asked for before the
 *                first is needed; read once for up to 64 rows
 *   activations  -> shared memory in the background, FEW_STAGES stages of DEEP steps of all runs;
 *                read once from L2 per w x 32 features, whatever the rows
 *   sums         run after run added up in shared memory
 *
 * Rows that are not there are not copied: what shared memory holds in their place meets only
 * results that nobody stores.
 */
#ifndef PETALS_COMPUTE_CUDA_LINEAR_FEW_CUH
#define PETALS_COMPUTE_CUDA_LINEAR_FEW_CUH

#include "compute/cuda/linear.cuh"
#include "compute/cuda/linear_piece.cuh"

enum { FEW_STAGES = 3, SUM_PAD = 4 };

/* Steps of a stage, by tiles of rows: 8 or 16 KB each. */
#define FEW_DEEP(tiles) ((tiles) == 1 ? 4 : (tiles) == 8 ? 1 : 2)
#define FEW_STAGE_BYTES(tiles) (LINEAR_RUNS * FEW_DEEP(tiles) * LINEAR_ROWS * (tiles) * STEP_BYTES)
/* Steps ahead: as many as registers leave room for. */
#define FEW_AHEAD(format, tiles) \
	((format) <= CUDA_F16 && (tiles) == 1 ? 4 : (format) > CUDA_F16 && (tiles) <= 2 ? 4 : \
	 (tiles) == 8 && ((format) == CUDA_F16 || (format) == CUDA_Q8_0 ||                     \
			  (format) == CUDA_Q4_1) ? 1 : 2)

/* What a warp works on. */
struct work {
	uint32_t run, first, mine, each;        /* steps [first, first + mine); each: of a run */
	uint32_t rows, first_row;               /* of the thread block */
};

/* Copies steps [step, step + deep) of every run. */
DEVICE void few_fill(const struct linear_args *a, const struct work *k, uint32_t step,
		     const uint32_t tiles, uint8_t *stage)
{
	const uint32_t deep = FEW_DEEP(tiles);
	uint32_t steps = a->columns / CUDA_K_STEP;

	for (uint32_t i = threadIdx.x; i < 4 * LINEAR_RUNS * deep * k->rows; i += blockDim.x) {
		uint32_t part = i % 4, run = i / 4 % LINEAR_RUNS, s = i / (4 * LINEAR_RUNS) % deep;
		uint32_t row = i / (4 * LINEAR_RUNS * deep), at = run * k->each + step + s;
		uint32_t to = (s * LINEAR_RUNS + run) * LINEAR_ROWS * tiles + row;
		uint64_t from = (uint64_t)(k->first_row + row) * a->columns + at * CUDA_K_STEP;

		if (step + s < k->each && at < steps)
			copy_async16(stage + to * STEP_BYTES + part * 16,
				     (const uint8_t *)a->x + 2 * from + part * 16, 16);
	}
	copy_commit();
}

/* Sums the warp's run into c. */
DEVICE void few_sum(const struct linear_args *a, const struct work *k, const struct band *b,
		    const uint32_t format, const uint32_t tiles, uint8_t *stages,
		    float (*c)[TILE_HALVES][4])
{
	const uint32_t deep = FEW_DEEP(tiles), ahead = FEW_AHEAD(format, tiles);
	uint64_t policy = once_policy();
	struct piece piece[FEW_AHEAD(CUDA_BF16, 1)];
	uint32_t slot = 0;

	for (uint32_t i = 0; i + 1 < FEW_STAGES; i++)
		few_fill(a, k, i * deep, tiles, stages + i * FEW_STAGE_BYTES(tiles));
#pragma unroll
	for (uint32_t j = 0; j < ahead; j++)
		if (j < k->mine)
			piece_load(&piece[j], b, k->first + j, format, policy);
	for (uint32_t step = 0; step < k->each; step += ahead) {
#pragma unroll
		for (uint32_t j = 0; j < ahead; j++) {
			uint32_t at = (j % deep * LINEAR_RUNS + k->run) * LINEAR_ROWS * tiles;

			if (j % deep == 0 && step + j < k->each) {
				uint32_t next = slot ? slot - 1 : FEW_STAGES - 1;

				copy_wait(FEW_STAGES - 2);
				__syncthreads();
				few_fill(a, k, step + j + (FEW_STAGES - 1) * deep, tiles,
					 stages + next * FEW_STAGE_BYTES(tiles));
			}
			if (step + j < k->mine)
				multiply_tile(&piece[j],
					      stages + slot * FEW_STAGE_BYTES(tiles) +
						      at * STEP_BYTES,
					      tiles, format, c);
			if (step + j + ahead < k->mine)
				piece_load(&piece[j], b, k->first + step + j + ahead, format,
					   policy);
			if (j % deep == deep - 1)
				slot = slot + 1 < FEW_STAGES ? slot + 1 : 0;
		}
	}
}

/* Adds the runs up in order: sums (LINEAR_ROWS x tiles, w x 32 features + SUM_PAD). */
DEVICE void few_add_runs(const struct work *k, const uint32_t tiles, float (*c)[TILE_HALVES][4],
			 float *sums)
{
	uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
	uint32_t stride = blockDim.x / LINEAR_RUNS + SUM_PAD;
	uint32_t first = threadIdx.x / (WARP * LINEAR_RUNS) * TILE_FEATURES;

	copy_wait(0);
	for (uint32_t run = 0; run < LINEAR_RUNS; run++) {
		__syncthreads();
		if (k->run != run)
			continue;
#pragma unroll
		for (uint32_t i = 0; i < tiles * TILE_HALVES * 4; i++) {
			uint32_t row = i / 8 * LINEAR_ROWS + 2 * t + i % 2;
			uint32_t column = first + i / 4 % 2 * 16 + i / 2 % 2 * 8 + g;
			float *sum = &sums[row * stride + column];
			float v = c[i / 8][i / 4 % 2][i % 4];

			*sum = run == 0 ? v : *sum + v;
		}
	}
	__syncthreads();
}

DEVICE void few_store(const struct linear_args *a, const struct work *k, const float *sums,
		      const uint32_t format)
{
	uint32_t width = blockDim.x / LINEAR_RUNS;

	for (uint32_t i = threadIdx.x; i < k->rows * width; i += blockDim.x) {
		uint32_t row = i / width, column = i % width;
		struct place p = place_of(a, (blockIdx.x * width + column) / TILE_FEATURES);

		if (p.part < LINEAR_PARTS)
			linear_store(a, p.part, k->first_row + row,
				     p.tile * TILE_FEATURES + column % TILE_FEATURES,
				     sums[row * (width + SUM_PAD) + column], format);
	}
}

/* Into an operand, zeros behind its columns: act(part 0) (x part 1). */
DEVICE void few_store_operand(const struct linear_args *a, const struct work *k, const float *sums,
			      const uint32_t format)
{
	uint32_t all = blockDim.x / LINEAR_RUNS, width = a->end == LINEAR_GATED ? all / 2 : all;

	for (uint32_t i = threadIdx.x; i < k->rows * width; i += blockDim.x) {
		uint32_t row = i / width, column = i % width, n = blockIdx.x * width + column;
		const float *sum = &sums[row * (all + SUM_PAD) + column];
		float v = 0;

		if (n >= a->operand_stride)
			continue;
		if (n < a->part[0].features) {
			v = activate(linear_value(a, &a->part[0], n, sum[0], format), a->act);
			if (a->end == LINEAR_GATED)
				v *= linear_value(a, &a->part[1], n, sum[width], format);
		}
		operand_store(a->operand, (uint64_t)(k->first_row + row) * a->operand_stride + n, v,
			      true);
	}
}

/* The tile of features of this warp: gate and up stand side by side. */
DEVICE struct place few_place(const struct linear_args *a)
{
	uint32_t w = blockDim.x / (WARP * LINEAR_RUNS), i = threadIdx.x / (WARP * LINEAR_RUNS);
	struct place p;

	if (a->end != LINEAR_GATED)
		return place_of(a, blockIdx.x * w + i);
	p.part = i / (w / 2);
	p.tile = blockIdx.x * (w / 2) + i % (w / 2);
	if (p.tile >= tiles_of(&a->part[0]))
		p.part = LINEAR_PARTS;
	return p;
}

/* shared has FEW_STAGES x FEW_STAGE_BYTES(tiles). */
DEVICE void linear_few(const struct linear_args *a, const uint32_t format, const uint32_t tiles,
		       uint8_t *shared)
{
	uint32_t steps = a->columns / CUDA_K_STEP;
	float c[LINEAR_TILES_MAX][TILE_HALVES][4] = { { { 0 } } };
	struct place p = few_place(a);
	struct band b = { NULL, 0, 0 };
	struct work k;

	k.run = threadIdx.x / WARP % LINEAR_RUNS;
	k.each = LINEAR_RUN_STEPS(steps);
	k.first = k.run * k.each;
	k.mine = k.first < steps ? min(k.each, steps - k.first) : 0;
	k.first_row = blockIdx.y * LINEAR_ROWS * tiles;
	k.rows = min(LINEAR_ROWS * tiles, a->rows - k.first_row);
	if (p.part < LINEAR_PARTS)
		b = band_open(a, &a->part[p.part], p.tile, format);
	else
		k.mine = 0;
	few_sum(a, &k, &b, format, tiles, shared, c);
	few_add_runs(&k, tiles, c, (float *)shared);
	if (a->end == LINEAR_OUT)
		few_store(a, &k, (const float *)shared, format);
	else
		few_store_operand(a, &k, (const float *)shared, format);
}

#define LINEAR_FEW(name, format, tiles)                                                           \
	LINEAR_KERNEL(name##_##tiles, WARP *LINEAR_RUNS *LINEAR_WARPS(format, tiles))             \
	(const struct linear_args a)                                                              \
	{                                                                                         \
		__shared__ __align__(16) uint8_t shared[FEW_STAGES * FEW_STAGE_BYTES(tiles)];     \
                                                                                                  \
		linear_few(&a, format, tiles, shared);                                            \
	}

#endif
