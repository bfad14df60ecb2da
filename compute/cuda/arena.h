/* arena.h - device memory that is counted first and allocated once.
 *
 * Everything is named with cuda_arena_want(); then cuda_arena_open() allocates and fills in
 * the addresses.  Test builds give every piece an allocation of its own, so that the
 * sanitizer sees a kernel run from one piece into the next.
 *
 * Threads    One at a time.
 * Ownership  cuda_arena_close() ends what was filled in; safe when zeroed.
 * Units      _bytes.
 * Errors     -ENOMEM with a sentence.
 */
#ifndef PETALS_COMPUTE_CUDA_ARENA_H
#define PETALS_COMPUTE_CUDA_ARENA_H

#include "compute/cuda/device.h"

struct cuda_piece {
	void *out;                      /* address of the pointer to fill in */
	uint64_t bytes;
	CUdeviceptr own;                /* separate pieces only */
};

struct cuda_arena {
	struct device *device;
	struct cuda_piece *pieces;
	uint32_t count, room;
	uint64_t bytes;                 /* of all pieces, aligned */
	CUdeviceptr base;
	bool out_of_memory;             /* for the list of pieces */
};

/* out is the address of a pointer, which gets NULL for 0 bytes.  A list that finds no memory is
 * told by cuda_arena_open().
 */
void cuda_arena_want(struct cuda_arena *a, void *out, uint64_t bytes);
int cuda_arena_open(struct cuda_arena *a, struct device *d, const char *what, struct error *e);
void cuda_arena_close(struct cuda_arena *a);

#endif
