/* timer.h - how long the device was busy with what was queued between two marks.
 *
 * Threads    The queue's.
 * Ownership  cuda_timer_open() / cuda_timer_close(), which also takes what was zeroed.
 * Units      Microseconds.
 * Errors     The queue's; opening: with a sentence.
 */
#ifndef PETALS_COMPUTE_CUDA_TIMER_H
#define PETALS_COMPUTE_CUDA_TIMER_H

#include "compute/cuda/queue.h"

struct cuda_timer {
	struct cuda_queue *queue;
	CUevent start, stop;
};

int cuda_timer_open(struct cuda_timer *t, struct cuda_queue *q, struct error *e);
void cuda_timer_close(struct cuda_timer *t);
void cuda_timer_start(struct cuda_timer *t);
/* Waits for all that was queued since. */
int cuda_timer_stop(struct cuda_timer *t, double *us);

/* Sorts count times into their median and best. */
void cuda_timer_sum_up(double *us, uint32_t count, double *median_us, double *best_us);

#endif
