/* flow_state.h - what the files of a flow share.  Nobody else includes it.
 *
 * Threads    As flow.h.
 * Ownership  A flow's arrays are allocated when it is opened and not after.
 * Units      _ns on the caller's clock; _att in attentive time: the clock less the
 *            gaps in which our own loop was held up.  Round trips and timers are
 *            in the latter.
 * Errors     As flow.h.
 */
#ifndef PETALS_DATAPLANE_FLOW_STATE_H
#define PETALS_DATAPLANE_FLOW_STATE_H

#include "dataplane/base/map.h"
#include "dataplane/flow.h"
#include "dataplane/flow_window.h"
#include "dataplane/packet.h"
#include "dataplane/replay.h"

enum {
	SENT_PACKETS = 2048,            /* remembered until acknowledged; a power of two */
	SENT_WORDS = SENT_PACKETS / 64,
	ACK_EVERY = 16,                 /* packets */
	ACK_DELAY_NS = 25000,           /* ... or this long after the first */
	QUANTUM = 32,                   /* packets a flow may send before the next one's turn */
	SCRATCH_BYTES = PACKET_SEGMENT_BYTES_MAX,
};

enum flow_state { STATE_PROBING, STATE_OPEN, STATE_BROKEN, STATE_STOPPED };

/* A packet that wants to be acknowledged. */
enum sent_state { SENT_NONE, SENT_OUT, SENT_LOST };

struct sent {
	uint64_t att;
	uint32_t message, segment;      /* PROBE: segment is the row of the size tried */
	uint8_t type, state;
	uint8_t cause;                  /* LOST: enum again_cause */
};

/* from      to       when
 * FREE      SENDING  an eager message is sent
 * FREE      ASKING   a large one is: an RTS goes out
 * ASKING    SENDING  it is granted, in part or whole
 * any       DONE     the other side handed it on; waits for older ones
 * DONE      FREE     every older one is DONE
 */
enum out_state { OUT_FREE, OUT_ASKING, OUT_SENDING, OUT_DONE };

struct outgoing {
	enum out_state state;
	uint32_t id, back;
	uint32_t segments, next, granted;       /* next: first never sent */
	uint32_t lost;                  /* segments to be sent again */
	uint32_t spare;                 /* index of its bitmaps, of a large one */
	bool ask;                       /* an RTS is due */
	uint64_t *have, *again;         /* bit per segment: acknowledged, to be sent again */
	uint64_t have_word, again_word; /* of an eager one */
	struct flow_message what;
	uint8_t header[WIRE_HEADER_BYTES];
};

/* from      to       when
 * NONE      LANDING  its first packet verified and it has a place
 * LANDING   WHOLE    every segment is there
 * WHOLE     HANDED   and the one it has to follow was handed on
 */
enum in_state { IN_NONE, IN_LANDING, IN_WHOLE, IN_HANDED };

struct incoming {
	enum in_state state;
	uint32_t id, back;
	uint32_t segments, got, granted, size;  /* size: bytes of a segment */
	uint32_t landing_bytes;         /* of payload that the place takes */
	uint32_t payload_bytes;         /* exact; UINT32_MAX: not known yet */
	uint32_t spare;
	bool grant_due;
	uint64_t *have, have_word;
	uint64_t heard_att;
	struct flow *flow;
	struct incoming *next, *previous;       /* those that need grants */
	struct flow_landing landing;
	uint8_t header[WIRE_HEADER_BYTES];
};

struct flow {
	struct flows *set;
	uint32_t index;                 /* in the set */
	enum flow_state state;
	struct flow_options options;
	struct flow_events events;
	void *ctx;
	uint32_t path;
	struct seal *out, *in;

	/* Life. */
	int row, row_known;             /* of packet_segment_bytes: tried, answered (-1: none) */
	uint32_t size;                  /* bytes of our segments, once OPEN */
	uint32_t probes;                /* rounds of the row that is tried */
	uint64_t born_att, probe_att;   /* probe_att: not before */
	uint64_t heard_att;             /* when something was last acknowledged */

	/* Sent packets. */
	struct sent *sent;              /* SENT_PACKETS, by number */
	uint64_t pending[SENT_WORDS];   /* bit per packet: OUT or LOST */
	uint64_t next_number, first_out;        /* every OUT one is at or above the latter */
	uint32_t in_flight;
	uint64_t newest_acked, newest_att;      /* number + 1, 0: none; when it was sent */
	uint64_t last_sent_att, progress_att, loss_att;  /* UINT64_MAX: no timer */
	uint32_t backoff, tails;        /* timeouts, tail probes since the last progress */
	bool tail_due;
	bool woke;                      /* there is something to wait for since the last turn */
	uint64_t reorder_factor;        /* of a quarter round trip */
	uint64_t reorder_att;           /* when it last grew */
	uint32_t ce_seen;
	uint32_t judged, judged_lost;   /* packets of this period: see lossy */
	struct flow_window window;

	/* Messages out. */
	struct outgoing *outgoing;      /* FLOW_MESSAGES, by id */
	uint32_t out_first, out_next;   /* ids */
	uint32_t to_send;               /* segments that may be sent now */
	uint32_t asks_due;              /* messages with `ask` */
	uint32_t picks;
	uint64_t *out_bits;
	uint32_t out_spares, *out_spare;
	struct { uint32_t id; bool used; } keys[FLOW_MESSAGES];

	/* What arrived. */
	struct replay replay;
	uint64_t wanting, wanting_ns;   /* newest that wants an ACK, + 1; when it was seen */
	uint64_t wanting_unseen_ns;     /* it may have waited so long before */
	uint64_t ack_first_ns;
	uint32_t unacked, ce;
	bool ack_now;

