/* layer.h - the message layer's own state, shared by its parts and included by nobody else:
 * transport.c (the calls), turn.c (the loop's turn), peer.c (who is at the other end), lane.c
 * (life of a connection), sealed.c (records), inbound.c (bytes to messages), outbound.c
 * (messages to bytes).
 *
 * A peer is another process; a lane is one connection to it.  All messages of one
 * session travel on one lane, so they keep their order; a large message holds up
 * only the sessions that share its lane.
 *
 * Threads    As transport.h.
 * Ownership  A transport holds its peers and lanes in fixed arrays.  A peer's entry is
 *            used again only when its lanes are closed and every message that came
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
#include "dataplane/flow.h"
#include "dataplane/record.h"
#include "dataplane/tls.h"

enum {
	FREE_BYTES = 512,               /* a tiny slot; free types fit (asserted at open) */
	FREE_PER_PEER = 256,            /* free messages a peer may have with us at once */
	CREDIT_GRANT_MOST = 1 << 16,    /* a larger grant in a HELLO makes no sense */
	FLIGHT_MESSAGES = ENGINE_IOVECS / 2,          /* handed to the engine at once */
	FLIGHT_BYTES = 256 << 10,       /* ... or this much, whichever is first */
	STAGING_BYTES = RECORD_FRAMES_BYTES + 2 * RECORD_PAYLOAD_BYTES + 3 * RECORD_OVERHEAD_BYTES,
};

/* Messages of the layer's own; each lane has one of each, all but HELLO, SWITCH
 * and GOODBYE travel on a peer's first.
 */
enum control_kind { CONTROL_HELLO, CONTROL_PING, CONTROL_PONG, CONTROL_CREDIT, CONTROL_PATH,
		    CONTROL_SWITCH, CONTROL_STOP, CONTROL_GOODBYE, CONTROLS };

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

static inline void queue_push(struct queue *q, struct envelope *e)
{
	e->queue_next = NULL;
	if (q->tail)
		q->tail->queue_next = e;
	else
		q->head = e;
	q->tail = e;
}

static inline struct envelope *queue_pop(struct queue *q)
{
	struct envelope *e = q->head;

	if (e) {
		q->head = e->queue_next;
		if (!q->head)
			q->tail = NULL;
	}
	return e;
}

/* One of the layer's own messages; its payload does not come from the arena. */
struct control {
	struct envelope envelope;
	bool again;                     /* asked for while in flight */
	uint8_t payload[WIRE_REASON_BYTES];
};

enum lane_state {
	LANE_FREE,
	LANE_CONNECTING,                /* dialed; the engine connects */
	LANE_SECURING,                  /* TLS handshake */
	LANE_GREETING,                  /* their HELLO is expected */
	LANE_OPEN,
	LANE_LEAVING,                   /* we said goodbye; the rest is being sent */
	LANE_ENDING,                    /* waits for the engine to let go */
};

/* What a sealed lane has beside the rest (sealed.c). */
struct sealing {
	struct tls *tls;                /* until the first record verified */
	bool dialing, heard;            /* anything yet */
	bool alerted;                   /* TLS goes on where records should be */
	bool out_of_keys;               /* no memory for the next phase's */

	uint8_t flow_sends[SEAL_SECRET_BYTES], flow_receives[SEAL_SECRET_BYTES];

	/* Inbound: the record under way. */
	struct seal *receives;
	uint64_t number;                /* of the next one */
	uint8_t head[RECORD_HEADER_BYTES], tag[SEAL_TAG_BYTES];
	uint32_t head_bytes, opened_bytes, tag_bytes;
	struct record record;
	uint8_t *into;
	uint8_t frames[RECORD_FRAMES_BYTES];

	/* Outbound: records made and not sent. */
	struct seal *sends;
	struct envelope *payload;       /* its next bytes follow in a record of their own */
	uint32_t payload_offset;
	uint32_t staged_bytes, staged_sent;
	uint8_t *staging;               /* STAGING_BYTES; touched as far as it is used */
};

struct lane {
	struct transport *transport;
	struct peer *peer;              /* NULL: accepted, and not introduced yet */
	struct link *link;
	enum lane_state state;
	uint8_t index;                  /* among the peer's */
	bool said_goodbye;              /* the other side */
	struct address address;
	uint64_t born_att;              /* when it began to connect, or to leave */
	struct sealing *sealing;        /* NULL: in the clear */
	struct principal principal;     /* who is there, once secured */

	/* Inbound: a header, then its payload. */
	uint8_t head[WIRE_HEADER_BYTES];
	uint32_t head_bytes;
	struct frame frame;
	struct envelope *arriving;      /* NULL: a control payload */
	uint8_t *into;
	uint32_t landed_bytes;
	uint32_t landed_crc;            /* of them, while they are in the cache; see lane_sums() */
	uint8_t control_in[WIRE_REASON_BYTES];

