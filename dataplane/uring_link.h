/* uring_link.h - the uring engine's connections: what one of them has in
 * flight and what becomes of it.  Private to the uring engine.
 *
 * Threads    As transport.h.
 * Ownership  A link is an entry of the engine's array from link_new() until
 *            link_free(), which waits until nothing of it is in flight.
 * Units      _bytes, _ns.
 * Errors     Broken connections are told to the layer by lane_broken().
 */
#ifndef PETALS_DATAPLANE_URING_LINK_H
#define PETALS_DATAPLANE_URING_LINK_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "dataplane/engine.h"
#include "dataplane/uring_buffers.h"

enum {
	URING_LISTENERS_MAX = 4,
	URING_AHEAD_BYTES = 32 << 10,   /* a hidden state of a large model, header included */
};

/* What an operation was; stands in the upper half of its user_data, the index
 * of its link or listener in the lower.
 */
enum operation { OP_ACCEPT = 1, OP_CONNECT, OP_RECEIVE, OP_SEND, OP_WAKE, OP_WATCH, OP_CANCEL };

struct tcp_link {
	struct link link;
	int fd;                         /* -1: entry is free */
	bool connecting, receiving, sending;    /* in flight */
	bool dirty;                     /* in the list of those with something to send */
	bool flushing, finishing;
	bool more;                      /* the last receive left something behind */
	bool shut;                      /* nothing more can be sent */
	struct tcp_link *next_dirty;
	struct sockaddr_storage to;
	size_t direct_bytes;            /* of the receive in flight, into the arena */
	struct msghdr receive_head, send_head;
	struct iovec receive_parts[2], send_parts[ENGINE_IOVECS];
	uint8_t *ahead;                 /* NULL where shared buffers serve */
};

struct listener {
	int fd;
	bool armed, single;             /* the kernel knows no multishot accept */
	uint64_t again_ns;              /* not before, after running out of descriptors */
};

struct engine {
	struct transport *transport;
	const struct clock *clock;
	struct io_uring ring;
	bool disabled;                  /* until its thread's first wait */
	bool owned;
	bool sealed;                    /* links are, so they may leave the machine */
	bool eager;                     /* before 5.19: a receive cannot wait first */
	pthread_t owner;
	struct tcp_link *links;
	uint32_t link_count, used;
	struct uring_buffers buffers;   /* of a sealed one, if the kernel has them */
	uint8_t *ahead;                 /* else every link's own */
	struct tcp_link *dirty;
	uint32_t ending;                /* links with finishing set */
	struct listener listeners[URING_LISTENERS_MAX];
	uint32_t listener_count;
	int wake_fd;
	bool wake_armed;
	uint64_t wake_value;
	int watched;                    /* descriptor + 1 that a poll is armed for, 0: none */
	atomic_bool woken;
	uint64_t left_ns;               /* when the last wait returned */
};

struct io_uring_sqe *uring_prepare(struct engine *g);
void uring_tag(struct io_uring_sqe *sqe, enum operation operation, uint32_t index);

struct tcp_link *link_new(struct engine *g, int fd);            /* NULL: none is left */
void link_free(struct engine *g, struct tcp_link *l);
bool link_is_idle(const struct tcp_link *l);                    /* nothing in flight */
void link_connect(struct engine *g, struct tcp_link *l, socklen_t length);
void link_mark_dirty(struct engine *g, struct tcp_link *l);
void link_finish(struct engine *g, struct tcp_link *l, bool flush);
void link_receive(struct engine *g, struct tcp_link *l);
void link_send(struct engine *g, struct tcp_link *l);
/* By ordinary calls, without the ring. */
void link_send_rest(struct tcp_link *l);

/* Completions. */
void link_connected(struct engine *g, struct tcp_link *l, int result);
void link_received(struct engine *g, struct tcp_link *l, int result, unsigned flags);
void link_sent(struct engine *g, struct tcp_link *l, int result);

#endif
