/* embed.cu - rows of the embedding, and learned positions. */
#include "compute/cuda/common.cuh"

KERNEL(embed)(const struct embed_args a)
{
	uint64_t from = (uint64_t)a.tokens[blockIdx.x] * a.stride;
	uint64_t to = (uint64_t)blockIdx.x * a.columns;

	for (uint32_t i = threadIdx.x; i < a.columns; i += blockDim.x) {
		float v = a.bf16 ? bf16_value(((const uint16_t *)a.table)[from + i]) :
				   ((const float *)a.table)[from + i];

		a.out[to + i] = v * a.scale;
	}
}

KERNEL(add_positions)(const struct add_positions_args a)
{
	uint64_t r = blockIdx.x;

	for (uint32_t i = threadIdx.x; i < a.columns; i += blockDim.x)
		a.x[r * a.columns + i] += a.table[(a.first + r) * a.columns + i];
}
