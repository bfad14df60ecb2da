/* session_private.h - what session.c (one session's life), session_repair.c (its route) and
 * sessions.c (the table, messages, bans, warm links) share.
 *
 * Threads    The node's core thread.
 * Ownership  struct sessions owns its sessions; a session owns its boundary and slots.
 * Units      As session.h.
 * Errors     As session.h.
 */
#ifndef PETALS_CONTROL_SESSION_PRIVATE_H
#define PETALS_CONTROL_SESSION_PRIVATE_H

#include "control/boundary.h"
#include "control/session.h"
#include "dataplane/base/map.h"
#include "dataplane/base/pool.h"
#include "dataplane/base/random.h"

enum session_state {
	SESSION_ROUTING, SESSION_OPENING, SESSION_READY, SESSION_FAILED, SESSION_CLOSED
};

enum slot_state {
	SLOT_NEW,          /* OPEN not sent: its link is not up yet */
	SLOT_OPENING,      /* OPEN sent */
	SLOT_OPEN,         /* OPENED heard */
	SLOT_LOST,         /* to be replaced */
};

/* One hop of the route as the client keeps it. */
struct slot {
	struct route_hop hop;
	enum slot_state state;
	bool leaving;               /* drains: replaced as soon as someone else can */
	uint32_t since;             /* rows given when it took its place; until a later one's
				     * result is back, its cache may lack some */
	bool expected;              /* counted in transport_expect() */
	uint32_t peer;              /* node link, 0: none */
	uint32_t epoch;             /* of the boundary before it */
	uint32_t told_epoch;        /* of the boundary after it, as it was last told */
};

struct session {
	struct sessions *table;
	struct session *next;
	struct session_options options;
	enum session_state state;
	uint64_t id;
	bool opened;                /* the opened event fired */
	bool unproven;              /* no result yet since hops were replaced */
	bool desperate;             /* route by banned servers whose link is up, too */

	struct slot slots[ROUTE_HOPS_MAX];
	uint32_t slot_count;
	char kind[MEMBER_KIND_BYTES];   /* fixed by the first route */
	uint32_t epoch;             /* last one given to a boundary */

	struct boundary *out;
	uint32_t told_epoch;        /* the epoch our boundary was last aimed with */
	uint32_t position;          /* rows given */
	uint32_t wanted_end;        /* end of the last wanted step */
	uint32_t confirmed;         /* end of the last result */
	uint32_t step;              /* number of the last step */
	uint64_t step_started_ns;

	uint64_t retry_ns;          /* ROUTING: look again then */
	uint64_t repair_started_ns; /* 0: not repairing */
	char reason[WIRE_REASON_BYTES]; /* why the last hop was lost, or what is missing */
	struct session_stats stats;
};

/* A server we keep a link to, so that its round trip is known and a repair need not dial. */
struct warm {
	uint64_t server;
	uint32_t peer;              /* 0: to be dialed again */
	uint32_t routed;            /* slots of ours on it */
	uint32_t failures;          /* since a result last came through it */
	uint64_t banned_until_ns;
	bool present;               /* in the view */
};

enum sessions_counter {
	SESSIONS_OPENED, SESSIONS_FAILED, SESSIONS_OPEN, SESSIONS_STEPS, SESSIONS_REPAIRS,
	SESSIONS_REPAIR_SECONDS, SESSIONS_STEP_SECONDS, SESSIONS_QUEUE_SECONDS,
	SESSIONS_COMPUTE_SECONDS, SESSIONS_WIRE_SECONDS, SESSIONS_REPEATED, SESSIONS_HOPS,
	SESSIONS_COUNTERS
};

struct sessions {
	struct sessions_options options;
	struct random random;
	struct map *by_id;
	struct pool *pool;
	struct session *list;       /* newest first; closed ones go at the next poll */
	uint32_t closed;            /* how many of the list are closed */
	uint64_t check_ns;          /* when the next session has something to check */
	struct warm *warm;
	uint32_t warm_count;
	uint64_t warm_check_ns;
	struct counters *counters;
};

/* session.c */
void session_fail(struct session *s, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void session_advance(struct session *s);    /* does whatever can be done next */
void session_check(const struct session *s);
void session_result(struct session *s, const struct message *m);
void session_expect(struct session *s);
uint64_t session_due(const struct session *s);

/* session_repair.c */
void session_slot_lost(struct session *s, struct slot *slot, const char *reason,
		       uint64_t ban_ns);
bool session_find_hops(struct session *s);  /* false: some blocks have no hop yet */
void session_open_slots(struct session *s);
void session_tell_slots(struct session *s); /* all are open: who sends to whom now */
void session_drop_slot(struct session *s, struct slot *slot);

/* sessions.c */
struct warm *warm_find(struct sessions *t, uint64_t server);
void warm_ban(struct sessions *t, struct warm *w, uint64_t ban_ns);
void sessions_check_at(struct sessions *t, uint64_t when_ns);

#endif
