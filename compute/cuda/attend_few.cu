/* attend_few.cu - attention of a few queries of a sequence (a decode step's, say), range by
 * range: reading keys and values is what takes time.
 *
 * A thread block takes a tile of queries, a kv head and a range; its warps share the range's
 * keys for the scores and its dims for the values, which changes no order of summation.  Keys
 * of the whole range come first, then its values, through a ring of stages that is always
 * being filled.  Thread blocks go through the items in turns, so that any number of them will
 * do.
 *
 * Bytes: keys and values once; of each query and range, the result in f32, which attend_merge
 * reads again; where a tile has one range alone, the result is the operand.
 */
#include "compute/cuda/attend.cuh"

enum {
	STEPS = ATTEND_RANGE / ATTEND_STEP,
	WARPS = ATTEND_THREADS / WARP,
	TILES = KEY_TILES / WARPS,                      /* of keys, of a warp, each step */
	DIM_TILES = ATTEND_DIMS_MAX / 8 / WARPS,        /* of a warp */
};
static_assert(WARPS == 4 && TILES == 2, "warp w has tiles w and 4 + w");

struct few {
	struct keys keys;
	const struct cuda_attend_item *item;
	uint32_t base, steps, stages;   /* first key, steps of the range, slots of the ring */
	/* shared memory */
	float (*maxima)[WARPS][ATTEND_QUERIES];         /* (STEPS) */
	uint2 (*weights)[KEY_TILES][WARP];              /* (STEPS) queries g and g + 8 */
	uint8_t *queries, *ring;
};

DEVICE void fetch(const struct few *f, uint32_t s)
{
	uint8_t *slot = f->ring + s % f->stages * dim_steps(f->keys.a) * ATTEND_STAGE_BYTES;

	if (s < f->steps)
		fetch_keys(&f->keys, f->base + s * ATTEND_STEP, slot);
	else if (s < 2 * f->steps)
		fetch_values(&f->keys, f->base + (s - f->steps) * ATTEND_STEP, slot);
	copy_commit();
}

/* The slot of stage s, filled; the one that this frees is being filled. */
DEVICE const uint8_t *next(const struct few *f, uint32_t s)
{
	if (f->stages == ATTEND_STAGES_MAX)
		copy_wait(ATTEND_STAGES_MAX - 2);
	else
		copy_wait(0);
	__syncthreads();
	fetch(f, s + f->stages - 1);
	return f->ring + s % f->stages * dim_steps(f->keys.a) * ATTEND_STAGE_BYTES;
}

/* The warp's share of step s's scores, and its maxima. */
DEVICE void find_scores(const struct few *f, const struct query q[2], uint32_t s, float (*c)[4])
{
	const struct attend_args *a = f->keys.a;
	uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	float most[2] = { -INFINITY, -INFINITY };

	add_scores(f->queries, next(f, s), dim_steps(a), warp, WARPS, TILES, c);
	finish_scores(a, q, f->base + s * ATTEND_STEP, warp, WARPS, TILES, c);
#pragma unroll
	for (uint32_t i = 0; i < TILES; i++)
#pragma unroll
		for (uint32_t k = 0; k < 4; k++)
			most[k / 2] = fmaxf(most[k / 2], c[i][k]);
#pragma unroll
	for (uint32_t r = 0; r < 2; r++) {
		float m = query_max(most[r]);

		if (lane % 4 == 0)
			f->maxima[s][warp][lane / 4 + 8 * r] = m;
	}
}

/* Step s's weights from its scores, after those of the steps before it; what is left of their
 * sums.
 */
DEVICE void find_weights(const struct few *f, uint32_t s, const float (*c)[4], float shrink[2],
			 struct running *run)
{
	uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	float offset[2];

#pragma unroll
	for (uint32_t r = 0; r < 2; r++) {
		float m = f->maxima[s][0][lane / 4 + 8 * r];

		for (uint32_t w = 1; w < WARPS; w++)
			m = fmaxf(m, f->maxima[s][w][lane / 4 + 8 * r]);
		shrink[r] = raise(&run->maximum[r], m);
		offset[r] = offset_of(run->maximum[r]);
	}
#pragma unroll
	for (uint32_t i = 0; i < TILES; i++) {
		uint2 pair;

		pair.x = bf16_pair(exp2_near(c[i][0] - offset[0]),
				   exp2_near(c[i][1] - offset[0]));
		pair.y = bf16_pair(exp2_near(c[i][2] - offset[1]),
				   exp2_near(c[i][3] - offset[1]));
		f->weights[s][warp + i * WARPS][lane] = pair;
	}
}

