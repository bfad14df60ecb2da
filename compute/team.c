/* team.c - one ticket word hands out the tasks of one operation at a time.
 *
 * ticket is generation << 32 | tasks left.  Taking a task is one compare-and-swap
 * from n to n - 1, so whoever succeeds holds a task of exactly the generation it
 * saw, and the operation cannot end before it says so: the caller returns only when
 * `done` has reached the number of tasks.  Hence task, ctx and tasks need no lock:
 * they are written before the ticket is (release) and read after it was taken (acquire),
 * and cannot change while a task is held.
 *
 * Every kind of sleep follows one rule: announce, look again, sleep on the futex
 * word, which no longer has the value looked at if something happened in between.
 *
 * A helper that lost its core to another program holds its task until it is given a
 * core again, and all wait.  When that took far longer than a task does, or when a
 * helper was put on the caller's own core, such helpers rest for a while, longer each
 * time it happens again: on a crowded host the team shrinks to those who get to run, and
 * now and then tries whether more can.  Nobody spins on a core that the other needs.
 */
#include "compute/team.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

enum {
	CACHE_LINE = 64,
	/* Longer than what a caller does alone between two operations, far shorter
	 * than the time slice that a neighbour waits for.
	 */
	SPIN_NS = 20000,
	SPINS_PER_LOOK = 16,            /* pauses between looks at the clock */
	/* A wait of LATE_NS and LATE_TASKS times what a task took is lateness. */
	LATE_NS = 100000,
	LATE_TASKS = 4,
	REST_MIN_NS = 4000000,
	REST_MAX_NS = 128000000,
	CALM_RESTS = 4,                 /* no lateness for so many rests: start over */
};

struct helper {
	struct team *team;
	uint32_t worker;
	pthread_t thread;
	bool late;                      /* the caller's note */
	_Atomic bool working;
	_Atomic int core;               /* where it last began to work */
	_Atomic uint32_t resting;       /* 0 or 1; futex of a resting helper */
};

struct team {
	/* Configuration. */
	uint32_t threads;
	uint64_t spin_ns;               /* 0 when threads outnumber cores */
	struct helper *helpers;         /* threads - 1 */
	uint32_t started;

	/* The operation; see the top. */
	void (*task)(void *ctx, uint32_t index, uint32_t worker);
	void *ctx;
	uint32_t tasks;

	/* Who rests; the caller's. */
	uint32_t resting;
	uint64_t rest_ns, rest_until;   /* of the present or last rest */

