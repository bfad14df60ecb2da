/* attend_merge.cu - puts together, range by range, what attend_few left of queries that see
 * several.
 */
#include "compute/cuda/attend.cuh"

/* A warp per query, lanes over its dims. */
DEVICE void merge(const struct attend_args *a, const struct cuda_attend_item *item,
		  uint32_t kv_head, uint32_t q)
{
	uint64_t each = (uint64_t)item->count * a->kv.kv_heads;
	uint64_t first = item->vector + kv_head * item->count + q;

	for (uint32_t d = threadIdx.x % WARP; d < a->kv.dims; d += WARP) {
		float maximum = -INFINITY, sum = 0, v = 0, kept, taken;

		for (uint32_t range = 0; range < item->ranges; range++) {
			uint64_t vector = first + range * each;

			take_range(&maximum, &sum, a->range_maxima[vector],
				   a->range_sums[vector], &kept, &taken);
			v = with_range(v, kept, a->parts[vector * a->kv.dims + d], taken);
		}
		attend_store(a, item, kv_head, q, d, v / sum);
	}
}

extern "C" __global__ void __launch_bounds__(ATTEND_THREADS)
petals_attend_merge(const struct attend_args a)
{
	uint32_t count;

	wait_for_previous();
	let_next_start();
	count = a.sheet->merge * a.kv.kv_heads;
	for (uint32_t i = blockIdx.x; i < count; i += gridDim.x) {
		const struct cuda_attend_item *item = &a.merge[i / a.kv.kv_heads];

		for (uint32_t q = threadIdx.x / WARP; q < item->count; q += ATTEND_THREADS / WARP)
			merge(&a, item, i % a.kv.kv_heads, q);
	}
}
