/* attend.cuh - attention by matrix products: the parts of attend_few.cu, attend_many.cu and
 * attend_merge.cu, which follow one sequence of operations (attention.h).
 *
 * A tile is ATTEND_QUERIES queries that share a kv head, on the wide side of the mma, against
 * a step of ATTEND_STEP keys.  Keys and values come into shared memory in the order in which
 * lanes want them: fragments of 512 bytes, 16 of each lane, so that nobody waits for banks.
 * With g = lane / 4 and t = lane % 4,
 *   queries  fragment (j, high)     query g + 8 high, dims 32 j + 8 t..+7
 *   keys     fragment (tile i, j)   key 32 (i / 4) + 8 (g / 2) + 2 (i % 4) + g % 2, same dims
 *   values   fragment (half h, n)   dim 8 n + g of keys 32 h + 8 t..+7
 * A piece of 16 bytes feeds two mma.  Keys are dealt out such that the scores which lane t gets
 * from tiles 4h..4h + 3 are those of keys 32 h + 8 t..+7: rounded, they are the operand that
 * meets the values' piece.
 */
#ifndef PETALS_COMPUTE_CUDA_ATTEND_CUH
#define PETALS_COMPUTE_CUDA_ATTEND_CUH

#include "compute/cuda/common.cuh"

enum { FRAGMENT = 512, HALVES = 2, KEY_TILES = ATTEND_STEP / 8, GROUP_TOKENS = 16 };
#define LOG2_E 1.4426950408889634f
#define BF16_ONES 0x3f803f80u

/* The keys of one sequence and kv head. */
struct keys {
	const struct attend_args *a;
	const struct cuda_row *row;     /* the sequence's first in the batch */
	uint32_t kv_head, end;          /* keys there are: those behind may be anything */
};

/* What a lane has of the queries g and g + 8. */
struct query {
	uint32_t first, end;            /* keys it sees; all when the tile has no such query */
	float slope;
};

/* Of a range: maximum so far, sum of weights (as an mma leaves it: in [0] and [2]). */
struct running { float maximum[2], sum[4]; };

/* Of the ranges so far. */
struct total { float maximum[2], sum[2]; };

DEVICE uint32_t dim_steps(const struct attend_args *a)
{
	return (a->kv.dims + 31) / 32;
}

DEVICE struct query query_of(const struct attend_args *a, const struct cuda_attend_item *item,
			     uint32_t kv_head, uint32_t q, uint32_t count)
{
	uint32_t group = a->heads / a->kv.kv_heads, f = item->query + q;
	struct query v = { 0, 0xffffffff, 0 };

	if (q >= count)
		return v;
	v.end = a->row[item->row].position + f / group + 1;
	v.first = a->window && v.end > a->window ? v.end - a->window : 0;
	if (a->slopes)
		v.slope = a->slopes[kv_head * group + f % group] * LOG2_E;
	return v;
}

/* ---- into shared memory ---- */

/* queries is (dim steps, 2) fragments. */
DEVICE void fetch_queries(const struct attend_args *a, const struct cuda_attend_item *item,
			  uint32_t kv_head, uint32_t first, uint32_t count, uint8_t *queries,
			  uint32_t warp, uint32_t warps)
{
	uint32_t group = a->heads / a->kv.kv_heads, steps = dim_steps(a);
	uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;

	for (uint32_t f = warp; f < 2 * steps; f += warps) {
		uint32_t q = g + f % 2 * 8, n = item->query + first + q;
		uint64_t at = (uint64_t)(item->row + n / group) * a->heads + kv_head * group +
			      n % group;
		bool there = q < count;

		copy_async16(queries + f * FRAGMENT + lane * 16,
			     there ? a->q_bf16 + (at * steps + f / 2) * 32 + 8 * t : a->q_bf16,
			     there ? 16 : 0);
	}
}

/* The 16 keys from `key` on, which lie together; `v_bytes` behind, their values. */
DEVICE uint64_t group_at(const struct keys *k, uint32_t key)
{
	if (key >= k->end)
		return 0;
	return (uint64_t)key_at(&k->a->kv, k->a->pages, k->row, k->kv_head, key);
}

