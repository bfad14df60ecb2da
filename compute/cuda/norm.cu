/* norm.cu - RMS and layer norms of rows. */
#include "compute/cuda/common.cuh"

KERNEL(norm)(const struct norm_args a)
{
	__shared__ float scratch[WARP];
	uint64_t r = blockIdx.x;
	const float *x = a.x + r * a.columns;
	float mean = 0, squares = 0, scale;

	if (a.layer) {
		for (uint32_t i = threadIdx.x; i < a.columns; i += blockDim.x)
			mean += x[i];
		mean = block_sum(mean, scratch) / (float)a.columns;
	}
	for (uint32_t i = threadIdx.x; i < a.columns; i += blockDim.x)
		squares = fmaf(x[i] - mean, x[i] - mean, squares);
	squares = block_sum(squares, scratch);
	scale = 1.0f / sqrtf(squares / (float)a.columns + a.epsilon);
	for (uint32_t i = threadIdx.x; i < a.columns; i += blockDim.x) {
		float v = (x[i] - mean) * scale * a.weight[i];

		if (a.bias)
			v += a.bias[i];
		if (a.out)
			a.out[r * a.columns + i] = v;
		if (a.operand)
			operand_store(a.operand, r * a.stride + i, v, a.bf16);
	}
	if (a.operand)
		operand_pad(a.operand, r, a.columns, a.stride, a.bf16);
}
