/* flow.h - reliable sealed messages between two ends over a port: the datagram
 * lane of a peer.
 *
 * Pure protocol: no socket, no NIC, no thread, no clock.  A `flows` is every flow
 * of one port: it takes what arrives, finds the flow by its connection id, shares
 * one budget of grants among them.  A flow is one connection: its keys, its
 * messages on the way, its window.  What is in which file:
 *
 *   flows.c          the port's burst, demultiplexing, the turn, counters
 *   flow.c           life of a flow, path probes, stopping and settling
 *   flow_send.c      messages to segments: which is next, sealing, sending
 *   flow_receive.c   segments to messages: landing, order, handing on
 *   flow_ack.c       acknowledgements, loss, timers
 *   flow_grant.c     who may send large messages to us, and how much
 *   flow_window.[ch] how much may be on the way, and how fast
 *
 * A message of at most WIRE_SMALL_BYTES is sent at once; a larger one asks (RTS)
 * and is sent as far as it is granted.  Messages with equal keys are handed on in
 * the order they were sent; others may overtake each other, so that a decode step
 * does not wait for a prefill.  Each is handed on once, or, after flow_stop() and
 * flow_settle() at both ends, known not to have been.
 *
 *   from       to         by
 *   -          PROBING    flow_open()
 *   PROBING    OPEN       the other side answered a probe      -> event opened
 *   PROBING    BROKEN     none was answered in give_up_ns      -> event broken
 *   OPEN       BROKEN     silence, loss, a fault, a CLOSE      -> event broken
 *   any        STOPPED    flow_stop()
 *
 * Nothing arrives or is sent in BROKEN; messages not known to be done wait there for
 * flow_stop().
 *
 * Threads    As its port: one thread.  Events fire inside flows_poll().
 * Ownership  flow_open() / flow_close(), flow_settle(): not from inside an event.  A message's
 *            payload stays the caller's and unchanged until acked() or unsent().
 *            The place that land() lends comes back by arrived() or unland().
 * Units      _ns on the caller's clock; gap_ns: all time so far in which our own
 *            loop could not notice anything (engine.h); no timer counts it.
 * Errors     0, else -errno.  -EAGAIN from flow_send(): too many messages are on
 *            the way; try after the next acked().  -ENOTCONN: not OPEN.
 */
#ifndef PETALS_DATAPLANE_FLOW_H
#define PETALS_DATAPLANE_FLOW_H

#include "dataplane/base/counters.h"
#include "dataplane/port.h"
#include "dataplane/seal.h"
#include "dataplane/wire.h"

enum {
	FLOW_MESSAGES = 256,            /* on the way at once, each direction */
};

enum flow_class { FLOW_DECODE, FLOW_BATCH };    /* the first goes first */

enum flow_end {
	FLOW_UNREACHABLE,       /* no probe was answered */
	FLOW_SILENT,            /* nothing acknowledged in give_up_ns */
	FLOW_LOSSY,             /* more than lossy of the packets are lost */
	FLOW_CLOSED,            /* the other side closed it */
	FLOW_FAULTY,            /* the other side broke the protocol, with sound keys */
	FLOW_NO_MEMORY,         /* the next key could not be made */
	FLOW_ENDS
};

struct flow_landing {
	uint8_t *payload;               /* 64-byte aligned */
	void *owner;                    /* the receiver's */
};

struct flow_message {
	const uint8_t *header;          /* WIRE_HEADER_BYTES; copied */
	const uint8_t *payload;         /* not copied */
	uint32_t payload_bytes;
	uint64_t key;                   /* equal keys keep their order */
	enum flow_class class;
	void *owner;                    /* the sender's, for acked() and unsent() */
};

struct flow_events {
	void (*opened)(void *ctx);
	/* A place for a message of at most payload_bytes; header is its wire header,
	 * or NULL when it is not there yet.  false: there is none; the sender broke
	 * its word, since credit says there must be.
	 */
	bool (*land)(void *ctx, uint32_t payload_bytes, const uint8_t *header,
		     struct flow_landing *out);
	void (*unland)(void *ctx, const struct flow_landing *l);    /* it will not come */
	void (*arrived)(void *ctx, const uint8_t header[WIRE_HEADER_BYTES],
			const struct flow_landing *l);
	void (*acked)(void *ctx, void *owner);          /* the other side handed it on */
	void (*broken)(void *ctx, enum flow_end why);
};

static_assert(sizeof(((struct wire_completed *)0)->later) * 8 == FLOW_MESSAGES,
	      "a bit for each message on the way");

struct flows_options {
	uint32_t flows_max;
	uint64_t grant_bytes;           /* granted and not here yet, all flows together */
	uint64_t target_ns;             /* queueing delay to aim for */
	uint64_t rto_least_ns;
	uint64_t give_up_ns;
	uint64_t keepalive_ns;          /* between probes of a quiet path */
	double lossy;                   /* this part of the packets lost: broken; 1: never */
	uint32_t window_most;           /* packets on the way, at most */
};

struct flow_options {
	struct address to;
	uint8_t send_secret[SEAL_SECRET_BYTES], receive_secret[SEAL_SECRET_BYTES];
	uint32_t connection_in;         /* random, chosen here; not twice in a flows */
	uint32_t connection_out;        /* ... by the other side */
	struct {
		uint32_t bytes;         /* payload of the largest message */
		uint32_t messages;      /* above WIRE_SMALL_BYTES at once */
	} large_in, large_out;          /* what one end takes the other may send */
	struct seal_policy seal;
};

struct flow_info {
	bool open;
	uint32_t segment_bytes;
	uint64_t rtt_ns;                /* smoothed, 0: not measured */
	double window;                  /* packets */
	uint32_t in_flight;             /* packets */
	uint32_t messages_out, messages_in;     /* not done; arriving or waiting */
};

struct flows;
struct flow;

/* Sensible values for a LAN. */
void flows_options_default(struct flows_options *o);
int flows_open(struct flows **out, struct port *port, const struct flows_options *o);
void flows_close(struct flows *fs);             /* NULL is fine; after its flows */

/* Receives, sends, looks at timers; returns events and packets handled. */
int flows_poll(struct flows *fs, uint64_t now_ns, uint64_t gap_ns);
/* When flows_poll() has something to do if nothing arrives; UINT64_MAX: nothing. */
uint64_t flows_deadline(const struct flows *fs);
/* petals_transport_*: datagrams and messages that every engine counts alike. */
struct counters *flows_counters(struct flows *fs);

int flow_open(struct flow **out, struct flows *fs, const struct flow_options *o,
	      const struct flow_events *events, void *ctx, uint64_t now_ns, struct error *e);
/* Tells the other side; forgets messages that were not settled.  NULL is fine. */
void flow_close(struct flow *f);
void flow_inform(const struct flow *f, struct flow_info *out);
const char *flow_end_name(enum flow_end why);           /* never NULL */

/* Cannot fail for want of memory; what is larger than large_out.bytes asserts. */
int flow_send(struct flow *f, const struct flow_message *m);
bool flow_may_send(const struct flow *f, uint32_t payload_bytes);

/* Falling back to another lane, at both ends:
 *   1  flow_stop()       nothing more is sent or handed on; what was arriving is
 *                        unlanded
 *   2  flow_completed()  to be told to the other side, by another lane
 *   3  flow_settle()     with what it told: acked() for what it has, then unsent()
 *                        for each other message in the order they were sent
 */
void flow_stop(struct flow *f);
void flow_completed(const struct flow *f, struct wire_completed *out);
int flow_settle(struct flow *f, const struct wire_completed *theirs,
		void (*unsent)(void *ctx, void *owner));

#endif
