/* team_test.c - every task runs once, on threads of the team, and a team comes and goes
 * without a trace.
 */
#include "compute/team.h"

#include <errno.h>
#include <fenv.h>
#include <stdatomic.h>
#include <time.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

enum { TASKS_MAX = 64 };

struct tally {
	atomic_int runs[TASKS_MAX];
	atomic_int bad_worker;
	uint32_t threads;
	uint32_t plain;                 /* written by the caller between operations */
	atomic_int torn;
	uint32_t expected;
	bool slow;
};

static void count(void *ctx, uint32_t index, uint32_t worker)
{
	struct tally *t = ctx;

	if (worker >= t->threads)
		atomic_fetch_add(&t->bad_worker, 1);
	if (t->plain != t->expected)
		atomic_fetch_add(&t->torn, 1);
	if (t->slow && index % 3 == 0)
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	atomic_fetch_add(&t->runs[index], 1);
}

static void run_many(uint32_t threads, int operations, bool slow)
{
	static struct tally tally;
	struct team *t;

	memset(&tally, 0, sizeof(tally));
	tally.threads = threads;
	tally.slow = slow;
	CHECK_EQ(team_open(&t, threads), 0);
	CHECK_EQ(team_threads(t), threads);
	for (int i = 0; i < operations; i++) {
		uint32_t tasks = (uint32_t)(i * 7) % (TASKS_MAX + 1);

		tally.plain = tally.expected = (uint32_t)i;
		team_run(t, tasks, count, &tally);
		for (uint32_t j = 0; j < TASKS_MAX; j++) {
			CHECK_EQ(tally.runs[j], j < tasks);
			tally.runs[j] = 0;
		}
	}
	CHECK_EQ(tally.bad_worker, 0);
	CHECK_EQ(tally.torn, 0);
	team_close(t);
}

/* Goal: whatever the number of tasks and threads, each task of each operation runs
 * exactly once, and team_run() returns after the last; also with more threads than cores.
 */
TEST(team_run__runs_each_task_once)
{
	run_many(1, 200, false);
	run_many(2, 4000, false);
	run_many(3, 1000, false);
	run_many(9, 300, false);
}

/* Goal: the same when helpers and caller outlast their spins and sleep. */
TEST(team_run__survives_sleep)
{
	run_many(2, 30, true);
	run_many(4, 30, true);
}

static void dawdle(void *ctx, uint32_t index, uint32_t worker)
{
	if (worker != 0)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	count(ctx, index, worker);
}

/* Goal: nothing is lost while late helpers are sent to rest and called back, nor when the
 * team is closed meanwhile.
 */
TEST(team_run__outlasts_late_helpers)
{
	static struct tally tally;
	struct team *t;

	memset(&tally, 0, sizeof(tally));
	tally.threads = 3;
	CHECK_EQ(team_open(&t, 3), 0);
	for (int i = 0; i < 40; i++) {
		team_run(t, 20, dawdle, &tally);
		for (uint32_t j = 0; j < 20; j++)
			CHECK_EQ(tally.runs[j], i + 1);
		if (i % 8 == 7)
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	CHECK_EQ(tally.bad_worker, 0);
	team_close(t);
}

/* Goal: a helper that went to sleep wakes for the next operation and for the end. */
TEST(team_run__wakes_an_idle_team)
{
	static struct tally tally;
	struct team *t;

	memset(&tally, 0, sizeof(tally));
	tally.threads = 3;
	CHECK_EQ(team_open(&t, 3), 0);
	for (int i = 0; i < 10; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
		team_run(t, 5, count, &tally);
		for (uint32_t j = 0; j < 5; j++)
			CHECK_EQ(tally.runs[j], i + 1);
	}
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	team_close(t);
	team_close(NULL);
}

struct roundings {
	atomic_int of[TASKS_MAX];       /* fegetround() by worker, -1: ran nothing */
	atomic_int arrived;
};

/* No worker takes a second task before all have one. */
static void note_rounding(void *ctx, uint32_t index, uint32_t worker)
{
	struct roundings *r = ctx;

	r->of[worker] = fegetround();
	atomic_fetch_add(&r->arrived, 1);
	while (r->arrived < 3)
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
}

/* Goal: helpers compute as whoever opened the team did then: the bits of a sum do not depend on
 * who adds.
 */
TEST(team_open__hands_its_floating_point_environment_on)
{
	struct roundings r = { .of = { -1, -1, -1 } };
	struct team *t;

	fesetround(FE_UPWARD);
	CHECK_EQ(team_open(&t, 3), 0);
	fesetround(FE_TONEAREST);
	team_run(t, 3, note_rounding, &r);
	CHECK_EQ(r.of[0], FE_TONEAREST);
	CHECK_EQ(r.of[1], FE_UPWARD);
	CHECK_EQ(r.of[2], FE_UPWARD);
	team_close(t);
}

/* Goal: 0 is one thread per core, and too many are refused with both numbers. */
TEST(team_size__as_asked_or_one_per_core)
{
	struct error e = { 0 };

	CHECK(team_cores() >= 1);
	CHECK_EQ(team_size(0, &e), team_cores());
	CHECK_EQ(team_size(7, &e), 7);
	CHECK_EQ(team_size(TEAM_THREADS_MAX, &e), TEAM_THREADS_MAX);
	CHECK_EQ(team_size(TEAM_THREADS_MAX + 1, &e), -EINVAL);
	CHECK(strstr(e.text, "1025 threads") && strstr(e.text, "1024"));
}

/* Goal: whichever step of opening fails, nothing stays behind. */
TEST(team_open__unwinds_every_failure)
{
#ifdef PETALS_FAULTS
	uint64_t before = mem_live_blocks();
	int nth;

	for (nth = 1;; nth++) {
		struct team *t = NULL;
		int rc;

		fault_arm(nth);
		rc = team_open(&t, 4);
		if (!fault_fired()) {
			fault_disarm();
			CHECK_EQ(rc, 0);
			team_close(t);
			break;
		}
		CHECK(rc == -ENOMEM || rc == -EAGAIN);
		CHECK_EQ(mem_live_blocks(), before);
	}
	CHECK_EQ(nth, 6);               /* team, helpers, three threads, success */
	CHECK_EQ(mem_live_blocks(), before);
#else
	SKIP("built without fault injection");
#endif
}
