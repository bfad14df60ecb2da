/* trace_test.c - the last events, oldest first, also while being written. */
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/trace.h"

/* Goal: a dump reads as the events happened. */
TEST(trace_dump__oldest_first)
{
	struct buffer out = { 0 };
	struct trace *t;

	CHECK_EQ(trace_open(&t, 4), 0);
	trace_dump(t, &out);
	CHECK_TEXT(buffer_string(&out), "");
	trace_event(t, 10, "begin", 1, 2);
	trace_event(t, 20, "end", 3, UINT64_MAX);
	trace_dump(t, &out);
	CHECK_TEXT(buffer_string(&out), "10 begin 1 2\n20 end 3 18446744073709551615\n");
	buffer_close(&out);
	trace_close(t);
	trace_close(NULL);
}

/* Goal: once around, the oldest events are gone and the newest are there. */
TEST(trace_dump__keeps_the_newest)
{
	struct buffer out = { 0 };
	struct trace *t;

	CHECK_EQ(trace_open(&t, 4), 0);
	for (uint64_t i = 0; i < 11; i++)
		trace_event(t, i, "e", i, 0);
	trace_dump(t, &out);
	CHECK_TEXT(buffer_string(&out), "7 e 7 0\n8 e 8 0\n9 e 9 0\n10 e 10 0\n");
	buffer_close(&out);
	trace_close(t);
}

struct writer {
	struct trace *trace;
	atomic_bool stop;
};

static void *write_events(void *arg)
{
	struct writer *w = arg;

	for (uint64_t i = 1; !atomic_load(&w->stop); i++)
		trace_event(w->trace, i, i % 2 ? "odd" : "even", i, ~i);
	return NULL;
}

/* Goal: a dump beside a busy writer shows whole events, in order. */
TEST(trace_dump__never_shows_a_torn_event)
{
	struct writer w = { 0 };
	pthread_t thread;

	CHECK_EQ(trace_open(&w.trace, 64), 0);
	CHECK_EQ(pthread_create(&thread, NULL, write_events, &w), 0);
	for (int round = 0; round < 300; round++) {
		struct buffer out = { 0 };
		uint64_t last = 0;
		char *line, *rest;

		trace_dump(w.trace, &out);
		rest = out.data;
		while (rest && (line = strsep(&rest, "\n")) && *line) {
			char what[8];
			uint64_t now, a, b;

			CHECK_EQ(sscanf(line, "%lu %7s %lu %lu", &now, what, &a, &b), 4);
			CHECK(now > last);
			CHECK(a == now && b == ~now);
			CHECK_TEXT(what, now % 2 ? "odd" : "even");
			last = now;
		}
		buffer_close(&out);
	}
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	trace_close(w.trace);
}

#ifdef PETALS_FAULTS
/* Goal: a failed open leaves nothing behind. */
TEST(trace_open__unwinds_every_failure)
{
	uint64_t before = mem_live_blocks();
	struct trace *t;

	for (int nth = 1; nth <= 2; nth++) {
		fault_arm(nth);
		CHECK_EQ(trace_open(&t, 8), -ENOMEM);
		CHECK_EQ(mem_live_blocks(), before);
	}
	fault_disarm();
}
#endif
