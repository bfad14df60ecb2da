/* linear.cuh - how the sums of a linear end: runs added in order, bias, residual.
 * One sequence for every format (kernels.h).
 */
#ifndef PETALS_COMPUTE_CUDA_LINEAR_CUH
#define PETALS_COMPUTE_CUDA_LINEAR_CUH

#include "compute/cuda/common.cuh"

/* sum is the runs' sum of row r and feature n, which may be one that pads the matrix. */
DEVICE void linear_store(const struct linear_args *a, uint32_t r, uint32_t n, float sum)
{
	uint64_t at = (uint64_t)r * a->features + n;

	if (r >= a->rows || n >= a->features)
		return;
	if (a->bias)
		sum += a->bias[n];
	if (a->add)
		sum += a->add[at];
	a->out[at] = sum;
}

/* runs is what the warps of a thread block summed, one run each: (LINEAR_RUNS, rows,
 * LINEAR_FEATURES) for rows from first_row on.
 */
DEVICE void linear_finish(const struct linear_args *a, const float *runs, uint32_t rows,
			  uint32_t first_row)
{
	uint32_t count = rows * LINEAR_FEATURES;

	for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
		float sum = runs[i];

		for (uint32_t k = 1; k < LINEAR_RUNS; k++)
			sum += runs[k * count + i];
		linear_store(a, first_row + i / LINEAR_FEATURES,
			     blockIdx.x * LINEAR_FEATURES + i % LINEAR_FEATURES, sum);
	}
}

#endif
