/* stream.h - what was asked of a stream and has not run yet.
 *
 * Nothing runs before somebody waits, so that a result that is used without waiting is
 * poison, and memory that is changed too early shows.  Streams that do not follow one
 * another run in either order, by turns.
 *
 * Threads    Under driver.c's lock.
 * Ownership  As cuda.h says.
 * Units      Bytes.
 * Errors     stream_open(), stream_recorded(), graph_copy(): NULL without memory.
 */
#ifndef PETALS_TESTS_CUDA_STREAM_H
#define PETALS_TESTS_CUDA_STREAM_H

#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>

#include "tests/cuda/grid.h"

enum { STREAM_ARGS_MAX = 256 };

enum stream_op_kind { OP_LAUNCH, OP_CALL, OP_COPY, OP_FILL, OP_EVENT, OP_FOLLOW };

struct stream_op {
	enum stream_op_kind kind;
	/* OP_LAUNCH */
	const struct kernel_row *kernel;
	struct grid_dim grid, block;
	size_t shared_bytes;
	bool early;                     /* may begin before what precedes it has ended */
	uint8_t args[STREAM_ARGS_MAX] __attribute__((aligned(16)));
	/* OP_CALL, with args */
	void (*call)(const void *args);
	/* OP_FOLLOW: until this stream has run so much */
	CUstream other;
	uint64_t until;
	/* OP_EVENT: `to` gets the time; the others */
	void *to;
	const void *from;
	size_t bytes;
	uint8_t byte;
};

/* A kernel as the table of kernels.c has it. */
struct kernel_row {
	const char *name;
	size_t args_bytes;
	void (*run)(const void *args);
	size_t shared_bytes_max;        /* 0: what every kernel may have */
};
struct kernel_row *kernel_find(const char *name);

CUstream stream_open(void);
void stream_close(CUstream s);
struct stream_op *stream_add(CUstream s);       /* zeroed */
void stream_run(CUstream s);                    /* all there is, and what it has to follow */
uint64_t stream_added(CUstream s);              /* how much it was told so far */
void stream_drop(CUstream s);                   /* likewise */

/* What is added between these is not run, but becomes a graph; NULL: none was begun. */
void stream_record(CUstream s);
CUgraph stream_recorded(CUstream s);
bool stream_is_recording(CUstream s);
CUgraph graph_copy(CUgraph g);
void graph_close(CUgraph g);
void stream_add_graph(CUstream s, CUgraph g);

#endif
