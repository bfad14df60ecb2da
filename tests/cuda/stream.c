/* stream.c - a list that is run when waited for. */
#include "tests/cuda/stream.h"

#include <assert.h>
#include <string.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "tests/cuda/memory.h"

enum { OPS_MAX = 4096 };

struct CUstream_st {
	CUstream other;                 /* of those that are open */
	size_t count, next;             /* of ops: those from `next` on have not run */
	uint64_t ran;                   /* since it was opened */
	bool recording;
	size_t recorded_from;
	struct stream_op ops[OPS_MAX];
};

static CUstream streams;

struct CUgraph_st {
	size_t count;
	struct stream_op ops[];
};

CUstream stream_open(void)
{
	CUstream s = mem_alloc(sizeof(*s));

	if (!s)
		return NULL;
	s->count = s->next = s->ran = 0;
	s->recording = false;
	s->other = streams;
	streams = s;
	return s;
}

/* Whoever has to follow it need not any more. */
void stream_close(CUstream s)
{
	CUstream *at = &streams;

	while (*at != s)
		at = &(*at)->other;
	*at = s->other;
	for (CUstream o = streams; o; o = o->other)
		for (size_t i = o->next; i < o->count; i++)
			if (o->ops[i].other == s)
				o->ops[i].other = NULL;
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

static void run_until(CUstream s, uint64_t until);

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
	case OP_FOLLOW:
		if (op->other)
			run_until(op->other, op->until);
		break;
	}
}

static void run_until(CUstream s, uint64_t until)
{
	while (s->ran < until) {
		s->ran++;
		run(&s->ops[s->next++]);
	}
}

uint64_t stream_added(CUstream s)
{
	return s->ran + (s->count - s->next);
}

static void finish(CUstream s)
{
	if (s->count == s->next)
		return;
	memory_device_access(true);
	run_until(s, stream_added(s));
	memory_device_access(false);
}

/* Every other time the others are ahead, as far as they can be; else they are where s has to
 * follow them, no further.
 */
void stream_run(CUstream s)
{
	static bool others_ahead;

	others_ahead = !others_ahead;
	for (CUstream o = streams; o && others_ahead; o = o->other)
		if (!o->recording)
			finish(o);
	finish(s);
	s->count = s->next = 0;
}

void stream_drop(CUstream s)
{
	s->ran = stream_added(s);
	s->count = s->next = 0;
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
