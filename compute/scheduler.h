/* scheduler.h - which sequences step together on a span.
 *
 * Work is one step of one sequence.  A batch takes every decode step (one row)
 * that is ready at the block range which waited longest, then prefill rows, oldest
 * first, within rows_max, splitting long steps into chunks; a sequence's works run in
 * the order they came.  While decode steps wait, a batch takes at most
 * prefill_rows of prefill, so that prompts do not starve tokens; where decode
 * steps alone would fill every batch, every other one keeps a place for prefill.
 * When a work fails, the works of its sequence that wait behind it fail with it.
 *
 * Threads    One thread owns a scheduler (a runner's, or a simulation's).
 * Ownership  A submitted work belongs to the scheduler until scheduler_turn()
 *            returns it.
 * Units      Rows; _ns.
 * Errors     work->status: 0 or the backend's -errno.
 */
#ifndef PETALS_COMPUTE_SCHEDULER_H
#define PETALS_COMPUTE_SCHEDULER_H

#include "compute/backend.h"
#include "compute/kvcache.h"
#include "dataplane/base/clock.h"

struct work {
	/* set by the submitter */
	struct sequence *sequence;      /* extended over position + rows already */
	uint32_t first, end;            /* blocks */
	uint32_t position, rows;
	const void *in;
	void *out;
	uint32_t out_rows;              /* last rows wanted in out, 0..rows */
	enum row_encoding in_encoding, out_encoding;
	void *owner;

	/* set by the scheduler */
	int status;
	uint64_t queued_ns, started_ns, finished_ns;
	uint32_t batch_rows;            /* of the last batch it ran in */
	uint32_t done_rows;
	uint64_t turn;                  /* its range was last passed over or served then */
	bool blocked;                   /* an earlier work of its sequence is not finished */
	struct work *next;
};

struct scheduler_options {
	const struct backend *backend;
	struct span *span;
	const struct clock *clock;
	uint32_t rows_max;              /* of a batch, as the span was opened with */
	uint32_t entries_max;
	uint32_t prefill_rows;          /* of a batch that also has decode steps */
};

struct scheduler;

int scheduler_open(struct scheduler **out, const struct scheduler_options *o);
void scheduler_close(struct scheduler *s);               /* NULL is fine; must be empty */
void scheduler_submit(struct scheduler *s, struct work *w);
/* Runs one batch.  Returns the list of works it finished, in order of
 * submission, NULL when none; *ran says how many rows were run.
 */
struct work *scheduler_turn(struct scheduler *s, uint32_t *ran);
uint32_t scheduler_waiting(const struct scheduler *s);   /* works not finished */

#endif
