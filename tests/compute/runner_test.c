/* runner_test.c - jobs through a real thread, and through virtual time. */
#include "compute/runner.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

enum { JOBS = 20000, IN_FLIGHT = 16, QUEUE = 64, PER_TURN = 3 };

struct job { uint32_t number, computed; };

/* Finishes up to PER_TURN jobs a turn, first come first served. */
struct worker {
	struct job *queue[QUEUE];
	uint32_t first, end, turns;
	atomic_uint wakes;
};

static void worker_submit(void *ctx, void *job)
{
	struct worker *w = ctx;

	CHECK(w->end - w->first < QUEUE);
	w->queue[w->end++ % QUEUE] = job;
}

static bool worker_turn(void *ctx, void (*done)(void *done_ctx, void *job), void *done_ctx)
{
	struct worker *w = ctx;

	w->turns++;
	for (int i = 0; i < PER_TURN && w->first < w->end; i++) {
		struct job *j = w->queue[w->first++ % QUEUE];

		j->computed = j->number * 3;
		done(done_ctx, j);
	}
	return w->first < w->end;
}

static void worker_wake(void *ctx)
{
	atomic_fetch_add(&((struct worker *)ctx)->wakes, 1);
}

static const struct runner_table table = { worker_submit, worker_turn };

/* Goal: every job comes back once, in order, computed; the core is woken. */
TEST(runner__thread_returns_every_job)
{
	static struct job jobs[JOBS];
	struct worker w = { .first = 0 };
	struct runner *r;
	struct runner_options o = { .name = "runner-test", .table = &table, .ctx = &w,
				    .wake = worker_wake, .wake_ctx = &w,
				    .jobs_max = IN_FLIGHT, .threaded = true };
	uint32_t submitted = 0, collected = 0;
	bool refused = false;

	CHECK_EQ(runner_open(&r, &o), 0);
	CHECK_EQ(runner_deadline(r), UINT64_MAX);
	while (collected < JOBS) {
		struct job *j;

		while (submitted < JOBS) {
			jobs[submitted].number = submitted;
			if (!runner_submit(r, &jobs[submitted])) {
				CHECK_EQ(submitted - collected, IN_FLIGHT);
				refused = true;
				break;
			}
			submitted++;
			if (submitted % 1000 < 20)
				break;                  /* let the thread run dry sometimes */
		}
		runner_flush(r, submitted % 2 ? 0 : IN_FLIGHT);
		while ((j = runner_collect(r))) {
			CHECK_EQ(j->number, collected);
			CHECK_EQ(j->computed, collected * 3);
			collected++;
		}
	}
	CHECK(refused);
	CHECK(atomic_load(&w.wakes) > 0);
	runner_close(r);
}

/* Goal: what comes in several turns of the core runs together; the thread sees nothing before a
 * turn that brought nothing more, or before all are there that can be.
 */
TEST(runner_flush__keeps_together_what_comes_together)
{
	struct job jobs[PER_TURN] = { { 1, 0 }, { 2, 0 }, { 3, 0 } };

	for (uint32_t most = PER_TURN; most <= PER_TURN + 1; most++) {
		struct worker w = { .first = 0 };
		struct runner *r;
		struct runner_options o = { .name = "runner-test", .table = &table, .ctx = &w,
					    .jobs_max = IN_FLIGHT, .threaded = true };

		CHECK_EQ(runner_open(&r, &o), 0);
		runner_flush(r, most);
		for (int i = 0; i < PER_TURN; i++) {
			CHECK(runner_submit(r, &jobs[i]));
			CHECK_EQ(runner_deadline(r), 0);
			runner_flush(r, most);
		}
		CHECK_EQ(runner_deadline(r), most == PER_TURN ? UINT64_MAX : 0);
		runner_flush(r, most);
		CHECK_EQ(runner_deadline(r), UINT64_MAX);
		for (int i = 0; i < PER_TURN; i++)
			while (!runner_collect(r))
				sched_yield();
		runner_close(r);
		CHECK_EQ(w.turns, 1);
	}
}

