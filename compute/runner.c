/* runner.c - the thread beside the core, or its stand-in in simulations.
 *
 * The thread sleeps on `signals`, a futex that every flush advances; the
 * system call is made only when it says that it sleeps.  Because at most
 * jobs_max jobs are between submit and collect, neither ring can overflow.
 */
#include "compute/runner.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/base/memory.h"
#include "dataplane/base/ring.h"

struct runner {
	struct runner_options options;
	struct ring *in, *out;
	uint32_t in_flight;             /* the core's */
	bool finished;                  /* likewise: nothing more is taken */

	/* with a thread */
	void **held;                    /* the core's: submitted, not flushed */
	uint32_t held_count, held_before;       /* now, and at the last flush that waited */
	pthread_t thread;
	_Atomic uint32_t signals;
	atomic_bool sleeping, stopping;
	bool done_any;                  /* the thread's: wake() is owed */

	/* without one */
	struct ring *computed;          /* come out at due_ns */
	bool busy, work_left;
	uint64_t due_ns;
};

static void thread_done(void *ctx, void *job)
{
	struct runner *r = ctx;
	bool pushed = ring_push(r->out, job);

	assert(pushed);
	r->done_any = true;
}

static void sleep_until_signal(struct runner *r, uint32_t seen)
{
	atomic_store(&r->sleeping, true);
	if (atomic_load(&r->signals) == seen)
		(void)syscall(SYS_futex, &r->signals, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	atomic_store(&r->sleeping, false);
}

static void signal_thread(struct runner *r)
{
	atomic_fetch_add(&r->signals, 1);
	if (atomic_load(&r->sleeping))
		(void)syscall(SYS_futex, &r->signals, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static bool take_jobs(struct runner *r)
{
	const struct runner_options *o = &r->options;
	bool any = false;
	void *job;

	while ((job = ring_pop(r->in))) {
		o->table->submit(o->ctx, job);
		any = true;
	}
	return any;
}

static void *thread_main(void *ctx)
{
	struct runner *r = ctx;
	const struct runner_options *o = &r->options;
	bool left = false;

	(void)pthread_setname_np(pthread_self(), o->name);
	for (;;) {
		uint32_t seen = atomic_load(&r->signals);
		bool stopping = atomic_load(&r->stopping);

		if (take_jobs(r) || left) {
			left = o->table->turn(o->ctx, thread_done, r);
			if (r->done_any && o->wake)
				o->wake(o->wake_ctx);
			r->done_any = false;
		} else if (stopping) {
			return NULL;
		} else {
			sleep_until_signal(r, seen);
		}
	}
}

int runner_open(struct runner **out, const struct runner_options *o)
{
	struct runner *r;
	int rc;

	*out = NULL;
	assert(o->table && strlen(o->name) <= 15);
	r = mem_calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->options = *o;
	rc = ring_open(&r->in, o->jobs_max);
	if (rc < 0)
		goto err_runner;
	rc = ring_open(&r->out, o->jobs_max);
	if (rc < 0)
		goto err_in;
	rc = ring_open(&r->computed, o->jobs_max);
	if (rc < 0)
		goto err_out;
	r->held = mem_calloc(o->jobs_max, sizeof(*r->held));
	rc = r->held ? 0 : -ENOMEM;
	if (rc == 0 && o->threaded)
		rc = -pthread_create(&r->thread, NULL, thread_main, r);
	if (rc < 0)
		goto err_held;
	*out = r;
	return 0;

err_held:
	mem_free(r->held);
	ring_close(r->computed);
err_out:
	ring_close(r->out);
err_in:
	ring_close(r->in);
err_runner:
	mem_free(r);
	return rc;
}

static void computed_done(void *ctx, void *job)
{
	struct runner *r = ctx;
	bool pushed = ring_push(r->computed, job);

	assert(pushed);
}

/* Lets everything that was computed come out, whatever its virtual cost. */
static void finish_inline(struct runner *r)
{
	void *job;

	while (take_jobs(r) || r->work_left)
		r->work_left = r->options.table->turn(r->options.ctx, computed_done, r);
	while ((job = ring_pop(r->computed)))
		thread_done(r, job);
	r->busy = false;
}

static void flush(struct runner *r)
{
	for (uint32_t i = 0; i < r->held_count; i++) {
		bool pushed = ring_push(r->in, r->held[i]);

		assert(pushed);
	}
	r->held_count = r->held_before = 0;
}

void runner_finish(struct runner *r)
{
	if (r->finished)
		return;
	r->finished = true;
	if (r->options.threaded) {
		flush(r);
		atomic_store(&r->stopping, true);
		signal_thread(r);
		pthread_join(r->thread, NULL);
	} else {
		finish_inline(r);
	}
}

void runner_close(struct runner *r)
{
	if (!r)
		return;
	runner_finish(r);
	mem_free(r->held);
	ring_close(r->computed);
	ring_close(r->out);
	ring_close(r->in);
	mem_free(r);
}

bool runner_submit(struct runner *r, void *job)
{
	if (r->finished || r->in_flight == r->options.jobs_max)
		return false;
	if (r->options.threaded)
		r->held[r->held_count++] = job;
	else if (!ring_push(r->in, job))
		return false;
	r->in_flight++;
	return true;
}

void runner_flush(struct runner *r, uint32_t most)
{
	if (r->held_count == 0)
		return;
	if (r->held_count != r->held_before && r->in_flight < most) {
		r->held_before = r->held_count;
		return;
	}
	flush(r);
	signal_thread(r);
}

/* Starts the turn that is due, lets a computed one come out. */
static void advance(struct runner *r, uint64_t now_ns)
{
	void *job;

	for (;;) {
		if (r->busy) {
			if (now_ns < r->due_ns)
				return;
			r->busy = false;
			while ((job = ring_pop(r->computed)))
				thread_done(r, job);
		}
		if (ring_length(r->out) > 0 || (!take_jobs(r) && !r->work_left))
			return;
		r->work_left = r->options.table->turn(r->options.ctx, computed_done, r);
		r->busy = true;
		r->due_ns = now_ns + r->options.cost_ns;
	}
}

void *runner_collect(struct runner *r)
{
	void *job;

	if (!r->options.threaded && !r->finished)
		advance(r, clock_ns(r->options.clock));
	job = ring_pop(r->out);
	if (job)
		r->in_flight--;
	return job;
}

uint64_t runner_deadline(const struct runner *r)
{
	if (r->options.threaded)
		return r->held_count ? 0 : UINT64_MAX;
	if (ring_length(r->out) > 0)
		return clock_ns(r->options.clock);
	if (r->busy)
		return r->due_ns;
	if (r->work_left || ring_length(r->in) > 0)
		return clock_ns(r->options.clock);
	return UINT64_MAX;
}

void runner_set_cost(struct runner *r, uint64_t cost_ns)
{
	r->options.cost_ns = cost_ns;
}
