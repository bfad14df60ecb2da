/* layer.h - the message layer's own state: what transport.c (the calls),
 * peer.c (life of a connection), inbound.c (bytes to messages) and outbound.c
 * (messages to bytes) share.  Nobody else includes it.
 *
 * Threads    As transport.h.
 * Ownership  A transport holds its peers in a fixed array.  An entry is used
 *            again only when its link is closed and every message that came
 *            from it or was meant for it is back, so the arena's sum holds.
 * Units      _ns on the clock; _att in attentive time: the clock less the time in
 *            which our own loop was held up.  Silence is measured in the latter.
 * Errors     As transport.h.
 */
#ifndef PETALS_DATAPLANE_LAYER_H
#define PETALS_DATAPLANE_LAYER_H

#include "dataplane/arena.h"
#include "dataplane/base/map.h"
#include "dataplane/credit.h"
#include "dataplane/engine.h"

enum {
	FREE_BYTES = 512,               /* a tiny slot; free types fit (asserted at open) */
	FREE_PER_PEER = 256,            /* free messages a peer may have with us at once */
	CREDIT_GRANT_MOST = 1 << 16,    /* a larger grant in a HELLO makes no sense */
	FLIGHT_MESSAGES = ENGINE_IOVECS / 2,          /* handed to the engine at once */
	FLIGHT_BYTES = 256 << 10,       /* ... or this much, whichever is first */
};

/* Messages of the layer's own; each peer has one of each. */
enum control_kind { CONTROL_HELLO, CONTROL_PING, CONTROL_PONG, CONTROL_CREDIT, CONTROL_GOODBYE,
		    CONTROLS };

enum envelope_state {
	ENVELOPE_IDLE, ENVELOPE_RESERVED, ENVELOPE_QUEUED, ENVELOPE_IN_FLIGHT,
	ENVELOPE_ARRIVING, ENVELOPE_LENT,
};

/* A message and what we know about it; the note of its slot. */
struct envelope {
	struct message message;
	struct peer *peer;
	struct arena_slot slot;         /* not of control messages */
	struct envelope *queue_next;
	uint8_t state;
	uint8_t credit;                 /* enum credit_size */
	uint8_t control;                /* enum control_kind, CONTROLS: none */
	uint8_t header[WIRE_HEADER_BYTES];
};

struct queue { struct envelope *head, *tail; };

/* One of the layer's own messages; its payload does not come from the arena. */
struct control {
	struct envelope envelope;
	bool again;                     /* asked for while in flight */
	uint8_t payload[WIRE_REASON_BYTES];
};

enum peer_state {
	PEER_FREE,
	PEER_CONNECTING, PEER_GREETING, PEER_UP,
	PEER_LEAVING,                   /* we said goodbye; the rest is being sent */
	PEER_GONE,                      /* waits for the engine to let go */
	PEER_CLOSED,                    /* waits for its messages to come back */
};

struct peer {
	struct transport *transport;
	struct link *link;
	uint32_t id;
	enum peer_state state;
	bool dialed, was_up;
	struct address address;

	/* What their HELLO said. */
	uint64_t node;
	enum wire_role role;
	uint32_t large_bytes;
	char name[WIRE_NAME_BYTES];

	struct credit credit[CREDIT_SIZES];
	uint32_t held;                  /* envelopes from the arena */
	uint32_t free_held;             /* of those, received free ones */
	uint8_t wants;                  /* writable(): bit per credit_size, CREDIT_NONE too */

	/* Inbound: a header, then its payload. */
	uint8_t head[WIRE_HEADER_BYTES];
	uint32_t head_bytes;
	struct frame frame;
	struct envelope *arriving;      /* NULL: a control payload */
	uint8_t *into;
	uint32_t landed_bytes;
	uint8_t control_in[WIRE_REASON_BYTES];

	/* Outbound. */
	struct queue urgent, bulk, flight;
	uint32_t flight_count;
	uint64_t flight_bytes;          /* not yet sent */
	uint32_t flight_offset;         /* into the first of them */
	struct control control[CONTROLS];
	uint64_t pong_stamp;

	uint64_t born_att;              /* when it began to connect, or to leave */
	uint64_t heard_att, ping_att, expect_att;
	uint32_t expected;
	uint64_t ping_stamp, ping_gap_ns;   /* clock and gaps so far when the ping left */
	uint64_t rtt_ns;
};

enum transport_counter {
	SENT_MESSAGES, RECEIVED_MESSAGES, SENT_BYTES, RECEIVED_BYTES, ERRORS, PEERS, LOST,
	CREDIT_WAITS, SLOTS, RTT, LOOP_GAPS, WAKEUPS, TRANSPORT_COUNTERS
};

struct transport {
	struct transport_options options;
	const struct engine_ops *ops;
	struct engine *engine;
	struct transport_events events;
	void *ctx;
	uint64_t node;

	struct arena *arena;
	struct map *by_id;              /* peers that are not on their way out */
	struct peer *peers;
	uint32_t peer_count;            /* entries in peers[] */
	uint32_t last_id;

	uint64_t now_ns, gap_ns;        /* of this turn; all gaps so far */
	uint64_t timer_att;             /* nothing to do before */
	uint32_t waiting;               /* peers with wants */
	bool writable_check;
	int fired;                      /* events in this poll */
	uint32_t up_count;

	struct counters *counters;
	uint32_t series[RECEIVED_BYTES + 1][WIRE_TYPE_COUNT];    /* + 1; 0: not asked yet */
	uint32_t slot_series[ARENA_SIZES];
	uint32_t slot_shown[ARENA_SIZES];
};

static inline uint64_t attentive(const struct transport *t)
{
	return t->now_ns - t->gap_ns;
}

/* peer.c */
struct peer *peer_new(struct transport *t);
struct peer *peer_find(const struct transport *t, uint32_t id);
bool peer_listens(const struct peer *p);          /* what arrives still matters */
void peer_fail(struct peer *p, int code, const char *reason);
void peer_fault(struct peer *p, enum wire_fault fault, const char *reason);
void peer_leave(struct peer *p, const char *reason);
void peer_heard_hello(struct peer *p, const struct wire_hello *hello);
void peer_pong(struct peer *p, uint64_t stamp);
void peer_timer(struct peer *p);
uint64_t peer_due_att(const struct peer *p);
void peer_release(struct peer *p);                /* forgets queues; engine is done with it */
void peer_settle(struct peer *p);                 /* its entry is free once nothing is held */
void peer_credit_due(struct peer *p);             /* posts a CREDIT message if worth it */

/* outbound.c */
void outbound_post(struct peer *p, enum control_kind kind);
void outbound_queue(struct peer *p, struct envelope *e);
void outbound_drop(struct peer *p);               /* every queue emptied */

/* transport.c */
struct envelope *envelope_get(struct peer *p, enum arena_size size, enum arena_holder holder,
			      uint32_t bytes);
void envelope_put(struct envelope *e);
void transport_error(struct transport *t, const char *kind);
void transport_count(struct transport *t, enum transport_counter counter, enum wire_type type,
		     uint32_t bytes);
void transport_sooner(struct transport *t, uint64_t att);    /* a timer moved */

#endif