/* Step s's values, of dim tiles warp, warp + WARPS, ... */
DEVICE void sum_values(const struct few *f, uint32_t s, const float shrink[2],
		       struct running *run, float (*o)[4])
{
	uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	uint32_t tiles = f->keys.a->kv.dims / 8;
	const uint8_t *stage = next(f, f->steps + s);

#pragma unroll
	for (uint32_t k = 0; k < 4; k++) {
		run->sum[k] *= shrink[k / 2];
#pragma unroll
		for (uint32_t n = 0; n < DIM_TILES; n++)
			o[n][k] *= shrink[k / 2];
	}
#pragma unroll
	for (uint32_t h = 0; h < HALVES; h++) {
		uint32_t w[2][4];

#pragma unroll
		for (uint32_t i = 0; i < 4; i++) {
			uint2 pair = f->weights[s][h * 4 + i][lane];

			w[i / 2][i % 2 * 2] = pair.x;
			w[i / 2][i % 2 * 2 + 1] = pair.y;
		}
		add_weights(w[0], run->sum);
		add_weights(w[1], run->sum);
#pragma unroll
		for (uint32_t n = 0; n < DIM_TILES; n++)
			if (warp + n * WARPS < tiles)
				add_values(stage, tiles, h, warp + n * WARPS, w, o[n]);
	}
}

/* The result of query g + 8r, or what attend_merge makes it of. */
DEVICE void leave(const struct few *f, const uint32_t r, float range_maximum, float range_sum,
		  const float (*o)[4])
{
	const struct attend_args *a = f->keys.a;
	uint32_t warp = threadIdx.x / WARP, t = threadIdx.x % 4;
	uint32_t q = threadIdx.x % WARP / 4 + 8 * r;
	uint64_t vector = f->item->vector + f->keys.kv_head * f->item->count + q;
	float maximum = -INFINITY, sum = 0, kept, taken;
	bool several = f->item->ranges > 1;

	if (q >= f->item->count)
		return;
	take_range(&maximum, &sum, range_maximum, range_sum, &kept, &taken);
	if (several && warp == 0 && t == 0) {
		a->range_maxima[vector] = range_maximum;
		a->range_sums[vector] = range_sum;
	}
#pragma unroll
	for (uint32_t i = 0; i < DIM_TILES * 2; i++) {
		uint32_t dim = (warp + i / 2 * WARPS) * 8 + 2 * t + i % 2;
		float v = o[i / 2][2 * r + i % 2];

		if (several && dim < a->kv.dims)
			a->parts[vector * a->kv.dims + dim] = v;
		if (!several)
			attend_store(a, f->item, f->keys.kv_head, q, dim,
				     with_range(0, kept, v, taken) / sum);
	}
}

DEVICE void attend(const struct few *f)
{
	const struct attend_args *a = f->keys.a;
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	struct running run = { { -INFINITY, -INFINITY }, { 0 } };
	float c[STEPS][TILES][4] = { { { 0 } } }, o[DIM_TILES][4] = { { 0 } };
	float shrink[STEPS][2] = { { 0 } };
	struct query q[2];

	for (uint32_t r = 0; r < 2; r++)
		q[r] = query_of(a, f->item, f->keys.kv_head, lane / 4 + 8 * r, f->item->count);
	fetch_queries(a, f->item, f->keys.kv_head, 0, f->item->count, f->queries, warp, WARPS);
	for (uint32_t s = 0; s + 1 < f->stages; s++)
		fetch(f, s);
	/* Unrolled, so that scores stay in registers. */
#pragma unroll
	for (uint32_t s = 0; s < STEPS; s++)
		if (s < f->steps)
			find_scores(f, q, s, c[s]);
	__syncthreads();
#pragma unroll
	for (uint32_t s = 0; s < STEPS; s++)
		if (s < f->steps)
			find_weights(f, s, c[s], shrink[s], &run);
#pragma unroll
	for (uint32_t s = 0; s < STEPS; s++)
		if (s < f->steps)
			sum_values(f, s, shrink[s], &run, o);
	leave(f, 0, run.maximum[0], run.sum[0], o);
	leave(f, 1, run.maximum[1], run.sum[2], o);
}

extern "C" __global__ void __launch_bounds__(ATTEND_THREADS)
petals_attend_few(const struct attend_args a)
{
	uint8_t *shared = shared_memory();
	uint32_t count;
	struct few f;

	wait_for_previous();
	let_next_start();
	count = a.sheet->few * a.kv.kv_heads;
	f.keys.a = &a;
	f.stages = a.stages;
	f.weights = (uint2 (*)[KEY_TILES][WARP])shared;
	f.maxima = (float (*)[WARPS][ATTEND_QUERIES])(f.weights + STEPS);
	f.queries = (uint8_t *)(f.maxima + STEPS);
	f.ring = f.queries + dim_steps(&a) * 2 * FRAGMENT;
	for (uint32_t i = blockIdx.x; i < count; i += gridDim.x) {
		uint32_t last;

		f.item = &a.few[i / a.kv.kv_heads];
		f.keys.kv_head = i % a.kv.kv_heads;
		f.keys.row = &a.row[f.item->row];
		last = (f.item->query + f.item->count - 1) / (a.heads / a.kv.kv_heads);
		f.keys.end = f.keys.row->position + last + 1;
		f.base = f.item->range * ATTEND_RANGE;
		f.steps = (min(f.keys.end - f.base, (uint32_t)ATTEND_RANGE) + ATTEND_STEP - 1) /
			  ATTEND_STEP;
		attend(&f);
		__syncthreads();
	}
}
