/* measure.cu - memory read and written as fast as it goes, and kernels that do next to nothing. */
#include "compute/cuda/common.cuh"

enum { LOADS = 4 };                     /* in flight per thread */

DEVICE uint32_t fold(uint4 v)
{
	return v.x ^ v.y ^ v.z ^ v.w;
}

/* Ordinary loads: what they bring stays as long as anything does, and drives the rest out. */
KERNEL(measure_read)(const struct measure_read_args a)
{
	uint64_t threads = (uint64_t)gridDim.x * blockDim.x;
	uint64_t thread = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x, i = thread;
	const uint4 *from = (const uint4 *)a.from;
	uint32_t sum = 0;

	for (; i + (LOADS - 1) * threads < a.count; i += LOADS * threads) {
		uint4 v[LOADS];

#pragma unroll
		for (int k = 0; k < LOADS; k++)
			v[k] = from[i + k * threads];
#pragma unroll
		for (int k = 0; k < LOADS; k++)
			sum ^= fold(v[k]);
	}
	for (; i < a.count; i += threads)
		sum ^= fold(from[i]);
	a.sums[thread] = sum;
}

KERNEL(measure_write)(const struct measure_write_args a)
{
	uint64_t threads = (uint64_t)gridDim.x * blockDim.x;
	uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
	uint4 v = { a.value, a.value, a.value, a.value };

	for (; i < a.count; i += threads)
		((uint4 *)a.to)[i] = v;
}
