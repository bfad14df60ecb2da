/* engine.h - the private seam between the message layer and what moves bytes.
 *
 * An engine keeps connections and moves their bytes in order; it knows no
 * message.  The layer (transport.c, lane.c, peer.c, inbound.c, outbound.c) keeps
 * lanes, peers, credit and slots; it knows no socket.  A lane is one connection; a
 * peer has one or several.  Payload bytes take one of two ways: the engine receives
 * them straight into the arena (lane_room(), then lane_landed()), or into a buffer of
 * its own, from which the layer takes them (lane_bytes()); the second is where a
 * sealed lane decrypts instead of copying.
 *
 * Adding an engine: a struct engine_ops, a row in engines[] (transport.c), a
 * row in the conformance suite (tests/dataplane/transport_test.c).
 *
 * Threads    As transport.h: all of it on the transport's thread, except wake().
 * Ownership  The engine owns its links, the layer its lanes; they point at each
 *            other from connect()/lane_accepted() until lane_closed().  Memory
 *            lent by lane_room() and lane_gather() stays put until then too.
 * Units      _bytes, _ns.
 * Errors     -errno with a sentence from open(), listen(), connect(); broken
 *            connections are told by lane_broken().
 */
#ifndef PETALS_DATAPLANE_ENGINE_H
#define PETALS_DATAPLANE_ENGINE_H

#include <sys/uio.h>

#include "dataplane/transport.h"

struct engine;
struct lane;

enum { ENGINE_IOVECS = 32 };            /* what lane_gather() may need */

struct link {                           /* engines put theirs around it */
	struct lane *lane;
};

struct engine_ops {
	const char *name;
	/* Delivers what was sent even in the clear, which then goes without checksums of
	 * payloads: they cost a third of a stream over loopback.
	 */
	bool intact;
	int (*open)(struct engine **out, struct transport *t, const struct transport_options *o,
		    struct error *e);
	/* Sends what it can of what is queued, within a moment, then ends every
	 * connection.  Nothing of the layer is touched after it returns.
	 */
	void (*close)(struct engine *g);
	int (*listen)(struct engine *g, const struct address *a, struct address *bound,
		      struct error *e);
	int (*connect)(struct engine *g, const struct address *a, struct lane *owner,
		       struct link **out, struct error *e);
	/* There is something to gather. */
	void (*send)(struct engine *g, struct link *link);
	/* End the connection: once what is queued was sent and the other side
	 * closed too (flush), or at once.  lane_closed() follows from deliver().
	 */
	void (*finish)(struct engine *g, struct link *link, bool flush);
	/* Puts sends on their way and sleeps at most timeout_ns until there is
	 * something to deliver.  Returns the time since the last call in which the
	 * loop could not have noticed anything: descheduled, or busy elsewhere.
	 */
	uint64_t (*wait)(struct engine *g, uint64_t timeout_ns);
	void (*deliver)(struct engine *g);
	void (*wake)(struct engine *g);
	/* The next wait() ends when the descriptor becomes readable, too.  NULL: this
	 * engine's waits are not sleeps.
	 */
	void (*watch)(struct engine *g, int descriptor);
};

extern const struct engine_ops engine_uring, engine_sim;

/* Connections an engine must be able to keep: every peer's, and some that are still on
 * their way in or out.
 */
static inline uint32_t engine_links(const struct transport_options *o)
{
	return (o->peers_max + 4 + o->peers_max / 4) * o->lanes;
}

/* What engines call, from deliver() only. */
struct lane *lane_accepted(struct transport *t, struct link *link,
			   const struct address *from);    /* NULL: no room, drop it */
void lane_connected(struct lane *l);
void lane_bytes(struct lane *l, const uint8_t *data, size_t bytes);
size_t lane_room(struct lane *l, uint8_t **at);            /* 0: nothing to land directly */
void lane_landed(struct lane *l, size_t bytes);
void lane_broken(struct lane *l, int code, const char *reason);
void lane_closed(struct lane *l);                          /* the last call about l */

/* ... and from wait(), send() or close() as well. */
unsigned lane_gather(struct lane *l, struct iovec *out, unsigned most, size_t *bytes);
void lane_sent(struct lane *l, size_t bytes);

/* transport_open() on an engine that is in no table: tests. */
int transport_open_on(const struct engine_ops *ops, struct transport **out,
		      const struct transport_options *o, const struct transport_events *events,
		      void *ctx, struct error *e);
struct engine *transport_engine(const struct transport *t);
/* When transport_poll() next has something to do by itself. */
uint64_t transport_deadline(const struct transport *t);

#endif
