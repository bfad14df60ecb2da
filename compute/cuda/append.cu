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

/* A pair is read and written by one thread. */
DEVICE void rotate_queries(const struct append_args *a)
{
	uint32_t half = a->rope_dims / 2;
	uint64_t width = (uint64_t)a->heads * a->kv.head_dim;

	for (uint32_t i = threadIdx.x; i < a->heads * half; i += blockDim.x) {
		float *head = a->q + blockIdx.x * width + (uint64_t)(i / half) * a->kv.head_dim;
		float low = rotated(a, head, i % half), high = rotated(a, head, i % half + half);

		head[i % half] = low;
		head[i % half + half] = high;
	}
}

KERNEL(append)(const struct append_args a)
{
	const struct cuda_row *row = &a.row[blockIdx.x];
	uint64_t at = (uint64_t)blockIdx.x * a.kv.kv_heads * a.kv.head_dim;

	rotate_queries(&a);
	for (uint32_t i = threadIdx.x; i < a.kv.kv_heads * a.kv.dims; i += blockDim.x) {
		uint32_t head = i / a.kv.dims, d = i % a.kv.dims;
		uint64_t from = at + (uint64_t)head * a.kv.head_dim;
		uint8_t *key = key_at(&a.kv, a.pages, row, head, row->position);
		bool there = d < a.kv.head_dim;

		operand_store(key, d, there ? rotated(&a, a.k + from, d) : 0.0f, a.kv.bf16);
		operand_store(key + a.kv.v_bytes, d, there ? a.v[from + d] : 0.0f, a.kv.bf16);
	}
}
