/* node.h - a program's place on the network: its core, its transport, its
 * links by address, and who handles which message.
 *
 * A link is a peer dialed by address and shared by everyone in the program who
 * asked for that address.  When the last one lets go it idles for NODE_IDLE_NS, so
 * that what was sent still leaves and the next who asks need not dial, then goes.
 *
 * Threads    One core thread calls everything; node_wake() from any thread.
 * Ownership  node_open() / node_close().  A handler owns the message it gets and
 *            returns it with node_put().
 * Units      _ns.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_CONTROL_NODE_H
#define PETALS_CONTROL_NODE_H

#include "dataplane/core.h"
#include "dataplane/principal.h"
#include "dataplane/transport.h"

/* Small frames of a peer that wait for credit or for its connection. */
enum { NODE_QUEUE_FRAMES_MAX = 1024, NODE_QUEUE_BYTES_MAX = 4 << 20 };
#define NODE_IDLE_NS (5 * NS_PER_S)

struct node;

int node_open(struct node **out, const struct transport_options *o, struct error *e);
void node_close(struct node *n);                         /* NULL is fine */
struct core *node_core(struct node *n);
struct transport *node_transport(struct node *n);
const struct clock *node_clock(const struct node *n);
static inline uint64_t node_now(const struct node *n) { return clock_ns(node_clock(n)); }
void node_wake(struct node *n);

int node_listen(struct node *n, const struct address *a, struct address *bound,
		struct error *e);

/* Message types without a handler are refused (counted, connection closed), and so are those
 * that the peer's certificate does not allow it (permission.h).
 */
void node_handle(struct node *n, enum wire_type type,
		 void (*handler)(void *ctx, struct message *m), void *ctx);
void node_put(struct node *n, struct message *m);

/* Told of every peer, dialed or accepted, and that it is lost also when we
 * disconnected it (idle link, node_refuse()).  Listeners are called in the order
 * they were added and may add or drop links, not listeners.
 */
struct node_listener {
	void *ctx;
	void (*up)(void *ctx, const struct peer_info *peer);         /* each may be NULL */
	void (*lost)(void *ctx, uint32_t peer, int code, const char *reason);
	void (*writable)(void *ctx, uint32_t peer);
};
int node_listener_add(struct node *n, const struct node_listener *l);   /* -ENOSPC */
void node_listener_remove(struct node *n, void *ctx);

/* The peer behind an address, dialed if there is none yet.  Each get wants one
 * drop, also after the peer was lost (then it does nothing).
 */
int node_link(struct node *n, const struct address *a, uint32_t *peer, struct error *e);
void node_unlink(struct node *n, uint32_t peer);
bool node_is_up(const struct node *n, uint32_t peer);
/* Where it is: as dialed, or whence it came; NULL: nobody. */
const struct address *node_address(const struct node *n, uint32_t peer);
/* Who that is by its certificate, until it is lost; NULL: a plain connection, or nobody. */
const struct principal *node_principal(const struct node *n, uint32_t peer);
/* As transport_renew_principal(); also what it may send. */
void node_renew_principal(struct node *n, uint32_t peer, const struct principal *p);
/* Peers with a certificate that are up, at most `most` of them; returns how many. */
uint32_t node_certified_peers(const struct node *n, uint32_t *out, uint32_t most);
/* Sends a whole small message: header fields and payload_bytes from f, payload
 * copied.  0: sent, or queued until there is credit, in order (a queue goes with its
 * peer).  -ENOTCONN; -ENOBUFS past NODE_QUEUE_*; -EMSGSIZE; -ENOMEM.
 */
int node_send(struct node *n, uint32_t peer, const struct frame *f, const void *payload);
uint32_t node_queued(const struct node *n, uint32_t peer);    /* frames */
/* transport_expect(), ignored for a peer that is gone. */
void node_expect(struct node *n, uint32_t peer, int delta);
/* The peer sent what it must not: counted under `what` (a few fixed words),
 * logged, disconnected with the sentence; listeners hear lost(-EPROTO).
 */
void node_refuse(struct node *n, uint32_t peer, const char *what, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
struct counters *node_counters(struct node *n);

#endif
