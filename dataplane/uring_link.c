/* uring_link.c - one connection.  It has at most one send and one receive in
 * flight, since overlapping ones may reorder.  A receive has two targets: what is
 * left of the payload under way lands straight in its arena slot, and whatever
 * follows is read ahead into a buffer, so that a small message, or many, cost one
 * receive.  A sealed link has nothing to land before it is decrypted: it reads into
 * buffers that all links share.
 */
#include "dataplane/uring_link.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "dataplane/tcp.h"

struct io_uring_sqe *uring_prepare(struct engine *g)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&g->ring);

	if (!sqe) {
		io_uring_submit(&g->ring);
		sqe = io_uring_get_sqe(&g->ring);
	}
	assert(sqe && "the submission queue holds two operations of each link");
	return sqe;
}

void uring_tag(struct io_uring_sqe *sqe, enum operation operation, uint32_t index)
{
	sqe->user_data = (uint64_t)operation << 32 | index;
}

static uint32_t index_of(const struct engine *g, const struct tcp_link *l)
{
	return (uint32_t)(l - g->links);
}

struct tcp_link *link_new(struct engine *g, int fd)
{
	for (uint32_t i = 0; i < g->link_count; i++) {
		struct tcp_link *l = &g->links[i];

		if (l->fd >= 0)
			continue;
		*l = (struct tcp_link){ .fd = fd, .ahead = l->ahead };
		g->used++;
		tcp_tune(fd);
		return l;
	}
	return NULL;
}

void link_free(struct engine *g, struct tcp_link *l)
{
	struct tcp_link **at = &g->dirty;

	if (l->dirty) {
		while (*at != l)
			at = &(*at)->next_dirty;
		*at = l->next_dirty;
	}
	if (l->finishing)
		g->ending--;
	close(l->fd);
	l->fd = -1;
	g->used--;
}

bool link_is_idle(const struct tcp_link *l)
{
	return !l->connecting && !l->receiving && !l->sending;
}

void link_connect(struct engine *g, struct tcp_link *l, socklen_t length)
{
	struct io_uring_sqe *sqe = uring_prepare(g);

	l->connecting = true;
	io_uring_prep_connect(sqe, l->fd, (struct sockaddr *)&l->to, length);
	uring_tag(sqe, OP_CONNECT, index_of(g, l));
}

void link_mark_dirty(struct engine *g, struct tcp_link *l)
{
	if (l->dirty)
		return;
	l->dirty = true;
	l->next_dirty = g->dirty;
	g->dirty = l;
}

void link_finish(struct engine *g, struct tcp_link *l, bool flush)
{
	struct io_uring_sqe *sqe;

	if (l->finishing)
		return;
	if (flush) {
		l->flushing = true;
		link_mark_dirty(g, l);
		return;
	}
	l->finishing = true;
	g->ending++;
	shutdown(l->fd, SHUT_RDWR);     /* ends a receive and a send in flight */
	if (l->connecting) {
		sqe = uring_prepare(g);
		io_uring_prep_cancel64(sqe, (uint64_t)OP_CONNECT << 32 | index_of(g, l), 0);
		uring_tag(sqe, OP_CANCEL, 0);
	}
}

void link_receive(struct engine *g, struct tcp_link *l)
{
	struct io_uring_sqe *sqe;
	uint8_t *at;

	if (l->finishing)
		return;
	l->direct_bytes = lane_room(l->link.lane, &at);
	sqe = uring_prepare(g);
	if (g->buffers.ring) {
		uring_buffers_receive(&g->buffers, sqe, l->fd);
	} else if (l->direct_bytes == 0) {
		io_uring_prep_recv(sqe, l->fd, l->ahead, URING_AHEAD_BYTES, 0);
	} else {
		l->receive_parts[0] = (struct iovec){ at, l->direct_bytes };
		l->receive_parts[1] = (struct iovec){ l->ahead, URING_AHEAD_BYTES };
		l->receive_head = (struct msghdr){ .msg_iov = l->receive_parts, .msg_iovlen = 2 };
		io_uring_prep_recvmsg(sqe, l->fd, &l->receive_head, 0);
	}
	/* Trying at once would mostly find nothing: wait for data first. */
	if (!l->more && !g->eager)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	uring_tag(sqe, OP_RECEIVE, index_of(g, l));
	l->receiving = true;
}

