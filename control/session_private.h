/* session_private.h - what session.c (one session's life), session_repair.c (its route),
 * session_move.c (hops that leave, one by one, while steps flow) and sessions.c (the table,
 * messages, bans, warm links) share.
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

enum { MOVE_HOPS_MAX = 8 };         /* that one leaving hop may be replaced by */

/* Why a hop is replaced as soon as someone else has opened its blocks. */
enum leave { LEAVE_NOT, LEAVE_DRAINS, LEAVE_SLOW };

/* One hop of the route as the client keeps it. */
struct slot {
	struct route_hop hop;
	enum slot_state state;
	enum leave leaving;
	uint32_t slow;              /* checks in a row that found it slow */
	uint64_t calm_until_ns;     /* it is not called slow until then */
	uint32_t calms;             /* of these blocks: each makes the next one longer */
	uint32_t since;             /* rows given when it took its place; until a later one's
				     * result is back, its cache may lack some */
	bool expected;              /* counted in transport_expect() */
	uint32_t peer;              /* node link, 0: none */
	uint32_t epoch;             /* of the boundary before it */
	uint32_t told_epoch;        /* of the boundary after it, as it was last told */
};

/* A planned move of blocks [first, end), beside the route; session_move.c draws its life. */
enum move_state { MOVE_NONE, MOVE_OPENING, MOVE_KEPT };

struct move {
	enum move_state state;
	uint32_t first, end;
	struct slot slots[MOVE_HOPS_MAX];   /* OPENING: those to come; KEPT: those that were */
	uint32_t slot_count;
	uint32_t epoch;             /* OPENING: what the OPENs said of the boundary behind them */
	uint32_t position;          /* KEPT: rows given when they were replaced */
	uint64_t started_ns;        /* OPENING */
	uint64_t not_before_ns;     /* NONE: the next one may start then */
	uint32_t abandoned;         /* in a row */
	char why[128];              /* the hop leaves, for the log */
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
	struct move move;
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
	uint32_t block_us;          /* what a block takes there when it goes well; 0: unknown */
	uint64_t banned_until_ns;
	bool present;               /* in the view */
};

enum sessions_counter {
	SESSIONS_OPENED, SESSIONS_FAILED, SESSIONS_OPEN, SESSIONS_STEPS, SESSIONS_REPAIRS,
	SESSIONS_ABANDONED, SESSIONS_SLOW, SESSIONS_REPAIR_SECONDS, SESSIONS_STEP_SECONDS,
	SESSIONS_QUEUE_SECONDS,
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
	uint64_t slow_check_ns;
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
/* Links a new slot and sends its OPEN once the link is up: it will be hop `index` of `hops`,
 * before `next` (NULL: the last), whose boundary has next_epoch.
 */
int session_open_slot(struct session *s, struct slot *slot, uint32_t index, uint32_t hops,
		      const struct slot *next, uint32_t next_epoch, uint64_t deadline_ns);
/* For a hop that will take its place in the route. */
struct slot session_new_slot(struct session *s, const struct route_hop *hop);
/* Puts `count` slots in the place of [at, at + lost); what was there is the caller's. */
void session_splice(struct session *s, uint32_t at, uint32_t lost, const struct slot *slots,
		    uint32_t count);
/* For blocks [first, end) between those who have the blocks around them. */
struct route_query session_route_query(struct session *s, uint32_t first, uint32_t end);

/* session_move.c */
void session_move(struct session *s);       /* READY: starts what is due, ends what is open */
/* Fills the lost slots [at, end) with those of the move, where they are for these blocks. */
bool session_move_fills(struct session *s, uint32_t at, uint32_t end, uint32_t *filled);
struct slot *session_move_slot(struct session *s, uint32_t peer);
/* One of its slots is lost, or will not serve: the route stays as it is. */
void session_move_lost(struct session *s, const struct slot *slot, const char *reason,
		       uint64_t ban_ns);
void session_move_result(struct session *s); /* one came through the route */
void session_move_drop(struct session *s);   /* closes its slots */
uint64_t session_move_due(const struct session *s);
bool session_move_uses(const struct session *s, uint64_t server);
bool session_move_kept(const struct session *s, uint32_t peer);
void session_move_check(const struct session *s);

/* session_slow.c */
void sessions_check_slow(struct sessions *t);   /* to be called each SLOW_CHECK_NS */
/* Blocks moved because they were slow, or could not: they stay here for a while. */
void session_slow_calm(const struct session *s, struct slot *slot);

/* sessions.c */
#define SLOW_CHECK_NS (1 * NS_PER_S)
struct warm *warm_find(struct sessions *t, uint64_t server);
void warm_ban(struct sessions *t, struct warm *w, uint64_t ban_ns);
void sessions_check_at(struct sessions *t, uint64_t when_ns);

#endif