	/* Outbound. */
	struct queue urgent, bulk, flight;
	uint32_t flight_count;
	uint64_t flight_bytes;          /* not yet sent */
	uint32_t flight_offset;         /* into the first of them */
	struct control control[CONTROLS];
};

enum peer_state {
	PEER_FREE,
	PEER_JOINING,                   /* its lanes are coming up */
	PEER_UP,
	PEER_LEAVING,                   /* we said goodbye on every lane */
	PEER_GONE,                      /* its lanes are being ended */
	PEER_CLOSED,                    /* waits for its messages to come back */
};

enum path_state { PATH_NONE, PATH_OFFERED, PATH_PROBING, PATH_OPEN, PATH_STOPPING };

/* The datagram path of a peer (path.c). */
struct path {
	enum path_state state;
	struct flow *flow;
	uint32_t epoch, connection_in;
	uint8_t switches;               /* lanes that have passed theirs, in this epoch */
	bool opened, broken, acked;     /* events of the flow, for the end of the turn */
	bool doomed;                    /* to be closed then */
	const char *why;                /* it broke */
	uint32_t unacked;               /* messages given to the flow */
	struct queue held;              /* arrived, to be delivered after the lanes' */
	struct queue parked, unsent;    /* to be sent, one way or the other */
	uint64_t opened_att, retry_att, backoff_ns;
};

struct peer {
	struct transport *transport;
	uint32_t id;
	enum peer_state state;
	bool dialed, was_up;
	struct address address;
	struct lane *lanes[TRANSPORT_LANES_MAX];        /* NULL: not here yet, or closed */
	uint8_t lane_count;             /* it has when all are here */
	uint8_t lanes_open;             /* have heard HELLO */
	uint8_t lanes_held;             /* not closed yet */
	uint64_t bond;                  /* what its lanes know each other by */

	/* What their HELLO said. */
	uint64_t node;
	enum wire_role role;
	uint32_t large_bytes;
	char name[WIRE_NAME_BYTES];
	struct principal principal;     /* of a sealed one */
	uint8_t flow_sends[SEAL_SECRET_BYTES], flow_receives[SEAL_SECRET_BYTES];
	struct path path;
	char parting[WIRE_REASON_BYTES];    /* goodbye that waits for the flow's last messages */

	struct credit credit[CREDIT_SIZES];
	uint32_t held;                  /* envelopes from the arena */
	uint32_t free_held;             /* of those, received free ones */
	uint8_t wants;                  /* writable(): bit per credit_size, CREDIT_NONE too */

	uint64_t born_att;              /* when it began to join, or to leave */
	uint64_t heard_att, ping_att, expect_att;
	uint64_t idle_gap_ns;           /* between pings while nothing is expected */
	uint32_t expected;
	uint64_t pong_stamp;
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
	struct random *random;          /* of bonds; the simulated network's, else NULL */

	struct arena *arena;
	struct map *by_id;              /* peers that are not on their way out */
	struct peer *peers;
	uint32_t peer_count;            /* entries in peers[] */
	struct lane *lanes;
	uint32_t lane_count;            /* entries in lanes[] */
	uint32_t last_id;

