/* stream.c - a list that is run when waited for. */
#include "tests/cuda/stream.h"

#include <assert.h>
#include <string.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "tests/cuda/memory.h"

enum { OPS_MAX = 4096 };

struct CUstream_st {
	size_t count;
	bool recording;
	size_t recorded_from;
	struct stream_op ops[OPS_MAX];
};

struct CUgraph_st {
	size_t count;
	struct stream_op ops[];
};

CUstream stream_open(void)
{
	CUstream s = mem_alloc(sizeof(*s));

	if (s)
		s->count = s->recording = 0;
	return s;
}

void stream_close(CUstream s)
{
	mem_free(s);
}

struct stream_op *stream_add(CUstream s)
{
	/* A real one that is full makes the caller wait, too. */
	if (s->count == OPS_MAX) {
		assert(!s->recording);
		stream_run(s);
	}
	memset(&s->ops[s->count], 0, sizeof(s->ops[0]));
	return &s->ops[s->count++];
}

static void run(const struct stream_op *op)
{
	switch (op->kind) {
	case OP_LAUNCH:
		grid_expect_wait(op->early);
		grid_run(op->kernel->run, op->args, op->grid, op->block, op->shared_bytes,
			 op->kernel->name);
		break;
	case OP_CALL:
		op->call(op->args);
		break;
	case OP_COPY:
		memcpy(op->to, op->from, op->bytes);
		break;
	case OP_FILL:
		memset(op->to, op->byte, op->bytes);
		break;
	case OP_EVENT:
		*(uint64_t *)op->to = clock_ns(clock_real());
		break;
	}
}

void stream_run(CUstream s)
{
	if (s->count == 0)
		return;
	memory_device_access(true);
	for (size_t i = 0; i < s->count; i++)
		run(&s->ops[i]);
	memory_device_access(false);
	s->count = 0;
}

void stream_drop(CUstream s)
{
	s->count = 0;
}

/* ---- graphs ---- */

void stream_record(CUstream s)
{
	s->recording = true;
	s->recorded_from = s->count;
}

bool stream_is_recording(CUstream s)
{
	return s->recording;
}

static CUgraph graph_of(const struct stream_op *ops, size_t count)
{
	CUgraph g = mem_alloc(sizeof(*g) + count * sizeof(*ops));

	if (!g)
		return NULL;
	g->count = count;
	memcpy(g->ops, ops, count * sizeof(*ops));
	return g;
}

CUgraph stream_recorded(CUstream s)
{
	CUgraph g = graph_of(s->ops + s->recorded_from, s->count - s->recorded_from);

	s->count = s->recorded_from;
	s->recording = false;
	return g;
}

CUgraph graph_copy(CUgraph g)
{
	return graph_of(g->ops, g->count);
}

void graph_close(CUgraph g)
{
	mem_free(g);
}

void stream_add_graph(CUstream s, CUgraph g)
{
	for (size_t i = 0; i < g->count; i++)
		*stream_add(s) = g->ops[i];
}
