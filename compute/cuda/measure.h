/* measure.h - what the kinds of measurements share: a queue, a timer, memory.
 *
 * Threads    One at a time.
 * Ownership  cuda_measure() opens and closes the run around a kind.
 * Units      As compute/measure.h.
 * Errors     As backend.h.
 */
#ifndef PETALS_COMPUTE_CUDA_MEASURE_H
#define PETALS_COMPUTE_CUDA_MEASURE_H

#include "compute/cuda/arena.h"
#include "compute/cuda/graph.h"
#include "compute/cuda/timer.h"

struct measure_run {
	const struct measure *ask;
	struct device *device;
	struct cuda_queue queue;
	struct cuda_timer timer;
	struct cuda_arena arena;
	struct cuda_graph graph;
	uint8_t *from, *to;             /* (bytes) of device memory, where the kind wants it */
	uint32_t *sums;                 /* of measure_read's threads */
	void *host;                     /* (bytes), pinned */
	void *host_address;             /* as kernels know it */
	double us[MEASURE_REPEATS_MAX];
};

/* measure_product.c */
int cuda_measure_product(struct measure_run *r, struct measured *out, struct error *e);
/* measure_fp8.c */
int cuda_measure_fp8(struct measure_run *r, struct measured *out, struct error *e);

#endif
