/* queue.h - a device's work in order: launches and copies, one wrapper each.
 *
 * The first call that fails leaves its -errno in the queue and a line in the log; those after
 * it do nothing, and cuda_queue_wait() tells.  So that a block is a list of launches.
 *
 * Where the device can (sm_90), a kernel of CUDA_EARLY_KERNELS that follows another is placed
 * on the device while that one drains, and waits there.
 *
 * Threads    One at a time per queue; each call makes the device's context current.
 * Ownership  cuda_queue_open() / cuda_queue_close().
 * Units      _bytes.
 * Errors     -ENOMEM, -EIO.
 */
#ifndef PETALS_COMPUTE_CUDA_QUEUE_H
#define PETALS_COMPUTE_CUDA_QUEUE_H

#include "compute/cuda/device.h"

struct cuda_queue {
	struct device *device;
	CUstream stream;
	CUevent mark;                   /* how far it is: cuda_follow() */
	int status;
	bool after_launch;              /* what was sent last is a kernel */
	struct cuda_lt *lt;             /* of a fast span: lt.h; NULL: deterministic */
};

struct cuda_grid { uint32_t x, y, threads; };

/* A grid by row (kernels.h). */
static inline struct cuda_grid cuda_by_row(uint32_t rows, uint32_t columns)
{
	return (struct cuda_grid){ rows, (columns + CUDA_ROW_COLUMNS - 1) / CUDA_ROW_COLUMNS,
				   CUDA_ROW_THREADS };
}

int cuda_queue_open(struct cuda_queue *q, struct device *d, struct error *e);
void cuda_queue_close(struct cuda_queue *q);    /* waits; safe when zeroed */
/* The event happens when all before it has run. */
void cuda_record(struct cuda_queue *q, CUevent event);

/* args is the kernel's struct (kernels.h); it is copied. */
void cuda_launch(struct cuda_queue *q, enum cuda_kernel k, struct cuda_grid grid,
		 const void *args);
/* Likewise, with dynamic shared memory. */
void cuda_launch_shared(struct cuda_queue *q, enum cuda_kernel k, struct cuda_grid grid,
			uint32_t shared_bytes, const void *args);
/* Between pinned host memory (device.h) and the device's. */
void cuda_copy_in(struct cuda_queue *q, void *device_to, const void *from, uint64_t bytes);
void cuda_copy_out(struct cuda_queue *q, void *to, const void *device_from, uint64_t bytes);
void cuda_copy_within(struct cuda_queue *q, void *device_to, const void *device_from,
		      uint64_t bytes);
void cuda_fill_zero(struct cuda_queue *q, void *device_to, uint64_t bytes);
/* What is sent to q from now on begins when all has ended that was sent to `other` so far. */
void cuda_follow(struct cuda_queue *q, struct cuda_queue *other);
/* A graph (graph.h). */
void cuda_send(struct cuda_queue *q, CUgraphExec graph);
/* Until all of it has run; the queue may be used again when it returned 0. */
int cuda_queue_wait(struct cuda_queue *q);

#endif
