/* trace.c - a ring of events, each guarded by its own sequence number.
 *
 * Event n sits in slot n mod size.  Its writer makes the slot's stamp odd,
 * fills it, then makes the stamp even; a reader takes an event only if it saw
 * the same even stamp before and after.  Field accesses are release stores
 * and acquire loads, which keep the stamps outside of them without a fence.
 */
#include "dataplane/base/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>

#include "dataplane/base/memory.h"

struct event {
	_Atomic uint64_t stamp;          /* 2n + 1 while written, 2n + 2 when done */
	_Atomic uint64_t now_ns;
	const char *_Atomic what;
	_Atomic uint64_t a, b;
};

struct trace {
	struct event *events;
	uint64_t mask;
	_Atomic uint64_t written;        /* events so far */
};

int trace_open(struct trace **out, uint32_t events)
{
	struct trace *t;

	assert(events > 0 && (events & (events - 1)) == 0);
	*out = NULL;
	t = mem_calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->events = mem_calloc(events, sizeof(*t->events));
	if (!t->events) {
		mem_free(t);
		return -ENOMEM;
	}
	t->mask = events - 1;
	*out = t;
	return 0;
}

void trace_close(struct trace *t)
{
	if (!t)
		return;
	mem_free(t->events);
	mem_free(t);
}

void trace_event(struct trace *t, uint64_t now_ns, const char *what,
		 uint64_t a, uint64_t b)
{
	uint64_t n = atomic_load_explicit(&t->written, memory_order_relaxed);
	struct event *v = &t->events[n & t->mask];

	atomic_store_explicit(&v->stamp, 2 * n + 1, memory_order_relaxed);
	atomic_store_explicit(&v->now_ns, now_ns, memory_order_release);
	atomic_store_explicit(&v->what, what, memory_order_release);
	atomic_store_explicit(&v->a, a, memory_order_release);
	atomic_store_explicit(&v->b, b, memory_order_release);
	atomic_store_explicit(&v->stamp, 2 * n + 2, memory_order_release);
	atomic_store_explicit(&t->written, n + 1, memory_order_release);
}

void trace_dump(const struct trace *t, struct buffer *out)
{
	uint64_t end = atomic_load_explicit(&t->written, memory_order_acquire);
	uint64_t n = end > t->mask ? end - t->mask - 1 : 0;

	for (; n < end; n++) {
		struct event *v = &t->events[n & t->mask];
		uint64_t now_ns, a, b;
		const char *what;

		if (atomic_load_explicit(&v->stamp, memory_order_acquire) != 2 * n + 2)
			continue;
		now_ns = atomic_load_explicit(&v->now_ns, memory_order_acquire);
		what = atomic_load_explicit(&v->what, memory_order_acquire);
		a = atomic_load_explicit(&v->a, memory_order_acquire);
		b = atomic_load_explicit(&v->b, memory_order_acquire);
		if (atomic_load_explicit(&v->stamp, memory_order_relaxed) != 2 * n + 2)
			continue;
		buffer_printf(out, "%" PRIu64 " %s %" PRIu64 " %" PRIu64 "\n", now_ns, what, a, b);
	}
}
