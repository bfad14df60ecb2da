/* probe.h - kernels that try single instructions, for tests of the stand-in's twins.
 *
 * Threads    One warp each.
 * Ownership  As kernels.h.
 * Units      Elements.
 * Errors     None.
 */
#ifndef PETALS_TESTS_CUDA_PROBE_H
#define PETALS_TESTS_CUDA_PROBE_H

#include <stdint.h>

/* c (16, 8) += a (16, k) b (k, 8), k = 16 of 16 bits or 32 of int8; a by ldmatrix where
 * `matrix` says so; all row-major.
 */
enum { PROBE_BF16, PROBE_F16, PROBE_INT8 };
struct probe_mma_args {
	const void *a, *b;
	void *c;
	uint32_t type, matrix;
};

/* out[i] = in[i] for 16 x 32 bytes through shared memory by asynchronous copies, zeros past
 * `bytes`; then votes, and the warp's shuffles of lane numbers: out[512..].
 */
struct probe_copy_args {
	const uint8_t *in;
	uint8_t *out;
	uint32_t *shuffled;             /* (5, 32): xor 5, down 3, up 2, from 7, odd lanes' votes */
	uint32_t bytes;
};

/* Breaks a rule on purpose. */
enum { BREAK_DIVERGE, BREAK_LEAVE, BREAK_MASK, BREAK_RACE, BREAK_OVERRUN, BREAK_SHARED };
struct probe_break_args {
	float *out;                     /* (32) */
	uint32_t rule;
};

#define PROBE_KERNELS(KERNEL)                              \
	KERNEL(_, probe_mma, struct probe_mma_args)        \
	KERNEL(_, probe_copy, struct probe_copy_args)      \
	KERNEL(_, probe_break, struct probe_break_args)

#endif
