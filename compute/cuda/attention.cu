/* attention.cu - attention of single query rows over paged keys and values: f32, and heads
 * that attend_few.cu and attend_many.cu do not take.
 *
 * A thread block takes one row and head: a key per thread for the scores, then dimensions
 * per thread for the values.  The running maximum moves once a step of ATTENTION_KEYS.
 */
#include "compute/cuda/common.cuh"

struct running { float maximum, sum, out[ATTENTION_DIMS]; };

/* The score of the key at `position` for the query at row->position. */
DEVICE float score(const struct attend_args *a, const struct cuda_row *row, const float *q,
		   uint32_t head, uint32_t position)
{
	uint32_t group = a->heads / a->kv.kv_heads;
	const uint8_t *key = key_at(&a->kv, a->pages, row, head / group, position);
	float dot = 0, away = (float)position - (float)row->position;

	for (uint32_t d = 0; d < a->kv.head_dim; d++)
		dot = fmaf(q[d], kv_value(key, d, a->kv.bf16), dot);
	dot *= a->scale;
	return a->slopes ? fmaf(away, a->slopes[head], dot) : dot;
}

/* Adds the values of the keys [first, end) of the step at `base`, weighted. */
DEVICE void add_values(const struct attend_args *a, const struct cuda_row *row, uint32_t head,
		       uint32_t base, uint32_t first, uint32_t end, const float *weights,
		       struct running *s)
{
	uint32_t group = a->heads / a->kv.kv_heads;

	for (uint32_t key = first; key < end; key++) {
		const uint8_t *value = value_at(&a->kv, a->pages, row, head / group, key);
		float weight = weights[key - base];

		for (uint32_t i = 0, d = threadIdx.x; d < a->kv.head_dim; i++, d += blockDim.x)
			s->out[i] = fmaf(weight, kv_value(value, 8 * d, a->kv.bf16), s->out[i]);
	}
}

/* One step of keys. */
DEVICE void attend(const struct attend_args *a, const struct cuda_row *row, const float *q,
		   uint32_t base, uint32_t first, float *weights, float *scratch,
		   struct running *s)
{
	uint32_t head = blockIdx.x, key = base + threadIdx.x;
	uint32_t end = min(base + ATTENTION_KEYS, row->position + 1);
	bool seen = key >= first && key < end;
	float mine = seen ? score(a, row, q, head, key) : -INFINITY;
	float maximum = fmaxf(s->maximum, block_max(mine, scratch));
	float less = expf(s->maximum - maximum), weight = seen ? expf(mine - maximum) : 0.0f;

	s->sum = s->sum * less + block_sum(weight, scratch);
	s->maximum = maximum;
	for (uint32_t i = 0; i < ATTENTION_DIMS; i++)
		s->out[i] *= less;
	weights[threadIdx.x] = weight;
	__syncthreads();
	add_values(a, row, head, base, max(first, base), end, weights, s);
}

KERNEL(attention)(const struct attend_args a)
{
	__shared__ float weights[ATTENTION_KEYS], scratch[WARP];
	const struct cuda_row *row = &a.row[blockIdx.y];
	uint32_t width = a.heads * a.kv.head_dim, head = blockIdx.x, end, first;
	const float *q = a.q + (uint64_t)blockIdx.y * width + head * a.kv.head_dim;
	struct running s = { -INFINITY, 0, { 0 } };
	uint64_t at = (uint64_t)blockIdx.y * a.stride;

	wait_for_previous();
	let_next_start();
	if (!row->in)
		return;
	end = row->position + 1;
	first = a.window && end > a.window ? end - a.window : 0;
	for (uint32_t base = first / ATTENTION_KEYS * ATTENTION_KEYS; base < end;
	     base += ATTENTION_KEYS)
		attend(&a, row, q, base, first, weights, scratch, &s);
	for (uint32_t i = 0, d = threadIdx.x; d < a.kv.head_dim; i++, d += blockDim.x)
		operand_store(a.out, at + head * a.kv.head_dim + d, s.out[i] / s.sum,
			      a.operand_bf16);
}
