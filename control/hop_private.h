/* hop_private.h - what hop.c (life of a hop), hop_step.c (its steps) and hops.c (the table
 * and the messages) share.
 *
 * Threads    The node's core thread.
 * Ownership  struct hops owns its hops; a hop owns its sequence, boundary and running steps.
 * Units      As hop.h.
 * Errors     As hop.h.
 */
#ifndef PETALS_CONTROL_HOP_PRIVATE_H
#define PETALS_CONTROL_HOP_PRIVATE_H

#include "control/boundary.h"
#include "control/hop.h"
#include "control/view.h"
#include "dataplane/base/map.h"
#include "dataplane/base/pool.h"

enum hop_state { HOP_NEW, HOP_WAITING, HOP_DIALING, HOP_READY, HOP_SEVERED, HOP_CLOSED };

struct hop {
	struct hops *hops;
	struct hop *newer, *older;      /* all hops, in order of arrival */
	enum hop_state state;
	uint64_t session;
	uint32_t client;                /* peer that opened it and hears of it */
	uint8_t index;                  /* in the route, for messages */
	uint32_t epoch;                 /* of the boundary before us; only rises */
	uint32_t first, end;            /* blocks */
	uint32_t tokens_max;
	uint64_t deadline_ns;           /* of a waiting OPEN */
	bool pass_replay;

	struct sequence *sequence;
	struct boundary *out;
	uint64_t history_bytes;         /* reserved from the budget */
	uint32_t received;              /* position after the last step taken in */
	uint32_t running;               /* steps in the runner */

	bool last;                      /* answers the client */
	struct address next;
	uint32_t next_link;             /* node link, 0: none */
	uint32_t next_epoch;
	bool expects;                   /* the next hop's silence counts, until: */
	uint64_t expects_until_ns;
	uint32_t replay_end;            /* of the REROUTE being carried out */
};

/* A step in the runner. */
struct step {
	struct work work;
	struct hop *hop;                /* NULL: the canary */
	struct message *message;        /* rows read in place; put when done */
	struct boundary_step out;
};

enum hops_counter {
	HOPS_OPENS, HOPS_REFUSED, HOPS_STEPS, HOPS_ROWS, HOPS_REPEATED, HOPS_REPLAYED_ROWS,
	HOPS_REROUTES, HOPS_LOST, HOPS_SESSIONS, HOPS_WAITING_OPENS, HOPS_PAGES, HOPS_PAGES_HELD,
	HOPS_PAGES_FREE, HOPS_HISTORY, HOPS_QUEUE_SECONDS, HOPS_COMPUTE_SECONDS, HOPS_BATCH_ROWS,
	HOPS_RUNNING, HOPS_WEIGHTS, HOPS_PAGE, HOPS_COUNTERS
};

struct hops {
	struct hops_options options;
	const struct span_info *info;
	uint64_t identity;                   /* what an OPEN must ask for */
	struct kvcache *cache;
	struct scheduler *scheduler;
	struct runner *runner;
	struct map *by_session;
	struct pool *hop_pool, *step_pool;
	struct hop *oldest, *newest;
	uint32_t waiting;               /* hops in HOP_WAITING */
	uint64_t history_reserved;
	uint32_t running, running_rows; /* steps in the runner, and theirs */
	double step_us;                 /* smoothed */
	double canary_us;               /* what one step took when nothing was warm */
	uint64_t progress_ns;           /* a step came out, or the first one went in */
	uint64_t expects_check_ns;
	bool draining;
	bool lost;                      /* the device */
	struct counters *counters;
	uint32_t series_steps[2], series_rows[2];   /* decode, prefill */
	uint32_t row_bytes;

	void (*canary_done)(void *ctx, int status);
	void *canary_ctx;
};

/* hop.c */
int hop_open(struct hops *h, const struct message *m);   /* an OPEN; refuses by itself */
void hop_try_waiting(struct hops *h);                    /* room may have come free */
uint64_t hop_expire_waiting(struct hops *h, uint64_t now_ns); /* next deadline */
void hop_close(struct hop *hop);
void hop_reap(struct hop *hop);                          /* frees a closed one without steps */
void hop_reroute(struct hop *hop, const struct message *m);
void hop_next_up(struct hop *hop);
/* Rows went to the next hop: for a while its silence means that it is lost. */
void hop_expect_next(struct hop *hop);
void hop_unexpect_next(struct hop *hop);
void hop_next_lost(struct hop *hop, const char *reason);
void hop_check(const struct hop *hop);
struct hop *hop_find(const struct hops *h, uint64_t session);
void hop_refuse(struct hops *h, const struct message *m, enum wire_refusal refusal,
		uint32_t expected, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void hop_tell(const struct hop *hop, enum wire_type type, uint32_t epoch, const void *payload,
	      uint32_t bytes);

/* hop_step.c */
void hop_step(struct hops *h, struct message *m);        /* takes m */
int hop_collect(struct hops *h);                         /* finished steps; their number */

#endif