	uint64_t now_ns, gap_ns;        /* of this turn; all gaps so far */
	struct flows *flows;            /* NULL: there is no port */
	bool in_flows;                  /* inside flows_poll(): flows may not be closed */
	bool datagrams_due;             /* something was given to a flow */
	bool datagrams_busy;            /* the last look at the flows found work */
	bool engine_due;                /* the engine was asked for something */
	uint64_t engine_ns;             /* when it last waited */
	uint64_t timer_att;             /* nothing to do before */
	uint64_t check_att;             /* of what principals may have lost in the meantime */
	uint64_t identity_generation;
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

static inline void engine_send(struct lane *l)
{
	l->transport->engine_due = true;
	l->transport->ops->send(l->transport->engine, l->link);
}

static inline void engine_finish(struct lane *l, bool flush)
{
	l->transport->engine_due = true;
	l->transport->ops->finish(l->transport->engine, l->link, flush);
}

static inline enum arena_size slot_of_credit(enum credit_size size)
{
	static const enum arena_size slots[] = {
		[CREDIT_SMALL] = ARENA_SMALL, [CREDIT_LARGE] = ARENA_LARGE,
		[CREDIT_NONE] = ARENA_TINY,
	};

	return slots[size];
}

/* lane.c */
struct lane *lane_new(struct transport *t, const struct address *a);
void lane_forget(struct lane *l);                 /* the engine never had it */
bool lane_listens(const struct lane *l);          /* what arrives still matters */

/* Whether its payloads travel with a checksum: a seal checks more than one does. */
static inline bool lane_sums(const struct lane *l)
{
	return !l->sealing && !l->transport->ops->intact;
}

void lane_leave(struct lane *l, const char *reason);      /* goodbye, then the end */
void lane_reject(struct lane *l, const char *reason);     /* what TLS still says, then the end */
void lane_secured(struct lane *l, const struct principal *who);
void lane_end(struct lane *l);                    /* at once */
void lane_fault(struct lane *l, enum wire_fault fault, const char *reason);
void lane_say_hello(struct lane *l);
void lane_heard_hello(struct lane *l, const struct wire_hello *hello);
void lane_timer(struct lane *l);
uint64_t lane_due_att(const struct lane *l);
void lane_release(struct lane *l);                /* forgets queues; the engine is done with it */

/* peer.c */
struct peer *peer_new(struct transport *t, const struct address *a);
struct peer *peer_find(const struct transport *t, uint32_t id);
/* A lane heard HELLO: it joins its peer, or makes one; false: it was refused. */
bool peer_join(struct lane *l, const struct wire_hello *hello);
void peer_spoke(struct peer *p);                  /* what follows the HELLOs has begun */
void peer_fail(struct peer *p, int code, const char *reason);
void peer_refuse(struct peer *p, int code, const char *reason);    /* with a goodbye */
void peer_leave(struct peer *p, const char *reason);
void peer_undial(struct peer *p);                 /* not every lane could be dialed */
void peer_goodbye(struct lane *l, const char *reason);     /* theirs */
void peer_part(struct peer *p);                   /* says a goodbye that waits, if it may */
void peer_pong(struct peer *p, uint64_t stamp);
void peer_check_principal(struct peer *p);        /* of a sealed one */
void peer_timer(struct peer *p);
uint64_t peer_due_att(const struct peer *p);
void peer_lane_closed(struct peer *p, struct lane *l);
void peer_settle(struct peer *p);                 /* its entry is free once nothing is held */
void peer_credit_due(struct peer *p);             /* posts a CREDIT message if worth it */

/* inbound.c: bytes as they are under any seal */
void inbound_bytes(struct lane *l, const uint8_t *data, size_t bytes);
void inbound_landed(struct lane *l, size_t bytes);
uint32_t inbound_payload_left(const struct lane *l);
uint8_t *inbound_payload_at(struct lane *l);
bool inbound_in_header(const struct lane *l);     /* has begun and is not whole */
/* ... and by datagrams: a slot (NULL: none is due), given back unused, or full. */
struct envelope *inbound_land(struct peer *p, uint32_t bytes, const uint8_t *header);
void inbound_unland(struct envelope *e);
void inbound_deliver(struct peer *p, struct envelope *e);
/* The credit that a frame returns; false: more than was used, the peer is lost. */
bool inbound_credit(struct peer *p, struct lane *l, const struct frame *f);

/* path.c */
void path_start(struct peer *p);                  /* the peer is up */
void path_heard(struct lane *l, const struct wire_path *said);
bool path_takes(struct peer *p, struct envelope *e);      /* else it goes by a lane */
bool path_post_credit(struct peer *p);            /* likewise */
bool path_is_quiet(const struct peer *p);         /* nothing given to it is on its way */
void path_turn(struct peer *p);                   /* after the flows' events */
uint64_t path_due_att(const struct peer *p);
void path_close(struct peer *p);                  /* inside the flows' events: after them */

/* sealed.c */
int sealed_open(struct lane *l, bool dialing, struct error *e);
void sealed_close(struct lane *l);                /* fine for one in the clear */
void sealed_begin(struct lane *l);                /* the handshake */
void sealed_bytes(struct lane *l, const uint8_t *data, size_t bytes);
unsigned sealed_gather(struct lane *l, struct iovec *out, size_t *bytes);
void sealed_sent(struct lane *l, size_t bytes);

/* outbound.c */
/* The next message to leave, its header written; NULL: none.  It is the caller's until
 * outbound_done().
 */
struct envelope *outbound_next(struct lane *l);
/* Its header, at the last moment; payload NULL: needs no checksum. */
void outbound_write_header(struct peer *p, struct envelope *e, const void *payload);
void outbound_done(struct lane *l, struct envelope *e);
void outbound_post(struct lane *l, enum control_kind kind);     /* l: NULL is fine */
void outbound_queue(struct peer *p, struct envelope *e);
void outbound_drop(struct lane *l);               /* every queue emptied */

/* transport.c */
struct envelope *envelope_get(struct peer *p, enum arena_size size, enum arena_holder holder,
			      uint32_t bytes);
void envelope_put(struct envelope *e);
uint64_t transport_fresh_number(struct transport *t);
void transport_error(struct transport *t, const char *kind);
void transport_count(struct transport *t, enum transport_counter counter, enum wire_type type,
		     uint32_t bytes);

/* turn.c */
void transport_sooner(struct transport *t, uint64_t att);    /* a timer moved */

#endif
