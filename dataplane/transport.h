/* transport.h - carries messages between programs.
 *
 * One message layer (peers, hello, credit, heartbeats, frame checks, landing
 * slots: transport.c) over thin engines that move bytes (engine.h): uring
 * (TCP through io_uring) and sim (seeded virtual network).  A peer is another
 * process, reached over one or several connections (its lanes); it comes up once
 * both sides said hello on each.  Messages of one session (frame.session) arrive in
 * the order they were sent; others may overtake one another.
 *
 * Threads    One transport per core; only that core's thread calls it, except
 *            transport_wake(), which any thread may.  Events fire inside
 *            transport_poll() and nowhere else.
 *            That thread is the one of the first transport_poll(); another may
 *            have opened it, and may close it once the polling thread has ended.
 * Ownership  transport_reserve() lends a message together with the credit to
 *            send it; transport_send() takes it back and cannot fail.  A received
 *            message is yours until message_put(); its landing slot counts against
 *            the sender's credit until then, so put promptly.
 * Units      _bytes, _ns.  Peer ids are never reused within a process.
 * Errors     0 or a count, else -errno.  -EAGAIN: no credit or not up yet; wait
 *            for writable().  -ENOTCONN: peer is gone.  -EMSGSIZE: larger than
 *            the peer can land.
 *
 * Life of a peer:
 *   from     to       by
 *   -        JOINING  transport_connect(), or the first HELLO of an accepted connection
 *   JOINING  UP       every lane has greeted   -> event up
 *   any      GONE     disconnect, error, silence, bad frame -> event lost
 */
#ifndef PETALS_DATAPLANE_TRANSPORT_H
#define PETALS_DATAPLANE_TRANSPORT_H

#include "dataplane/base/address.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/error.h"
#include "dataplane/wire.h"

enum { TRANSPORT_LANES_MAX = 4 };

struct transport;
struct sim_network;                 /* transport_sim.h */
struct identity;                    /* identity.h */
struct principal;                   /* principal.h */
struct port;                        /* port.h */

struct message {
	struct frame frame;         /* payload_bytes is set by transport_reserve() */
	uint8_t *payload;           /* 64-byte aligned, in the arena */
	uint32_t peer;              /* where it came from or goes to */
	uint64_t arrived_ns;        /* received ones */
	void *owner;                /* free for the holder's use */
	struct message *next;       /* likewise: for lists */
};

struct peer_info {
	uint32_t peer;
	uint64_t node;              /* the other process, new after each start */
	enum wire_role role;
	const char *name;           /* valid during the event */
	const struct principal *principal;      /* valid during the event; NULL: in the clear */
	bool dialed;                /* by us */
	struct address address;     /* remote */
};

struct transport_events {
	void (*up)(void *ctx, const struct peer_info *peer);
	/* Fires once per peer, also for a connect that failed, but not for an
	 * accepted connection that never came up; code is -errno:
	 * -ETIMEDOUT silence, -ECONNRESET, -ECONNREFUSED, -EPROTO bad frame,
	 * -EPIPE goodbye, -EKEYREJECTED one side refused the other's certificate.
	 * Not after transport_disconnect().
	 */
	void (*lost)(void *ctx, uint32_t peer, int code, const char *reason);
	void (*received)(void *ctx, struct message *m);     /* m is yours */
	void (*writable)(void *ctx, uint32_t peer);         /* after an -EAGAIN */
};

struct transport_options {
	const char *engine;             /* "uring", "sim" */
	const struct clock *clock;
	struct sim_network *network;    /* sim only */
	enum wire_role role;
	const char *name;               /* what HELLO says, for the other side's log */
	/* TLS and sealed records with whoever proves to be one of ours.  NULL: in the
	 * clear, and over loopback alone.
	 */
	struct identity *identity;
	uint32_t peers_max;
	uint32_t lanes;                 /* connections to each peer we dial, 1 to _LANES_MAX */
	uint32_t small_per_peer, large_per_peer;  /* landing slots held ready */
	uint32_t large_bytes;           /* payload of a large slot; 0: no large ones */
	uint64_t heartbeat_ns;          /* between pings while something is expected */
	uint64_t silence_ns;            /* nothing heard for this long: lost */
	uint64_t connect_ns;            /* until UP, else lost */
	uint32_t send_queue_messages;   /* reserved and unsent, all peers */
	bool busy_poll;                 /* uring: never sleep */
	/* Datagrams beside the connections, to near peers that have them, too; sealed
	 * transports only.  Borrowed; NULL: none.
	 */
	struct port *port;
	struct address datagrams;       /* where the port hears, as others dial it */
	uint64_t near_ns;               /* round trip up to which a peer is near */
	uint64_t path_silence_ns;       /* nothing acknowledged: back to the connection */
};

/* Sensible values for every field but engine, clock, network, role, name. */
void transport_options_default(struct transport_options *o);

int transport_open(struct transport **out, const struct transport_options *o,
		   const struct transport_events *events, void *ctx, struct error *e);
void transport_close(struct transport *t);                /* NULL is fine; says goodbye */

/* Refuses anything but loopback without an identity.  bound says which port port 0 became. */
int transport_listen(struct transport *t, const struct address *a, struct address *bound,
		     struct error *e);
int transport_connect(struct transport *t, const struct address *a, uint32_t *peer,
		      struct error *e);
void transport_disconnect(struct transport *t, uint32_t peer, const char *reason);

int transport_reserve(struct transport *t, uint32_t peer, uint32_t payload_bytes,
		      struct message **out);
/* For the types that wire_types[] marks free: needs no credit, so -EAGAIN only
 * before the peer is up and while send_queue_messages of them are on their way.
 * A free message reserved by transport_reserve() gives its credit back when sent.
 */
int transport_reserve_free(struct transport *t, uint32_t peer, uint32_t payload_bytes,
			   struct message **out);
void transport_send(struct transport *t, struct message *m);
/* Gives back a received message, or a reserved one that is not to be sent. */
void message_put(struct transport *t, struct message *m);

/* A sealed peer that is up has shown a fresh certificate for the key that it proved to have:
 * from here on that one counts.
 */
void transport_renew_principal(struct transport *t, uint32_t peer, const struct principal *p);

/* Counts things expected from a peer.  While there are any, the peer is pinged
 * each heartbeat and lost after a silence; an idle one after 10 s of silence.
 * Time in which our own loop was held up does not count.
 */
void transport_expect(struct transport *t, uint32_t peer, int delta);
/* Smoothed round trip of pings, 0 until measured; also updated when idle (each second at
 * first, then each fourth).
 */
uint64_t transport_rtt_ns(const struct transport *t, uint32_t peer);
bool transport_is_up(const struct transport *t, uint32_t peer);
/* Whether what goes to the peer goes by datagrams now. */
bool transport_by_datagrams(const struct transport *t, uint32_t peer);

/* Handles what is ready; sleeps until then at most timeout_ns (0: do not
 * sleep; UINT64_MAX: no bound).  Returns events fired.
 */
int transport_poll(struct transport *t, uint64_t timeout_ns);
void transport_wake(struct transport *t);                 /* any thread */

struct counters *transport_counters(struct transport *t);
struct counters *transport_datagram_counters(struct transport *t);      /* NULL: no port */
/* The landing arena, for pinning by a device. */
void transport_arena(const struct transport *t, void **base, size_t *bytes);

#endif
