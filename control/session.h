/* session.h - the client's side of a generation: a route of hops, the steps pushed
 * through it, and their repair.
 *
 * A session hides failures: rows go in by position, wanted rows come out, each exactly
 * once and in order, whatever happens to the hops between.
 *
 *   from       to         by                         then session_check() asserts
 *   -          ROUTING    session_open()             some blocks have no hop
 *   ROUTING    OPENING    route found                hops cover all blocks, some not open yet
 *   OPENING    READY      every hop said OPENED      all know their next hop; steps flow
 *   READY      ROUTING    a hop was lost or leaves   epochs rose, only its span is routed
 *   OPENING    ROUTING    a hop refused or was lost
 *   any        FAILED     deadline, or no way on     failed() has fired, once
 *   any        CLOSED     session_close()            hops are told, nothing fires any more
 *
 * Threads    The node's core thread.
 * Ownership  sessions_open() / sessions_close() own the shared part; session_open() /
 *            session_close() one session.  Callbacks may close their session.
 * Units      Positions and rows are tokens; _ns.
 * Errors     failed(): -ENOENT with the missing blocks, -ETIMEDOUT, -EBUSY, -EPROTO.
 */
#ifndef PETALS_CONTROL_SESSION_H
#define PETALS_CONTROL_SESSION_H

#include "control/directory_client.h"
#include "control/node.h"
#include "control/route.h"
#include "dataplane/base/counters.h"

struct sessions;
struct session;

struct sessions_options {
	struct node *node;
	struct directory_client *directory;     /* sessions_view_changed() on its changes */
	uint64_t fingerprint;
	uint32_t blocks, hidden;
	const char *kind;               /* identity class wanted, NULL: the best route's */
	uint32_t sessions_max;
	uint32_t chunk_rows;            /* rows of a prompt per step */
	uint64_t ban_ns;                /* a failed server is avoided for this long */
	uint64_t seed;                  /* of session ids; 0: entropy */
};

struct session_events {
	/* The route stands: steps may be given. */
	void (*opened)(void *ctx);
	/* Wanted rows: `rows` of them ending before position `end`, encoded. */
	void (*result)(void *ctx, uint32_t end, uint32_t rows, enum wire_encoding encoding,
		       const void *data);
	void (*failed)(void *ctx, int code, const char *reason);
};

struct session_options {
	uint32_t tokens_max;
	uint64_t deadline_ns;           /* absolute; UINT64_MAX: none */
	struct session_events events;
	void *ctx;
};

struct session_stats {
	uint32_t repairs;
	uint32_t moves;                 /* planned: of hops that left, before they did */
	uint64_t repair_ns;             /* from noticing to flowing again, summed */
	/* Of the last answered step: all of it, and what hops waited and computed. */
	uint64_t step_ns, queue_ns, compute_ns;
};

int sessions_open(struct sessions **out, const struct sessions_options *o, struct error *e);
void sessions_close(struct sessions *s);                 /* NULL is fine */
struct counters *sessions_counters(struct sessions *s);
void sessions_view_changed(struct sessions *s);
uint32_t sessions_count(const struct sessions *s);
/* Whether all blocks are served by someone who is up, as the view has it; if not,
 * missing says which are not.
 */
bool sessions_covered(const struct sessions *s, char *missing, size_t bytes);

int session_open(struct session **out, struct sessions *s, const struct session_options *o,
		 struct error *e);
void session_close(struct session *s);                   /* NULL is fine */
uint64_t session_id(const struct session *s);
uint32_t session_position(const struct session *s);      /* rows given so far */
const struct session_stats *session_stats(const struct session *s);
/* The hops as they are now. */
void session_route(const struct session *s, struct route *out);

/* Appends rows (f32, rows x hidden) at session_position(), once opened; the last row's
 * result is wanted, or every row's.  -ENOSPC past tokens_max, -ENOMEM.
 */
int session_step(struct session *s, const float *rows_in, uint32_t rows, bool want_all);

#endif