/* Keys base..base + ATTEND_STEP - 1 as (KEY_TILES, dim steps) fragments; zeros past the end. */
DEVICE void fetch_keys(const struct keys *k, uint32_t base, uint8_t *stage)
{
	const struct cuda_kv *kv = &k->a->kv;
	uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, steps = dim_steps(k->a);
	uint64_t mine = group_at(k, base + lane % 4 * GROUP_TOKENS);

	for (uint32_t h = 0; h < HALVES; h++) {
		const uint8_t *group = (const uint8_t *)__shfl_sync(ALL_LANES, mine,
								    h * 2 + lane / 16);

		for (uint32_t f = threadIdx.x / WARP; f < 4 * steps; f += blockDim.x / WARP) {
			uint32_t i = f % 4, j = f / 4, dim = j * 32 + 8 * t;
			uint32_t key = 8 * (g / 2) + 2 * i + g % 2;
			bool there = base + h * 32 + key < k->end && dim < kv->dims;
			const uint8_t *from = group + (key % GROUP_TOKENS * kv->dims + dim) * 2;

			copy_async16(stage + ((h * 4 + i) * steps + j) * FRAGMENT + lane * 16,
				     there ? from : kv->pages, there ? 16 : 0);
		}
	}
}

/* Their values as (HALVES, dims / 8) fragments; zeros past the end. */
DEVICE void fetch_values(const struct keys *k, uint32_t base, uint8_t *stage)
{
	const struct cuda_kv *kv = &k->a->kv;
	uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, tiles = kv->dims / 8;
	uint64_t mine = group_at(k, base + lane % 4 * GROUP_TOKENS);

	for (uint32_t h = 0; h < HALVES; h++) {
		const uint8_t *group = (const uint8_t *)__shfl_sync(ALL_LANES, mine,
								    h * 2 + t / 2);
		uint32_t key = base + h * 32 + 8 * t;
		uint32_t bytes = key < k->end ? min(8u, k->end - key) * 2 : 0;

		for (uint32_t n = threadIdx.x / WARP; n < tiles; n += blockDim.x / WARP) {
			const uint8_t *from = group + kv->v_bytes +
					      (t % 2 * 8 * kv->dims + (8 * n + g) * 8) * 2;

			copy_async16(stage + (h * tiles + n) * FRAGMENT + lane * 16,
				     bytes ? from : kv->pages, bytes);
		}
	}
}

/* ---- products ---- */

DEVICE uint4 fragment(const uint8_t *fragments, uint32_t i)
{
	return ((const uint4 *)(fragments + i * FRAGMENT))[threadIdx.x % WARP];
}

/* c[i] += the tile's queries times key tile first + i * stride. */
DEVICE void add_scores(const uint8_t *queries, const uint8_t *stage, uint32_t steps,
		       uint32_t first, uint32_t stride, const uint32_t tiles, float (*c)[4])
{
	for (uint32_t j = 0; j < steps; j++) {
		uint4 low = fragment(queries, 2 * j), high = fragment(queries, 2 * j + 1);
		const uint32_t q[4] = { low.x, high.x, low.y, high.y };
		const uint32_t r[4] = { low.z, high.z, low.w, high.w };

#pragma unroll
		for (uint32_t i = 0; i < tiles; i++) {
			uint4 key = fragment(stage, (first + i * stride) * steps + j);
			const uint32_t k[2] = { key.x, key.y }, l[2] = { key.z, key.w };

			mma_bf16(c[i], q, k);
			mma_bf16(c[i], r, l);
		}
	}
}

/* The key in column c % 2 of a lane's score c of tile i. */
DEVICE uint32_t key_of(uint32_t i, uint32_t c)
{
	return i / 4 * 32 + threadIdx.x % 4 * 8 + i % 4 * 2 + c % 2;
}

/* Products of the step at `base` become scores, in powers of two; -infinity where a query does
 * not see a key.  Most steps are seen as a whole.
 */
