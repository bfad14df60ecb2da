/* stream.c - a list that is run when waited for. */
#include "tests/cuda/stream.h"

#include <string.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "tests/cuda/memory.h"

enum { OPS_MAX = 4096 };

struct CUstream_st {
	size_t count;
	struct stream_op ops[OPS_MAX];
};

CUstream stream_open(void)
{
	CUstream s = mem_alloc(sizeof(*s));

	if (s)
		s->count = 0;
	return s;
}

void stream_close(CUstream s)
{
	mem_free(s);
}

struct stream_op *stream_add(CUstream s)
{
	/* A real one that is full makes the caller wait, too. */
	if (s->count == OPS_MAX)
		stream_run(s);
	memset(&s->ops[s->count], 0, sizeof(s->ops[0]));
	return &s->ops[s->count++];
}

static void run(const struct stream_op *op)
{
	switch (op->kind) {
	case OP_LAUNCH:
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
