/* ptx.cuh - the instructions that CUDA C has no name for, one wrapper each, in one place.
 *
 * Each has a plain C twin of the same name in tests/cuda/device.h, which takes this file's
 * place when the kernels are compiled for a CPU.  Fragments are laid out as the PTX ISA
 * documents them ("Matrix fragments for mma.m16n8k16", ".m16n8k32", "ldmatrix"): with
 * g = lane / 4 and t = lane % 4,
 *   a, m16 x k16   a[0] row g, a[1] row g + 8, k 2t and 2t + 1; a[2], a[3] the same, k + 8
 *   b, k16 x n8    b[0] column g, k 2t and 2t + 1; b[1] the same, k + 8
 *   c, m16 x n8    c[0], c[1] row g, columns 2t and 2t + 1; c[2], c[3] row g + 8
 * and with int8, k32: four k from 4t on in each register, + 16 in the second half.
 */
#ifndef PETALS_COMPUTE_CUDA_PTX_CUH
#define PETALS_COMPUTE_CUDA_PTX_CUH

#include <stdint.h>

#define PTX static __device__ __forceinline__

/* Dynamic shared memory, 16-aligned; its size is the launch's. */
PTX uint8_t *shared_memory(void)
{
	extern __shared__ __align__(16) uint8_t petals_shared[];

	return petals_shared;
}

/* c += a b; bf16 products and f32 sums. */
PTX void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

PTX void mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* int8 products, int32 sums that wrap. */
PTX void mma_int8(int32_t c[4], const uint32_t a[4], const uint32_t b[2])
{
	asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices of 16-bit elements out of shared memory: lane l names row l % 8 of
 * matrix l / 8 (16 aligned bytes) and receives of each the elements 2t, 2t + 1 of row g.
 */
PTX void ldmatrix(uint32_t out[4], const void *shared_row)
{
	uint32_t at = (uint32_t)__cvta_generic_to_shared(shared_row);

	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
		     : "r"(at) : "memory");
}

/* The same, each matrix transposed: rows 2t, 2t + 1 of column g. */
PTX void ldmatrix_transposed(uint32_t out[4], const void *shared_row)
{
	uint32_t at = (uint32_t)__cvta_generic_to_shared(shared_row);

	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
		     : "r"(at) : "memory");
}

/* Copies 16 aligned bytes into shared memory in the background, the last 16 - `bytes` as
 * zeros; they are there for this thread after copy_wait().
 */
PTX void copy_async16(void *shared, const void *global, uint32_t bytes)
{
	uint32_t at = (uint32_t)__cvta_generic_to_shared(shared);

	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
		     :: "r"(at), "l"(global), "r"(bytes) : "memory");
}

PTX void copy_commit(void)
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits until at most `groups` (a constant) of this thread's groups are under way. */
#define copy_wait(groups) asm volatile("cp.async.wait_group %0;" :: "n"(groups) : "memory")

/* Programmatic dependent launch: what follows wait_for_previous() sees all that the kernel
 * before wrote; let_next_start() lets the next kernel begin up to there.  Nothing on
 * devices before sm_90.
 */
PTX void wait_for_previous(void)
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

PTX void let_next_start(void)
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* The thread's lane, asked for once: what is made of threadIdx.x is made again and again. */
PTX uint32_t lane_once(void)
{
	uint32_t lane;

	asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
	return lane;
}

/* (a & mask) | bits, one instruction. */
PTX uint32_t mask_or(uint32_t a, uint32_t mask, uint32_t bits)
{
	uint32_t v;

	asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(v) : "r"(a), "r"(mask), "r"(bits));
	return v;
}

/* For what is read once: past L1, and the first to leave L2. */
PTX uint64_t once_policy(void)
{
	uint64_t policy;

	asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
	return policy;
}

/* 16 or 8 bytes that nobody writes, under that policy. */
PTX uint4 load_once16(const void *global, uint64_t policy)
{
	uint4 v;

	asm("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0,%1,%2,%3}, [%4], %5;"
	    : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(global), "l"(policy));
	return v;
}

PTX uint2 load_once8(const void *global, uint64_t policy)
{
	uint2 v;

	asm("ld.global.nc.L1::no_allocate.L2::cache_hint.v2.u32 {%0,%1}, [%2], %3;"
	    : "=r"(v.x), "=r"(v.y) : "l"(global), "l"(policy));
	return v;
}

/* a + b, of pairs of bf16. */
PTX uint32_t bf16x2_add(uint32_t a, uint32_t b)
{
	uint32_t sum;

	asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3f803f80), "r"(b));
	return sum;
}

/* Two bf16, nearest even; `low` in the low half. */
PTX uint32_t bf16_pair(float low, float high)
{
	uint32_t pair;

	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
	return pair;
}

/* 2^x to about two units in the last place; 0 for -infinity and below the normal numbers. */
PTX float exp2_near(float x)
{
	float v;

	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(v) : "f"(x));
	return v;
}

PTX uint16_t f16_bits(float f)
{
	uint16_t h;

	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}

PTX float f16_value(uint16_t h)
{
	float f;

	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}

#undef PTX
#endif
