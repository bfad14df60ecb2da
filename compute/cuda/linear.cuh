/* linear.cuh - where the parts of a linear lie in its grid, and how its sums end: int8's scale,
 * bias, residual.  One sequence for every format (kernels.h).
 */
#ifndef PETALS_COMPUTE_CUDA_LINEAR_CUH
#define PETALS_COMPUTE_CUDA_LINEAR_CUH

#include "compute/cuda/common.cuh"

/* blocks: thread blocks of as many threads that a processor has registers for at once. */
#define LINEAR_KERNEL(name, threads, blocks) \
	extern "C" __global__ void __launch_bounds__(threads, blocks) petals_linear_##name

/* A tile of features of a part; part LINEAR_PARTS: there is none. */
struct place { uint32_t part, tile; };

DEVICE uint32_t tiles_of(const struct linear_part *p)
{
	return (p->features + TILE_FEATURES - 1) / TILE_FEATURES;
}

/* Parts lie side by side in the grid. */
DEVICE struct place place_of(const struct linear_args *a, uint32_t tile)
{
	struct place p = { 0, tile };

#pragma unroll
	for (uint32_t i = 0; i < LINEAR_PARTS; i++)
		if (p.part == i && p.tile >= tiles_of(&a->part[i])) {
			p.tile -= tiles_of(&a->part[i]);
			p.part++;
		}
	return p;
}

/* What the sum of the runs becomes, short of the residual. */
DEVICE float linear_value(const struct linear_args *a, const struct linear_part *p, uint32_t n,
			  float sum, const uint32_t format)
{
	if (format == CUDA_INT8) {
		uint64_t tiles = (uint64_t)tiles_of(p) * (a->columns / CUDA_K_STEP);
		const uint8_t *scales = (const uint8_t *)p->w + tiles * TILE_BYTES(CUDA_INT8);

		sum *= ((const float *)scales)[n];
	}
	return p->bias ? sum + p->bias[n] : sum;
}

/* Of row r and feature n, which may be one that pads the matrix. */
DEVICE void linear_store(const struct linear_args *a, uint32_t part, uint32_t r, uint32_t n,
			 float sum, const uint32_t format)
{
	const struct linear_part *p = &a->part[part];
	uint64_t at = (uint64_t)r * p->features + n;

	if (r >= a->rows || n >= p->features)
		return;
	sum = linear_value(a, p, n, sum, format);
	if (part == 0 && a->add)
		sum += a->add[at];
	p->out[at] = sum;
}

#endif
