/* attend_many.cu - attention of many queries of a sequence (a prompt's): each warp of a thread
 * block has a tile of queries and goes through all of its keys; keys and values are fetched
 * once for all warps, one while the other is multiplied.
 *
 * Per step of keys and warp: 2 x dims / 8 x 8 mma, and shared memory is read once.
 */
#include "compute/cuda/attend.cuh"

enum { WARPS = ATTEND_THREADS / WARP };

struct many {
	struct keys keys;
	const struct cuda_attend_item *item;
	uint32_t query, count;          /* of the warp: from the item's on */
	uint32_t dim_tiles;
	/* shared memory */
	uint8_t *queries;               /* the warp's */
	uint8_t *key_stage, *value_stage;
	float4 (*total)[WARP];          /* (dim tiles) the warp's */
};

/* Scores become weights: operands of two mma for each half. */
DEVICE void find_weights(const struct many *m, const struct query q[2], uint32_t base,
			 float (*c)[4], float shrink[2], struct running *run,
			 uint32_t (*weights)[4])
{
	float most[2] = { -INFINITY, -INFINITY }, offset[2];

	finish_scores(m->keys.a, q, base, 0, 1, KEY_TILES, c);
#pragma unroll
	for (uint32_t i = 0; i < KEY_TILES; i++)
#pragma unroll
		for (uint32_t k = 0; k < 4; k++)
			most[k / 2] = fmaxf(most[k / 2], c[i][k]);
#pragma unroll
	for (uint32_t r = 0; r < 2; r++) {
		shrink[r] = raise(&run->maximum[r], query_max(most[r]));
		offset[r] = offset_of(run->maximum[r]);
	}
#pragma unroll
	for (uint32_t i = 0; i < KEY_TILES; i++)
#pragma unroll
		for (uint32_t r = 0; r < 2; r++)
			weights[i / 2][i % 2 * 2 + r] =
				bf16_pair(exp2_near(c[i][2 * r] - offset[r]),
					  exp2_near(c[i][2 * r + 1] - offset[r]));
}

DEVICE void sum_values(const struct many *m, const float shrink[2], uint32_t (*weights)[4],
		       struct running *run, const uint32_t dim_tiles_max, float (*o)[4])
{
#pragma unroll
	for (uint32_t k = 0; k < 4; k++) {
		run->sum[k] *= shrink[k / 2];
#pragma unroll
		for (uint32_t n = 0; n < dim_tiles_max; n++)
			o[n][k] *= shrink[k / 2];
	}
#pragma unroll
	for (uint32_t h = 0; h < HALVES; h++) {
		add_weights(weights[2 * h], run->sum);
		add_weights(weights[2 * h + 1], run->sum);
#pragma unroll
		for (uint32_t n = 0; n < dim_tiles_max; n++)
			if (n < m->dim_tiles)
				add_values(m->value_stage, m->dim_tiles, h, n, weights + 2 * h,
					   o[n]);
	}
}

/* The range joins the total; a new one begins. */
DEVICE void end_range(const struct many *m, struct running *run, struct total *all,
		      const uint32_t dim_tiles_max, float (*o)[4])
{
	uint32_t lane = threadIdx.x % WARP;
	float kept[2], taken[2];

	for (uint32_t r = 0; r < 2; r++) {
		take_range(&all->maximum[r], &all->sum[r], run->maximum[r], run->sum[2 * r],
			   &kept[r], &taken[r]);
		run->maximum[r] = -INFINITY;
	}
	for (uint32_t k = 0; k < 4; k++)
		run->sum[k] = 0;
#pragma unroll
	for (uint32_t n = 0; n < dim_tiles_max; n++)
		if (n < m->dim_tiles) {
			float4 v = m->total[n][lane];

			v.x = with_range(v.x, kept[0], o[n][0], taken[0]);
			v.y = with_range(v.y, kept[0], o[n][1], taken[0]);
			v.z = with_range(v.z, kept[1], o[n][2], taken[1]);
			v.w = with_range(v.w, kept[1], o[n][3], taken[1]);
			m->total[n][lane] = v;
			for (uint32_t k = 0; k < 4; k++)
				o[n][k] = 0;
		}
}

DEVICE void leave(const struct many *m, const struct total *all)
{
	const struct attend_args *a = m->keys.a;
	uint32_t lane = threadIdx.x % WARP, g = lane / 4;

	for (uint32_t n = 0; n < m->dim_tiles; n++) {
		float4 v = m->total[n][lane];
		uint32_t dim = 8 * n + lane % 4 * 2;

		if (g < m->count) {
			attend_store(a, m->item, m->keys.kv_head, m->query + g, dim,
				     v.x / all->sum[0]);
			attend_store(a, m->item, m->keys.kv_head, m->query + g, dim + 1,
				     v.y / all->sum[0]);
		}
		if (g + 8 < m->count) {
			attend_store(a, m->item, m->keys.kv_head, m->query + g + 8, dim,
				     v.z / all->sum[1]);
			attend_store(a, m->item, m->keys.kv_head, m->query + g + 8, dim + 1,
				     v.w / all->sum[1]);
		}
	}
}

