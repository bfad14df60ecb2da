/* common.cuh - what several kernels share: bf16, operands, sums over a warp and a thread
 * block, activations, where a key lies in the pages.
 */
#ifndef PETALS_COMPUTE_CUDA_COMMON_CUH
#define PETALS_COMPUTE_CUDA_COMMON_CUH

#include "compute/cuda/kernels.h"
#include "compute/cuda/ptx.cuh"

#define DEVICE static __device__ __forceinline__
#define KERNEL(name) extern "C" __global__ void petals_##name

enum { WARP = 32 };
#define ALL_LANES 0xffffffffu

/* A grid "by row": the first column of this thread, and from one to its next. */
DEVICE uint32_t column_first(void)
{
	return blockIdx.y * blockDim.x + threadIdx.x;
}

DEVICE uint32_t column_step(void)
{
	return gridDim.y * blockDim.x;
}

DEVICE float bf16_value(uint32_t bits)
{
	return __uint_as_float(bits << 16);
}

/* Nearest even; the bits of row.c's and dtype.h's. */
DEVICE uint16_t bf16_bits(float f)
{
	uint32_t bits = __float_as_uint(f);

	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

DEVICE void operand_store(void *operand, uint64_t at, float value, bool bf16)
{
	if (bf16)
		((uint16_t *)operand)[at] = bf16_bits(value);
	else
		((float *)operand)[at] = value;
}

/* Zeros between the columns of an operand's row and its end; one thread block of the row's. */
DEVICE void operand_pad(void *operand, uint64_t row, uint32_t columns, uint32_t stride,
			bool bf16)
{
	if (blockIdx.y > 0)
		return;
	for (uint32_t i = columns + threadIdx.x; i < stride; i += blockDim.x)
		operand_store(operand, row * stride + i, 0, bf16);
}

/* In a fixed order; every lane has the result. */
DEVICE float warp_sum(float v)
{
	for (int i = WARP / 2; i > 0; i /= 2)
		v += __shfl_xor_sync(ALL_LANES, v, i);
	return v;
}

DEVICE float warp_max(float v)
{
	for (int i = WARP / 2; i > 0; i /= 2)
		v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, i));
	return v;
}

/* Of whole warps, of at most 32 of them; every thread has the result.  scratch is (warps)
 * in shared memory and may be used again afterwards.
 */
DEVICE float block_sum(float v, float *scratch)
{
	float sum = 0;

	v = warp_sum(v);
	__syncthreads();
	if (threadIdx.x % WARP == 0)
		scratch[threadIdx.x / WARP] = v;
	__syncthreads();
	for (uint32_t i = 0; i < blockDim.x / WARP; i++)
		sum += scratch[i];
	return sum;
}

DEVICE float block_max(float v, float *scratch)
{
	float most;

	v = warp_max(v);
	__syncthreads();
	if (threadIdx.x % WARP == 0)
		scratch[threadIdx.x / WARP] = v;
	__syncthreads();
	most = scratch[0];
	for (uint32_t i = 1; i < blockDim.x / WARP; i++)
		most = fmaxf(most, scratch[i]);
	return most;
}

DEVICE float activate(float x, uint32_t act)
{
	float u;

	switch (act) {
	case ACT_GELU_TANH:
		u = 0.7978845608f * (x + 0.044715f * x * x * x);
		return 0.5f * x * (1.0f + tanhf(u));
	case ACT_GELU_ERF:
		return 0.5f * x * (1.0f + erff(x * 0.70710678118f));
	case ACT_RELU:
		return x < 0.0f ? 0.0f : x;
	default:                /* ACT_SILU */
		return x / (1.0f + expf(-x));
	}
}

/* Element 0 of `head`'s key at `position`. */
DEVICE uint8_t *key_at(const struct cuda_kv *kv, const uint32_t *pages,
		       const struct cuda_row *row, uint32_t head, uint32_t position)
{
	uint64_t page = pages[row->first_page + position / kv->page_tokens];
	uint64_t token = (uint64_t)head * kv->page_tokens + position % kv->page_tokens;

	return kv->pages + page * kv->page_bytes + token * kv->dims * (kv->bf16 ? 2 : 4);
}

/* Element 0 of its value; from one to the next it is 8 elements. */
DEVICE uint8_t *value_at(const struct cuda_kv *kv, const uint32_t *pages,
			 const struct cuda_row *row, uint32_t head, uint32_t position)
{
	return key_at(kv, pages, row, head, position / 8 * 8) + kv->v_bytes +
	       position % 8 * (kv->bf16 ? 2 : 4);
}

DEVICE float kv_value(const uint8_t *at, uint32_t i, bool bf16)
{
	return bf16 ? bf16_value(((const uint16_t *)at)[i]) : ((const float *)at)[i];
}

#endif