DEVICE void finish_scores(const struct attend_args *a, const struct query q[2], uint32_t base,
			  uint32_t first, uint32_t stride, const uint32_t tiles, float (*c)[4])
{
	uint32_t end = base + ATTEND_STEP;
	bool whole = q[0].first <= base && end <= q[0].end && q[1].first <= base && end <= q[1].end;
	float scale = a->scale * LOG2_E;

#pragma unroll
	for (uint32_t i = 0; i < tiles; i++)
#pragma unroll
		for (uint32_t k = 0; k < 4; k++)
			c[i][k] *= scale;
	if (a->slopes)
#pragma unroll
		for (uint32_t i = 0; i < tiles; i++)
#pragma unroll
			for (uint32_t k = 0; k < 4; k++) {
				float key = (float)(base + key_of(first + i * stride, k));

				c[i][k] = fmaf(key - (float)(q[k / 2].end - 1), q[k / 2].slope,
					       c[i][k]);
			}
	if (__all_sync(ALL_LANES, whole))
		return;
#pragma unroll
	for (uint32_t i = 0; i < tiles; i++)
#pragma unroll
		for (uint32_t k = 0; k < 4; k++) {
			uint32_t key = base + key_of(first + i * stride, k);

			if (key < q[k / 2].first || key >= q[k / 2].end)
				c[i][k] = -INFINITY;
		}
}

/* Of the four lanes that share a query. */
DEVICE float query_max(float v)
{
	v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, 1));
	return fmaxf(v, __shfl_xor_sync(ALL_LANES, v, 2));
}

/* What to subtract from scores when `maximum` is their largest: a number. */
DEVICE float offset_of(float maximum)
{
	return maximum == -INFINITY ? 0.0f : maximum;
}

/* Takes a step's maximum in; what was summed before shrinks by the result. */
DEVICE float raise(float *maximum, float of_step)
{
	float before = *maximum;

	*maximum = fmaxf(before, of_step);
	return exp2_near(before - offset_of(*maximum));
}

/* The rows' sums of weights, by the same products as everything else. */
DEVICE void add_weights(const uint32_t weights[4], float sum[4])
{
	const uint32_t ones[2] = { BF16_ONES, BF16_ONES };

	mma_bf16(sum, weights, ones);
}

/* o += half h's weights, two operands, times its values of dims 8n..8n + 7. */
DEVICE void add_values(const uint8_t *stage, uint32_t tiles, uint32_t h, uint32_t n,
		       const uint32_t (*weights)[4], float o[4])
{
	uint4 value = fragment(stage, h * tiles + n);
	const uint32_t v[2] = { value.x, value.y }, w[2] = { value.z, value.w };

	mma_bf16(o, weights[0], v);
	mma_bf16(o, weights[1], w);
}

/* ---- ranges ---- */

/* Takes a range's maximum and sum in: the total so far shrinks by *kept, the range by *taken. */
DEVICE void take_range(float *maximum, float *sum, float range_maximum, float range_sum,
		       float *kept, float *taken)
{
	float before = *maximum, offset;

	*maximum = fmaxf(before, range_maximum);
	offset = offset_of(*maximum);
	*kept = exp2_near(before - offset);
	*taken = exp2_near(range_maximum - offset);
	*sum = fmaf(range_sum, *taken, *sum * *kept);
}

DEVICE float with_range(float total, float kept, float range, float taken)
{
	return fmaf(range, taken, total * kept);
}

/* Where query n of a batch's row and kv head leaves its result. */
DEVICE void attend_store(const struct attend_args *a, const struct cuda_attend_item *item,
			 uint32_t kv_head, uint32_t q, uint32_t dim, float value)
{
	uint32_t group = a->heads / a->kv.kv_heads, n = item->query + q;
	uint64_t at = (uint64_t)(item->row + n / group) * a->stride +
		      (uint64_t)(kv_head * group + n % group) * a->kv.head_dim;

	if (dim < a->kv.head_dim)
		operand_store(a->out, at + dim, value, a->operand_bf16);
}

#endif
