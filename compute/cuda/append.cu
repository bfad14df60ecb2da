/* append.cu - rotates queries and keys, and writes keys and values into their pages. */
#include "compute/cuda/common.cuh"

/* The rotated number i of a head. */
DEVICE float rotated(const struct append_args *a, const float *head, uint32_t i)
{
	uint32_t half = a->rope_dims / 2, pair = i < half ? i : i - half;
	uint64_t at = (uint64_t)blockIdx.x * half + pair;

	if (i >= a->rope_dims)
		return head[i];
	if (i < half)
		return fmaf(head[i], a->cosines[at], -(head[i + half] * a->sines[at]));
	return fmaf(head[i], a->cosines[at], head[pair] * a->sines[at]);
}

/* The queries that share a kv head, in place; a pair is read and written by one thread. */
DEVICE void rotate_queries(const struct append_args *a, uint32_t first, uint32_t heads)
{
	uint32_t half = a->rope_dims / 2;
	float *q = a->q + ((uint64_t)blockIdx.x * a->heads + first) * a->kv.head_dim;

	for (uint32_t i = threadIdx.x; i < heads * half; i += blockDim.x) {
		float *head = q + i / half * a->kv.head_dim;
		float low = rotated(a, head, i % half), high = rotated(a, head, i % half + half);

		head[i % half] = low;
		head[i % half + half] = high;
	}
}

/* The same as bf16. */
DEVICE void convert_queries(const struct append_args *a, uint32_t first, uint32_t heads)
{
	uint32_t dims = (a->kv.head_dim + 31) / 32 * 32;
	uint64_t at = (uint64_t)blockIdx.x * a->heads + first;
	const float *q = a->q + at * a->kv.head_dim;

	for (uint32_t i = threadIdx.x; i < heads * dims; i += blockDim.x) {
		const float *head = q + i / dims * a->kv.head_dim;
		float v = i % dims < a->kv.head_dim ? rotated(a, head, i % dims) : 0.0f;

		a->q_bf16[at * dims + i] = bf16_bits(v);
	}
}

KERNEL(append)(const struct append_args a)
{
	const struct cuda_row *row = &a.row[blockIdx.x];
	uint32_t kv_head = blockIdx.y, group = a.heads / a.kv.kv_heads;
	uint64_t from = ((uint64_t)blockIdx.x * a.kv.kv_heads + kv_head) * a.kv.head_dim;
	uint8_t *key, *value;

	wait_for_previous();
	let_next_start();
	if (!row->in)
		return;
	key = key_at(&a.kv, a.pages, row, kv_head, row->position);
	value = value_at(&a.kv, a.pages, row, kv_head, row->position);
	if (a.q_bf16)
		convert_queries(&a, kv_head * group, group);
	else
		rotate_queries(&a, kv_head * group, group);
	for (uint32_t d = threadIdx.x; d < a.kv.dims; d += blockDim.x) {
		bool there = d < a.kv.head_dim;

		operand_store(key, d, there ? rotated(&a, a.k + from, d) : 0.0f, a.kv.bf16);
		operand_store(value, 8 * d, there ? a.v[from + d] : 0.0f, a.kv.bf16);
	}
	operand_pad(a.out, blockIdx.x, a.heads * a.kv.head_dim, a.stride, a.operand_bf16);
}
