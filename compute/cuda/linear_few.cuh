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

enum { FEW_STAGES = 3, SUM_PAD = 4, FEW_AHEAD_MAX = 8 };

/* Steps of a stage, by tiles of rows: 8 or 16 KB each. */
#define FEW_DEEP(tiles) ((tiles) == 1 ? 4 : (tiles) == 8 ? 1 : 2)
#define FEW_STAGE_BYTES(tiles) (LINEAR_RUNS * FEW_DEEP(tiles) * LINEAR_ROWS * (tiles) * STEP_BYTES)
/* Steps ahead, whole stages of them: as many as registers leave room for.  For up to 16 rows that
 * is 40 KB a processor or more; an H200 delivers 36 KB to each in a microsecond.
 */
#define FEW_AHEAD(format, tiles)                                                           \
	((format) >= CUDA_Q4_0 && (tiles) == 1 ? 8 : (format) == CUDA_Q4_0 && (tiles) == 2 ? 8 : \
	 (format) <= CUDA_F16 && (tiles) == 1 ? 4 : (format) > CUDA_F16 && (tiles) <= 2 ? 4 : \
	 (tiles) == 8 && ((format) == CUDA_F16 || (format) == CUDA_Q8_0 ||                     \
			  (format) == CUDA_Q4_1) ? 1 : 2)

/* What a warp works on. */
struct work {
	uint32_t lane, run, first, mine, each;  /* steps [first, first + mine); each: of a run */
	uint32_t rows, first_row;               /* of the thread block */
};

/* What a thread copies of a stage: 16 bytes of one step of one run, for every `pass`-th row from
 * `row` on.
 */
struct share {
	const uint8_t *from;
	uint32_t to;                            /* from a stage's begin */
	uint32_t row, pass, step, end;          /* step < end: there is something to copy */
};

DEVICE uint32_t steps_of_run(const struct linear_args *a, uint32_t run)
{
	uint32_t steps = a->columns / CUDA_K_STEP, each = LINEAR_RUN_STEPS(steps);

	return run * each < steps ? min(each, steps - run * each) : 0;
}

DEVICE struct share few_share(const struct linear_args *a, const struct work *k,
			      const uint32_t tiles)
{
	const uint32_t deep = FEW_DEEP(tiles);
	uint32_t part = threadIdx.x % 4, run = threadIdx.x / 4 % LINEAR_RUNS;
	struct share s;

	s.step = threadIdx.x / (4 * LINEAR_RUNS) % deep;
	s.end = steps_of_run(a, run);
	s.row = threadIdx.x / (4 * LINEAR_RUNS * deep);
	s.pass = blockDim.x / (4 * LINEAR_RUNS * deep);
	s.to = ((s.step * LINEAR_RUNS + run) * LINEAR_ROWS * tiles + s.row) * STEP_BYTES +
	       part * 16;
	s.from = (const uint8_t *)a->x + (uint64_t)(k->first_row + s.row) * a->columns * 2 +
		 (run * k->each + s.step) * STEP_BYTES + part * 16;
	return s;
}

/* Copies the next stage. */
DEVICE void few_fill(const struct linear_args *a, const struct work *k, struct share *s,
		     const uint32_t tiles, uint8_t *stage)
{
	const uint8_t *from = s->from;
	uint8_t *to = stage + s->to;

	if (s->step < s->end)
		for (uint32_t row = s->row; row < k->rows; row += s->pass) {
			copy_async16(to, from, 16);
			from += (uint64_t)s->pass * a->columns * 2;
			to += s->pass * STEP_BYTES;
		}
	copy_commit();
	s->step += FEW_DEEP(tiles);
	s->from += FEW_DEEP(tiles) * STEP_BYTES;
}

