/* best.cu - what greedy sampling needs of a row of logits, as sampler_math.h computes it, bit for
 * bit: the largest, and the sum of exponentials by sixteen lanes and one tree.
 *
 * A thread block takes a row.  The sum is sixteen chains of additions: a warp adds while the
 * others find the exponentials of the next piece.
 */
#include "compute/cuda/common.cuh"

enum {
	LANES = 16,                     /* of the sum */
	PIECE = 4 * BEST_THREADS,       /* exponentials found at a time */
};

struct candidate { float logit; uint32_t token; };

/* The larger, the lower id among equals. */
DEVICE struct candidate better(struct candidate a, struct candidate b)
{
	bool take = b.logit > a.logit || (b.logit == a.logit && b.token < a.token);

	return take ? b : a;
}

DEVICE struct candidate best_of_warp(struct candidate c)
{
	for (int i = WARP / 2; i > 0; i /= 2) {
		struct candidate other;

		other.logit = __shfl_xor_sync(ALL_LANES, c.logit, i);
		other.token = __shfl_xor_sync(ALL_LANES, c.token, i);
		c = better(c, other);
	}
	return c;
}

/* Every thread has the result; what is not a number is nobody. */
DEVICE struct candidate best_of(const float *logits, uint32_t count, struct candidate *scratch)
{
	struct candidate c = { -INFINITY, 0xffffffff };

	for (uint32_t i = threadIdx.x; i < count; i += BEST_THREADS)
		if (logits[i] > c.logit || (logits[i] == c.logit && i < c.token)) {
			c.logit = logits[i];
			c.token = i;
		}
	c = best_of_warp(c);
	if (threadIdx.x % WARP == 0)
		scratch[threadIdx.x / WARP] = c;
	__syncthreads();
	for (uint32_t w = 0; w < BEST_THREADS / WARP; w++)
		c = better(c, scratch[w]);
	return c;
}

/* exp(x) for x <= 0, step by step as sampler_math.c's. */
DEVICE float exponential(float x)
{
	const float log2_e = 1.44269504f, round = 12582912.0f;       /* 1.5 x 2^23 */
	float n, r, p;

	if (!(x >= -87.0f))
		return 0.0f;
	n = x * log2_e + round - round;
	r = x - n * 0.693359375f - n * -2.12194440e-4f;
	p = r * (1.0f / 720) + 1.0f / 120;
	p = p * r + 1.0f / 24;
	p = p * r + 1.0f / 6;
	p = p * r + 0.5f;
	p = p * r + 1.0f;
	p = p * r + 1.0f;
	return p * __uint_as_float((uint32_t)((int32_t)n + 127) << 23);
}

DEVICE void find_piece(const float *logits, uint32_t count, float largest, uint32_t first,
		       float *piece)
{
	for (uint32_t i = threadIdx.x - WARP; i < PIECE; i += BEST_THREADS - WARP)
		piece[i] = first + i < count ? exponential(logits[first + i] - largest) : 0.0f;
}

/* In thread 0. */
DEVICE float sum_of(const float *logits, uint32_t count, float largest, float (*pieces)[PIECE])
{
	float sum = 0;

	/* Warp 0 is a piece behind. */
	for (uint32_t k = 0; k * PIECE < count + PIECE; k++) {
		if (threadIdx.x >= WARP && k * PIECE < count)
			find_piece(logits, count, largest, k * PIECE, pieces[k % 2]);
		if (threadIdx.x < LANES && k > 0)
			for (uint32_t i = threadIdx.x; i < PIECE; i += LANES)
				sum += pieces[(k - 1) % 2][i];
		__syncthreads();
	}
	if (threadIdx.x < WARP)
		for (uint32_t half = LANES / 2; half > 0; half /= 2)
			sum += __shfl_down_sync(ALL_LANES, sum, half);
	return sum;
}

extern "C" __global__ void __launch_bounds__(BEST_THREADS) petals_best(const struct best_args a)
{
	__shared__ struct candidate scratch[WARP];
	__shared__ float pieces[2][PIECE];
	const float *logits = a.logits + (uint64_t)blockIdx.x * a.vocabulary;
	struct candidate best;
	float sum;

	wait_for_previous();
	let_next_start();
	best = best_of(logits, a.vocabulary, scratch);
	sum = sum_of(logits, a.vocabulary, best.logit, pieces);
	if (threadIdx.x == 0) {
		struct cuda_best *out = &a.out[blockIdx.x];

		out->token = best.token < a.vocabulary ? best.token : 0;
		out->logit = logits[out->token];
		out->largest = best.logit;
		out->sum = sum;
	}
}