	alignas(CACHE_LINE) atomic_uint_least64_t ticket;
	alignas(CACHE_LINE) _Atomic uint32_t done;          /* tasks; futex of the caller */
	_Atomic bool caller_sleeps;
	_Atomic int caller_core;
	alignas(CACHE_LINE) _Atomic uint32_t generation;    /* futex of idle helpers */
	_Atomic uint32_t sleepers;
	_Atomic bool stopping;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

/* True once *word is no longer `value` (or, with reached, is it) within the spin. */
static bool spin(const struct team *t, _Atomic uint32_t *word, uint32_t value, bool reached)
{
	uint64_t until = 0;

	for (;;) {
		for (int i = 0; i < SPINS_PER_LOOK; i++) {
			uint32_t now = atomic_load_explicit(word, memory_order_acquire);

			if ((now == value) == reached)
				return true;
			pause_briefly();
		}
		if (!until)
			until = clock_ns(clock_real()) + t->spin_ns;
		else if (clock_ns(clock_real()) >= until)
			return false;
	}
}

/* Takes one task; its index, or UINT32_MAX when none is left. */
static uint32_t take(struct team *t)
{
	uint64_t now = atomic_load_explicit(&t->ticket, memory_order_acquire);

	while ((uint32_t)now)
		if (atomic_compare_exchange_weak_explicit(&t->ticket, &now, now - 1,
							  memory_order_acq_rel,
							  memory_order_acquire))
			return t->tasks - (uint32_t)now;
	return UINT32_MAX;
}

/* Runs tasks until none is left, and reports them done; how many. */
static uint32_t work(struct team *t, uint32_t worker)
{
	uint32_t index, finished = 0;

	while ((index = take(t)) != UINT32_MAX) {
		t->task(t->ctx, index, worker);
		finished++;
	}
	if (!finished)
		return 0;
	atomic_fetch_add(&t->done, finished);
	if (worker != 0 && atomic_load(&t->caller_sleeps))
		futex_wake(&t->done, 1);
	return finished;
}

static void helper_sleep(struct helper *h, uint32_t seen)
{
	struct team *t = h->team;
	bool alone = atomic_load_explicit(&h->core, memory_order_relaxed) !=
		     atomic_load_explicit(&t->caller_core, memory_order_relaxed);

	if (alone && t->spin_ns && spin(t, &t->generation, seen, false))
		return;
	atomic_fetch_add(&t->sleepers, 1);
	while (atomic_load(&t->generation) == seen)
		futex_wait(&t->generation, seen);
	atomic_fetch_sub(&t->sleepers, 1);
}

static void *helper_run(void *arg)
{
	struct helper *h = arg;
	struct team *t = h->team;

	for (;;) {
		uint32_t seen = atomic_load_explicit(&t->generation, memory_order_acquire);

		atomic_store_explicit(&h->core, sched_getcpu(), memory_order_relaxed);
		atomic_store_explicit(&h->working, true, memory_order_relaxed);
		work(t, h->worker);
		atomic_store_explicit(&h->working, false, memory_order_relaxed);
		if (atomic_load_explicit(&t->stopping, memory_order_acquire))
			return NULL;
		if (!atomic_load(&h->resting))
			helper_sleep(h, seen);
		while (atomic_load(&h->resting))
			futex_wait(&h->resting, 1);
	}
}

static void next_generation(struct team *t, uint32_t wanted)
{
	uint32_t sleepers;

	atomic_fetch_add(&t->generation, 1);
	sleepers = atomic_load(&t->sleepers);
	if (sleepers)
		futex_wake(&t->generation, (int)MIN(wanted, INT_MAX));
}

/* Ends all rests. */
static void recall(struct team *t)
{
	for (uint32_t i = 0; i < t->started; i++) {
		struct helper *h = &t->helpers[i];

		if (!atomic_load_explicit(&h->resting, memory_order_relaxed))
			continue;
		atomic_store(&h->resting, 0);
		futex_wake(&h->resting, 1);
	}
	t->resting = 0;
}

/* Sends the late helpers to rest. */
static void rest(struct team *t, uint64_t now_ns)
{
	if (now_ns < t->rest_until + CALM_RESTS * t->rest_ns)
		t->rest_ns = MIN(2 * t->rest_ns, REST_MAX_NS);
	else
		t->rest_ns = REST_MIN_NS;
	t->rest_until = now_ns + t->rest_ns;
	for (uint32_t i = 0; i < t->started; i++) {
		struct helper *h = &t->helpers[i];

		if (!h->late || atomic_load_explicit(&h->resting, memory_order_relaxed))
			continue;
		atomic_store(&h->resting, 1);
		t->resting++;
	}
}

/* Notes who is still at work; true if one of them needs the caller's core to go on. */
static bool note_late(struct team *t)
{
	int core = atomic_load_explicit(&t->caller_core, memory_order_relaxed);
	bool crowded = false;

	for (uint32_t i = 0; i < t->started; i++) {
		struct helper *h = &t->helpers[i];

		h->late = atomic_load_explicit(&h->working, memory_order_relaxed);
		if (h->late && atomic_load_explicit(&h->core, memory_order_relaxed) == core)
			crowded = true;
	}
	return crowded;
}

/* Waits until all tasks are done; the caller took `own` of them in work_ns. */
static void wait_for_helpers(struct team *t, uint32_t own, uint64_t work_ns)
{
	uint64_t began = clock_ns(clock_real()), now;
	bool crowded = note_late(t);
	uint32_t done;

	if (!crowded && t->spin_ns && spin(t, &t->done, t->tasks, true))
		return;
	crowded |= note_late(t);
	atomic_store(&t->caller_sleeps, true);
	while ((done = atomic_load(&t->done)) != t->tasks)
		futex_wait(&t->done, done);
	atomic_store(&t->caller_sleeps, false);
	now = clock_ns(clock_real());
	if (crowded || now - began > LATE_NS + LATE_TASKS * (work_ns / MAX(own, 1)))
		rest(t, now);
}

void team_run(struct team *t, uint32_t tasks,
	      void (*task)(void *ctx, uint32_t index, uint32_t worker), void *ctx)
{
	uint32_t generation, own;
	uint64_t began;

	if (t->resting && clock_ns(clock_real()) >= t->rest_until)
		recall(t);
	if (tasks <= 1 || t->resting == t->threads - 1) {
		for (uint32_t i = 0; i < tasks; i++)
			task(ctx, i, 0);
		return;
	}
	t->task = task;
	t->ctx = ctx;
	t->tasks = tasks;
	atomic_store_explicit(&t->done, 0, memory_order_relaxed);
	generation = atomic_load_explicit(&t->generation, memory_order_relaxed) + 1;
	atomic_store_explicit(&t->ticket, (uint64_t)generation << 32 | tasks,
			      memory_order_release);
	atomic_store_explicit(&t->caller_core, sched_getcpu(), memory_order_relaxed);
	next_generation(t, tasks - 1);
	began = clock_ns(clock_real());
	own = work(t, 0);
	if (atomic_load_explicit(&t->done, memory_order_acquire) != tasks)
		wait_for_helpers(t, own, clock_ns(clock_real()) - began);
}

uint32_t team_threads(const struct team *t)
{
	return t->threads;
}

uint32_t team_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return (uint32_t)MAX(1, sysconf(_SC_NPROCESSORS_ONLN));
	return (uint32_t)MAX(CPU_COUNT(&set), 1);
}

int team_size(uint32_t asked, struct error *e)
{
	if (asked > TEAM_THREADS_MAX)
		return error_set(e, -EINVAL, "%u threads were asked for; at most %d are possible",
				 asked, TEAM_THREADS_MAX);
	return (int)(asked ? asked : team_cores());
}

int team_open(struct team **out, uint32_t threads)
{
	struct team *t;
	int rc = 0;

	assert(threads > 0);
	t = mem_aligned(CACHE_LINE, sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = (struct team){
		.threads = threads,
		.spin_ns = threads <= team_cores() ? SPIN_NS : 0,
		.caller_core = -1,
	};
	t->helpers = mem_calloc(threads, sizeof(*t->helpers));
	if (!t->helpers) {
		mem_free(t);
		return -ENOMEM;
	}
	for (; t->started < threads - 1; t->started++) {
		struct helper *h = &t->helpers[t->started];

		*h = (struct helper){ .team = t, .worker = t->started + 1 };
		rc = fault_here() ? EAGAIN : pthread_create(&h->thread, NULL, helper_run, h);
		if (rc)
			goto err_helpers;
	}
	*out = t;
	return 0;

err_helpers:
	team_close(t);
	return -rc;
}

void team_close(struct team *t)
{
	if (!t)
		return;
	atomic_store(&t->stopping, true);
	recall(t);
	next_generation(t, t->threads);
	for (uint32_t i = 0; i < t->started; i++)
		pthread_join(t->helpers[i].thread, NULL);
	mem_free(t->helpers);
	mem_free(t);
}
