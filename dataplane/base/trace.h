/* trace.h - a ring of small timed events, always on, read after the fact.
 *
 * Threads    One thread writes a ring; any thread may dump it (a torn newest
 *            event is skipped).
 * Ownership  trace_open() / trace_close().
 * Units      _ns.
 * Errors     trace_open(): -ENOMEM.
 */
#ifndef PETALS_BASE_TRACE_H
#define PETALS_BASE_TRACE_H

#include "dataplane/base/buffer.h"
#include "dataplane/base/types.h"

struct trace;

int trace_open(struct trace **out, uint32_t events);   /* a power of two */
void trace_close(struct trace *t);

/* `what` must be a string literal. */
void trace_event(struct trace *t, uint64_t now_ns, const char *what,
		 uint64_t a, uint64_t b);
/* Oldest first, one line each: "ns what a b". */
void trace_dump(const struct trace *t, struct buffer *out);

#endif