/* Sums the warp's run into c.  While at least twice AHEAD steps are left nothing is asked. */
DEVICE void few_sum(const struct linear_args *a, const struct work *k, const struct band *b,
		    const uint32_t format, const uint32_t tiles, uint8_t *stages,
		    float (*c)[TILE_HALVES][4])
{
	const uint32_t deep = FEW_DEEP(tiles), ahead = FEW_AHEAD(format, tiles);
	const uint32_t run_bytes = LINEAR_ROWS * tiles * STEP_BYTES;
	const uint8_t *next = b->at + (uint64_t)k->first * b->step_bytes;
	const uint8_t *x = stages + k->run * run_bytes + k->lane * 16;
	uint64_t policy = once_policy();
	struct piece piece[FEW_AHEAD_MAX];
	struct share share = few_share(a, k, tiles);
	uint32_t slot = 0;

#pragma unroll
	for (uint32_t j = 0; j < ahead; j++)
		if (j < k->mine)
			piece_load(&piece[j], b, &next, format, policy);
	wait_for_previous();
	let_next_start();
	for (uint32_t i = 0; i + 1 < FEW_STAGES; i++)
		few_fill(a, k, &share, tiles, stages + i * FEW_STAGE_BYTES(tiles));
	for (uint32_t step = 0; step < k->each; step += ahead) {
		bool whole = step + 2 * ahead <= k->mine;

#pragma unroll
		for (uint32_t j = 0; j < ahead; j++) {
			const uint8_t *at = x + slot * FEW_STAGE_BYTES(tiles) +
					    j % deep * LINEAR_RUNS * run_bytes;

			if (j % deep == 0 && step + j < k->each) {
				uint32_t before = slot ? slot - 1 : FEW_STAGES - 1;

				copy_wait(FEW_STAGES - 2);
				__syncthreads();
				few_fill(a, k, &share, tiles,
					 stages + before * FEW_STAGE_BYTES(tiles));
			}
			if (whole || step + j < k->mine)
				multiply_tile(&piece[j], at, tiles, format, c);
			if (whole || step + j + ahead < k->mine)
				piece_load(&piece[j], b, &next, format, policy);
			if (j % deep == deep - 1)
				slot = slot + 1 < FEW_STAGES ? slot + 1 : 0;
		}
	}
}

/* Adds the runs up in order: sums (LINEAR_ROWS x tiles, w x 32 features + SUM_PAD). */
DEVICE void few_add_runs(const struct work *k, const uint32_t tiles, float (*c)[TILE_HALVES][4],
			 float *sums)
{
	uint32_t g = k->lane / 4, t = k->lane % 4;
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
	float c[LINEAR_TILES_MAX][TILE_HALVES][4] = { { { 0 } } };
	struct place p = few_place(a);
	struct band b = { NULL, 0, 0, 0 };
	struct work k;

	k.lane = lane_once();
	k.run = threadIdx.x / WARP % LINEAR_RUNS;
	k.each = LINEAR_RUN_STEPS(a->columns / CUDA_K_STEP);
	k.first = k.run * k.each;
	k.mine = p.part < LINEAR_PARTS ? steps_of_run(a, k.run) : 0;
	k.first_row = blockIdx.y * LINEAR_ROWS * tiles;
	k.rows = min(LINEAR_ROWS * tiles, a->rows - k.first_row);
	if (p.part < LINEAR_PARTS)
		b = band_open(a, &a->part[p.part], p.tile, k.lane, format);
	few_sum(a, &k, &b, format, tiles, shared, c);
	few_add_runs(&k, tiles, c, (float *)shared);
	if (a->end == LINEAR_OUT)
		few_store(a, &k, (const float *)shared, format);
	else
		few_store_operand(a, &k, (const float *)shared, format);
}

#define LINEAR_FEW(name, format, tiles)                                                           \
	static_assert(FEW_AHEAD(format, tiles) % FEW_DEEP(tiles) == 0 &&                          \
		      FEW_AHEAD(format, tiles) <= FEW_AHEAD_MAX, "whole stages ahead");           \
	LINEAR_KERNEL(name##_##tiles, WARP *LINEAR_RUNS *LINEAR_WARPS(format, tiles),             \
		      (tiles) == 1 ? 2 : 1)                                                       \
	(const struct linear_args a)                                                              \
	{                                                                                         \
		__shared__ __align__(16) uint8_t shared[FEW_STAGES * FEW_STAGE_BYTES(tiles)];     \
                                                                                                  \
		linear_few(&a, format, tiles, shared);                                            \
	}

#endif