DEVICE void attend(const struct many *m, const uint32_t dim_tiles_max)
{
	const struct attend_args *a = m->keys.a;
	uint32_t g = threadIdx.x % WARP / 4, position = m->keys.row->position, first, mine, base;
	struct running run = { { -INFINITY, -INFINITY }, { 0 } };
	struct total all = { { -INFINITY, -INFINITY }, { 0, 0 } };
	float o[ATTEND_DIMS_MAX / 8][4] = { { 0 } };
	struct query q[2];

	for (uint32_t r = 0; r < 2; r++)
		q[r] = query_of(a, m->item, m->keys.kv_head, m->query + g + 8 * r,
				m->query + m->count);
	/* Keys that some query of the thread block sees, and where the warp's end. */
	first = position + m->item->query / (a->heads / a->kv.kv_heads) + 1;
	first = a->window && first > a->window ? first - a->window : 0;
	mine = m->count ? position + (m->item->query + m->query + m->count - 1) /
				     (a->heads / a->kv.kv_heads) + 1 : 0;
	for (uint32_t n = 0; n < m->dim_tiles; n++)
		m->total[n][threadIdx.x % WARP] = make_float4(0, 0, 0, 0);
	base = first / ATTEND_STEP * ATTEND_STEP;
	fetch_queries(a, m->item, m->keys.kv_head, m->query, m->count, m->queries, 0, 1);
	fetch_keys(&m->keys, base, m->key_stage);
	copy_commit();
	for (; base < m->keys.end; base += ATTEND_STEP) {
		float c[KEY_TILES][4] = { { 0 } }, shrink[2];
		uint32_t weights[KEY_TILES / 2][4];

		copy_wait(0);
		__syncthreads();
		fetch_values(&m->keys, base, m->value_stage);
		copy_commit();
		if (base < mine)
			add_scores(m->queries, m->key_stage, dim_steps(a), 0, 1, KEY_TILES, c);
		copy_wait(0);
		__syncthreads();
		if (base + ATTEND_STEP < m->keys.end)
			fetch_keys(&m->keys, base + ATTEND_STEP, m->key_stage);
		copy_commit();
		if (base < mine) {
			find_weights(m, q, base, c, shrink, &run, weights);
			sum_values(m, shrink, weights, &run, dim_tiles_max, o);
		}
		if ((base + ATTEND_STEP) % ATTEND_RANGE == 0 ||
		    base + ATTEND_STEP >= m->keys.end)
			end_range(m, &run, &all, dim_tiles_max, o);
	}
	leave(m, &all);
}

DEVICE void attend_many(const struct attend_args *a, const uint32_t dim_tiles_max)
{
	uint32_t warp = threadIdx.x / WARP, group = a->heads / a->kv.kv_heads;
	uint32_t steps = dim_steps(a), item = blockIdx.x / a->kv.kv_heads, last;
	uint8_t *shared = shared_memory();
	struct many m;

	wait_for_previous();
	let_next_start();
	if (item >= a->sheet->many)
		return;
	m.item = &a->many[item];
	m.keys.a = a;
	m.keys.row = &a->row[m.item->row];
	m.keys.kv_head = blockIdx.x % a->kv.kv_heads;
	last = (m.item->query + m.item->count - 1) / group;
	m.keys.end = m.keys.row->position + last + 1;
	m.query = warp * ATTEND_QUERIES;
	m.count = m.item->count > m.query ?
		  min(m.item->count - m.query, (uint32_t)ATTEND_QUERIES) : 0;
	m.dim_tiles = a->kv.dims / 8;
	m.key_stage = shared;
	m.value_stage = m.key_stage + steps * ATTEND_STAGE_BYTES;
	m.queries = m.value_stage + steps * ATTEND_STAGE_BYTES + warp * steps * 2 * FRAGMENT;
	m.total = (float4 (*)[WARP])(m.value_stage + steps * ATTEND_STAGE_BYTES +
				     WARPS * steps * 2 * FRAGMENT) + warp * m.dim_tiles;
	attend(&m, dim_tiles_max);
}

#define ATTEND_MANY(dims)                                                          \
	extern "C" __global__ void __launch_bounds__(ATTEND_THREADS)               \
	petals_attend_many_##dims(const struct attend_args a)                      \
	{                                                                          \
		attend_many(&a, dims / 8);                                         \
	}
ATTEND_MANY(64)
ATTEND_MANY(128)
ATTEND_MANY(256)
