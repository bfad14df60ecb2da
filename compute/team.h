/* team.h - threads that split one operation at a time, on a shared host.
 *
 * team_run() cuts an operation into tasks that the caller and its helpers take
 * one by one from an atomic counter, so a late or descheduled helper costs at
 * most the task it holds.  Whoever waits spins for a few microseconds, then
 * sleeps (futex), so the Linux kernel can run the late thread on the freed core.
 * Idle teams sleep.  With one thread no helper exists.  Helpers have the floating
 * point environment that team_open()'s caller had.
 *
 * Threads    One thread at a time calls team_run().
 * Ownership  team_open() / team_close().
 * Units      Tasks.
 * Errors     team_open(): -ENOMEM, -EAGAIN; team_size(): -EINVAL with a sentence.
 */
#ifndef PETALS_COMPUTE_TEAM_H
#define PETALS_COMPUTE_TEAM_H

#include "dataplane/base/error.h"

enum { TEAM_THREADS_MAX = 1024 };

struct team;

/* Cores that this process may use. */
uint32_t team_cores(void);
/* How many threads --threads means: as many, or for 0 one per core. */
int team_size(uint32_t asked, struct error *e);

int team_open(struct team **out, uint32_t threads);
void team_close(struct team *t);                        /* NULL is fine */
uint32_t team_threads(const struct team *t);

/* Calls task(ctx, i, worker) for every i in [0, tasks); worker < threads names
 * the calling thread (for scratch memory).  Returns when all are done.
 */
void team_run(struct team *t, uint32_t tasks,
	      void (*task)(void *ctx, uint32_t index, uint32_t worker), void *ctx);

#endif
