/* timer.c - two events on a stream. */
#include "compute/cuda/timer.h"

#include <errno.h>
#include <stdlib.h>

int cuda_timer_open(struct cuda_timer *t, struct cuda_queue *q, struct error *e)
{
	const struct cuda_driver *d = &q->device->driver;
	CUresult status = d->cuCtxSetCurrent(q->device->context);

	*t = (struct cuda_timer){ .queue = q };
	if (status == CUDA_SUCCESS)
		status = d->cuEventCreate(&t->start, CU_EVENT_DEFAULT);
	if (status == CUDA_SUCCESS)
		status = d->cuEventCreate(&t->stop, CU_EVENT_DEFAULT);
	if (status == CUDA_SUCCESS)
		return 0;
	cuda_timer_close(t);
	return cuda_error(d, status, e, "a timer cannot be made");
}

void cuda_timer_close(struct cuda_timer *t)
{
	if (t->start)
		(void)t->queue->device->driver.cuEventDestroy(t->start);
	if (t->stop)
		(void)t->queue->device->driver.cuEventDestroy(t->stop);
	*t = (struct cuda_timer){ 0 };
}

void cuda_timer_start(struct cuda_timer *t)
{
	cuda_record(t->queue, t->start);
}

int cuda_timer_stop(struct cuda_timer *t, double *us)
{
	const struct cuda_driver *d = &t->queue->device->driver;
	float ms = 0;
	int rc;

	cuda_record(t->queue, t->stop);
	rc = cuda_queue_wait(t->queue);
	if (rc == 0 && d->cuEventElapsedTime(&ms, t->start, t->stop) != CUDA_SUCCESS)
		rc = -EIO;
	*us = (double)ms * 1e3;
	return rc;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void cuda_timer_sum_up(double *us, uint32_t count, double *median_us, double *best_us)
{
	assert(count > 0);
	qsort(us, count, sizeof(*us), ascending);
	*best_us = us[0];
	*median_us = (us[(count - 1) / 2] + us[count / 2]) / 2;
}
