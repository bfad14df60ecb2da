/* logits.cuh - the passes over a row of logits that best.cu and draw.cu share, as sampler_math.c
 * makes them.
 */
#ifndef PETALS_COMPUTE_CUDA_LOGITS_CUH
#define PETALS_COMPUTE_CUDA_LOGITS_CUH

#include "compute/cuda/common.cuh"

enum { LOGITS_LANES = 16 };             /* of every sum */

struct candidate { float logit; uint32_t token; };

/* Whether `a` comes before `b`: the larger first, the lower id among equals. */
DEVICE bool comes_before(struct candidate a, struct candidate b)
{
	return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
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

/* The tree that a sum ends with; the first of sixteen lanes has the result. */
DEVICE float lanes_sum(float v)
{
	for (uint32_t half = LOGITS_LANES / 2; half > 0; half /= 2)
		v += __shfl_down_sync(ALL_LANES, v, half);
	return v;
}

#endif
