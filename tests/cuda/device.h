/* device.h - CUDA C's words for a host's compiler: included before every .cu file that is built
 * to run on a CPU, and in the place of compute/cuda/ptx.cuh.
 *
 * Threads    See grid.h.
 * Ownership  None.
 * Units      None.
 * Errors     A kernel that breaks the rules ends the program.
 */
#ifndef PETALS_TESTS_CUDA_DEVICE_H
#define PETALS_TESTS_CUDA_DEVICE_H

#define PETALS_COMPUTE_CUDA_PTX_CUH     /* what this file stands in for */

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

extern "C" {
#include "compute/model/dtype.h"
}
#include "tests/cuda/grid.h"
#include "tests/cuda/twin.h"

#define __global__ __attribute__((visibility("hidden")))
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
/* One thread block runs at a time; grid.c fills the section with NaN. */
#define __shared__ static __attribute__((section("cuda_shared")))

#define threadIdx (grid_self->index)
#define blockIdx grid_block
#define blockDim grid_block_size
#define gridDim grid_size

struct __align__(16) uint4 { unsigned x, y, z, w; };
struct __align__(8) uint2 { unsigned x, y; };
struct __align__(16) float4 { float x, y, z, w; };
struct __align__(8) float2 { float x, y; };

static inline float4 make_float4(float x, float y, float z, float w)
{
	return { x, y, z, w };
}

using std::max;
using std::min;

static inline float __uint_as_float(uint32_t bits) { return f32_of_bits(bits); }
static inline uint32_t __float_as_uint(float f) { return f32_bits(f); }

/* ---- barriers and exchanges: the place in the source is part of the call ---- */

#define __syncthreads() grid_barrier(__FILE__, __LINE__)
#define __syncwarp(...) grid_warp(twin_sync, 0xffffffffu, "", NULL, __FILE__, __LINE__)

template <typename T>
static inline T device_shuffle(unsigned mask, T value, uint32_t source, const char *file, int line)
{
	struct twin_source in = { 0, source };
	uint64_t out = 0;
	T result;

	static_assert(sizeof(T) <= sizeof(in.value), "shuffles take up to 8 bytes");
	memcpy(&in.value, &value, sizeof(value));
	grid_warp(twin_shuffle, mask, &in, &out, file, line);
	memcpy(&result, &out, sizeof(result));
	return result;
}

#define __shfl_sync(mask, value, lane) \
	device_shuffle(mask, value, (uint32_t)(lane), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, bits) \
	device_shuffle(mask, value, grid_self->lane ^ (uint32_t)(bits), __FILE__, __LINE__)
/* Lanes past the end keep their own. */
#define __shfl_down_sync(mask, value, by)                                                     \
	device_shuffle(mask, value,                                                           \
		       grid_self->lane + (by) < 32 ? grid_self->lane + (by) : grid_self->lane, \
		       __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, by)                                                       \
	device_shuffle(mask, value,                                                           \
		       grid_self->lane >= (uint32_t)(by) ? grid_self->lane - (by) :            \
							   grid_self->lane,                   \
		       __FILE__, __LINE__)

static inline unsigned device_ballot(unsigned mask, int vote, const char *file, int line)
{
	unsigned votes = 0;

	grid_warp(twin_ballot, mask, &vote, &votes, file, line);
	return votes;
}

static inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

#define __ballot_sync(mask, vote) device_ballot(mask, vote, __FILE__, __LINE__)
#define __any_sync(mask, vote) (device_ballot(mask, vote, __FILE__, __LINE__) != 0)
#define __all_sync(mask, vote) (device_ballot(mask, vote, __FILE__, __LINE__) == (mask))

/* ---- ptx.cuh's wrappers ---- */

static inline uint8_t *shared_memory(void)
{
	return (uint8_t *)grid_shared();
}

static inline void device_mma(grid_exchange twin, void *c, const uint32_t a[4],
			      const uint32_t b[2], const char *file, int line)
{
	struct twin_fragments in = { { a[0], a[1], a[2], a[3] }, { b[0], b[1] } };

	grid_warp(twin, 0xffffffffu, &in, c, file, line);
}

#define mma_bf16(c, a, b) device_mma(twin_mma_bf16, c, a, b, __FILE__, __LINE__)
#define mma_f16(c, a, b) device_mma(twin_mma_f16, c, a, b, __FILE__, __LINE__)
#define mma_int8(c, a, b) device_mma(twin_mma_int8, c, a, b, __FILE__, __LINE__)

static inline void device_ldmatrix(grid_exchange twin, uint32_t out[4], const void *row,
				   const char *file, int line)
{
	grid_warp(twin, 0xffffffffu, &row, out, file, line);
}

#define ldmatrix(out, row) device_ldmatrix(twin_ldmatrix, out, row, __FILE__, __LINE__)
#define ldmatrix_transposed(out, row) \
	device_ldmatrix(twin_ldmatrix_transposed, out, row, __FILE__, __LINE__)

#define copy_async16 grid_copy_async
#define copy_commit grid_copy_commit
#define copy_wait grid_copy_wait

/* A kernel begins when the one before has ended; that it would have waited is checked. */
#define wait_for_previous grid_wait_previous
static inline void let_next_start(void) {}

static inline uint32_t lane_once(void) { return grid_self->lane; }

static inline uint32_t mask_or(uint32_t a, uint32_t mask, uint32_t bits)
{
	return (a & mask) | bits;
}

static inline uint64_t once_policy(void) { return 0; }

static inline uint4 load_once16(const void *global, uint64_t policy)
{
	uint4 v;

	(void)policy;
	if ((uintptr_t)global % 16)
		grid_fail("loads 16 bytes at %p, which is not 16-aligned", global);
	memcpy(&v, global, sizeof(v));
	return v;
}

static inline uint2 load_once8(const void *global, uint64_t policy)
{
	uint2 v;

	(void)policy;
	if ((uintptr_t)global % 8)
		grid_fail("loads 8 bytes at %p, which is not 8-aligned", global);
	memcpy(&v, global, sizeof(v));
	return v;
}

static inline uint32_t bf16_pair(float low, float high)
{
	return bf16_of_f32(low) | (uint32_t)bf16_of_f32(high) << 16;
}

static inline uint32_t bf16x2_add(uint32_t a, uint32_t b)
{
	return bf16_pair(f32_of_bf16((uint16_t)a) + f32_of_bf16((uint16_t)b),
			 f32_of_bf16((uint16_t)(a >> 16)) + f32_of_bf16((uint16_t)(b >> 16)));
}

static inline float exp2_near(float x)
{
	float v = exp2f(x);

	return v < 1.17549435e-38f ? 0.0f : v;
}

static inline uint16_t f16_bits(float f) { return f16_of_f32(f); }
static inline float f16_value(uint16_t h) { return f32_of_f16(h); }

#endif