	/* Messages in. */
	struct incoming *incoming;      /* FLOW_MESSAGES, by id */
	uint32_t done, done_end;        /* ids: every one below; none at or above */
	uint32_t waiting;               /* WHOLE ones */
	uint64_t *in_bits;
	uint32_t in_spares, *in_spare;
	uint32_t grants_due;
};

enum flow_counter {
	SENT_DATAGRAMS, RECEIVED_DATAGRAMS, REFUSED_DATAGRAMS, SENT_DATAGRAM_BYTES,
	RECEIVED_DATAGRAM_BYTES, AGAIN, SPURIOUS, TIMEOUTS, MESSAGES_SENT, MESSAGES_DONE,
	MESSAGES_ARRIVED, GRANTED, DROPPED, REKEYS, ENDS, FLOWS, PATH_RTT, FLOW_COUNTERS
};

enum again_cause { AGAIN_ORDER, AGAIN_TAIL, AGAIN_TIMEOUT, AGAIN_CAUSES };

struct tally {                          /* since they were last published */
	uint32_t sent[PACKET_TYPES], received[PACKET_TYPES], refused[PACKET_FAULT_COUNT];
	uint32_t again[AGAIN_CAUSES];
	uint64_t sent_bytes, received_bytes;
	uint32_t spurious, timeouts, messages_sent, messages_done, messages_arrived, granted;
};

enum drop { DROP_SENDING, DROP_RECEIVING, DROPS };

struct flows {
	struct flows_options options;
	struct port *port;
	struct flow **flows;            /* `count` of at most flows_max */
	struct map *by_connection;
	uint32_t count, open, turn;
	uint64_t now_ns, gap_ns, gap_told_ns;
	uint64_t gap_seen_att;          /* round trips begun before are not measured */
	uint64_t drained_ns;            /* when the port was last found empty */
	uint64_t due_ns;                /* of the port's room; UINT64_MAX: none */
	bool in_event;
	int work;

	struct port_datagram burst[PORT_BURST];         /* to be sent */
	uint32_t burst_count;
	struct incoming *granting;      /* list of large messages that are not whole */
	uint32_t granting_count, grant_rounds;
	uint32_t grant_news;            /* segments that came since grants were given */
	uint64_t granted_ns;
	uint8_t scratch[SCRATCH_BYTES];

	struct counters *counters;
	struct tally tally;
	uint64_t published_ns;
	uint32_t type_series[2][PACKET_TYPES], fault_series[PACKET_FAULT_COUNT];
	uint32_t again_series[AGAIN_CAUSES], end_series[FLOW_ENDS], drop_series[DROPS];
	uint64_t dropped[DROPS];        /* by the port, published */
};

static inline uint64_t attentive(const struct flows *fs)
{
	return fs->now_ns - fs->gap_ns;
}

/* Words of a bitmap with a bit for each segment of the largest message. */
static inline uint32_t large_words(uint32_t large_bytes)
{
	return (large_bytes + WIRE_HEADER_BYTES) / packet_segment_bytes[0] / 64 + 1;
}

static inline bool flow_lives(const struct flow *f)
{
	return f->state == STATE_PROBING || f->state == STATE_OPEN;
}

static inline bool bit_get(const uint64_t *words, uint32_t bit)
{
	return words[bit / 64] >> bit % 64 & 1;
}

static inline void bit_set(uint64_t *words, uint32_t bit)
{
	words[bit / 64] |= 1ull << bit % 64;
}

static inline void bit_clear(uint64_t *words, uint32_t bit)
{
	words[bit / 64] &= ~(1ull << bit % 64);
}

/* flow.c */
void flow_break(struct flow *f, enum flow_end why);
void flow_probed(struct flow *f, int row);      /* a probe of this row was answered */
uint64_t flow_probe_due(const struct flow *f);  /* _att */
void flow_probe(struct flow *f);                /* sends what is due, or gives up */

/* flow_send.c */
bool flow_packet(struct flow *f, struct packet *p, const void *payload);
void flow_transmit(struct flow *f);
uint64_t flow_transmit_due(const struct flow *f);       /* _ns, if packets wait for time */
struct outgoing *outgoing_find(struct flow *f, uint32_t id);
void outgoing_acked(struct flow *f, uint32_t id, uint32_t segment);
void outgoing_lost(struct flow *f, uint32_t id, uint32_t segment);
void outgoing_ask(struct flow *f, struct outgoing *o);
void outgoing_granted(struct flow *f, const struct packet *p);
void outgoing_done(struct flow *f, struct outgoing *o); /* tells the owner */
void outgoing_settle(struct flow *f);                   /* forgets DONE ones in front */

/* flow_receive.c */
void flow_receive(struct flow *f, const struct packet *p, struct port_datagram *d);
struct incoming *incoming_find(struct flow *f, uint32_t id);
void incoming_drop(struct flow *f);                     /* unlands all that is not handed on */

/* flow_ack.c */
void flow_arrived(struct flow *f, const struct packet *p, bool marked);
bool flow_ack_due(const struct flow *f);
void flow_ack(struct flow *f);                          /* sends one */
void flow_take_ack(struct flow *f, const uint8_t *payload, size_t bytes);
void flow_record(struct flow *f, const struct packet *p);       /* one was sent */
void flow_timers(struct flow *f);
uint64_t flow_timer_att(const struct flow *f);

/* flow_grant.c */
void grant_want(struct flows *fs, struct incoming *m);
void grant_unwant(struct flows *fs, struct incoming *m);
void grants_arrived(struct flows *fs, const struct incoming *m);        /* one more segment */
bool grants_are_due(const struct flows *fs);
void grants_run(struct flows *fs);

/* flows.c */
void flows_flush(struct flows *fs);

#endif
