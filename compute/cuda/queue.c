/* queue.c - owns one stream and the first failure on it. */
#include "compute/cuda/queue.h"

#include <errno.h>

#include "dataplane/base/log.h"

enum { MAJOR_EARLY = 9 };               /* compute capability of early starts */

static void note(struct cuda_queue *q, CUresult status, const char *what)
{
	struct error e = { 0 };

	if (status == CUDA_SUCCESS || q->status < 0)
		return;
	q->status = cuda_error(&q->device->driver, status, &e, what);
	log_error("cuda", "cuda:%u: %s", q->device->index, e.text);
}

/* Whether there is any point in going on. */
static bool ready(struct cuda_queue *q)
{
	const struct cuda_driver *d = &q->device->driver;

	if (q->status == 0)
		note(q, d->cuCtxSetCurrent(q->device->context), "context");
	return q->status == 0;
}

int cuda_queue_open(struct cuda_queue *q, struct device *d, struct error *e)
{
	CUresult status = d->driver.cuCtxSetCurrent(d->context);

	*q = (struct cuda_queue){ .device = d };
	if (status == CUDA_SUCCESS)
		status = d->driver.cuStreamCreate(&q->stream, CU_STREAM_NON_BLOCKING);
	if (status != CUDA_SUCCESS)
		q->stream = NULL;
	else
		status = d->driver.cuEventCreate(&q->mark, CU_EVENT_DISABLE_TIMING);
	if (status == CUDA_SUCCESS)
		return 0;
	q->mark = NULL;
	cuda_queue_close(q);
	return cuda_error(&d->driver, status, e, "a queue cannot be made");
}

void cuda_queue_close(struct cuda_queue *q)
{
	if (q->stream && q->device->driver.cuCtxSetCurrent(q->device->context) == CUDA_SUCCESS) {
		(void)q->device->driver.cuStreamSynchronize(q->stream);
		(void)q->device->driver.cuStreamDestroy(q->stream);
		if (q->mark)
			(void)q->device->driver.cuEventDestroy(q->mark);
	}
	*q = (struct cuda_queue){ 0 };
}

static bool starts_early(const struct device *d, enum cuda_kernel k)
{
	return d->major >= MAJOR_EARLY && d->launches != LAUNCH_PLAIN && cuda_kernel_early(k);
}

void cuda_launch_shared(struct cuda_queue *q, enum cuda_kernel k, struct cuda_grid grid,
			uint32_t shared_bytes, const void *args)
{
	CUlaunchAttribute early = {
		.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
		.value.programmaticStreamSerializationAllowed = 1,
	};
	CUlaunchConfig config = {
		.gridDimX = grid.x, .gridDimY = grid.y, .gridDimZ = 1,
		.blockDimX = grid.threads, .blockDimY = 1, .blockDimZ = 1,
		.sharedMemBytes = shared_bytes,
		.hStream = q->stream,
	};
	void *parameters[] = { (void *)args };

	assert(k < CUDA_KERNEL_COUNT && grid.x > 0 && grid.y > 0);
	if (q->after_launch && starts_early(q->device, k)) {
		config.attrs = &early;
		config.numAttrs = 1;
	}
	if (ready(q))
		note(q, q->device->driver.cuLaunchKernelEx(&config, q->device->kernels[k],
							   parameters, NULL),
		     cuda_kernel_name(k));
	q->after_launch = true;
}

void cuda_launch(struct cuda_queue *q, enum cuda_kernel k, struct cuda_grid grid,
		 const void *args)
{
	cuda_launch_shared(q, k, grid, 0, args);
}

static CUdeviceptr address(const void *device)
{
	return (CUdeviceptr)(uintptr_t)device;
}

/* Copies, graphs, events and other queues are waited for as a whole. */
static bool ready_for_other(struct cuda_queue *q)
{
	q->after_launch = false;
	return ready(q);
}

void cuda_send(struct cuda_queue *q, CUgraphExec graph)
{
	if (ready_for_other(q))
		note(q, q->device->driver.cuGraphLaunch(graph, q->stream), "a graph");
}

void cuda_follow(struct cuda_queue *q, struct cuda_queue *other)
{
	const struct cuda_driver *d = &q->device->driver;
	CUresult status;

	if (q->status == 0)
		q->status = other->status;
	other->after_launch = false;
	if (!ready_for_other(q))
		return;
	status = d->cuEventRecord(other->mark, other->stream);
	if (status == CUDA_SUCCESS)
		status = d->cuStreamWaitEvent(q->stream, other->mark, CU_EVENT_WAIT_DEFAULT);
	note(q, status, "a mark");
}

void cuda_copy_in(struct cuda_queue *q, void *device_to, const void *from, uint64_t bytes)
{
	if (bytes && ready_for_other(q))
		note(q, q->device->driver.cuMemcpyHtoDAsync(address(device_to), from, bytes,
							    q->stream), "copy in");
}

void cuda_copy_out(struct cuda_queue *q, void *to, const void *device_from, uint64_t bytes)
{
	if (bytes && ready_for_other(q))
		note(q, q->device->driver.cuMemcpyDtoHAsync(to, address(device_from), bytes,
							    q->stream), "copy out");
}

void cuda_copy_within(struct cuda_queue *q, void *device_to, const void *device_from,
		      uint64_t bytes)
{
	if (bytes && ready_for_other(q))
		note(q, q->device->driver.cuMemcpyDtoDAsync(address(device_to),
							    address(device_from), bytes,
							    q->stream), "copy within");
}

void cuda_fill_zero(struct cuda_queue *q, void *device_to, uint64_t bytes)
{
	if (bytes && ready_for_other(q))
		note(q, q->device->driver.cuMemsetD8Async(address(device_to), 0, bytes,
							  q->stream), "fill");
}

void cuda_record(struct cuda_queue *q, CUevent event)
{
	if (ready_for_other(q))
		note(q, q->device->driver.cuEventRecord(event, q->stream), "an event");
}

/* Also after a failure: what was sent before it may still be under way, and reads memory
 * that the caller is about to give back.
 */
int cuda_queue_wait(struct cuda_queue *q)
{
	const struct cuda_driver *d = &q->device->driver;
	CUresult status = d->cuCtxSetCurrent(q->device->context);

	q->after_launch = false;
	if (status == CUDA_SUCCESS)
		status = d->cuStreamSynchronize(q->stream);
	note(q, status, "a step");
	return q->status;
}