/* Gathers into send_head; 0: there is nothing (more) to send. */
static size_t gather(struct tcp_link *l)
{
	size_t bytes;
	unsigned count = lane_gather(l->link.lane, l->send_parts, ENGINE_IOVECS, &bytes);

	l->send_head = (struct msghdr){ .msg_iov = l->send_parts, .msg_iovlen = count };
	return count ? bytes : 0;
}

/* What fits into the socket's buffer goes at once, by a call of its own: through
 * the ring its completion would end the wait that follows, and a round trip would
 * cost two waits.  The ring sends what does not fit, or tells why nothing did.
 */
void link_send(struct engine *g, struct tcp_link *l)
{
	struct io_uring_sqe *sqe;
	size_t bytes;
	ssize_t n;

	if (l->connecting || l->sending || l->finishing || l->shut)
		return;
	bytes = gather(l);
	if (bytes) {
		n = sendmsg(l->fd, &l->send_head, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			lane_sent(l->link.lane, (size_t)n);
			bytes = gather(l);
		}
	}
	if (bytes) {
		sqe = uring_prepare(g);
		io_uring_prep_sendmsg(sqe, l->fd, &l->send_head, MSG_NOSIGNAL);
		uring_tag(sqe, OP_SEND, index_of(g, l));
		l->sending = true;
	} else if (l->flushing) {
		l->shut = true;
		shutdown(l->fd, SHUT_WR);
	}
}

void link_send_rest(struct tcp_link *l)
{
	ssize_t n = 1;

	while (!l->sending && !l->connecting && n > 0 && gather(l)) {
		n = sendmsg(l->fd, &l->send_head, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			lane_sent(l->link.lane, (size_t)n);
	}
}

void link_connected(struct engine *g, struct tcp_link *l, int result)
{
	char reason[ERROR_TEXT_BYTES];

	l->connecting = false;
	if (l->finishing)
		return;
	if (result < 0) {
		snprintf(reason, sizeof(reason), "cannot connect: %s", error_describe(result));
		lane_broken(l->link.lane, result, reason);
		return;
	}
	lane_connected(l->link.lane);
	link_mark_dirty(g, l);
	link_receive(g, l);
}

void link_received(struct engine *g, struct tcp_link *l, int result, unsigned flags)
{
	const uint8_t *shared = uring_buffers_get(&g->buffers, flags);
	size_t direct, bytes = result > 0 ? (size_t)result : 0;

	l->receiving = false;
	l->more = flags & IORING_CQE_F_SOCK_NONEMPTY;
	if (l->finishing) {
		uring_buffers_put(&g->buffers, flags);
		return;
	}
	if (bytes > 0) {
		direct = shared ? 0 : MIN(bytes, l->direct_bytes);
		if (direct)
			lane_landed(l->link.lane, direct);
		if (bytes > direct)
			lane_bytes(l->link.lane, shared ? shared : l->ahead, bytes - direct);
		uring_buffers_put(&g->buffers, flags);
	} else if (result == 0) {
		lane_broken(l->link.lane, -ECONNRESET,
			    "the connection was closed without a goodbye");
	} else if (result == -EINVAL && !g->eager) {
		g->eager = true;
	} else if (result != -EINTR && result != -EAGAIN && result != -ENOBUFS) {
		lane_broken(l->link.lane, result, error_describe(result));
	}
	link_receive(g, l);
}

void link_sent(struct engine *g, struct tcp_link *l, int result)
{
	l->sending = false;
	if (result > 0)
		lane_sent(l->link.lane, (size_t)result);
	if (l->finishing)
		return;
	if (result == -EPIPE || result == -ECONNRESET)
		l->shut = true;         /* the receive will tell why */
	else if (result < 0 && result != -EINTR && result != -EAGAIN)
		lane_broken(l->link.lane, result, error_describe(result));
	link_mark_dirty(g, l);
}
