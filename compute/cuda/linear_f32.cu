/* linear_f32.cu - activations times an f32 matrix: the reference, on the plain cores.
 *
 * A thread owns one output element and goes through the runs one after the other.
 */
#include "compute/cuda/linear.cuh"

static_assert(LINEAR_ROWS * LINEAR_F32_FEATURES == LINEAR_RUNS * WARP, "an element per thread");

KERNEL(linear_f32)(const struct linear_args a)
{
	uint32_t r = blockIdx.y * LINEAR_ROWS + threadIdx.x / LINEAR_F32_FEATURES;
	uint32_t n = blockIdx.x * LINEAR_F32_FEATURES + threadIdx.x % LINEAR_F32_FEATURES;
	uint32_t each = LINEAR_RUN_STEPS(a.columns / CUDA_K_STEP) * CUDA_K_STEP;
	const float *w = (const float *)a.part[0].w + (uint64_t)n * a.columns;
	const float *x = (const float *)a.x + (uint64_t)r * a.columns;
	float total = 0;

	if (r >= a.rows)
		return;
	for (uint32_t run = 0; run < LINEAR_RUNS; run++) {
		uint32_t end = min((run + 1) * each, a.columns);
		float sum = 0;

		for (uint32_t k = run * each; k < end; k++)
			sum = fmaf(x[k], w[k], sum);
		total += sum;
	}
	linear_store(&a, 0, r, n, total, CUDA_F32);
}