/* Goal: closing finishes what was submitted. */
TEST(runner_close__finishes_what_was_submitted)
{
	for (int threaded = 0; threaded < 2; threaded++) {
		struct job jobs[IN_FLIGHT];
		struct worker w = { .first = 0 };
		struct runner *r;
		struct runner_options o = { .name = "runner-test", .table = &table, .ctx = &w,
					    .jobs_max = IN_FLIGHT, .threaded = threaded,
					    .clock = clock_real() };

		CHECK_EQ(runner_open(&r, &o), 0);
		for (uint32_t i = 0; i < IN_FLIGHT; i++) {
			jobs[i] = (struct job){ i + 1, 0 };
			CHECK(runner_submit(r, &jobs[i]));
		}
		runner_close(r);
		for (uint32_t i = 0; i < IN_FLIGHT; i++)
			CHECK_EQ(jobs[i].computed, (i + 1) * 3);
	}
}

/* Goal: without a thread, a turn's jobs come out cost_ns after it began; the deadline
 * says when to come back.
 */
TEST(runner__virtual_time)
{
	struct job jobs[4] = { { 1, 0 }, { 2, 0 }, { 3, 0 }, { 4, 0 } };
	struct worker w = { .first = 0 };
	struct simulated_clock clock;
	struct runner *r;
	struct runner_options o = { .name = "runner-test", .table = &table, .ctx = &w,
				    .jobs_max = 4, .cost_ns = 100 };

	simulated_clock_init(&clock, 1000);
	o.clock = &clock.clock;
	CHECK_EQ(runner_open(&r, &o), 0);
	CHECK_EQ(runner_deadline(r), UINT64_MAX);
	for (int i = 0; i < 4; i++)
		CHECK(runner_submit(r, &jobs[i]));
	CHECK(!runner_submit(r, &jobs[0]));
	CHECK_EQ(runner_deadline(r), 1000);
	CHECK(!runner_collect(r));
	CHECK_EQ(runner_deadline(r), 1100);
	simulated_clock_advance_to(&clock, 1099);
	CHECK(!runner_collect(r));
	simulated_clock_advance_to(&clock, 1100);
	CHECK(runner_collect(r) == &jobs[0]);
	CHECK_EQ(runner_deadline(r), 1100);
	CHECK(runner_collect(r) == &jobs[1]);
	CHECK(runner_collect(r) == &jobs[2]);
	CHECK_EQ(runner_deadline(r), 1100);            /* the fourth job's turn is due */
	CHECK(!runner_collect(r));
	CHECK_EQ(runner_deadline(r), 1200);
	simulated_clock_advance_to(&clock, 5000);
	CHECK(runner_collect(r) == &jobs[3]);
	CHECK(!runner_collect(r));
	CHECK_EQ(runner_deadline(r), UINT64_MAX);
	CHECK_EQ(w.turns, 2);
	runner_close(r);
}

/* Goal: with no cost the job comes out at once. */
TEST(runner__virtual_time_without_cost)
{
	struct job job = { 7, 0 };
	struct worker w = { .first = 0 };
	struct simulated_clock clock;
	struct runner *r;
	struct runner_options o = { .name = "runner-test", .table = &table, .ctx = &w,
				    .jobs_max = 1 };

	simulated_clock_init(&clock, 0);
	o.clock = &clock.clock;
	CHECK_EQ(runner_open(&r, &o), 0);
	CHECK(runner_submit(r, &job));
	CHECK(runner_collect(r) == &job);
	CHECK_EQ(job.computed, 21);
	runner_close(r);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, runner_open() gives everything back. */
TEST(runner_open__unwinds_every_failure)
{
	uint64_t live = mem_live_blocks();
	struct worker w = { .first = 0 };
	struct runner_options o = { .name = "runner-test", .table = &table, .ctx = &w,
				    .jobs_max = 4, .threaded = true };

	for (int nth = 1; nth < 100; nth++) {
		struct runner *r;
		int rc;

		fault_arm(nth);
		rc = runner_open(&r, &o);
		runner_close(r);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -ENOMEM);
	}
	fault_disarm();
}
#endif
