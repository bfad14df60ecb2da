/* probe.cu - see probe.h. */
#include "compute/cuda/common.cuh"
#include "tests/cuda/probe.h"

DEVICE uint32_t pair_of(const uint16_t *m, uint32_t stride, uint32_t k, uint32_t n)
{
	return m[k * stride + n] | (uint32_t)m[(k + 1) * stride + n] << 16;
}

DEVICE void mma_16bit(const struct probe_mma_args *p, uint32_t g, uint32_t t)
{
	const uint16_t *a = (const uint16_t *)p->a, *b = (const uint16_t *)p->b;
	uint16_t *shared = (uint16_t *)shared_memory();
	float *c = (float *)p->c;
	uint32_t lane = threadIdx.x, m[4], v[2];
	float sums[4];

	for (uint32_t i = lane; i < 256; i += WARP)
		shared[i] = a[i];
	__syncwarp();
	if (p->matrix) {
		/* Matrices: rows 0-7, rows 8-15, then the same of k 8-15. */
		ldmatrix(m, shared + (lane % 16) * 16 + lane / 16 * 8);
	} else {
		for (int i = 0; i < 4; i++) {
			const uint16_t *at = a + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;

			m[i] = at[0] | (uint32_t)at[1] << 16;
		}
	}
	v[0] = pair_of(b, 8, 2 * t, g);
	v[1] = pair_of(b, 8, 2 * t + 8, g);
	for (int i = 0; i < 4; i++)
		sums[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
	if (p->type == PROBE_BF16)
		mma_bf16(sums, m, v);
	else
		mma_f16(sums, m, v);
	for (int i = 0; i < 4; i++)
		c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

DEVICE void mma_8bit(const struct probe_mma_args *p, uint32_t g, uint32_t t)
{
	const uint8_t *a = (const uint8_t *)p->a, *b = (const uint8_t *)p->b;
	int32_t *c = (int32_t *)p->c;
	uint32_t m[4] = { 0, 0, 0, 0 }, v[2] = { 0, 0 };
	int32_t sums[4];

	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++)
			m[i] |= (uint32_t)a[(g + i % 2 * 8) * 32 + 4 * t + i / 2 * 16 + j] << 8 * j;
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 4; j++)
			v[i] |= (uint32_t)b[(4 * t + i * 16 + j) * 8 + g] << 8 * j;
	for (int i = 0; i < 4; i++)
		sums[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
	mma_int8(sums, m, v);
	for (int i = 0; i < 4; i++)
		c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

KERNEL(probe_mma)(const struct probe_mma_args a)
{
	if (a.type == PROBE_INT8)
		mma_8bit(&a, threadIdx.x / 4, threadIdx.x % 4);
	else
		mma_16bit(&a, threadIdx.x / 4, threadIdx.x % 4);
}

KERNEL(probe_copy)(const struct probe_copy_args a)
{
	uint32_t lane = threadIdx.x;
	uint8_t *shared = shared_memory();
	uint32_t at = lane * 16, left = a.bytes > at ? a.bytes - at : 0;

	copy_async16(shared + at, a.in + at, left < 16 ? left : 16);
	copy_commit();
	copy_wait(0);
	__syncwarp();
	for (int i = 0; i < 16; i++)
		a.out[at + i] = shared[at + i];
	a.shuffled[lane] = __shfl_xor_sync(ALL_LANES, lane, 5);
	a.shuffled[32 + lane] = __shfl_down_sync(ALL_LANES, lane, 3);
	a.shuffled[64 + lane] = __shfl_up_sync(ALL_LANES, lane, 2);
	a.shuffled[96 + lane] = __shfl_sync(ALL_LANES, lane, 7);
	a.shuffled[128 + lane] = __ballot_sync(ALL_LANES, lane % 2);
}

KERNEL(probe_break)(const struct probe_break_args a)
{
	__shared__ float exchange[WARP];
	uint32_t lane = threadIdx.x;

	if (a.rule == BREAK_LEAVE && lane == 3)
		return;
	if (a.rule == BREAK_DIVERGE && lane == 3)
		__syncthreads();
	else
		__syncthreads();
	if (a.rule == BREAK_LEAVE)
		__syncwarp();
	if (a.rule == BREAK_MASK && lane == 3)
		(void)__ballot_sync(0xf0, 1);
	exchange[lane] = (float)lane;
	if (a.rule != BREAK_RACE)
		__syncthreads();
	a.out[lane + (a.rule == BREAK_OVERRUN ? 1 : 0)] =
		exchange[a.rule == BREAK_SHARED ? lane + 1 : (lane + 16) % WARP];
}
