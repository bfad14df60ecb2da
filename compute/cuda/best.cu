/* best.cu - what greedy sampling needs of a row of logits, as sampler_math.h computes it, bit for
 * bit: the largest, and the sum of exponentials by sixteen lanes and one tree.
 *
 * A thread block takes a row.  The sum is sixteen chains of additions: a warp adds while the
 * others find the exponentials of the next piece.
 */
#include "compute/cuda/logits.cuh"

enum { PIECE = 4 * BEST_THREADS };      /* exponentials found at a time */

DEVICE struct candidate better(struct candidate a, struct candidate b)
{
	return comes_before(b, a) ? b : a;
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

	for (uint32_t i = threadIdx.x; i < count; i += BEST_THREADS) {
		struct candidate other = { logits[i], i };

		c = better(c, other);
	}
	c = best_of_warp(c);
	if (threadIdx.x % WARP == 0)
		scratch[threadIdx.x / WARP] = c;
	__syncthreads();
	for (uint32_t w = 0; w < BEST_THREADS / WARP; w++)
		c = better(c, scratch[w]);
	return c;
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
		if (threadIdx.x < LOGITS_LANES && k > 0)
			for (uint32_t i = threadIdx.x; i < PIECE; i += LOGITS_LANES)
				sum += pieces[(k - 1) % 2][i];
		__syncthreads();
	}
	return threadIdx.x < WARP ? lanes_sum(sum) : 0.0f;
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
