/* norm.cu - RMS and layer norms of rows.
 *
 * A row is read once, all of it at a time: what a thread holds of it stays in registers, and
 * only of wider ones than NORM_THREADS x NORM_HELD the rest is read again.
 */
#include "compute/cuda/common.cuh"

/* The numbers of a row that are this thread's: i = threadIdx.x + k * NORM_THREADS. */
struct held { float v[NORM_HELD]; };

DEVICE void hold(struct held *h, const float *x, uint32_t columns)
{
#pragma unroll
	for (uint32_t k = 0; k < NORM_HELD; k++) {
		uint32_t i = threadIdx.x + k * NORM_THREADS;

		h->v[k] = i < columns ? x[i] : 0.0f;
	}
}

DEVICE float mean_of(const struct held *h, const float *x, uint32_t columns, float *scratch)
{
	float sum = 0;

#pragma unroll
	for (uint32_t k = 0; k < NORM_HELD; k++)
		sum += h->v[k];
	for (uint32_t i = threadIdx.x + NORM_HELD * NORM_THREADS; i < columns; i += NORM_THREADS)
		sum += x[i];
	return block_sum(sum, scratch) / (float)columns;
}

DEVICE float squares_of(const struct held *h, const float *x, uint32_t columns, float mean,
			float *scratch)
{
	float squares = 0;

#pragma unroll
	for (uint32_t k = 0; k < NORM_HELD; k++)
		if (threadIdx.x + k * NORM_THREADS < columns)
			squares = fmaf(h->v[k] - mean, h->v[k] - mean, squares);
	for (uint32_t i = threadIdx.x + NORM_HELD * NORM_THREADS; i < columns; i += NORM_THREADS)
		squares = fmaf(x[i] - mean, x[i] - mean, squares);
	return block_sum(squares, scratch);
}

DEVICE void store(const struct norm_args *a, uint32_t i, float x, float mean, float scale)
{
	uint64_t r = blockIdx.x;
	float v = (x - mean) * scale * a->weight[i];

	if (a->bias)
		v += a->bias[i];
	if (a->out)
		a->out[r * a->columns + i] = v;
	if (a->operand)
		operand_store(a->operand, r * a->stride + i, v, a->bf16);
}

extern "C" __global__ void __launch_bounds__(NORM_THREADS) petals_norm(const struct norm_args a)
{
	__shared__ float scratch[WARP];
	const float *x = a.x + (uint64_t)blockIdx.x * a.columns;
	float mean = 0, scale;
	struct held h;

	wait_for_previous();
	let_next_start();
	hold(&h, x, a.columns);
	if (a.layer)
		mean = mean_of(&h, x, a.columns, scratch);
	scale = squares_of(&h, x, a.columns, mean, scratch);
	scale = 1.0f / sqrtf(scale / (float)a.columns + a.epsilon);
#pragma unroll
	for (uint32_t k = 0; k < NORM_HELD; k++)
		if (threadIdx.x + k * NORM_THREADS < a.columns)
			store(&a, threadIdx.x + k * NORM_THREADS, h.v[k], mean, scale);
	for (uint32_t i = threadIdx.x + NORM_HELD * NORM_THREADS; i < a.columns;
	     i += NORM_THREADS)
		store(&a, i, x[i], mean, scale);
	if (a.operand)
		operand_pad(a.operand, blockIdx.x, a.columns, a.stride, a.bf16);
}
