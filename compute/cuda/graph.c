/* graph.c - owns recorded graphs, instantiated. */
#include "compute/cuda/graph.h"

int cuda_graph_begin(struct cuda_queue *q, struct error *e)
{
	const struct cuda_driver *d = &q->device->driver;
	CUresult status = d->cuCtxSetCurrent(q->device->context);

	if (status == CUDA_SUCCESS)
		status = d->cuStreamBeginCapture(q->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
	q->after_launch = false;
	return status == CUDA_SUCCESS ? 0 : cuda_error(d, status, e, "a graph");
}

int cuda_graph_end(struct cuda_queue *q, struct cuda_graph *out, struct error *e)
{
	const struct cuda_driver *d = &q->device->driver;
	CUgraph recorded = NULL;
	CUresult status = d->cuStreamEndCapture(q->stream, &recorded);

	*out = (struct cuda_graph){ .device = q->device };
	q->after_launch = false;
	if (status == CUDA_SUCCESS)
		status = d->cuGraphInstantiate(&out->runnable, recorded, 0);
	if (recorded)
		(void)d->cuGraphDestroy(recorded);
	if (status == CUDA_SUCCESS && q->status == 0)
		return 0;
	if (status != CUDA_SUCCESS) {
		out->runnable = NULL;
		return cuda_error(d, status, e, "a graph");
	}
	cuda_graph_close(out);
	return error_set(e, q->status, "cuda:%u: a step could not be recorded",
			 q->device->index);
}

void cuda_graph_close(struct cuda_graph *g)
{
	if (g->runnable &&
	    g->device->driver.cuCtxSetCurrent(g->device->context) == CUDA_SUCCESS)
		(void)g->device->driver.cuGraphExecDestroy(g->runnable);
	*g = (struct cuda_graph){ 0 };
}

void cuda_graph_send(struct cuda_queue *q, const struct cuda_graph *g)
{
	cuda_send(q, g->runnable);
}
