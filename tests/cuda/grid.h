/* grid.h - thread blocks as cooperating fibers: what a kernel's source sees as CUDA's built-ins.
 *
 * Thread blocks run one after another in a seeded order, the threads of one in a seeded
 * order between barriers.  A barrier or a warp exchange waits for everybody; who waits
 * elsewhere, or has left, is found out and named, with the seed.  Shared memory is full of
 * NaN before each thread block.
 *
 * Threads    One at a time runs a grid (driver.c's lock).
 * Ownership  None; fibers are kept for the next grid.
 * Units      Threads; bytes of shared memory.
 * Errors     A kernel that breaks the rules ends the program with a sentence.
 */
#ifndef PETALS_TESTS_CUDA_GRID_H
#define PETALS_TESTS_CUDA_GRID_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { GRID_WARP = 32, GRID_THREADS_MAX = 1024, GRID_COPIES_MAX = 128,
       GRID_SHARED_MAX = 227 << 10 };

struct grid_dim { unsigned x, y, z; };

/* One lane of an exchange: what it brings, where its result goes; NULL: not in it. */
struct grid_lane {
	const void *in;
	void *out;
};
typedef void (*grid_exchange)(struct grid_lane lanes[GRID_WARP]);

/* A copy into shared memory that is under way. */
struct grid_copy {
	void *to;
	const void *from;
	uint32_t bytes, group;
};

struct grid_thread {
	struct grid_dim index;
	uint32_t lane;
	/* where it waits */
	int state;
	const char *file;
	int line;
	/* asynchronous copies */
	struct grid_copy copies[GRID_COPIES_MAX];
	uint32_t copy_count, copy_groups;
	int waited;
};

/* The thread that runs, and its thread block. */
extern struct grid_thread *grid_self;
extern struct grid_dim grid_block, grid_block_size, grid_size;

void grid_run(void (*kernel)(const void *args), const void *args, struct grid_dim grid,
	      struct grid_dim block, size_t shared_bytes, const char *name);

void grid_barrier(const char *file, int line);
void grid_warp(grid_exchange exchange, unsigned mask, const void *in, void *out,
	       const char *file, int line);
void grid_wait_previous(void);
/* The grids to come may have been started early: each thread must wait. */
void grid_expect_wait(int early);
void *grid_shared(void);                /* dynamic shared memory */
size_t grid_shared_bytes(void);
/* Whether [at, at + bytes) is shared memory, dynamic or not. */
int grid_is_shared(const void *at, size_t bytes);

void grid_copy_async(void *to, const void *from, uint32_t bytes);
void grid_copy_commit(void);
void grid_copy_wait(uint32_t groups);

/* Ends the program: "kernel NAME, block (x,y,z), thread t: ..., seed s". */
void grid_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif

#endif
