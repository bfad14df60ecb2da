/* measure.h - what a device is asked about itself, one copy, kernel or launch at a time: the
 * ceilings that steps are compared with, and products on their own.
 *
 * Threads    As backend.h: one at a time per device.
 * Ownership  Everything is given back before the verb returns.
 * Units      _us, of one repetition; bytes moved.
 * Errors     -ENOTSUP where a device cannot be asked this, with a sentence; else backend.h's.
 */
#ifndef PETALS_COMPUTE_MEASURE_H
#define PETALS_COMPUTE_MEASURE_H

#include "compute/model/dtype.h"
#include "compute/quantise.h"

struct span;
struct batch;

enum measure_kind {
	MEASURE_COPY,           /* `bytes` within device memory: read and written */
	MEASURE_READ,           /* `bytes` of device memory by a kernel */
	MEASURE_COPY_IN,        /* `bytes` of pinned host memory by a copy engine, */
	MEASURE_COPY_OUT,       /* and back */
	MEASURE_MAPPED_READ,    /* `bytes` of pinned host memory by a kernel, */
	MEASURE_MAPPED_WRITE,   /* and written */
	MEASURE_LAUNCH,         /* `count` kernels that do next to nothing, then a wait; of one */
	MEASURE_GRAPH,          /* as many in a graph that was recorded */
	MEASURE_WAIT,           /* one such kernel, until a wait returns */
	MEASURE_ROUND_TRIP,     /* one that writes to host memory, until the host reads it */
	MEASURE_PRODUCT,        /* (rows, columns) x (features, columns), loaded as servers do */
	MEASURE_LIBRARY,        /* the same in bf16 by the vendor's library */
	MEASURE_FP8,            /* and in e4m3, a scale for each row and each feature */
	MEASURE_STREAMED,       /* `batch` through `span` while `bytes` arrive from host memory */
	MEASURE_KINDS
};

struct measure {
	enum measure_kind kind;
	uint64_t bytes;
	uint32_t count;
	uint32_t rows, features, columns;
	enum dtype stored;              /* what a checkpoint would hold, */
	enum weight_format weights;     /* and --weights makes of it; kept f32: f32 arithmetic */
	struct span *span;
	const struct batch *batch;
	uint32_t repeats;               /* timed ones; at most MEASURE_REPEATS_MAX */
};
enum { MEASURE_REPEATS_MAX = 200 };

struct measured {
	double median_us, best_us;
	double bytes, flop;             /* of one repetition */
};

#endif
