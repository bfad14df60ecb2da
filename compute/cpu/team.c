/* team.c - one ticket word hands out the tasks of one operation at a time.
 *
 * ticket is generation << 32 | tasks left.  Taking a task is one compare-and-swap
 * from n to n - 1, so whoever succeeds holds a task of exactly the generation it
 * saw, and the operation cannot end before it says so: the caller returns only when
 * `done` has reached the number of tasks.  Hence task, ctx and tasks need no lock:
 * they are written before the ticket is (release) and read after it was taken (acquire),
 * and cannot change while a task is held.
 *
 * Both kinds of sleep follow one rule: announce, look again, sleep on the futex
 * word, which no longer has the value looked at if something happened in between.
 */
#include "compute/cpu/team.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "compute/cpu/kernels.h"
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
};

struct helper {
	struct team *team;
	uint32_t worker;
	pthread_t thread;
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

	alignas(CACHE_LINE) atomic_uint_least64_t ticket;
	alignas(CACHE_LINE) _Atomic uint32_t done;          /* tasks; futex of the caller */
	_Atomic bool caller_sleeps;
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
		if (!t->spin_ns)
			return false;
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

/* Runs tasks until none is left, and reports them done. */
static void work(struct team *t, uint32_t worker)
{
	uint32_t index, finished = 0;

	while ((index = take(t)) != UINT32_MAX) {
		t->task(t->ctx, index, worker);
		finished++;
	}
	if (!finished)
		return;
	atomic_fetch_add(&t->done, finished);
	if (worker != 0 && atomic_load(&t->caller_sleeps))
		futex_wake(&t->done, 1);
}

static void *helper_run(void *arg)
{
	struct helper *h = arg;
	struct team *t = h->team;

	kernels_thread_init();
	for (;;) {
		uint32_t seen = atomic_load_explicit(&t->generation, memory_order_acquire);

		work(t, h->worker);
		if (atomic_load_explicit(&t->stopping, memory_order_acquire))
			return NULL;
		if (spin(t, &t->generation, seen, false))
			continue;
		atomic_fetch_add(&t->sleepers, 1);
		while (atomic_load(&t->generation) == seen)
			futex_wait(&t->generation, seen);
		atomic_fetch_sub(&t->sleepers, 1);
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

void team_run(struct team *t, uint32_t tasks,
	      void (*task)(void *ctx, uint32_t index, uint32_t worker), void *ctx)
{
	uint32_t done, generation;

	if (tasks <= 1 || t->threads == 1) {
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
	next_generation(t, tasks - 1);
	work(t, 0);
	if (spin(t, &t->done, tasks, true))
		return;
	atomic_store(&t->caller_sleeps, true);
	while ((done = atomic_load(&t->done)) != tasks)
		futex_wait(&t->done, done);
	atomic_store(&t->caller_sleeps, false);
}

uint32_t team_threads(const struct team *t)
{
	return t->threads;
}

static uint32_t cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return (uint32_t)MAX(1, sysconf(_SC_NPROCESSORS_ONLN));
	return (uint32_t)CPU_COUNT(&set);
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
		.spin_ns = threads <= cores() ? SPIN_NS : 0,
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
	next_generation(t, t->threads);
	for (uint32_t i = 0; i < t->started; i++)
		pthread_join(t->helpers[i].thread, NULL);
	mem_free(t->helpers);
	mem_free(t);
}
