/* runner.h - a thread that computes, beside the core that talks.
 *
 * Jobs go in through one ring and come out through another; whatever batches
 * them is behind a table.  Jobs that arrive together should run together, so the thread
 * sees none of them before runner_flush(): else the first would run alone, and those behind it
 * would follow it at a distance for ever.  Without a thread (simulations) the same jobs run
 * in runner_collect(), and come out after a virtual cost.
 *
 * Threads    One core submits and collects; table functions run in the runner's thread
 *            (or the core's, without one).  wake() is called from the runner's thread.
 * Ownership  A job belongs to the runner from submit until collect returns it.
 * Units      _ns.
 * Errors     runner_open(): -ENOMEM, -EAGAIN.  runner_submit(): false when the ring is full.
 */
#ifndef PETALS_COMPUTE_RUNNER_H
#define PETALS_COMPUTE_RUNNER_H

#include "dataplane/base/clock.h"
#include "dataplane/base/types.h"

struct runner;

struct runner_table {
	void (*submit)(void *ctx, void *job);
	/* One batch; calls done(done_ctx, job) for each job it finished.  Returns
	 * whether work is left.
	 */
	bool (*turn)(void *ctx, void (*done)(void *done_ctx, void *job), void *done_ctx);
};

struct runner_options {
	const char *name;                   /* thread name, <= 15 bytes */
	const struct runner_table *table;
	void *ctx;
	void (*wake)(void *wake_ctx);       /* jobs are ready to collect */
	void *wake_ctx;
	uint32_t jobs_max;                  /* in flight; a power of two */
	bool threaded;
	const struct clock *clock;
	uint64_t cost_ns;                   /* virtual, per turn; without a thread only */
};

int runner_open(struct runner **out, const struct runner_options *o);
/* Finishes what was submitted, ready to be collected, and takes nothing more. */
void runner_finish(struct runner *r);
void runner_close(struct runner *r);        /* finishes, too; NULL is fine */
bool runner_submit(struct runner *r, void *job);
/* To be called once in each turn of the core.  Lets the thread see what was submitted, as soon
 * as a turn has added nothing to it or `most` jobs are in flight, which is all there can be;
 * until then runner_deadline() asks for another turn at once.
 */
void runner_flush(struct runner *r, uint32_t most);
/* The next finished job, NULL when none. */
void *runner_collect(struct runner *r);
/* With a thread: at once while something is to be flushed.  Without one: when the next turn or
 * completion is due.  Else UINT64_MAX.
 */
uint64_t runner_deadline(const struct runner *r);

/* Without a thread: what turns cost from now on. */
void runner_set_cost(struct runner *r, uint64_t cost_ns);

#endif
