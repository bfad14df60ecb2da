/* completion.h - one API request in progress: its prompts x n choices as generations, whose
 * words are collected, or streamed as they come.
 *
 *   from       to          by                         the client has seen
 *   -          WAITING     completion_open()          nothing
 *   WAITING    RUNNING     the first choice started   nothing yet
 *   RUNNING    STREAMING   a first token (stream)     200 and some chunks
 *   any        ENDED       all choices finished, a    the answer's end, or an error: its own
 *                          failure, the client gone   status before the stream, an event in it
 *
 * The status is sent as late as can be, so that what fails before its first token has a
 * status that says so.
 *
 * Threads    completion_open() in the HTTP thread, the rest in the core's.
 * Ownership  completion_open() takes the request and the exchange when it succeeds;
 *            completion_close() frees.  Generations are closed by completion_reap() only, so
 *            that none is closed inside its own event.
 * Units      Choices; _ns.
 * Errors     Go to the client; see api_fault.h.
 */
#ifndef PETALS_CONTROL_COMPLETION_H
#define PETALS_CONTROL_COMPLETION_H

#include "control/completion_request.h"
#include "control/generation.h"

struct completion;

struct completion_shared {
	struct generations *generations;
	const struct served_model *model;
	const struct clock *clock;
	uint64_t fingerprint;
	/* A choice finished or the completion ended: something can be reaped.  Any thread. */
	void (*changed)(void *ctx);
	/* The client hung up; from the HTTP thread. */
	void (*hung_up)(void *ctx);
	void *ctx;
};

struct completion_times {
	uint64_t accepted_ns, started_ns, ended_ns;     /* 0: not yet */
};

/* client_id: what the client calls the request, for the log; NULL is fine. */
int completion_open(struct completion **out, const struct completion_shared *s,
		    struct completion_request *r, struct http_exchange *x,
		    const char *client_id, uint64_t deadline_ns);
void completion_close(struct completion *c);             /* NULL is fine; must have ended */

uint32_t completion_choices(const struct completion *c);
uint32_t completion_waiting(const struct completion *c); /* choices not started */
uint32_t completion_running(const struct completion *c); /* generations open */
uint64_t completion_deadline(const struct completion *c);
bool completion_ended(const struct completion *c);
int completion_status(const struct completion *c);       /* 200, or a fault's; 0 before */
struct completion_times completion_times(const struct completion *c);

/* Starts the next choice.  -EBUSY: no generation is free, try later; other failures have
 * ended the completion.
 */
int completion_start(struct completion *c);
/* Ends it with an error, unless it has ended. */
void completion_fail(struct completion *c, int code, const char *reason);
/* Closes finished generations, all of them once it has ended. */
void completion_reap(struct completion *c);

#endif
