/* graph.h - launches that were recorded once, and are sent as one.
 *
 * Threads    The queue's.
 * Ownership  cuda_graph_begin() .. cuda_graph_end() record what a queue is told, which is not
 *            run; cuda_graph_close() ends what was recorded; safe when zeroed.
 * Units      None.
 * Errors     -ENOMEM, -EIO with a sentence; cuda_graph_send(): the queue's.
 */
#ifndef PETALS_COMPUTE_CUDA_GRAPH_H
#define PETALS_COMPUTE_CUDA_GRAPH_H

#include "compute/cuda/queue.h"

struct cuda_graph {
	struct device *device;
	CUgraphExec runnable;
};

int cuda_graph_begin(struct cuda_queue *q, struct error *e);
/* Also after a failed launch, which it tells. */
int cuda_graph_end(struct cuda_queue *q, struct cuda_graph *out, struct error *e);
void cuda_graph_close(struct cuda_graph *g);
void cuda_graph_send(struct cuda_queue *q, const struct cuda_graph *g);

#endif
