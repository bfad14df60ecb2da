/* transport_uring.c - TCP through one io_uring per transport.
 *
 * A turn is one wait: it submits what was prepared (receives armed again,
 * sends that did not fit at once), sleeps, and comes back with completions.
 *
 * The ring belongs to the thread of the first wait (DEFER_TASKRUN runs
 * completions only there), which need not be the one that opened it.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/tcp.h"
#include "dataplane/uring_link.h"
#include "dataplane/uring_setup.h"

static const uint64_t gap_slack_ns = 5 * NS_PER_MS;     /* a turn's ordinary work */
static const uint64_t accept_again_ns = 100 * NS_PER_MS;
static const uint64_t close_flush_ns = 100 * NS_PER_MS;
static const uint64_t close_end_ns = 500 * NS_PER_MS;

static void uring_free(struct engine *g)
{
	if (g->wake_fd >= 0)
		close(g->wake_fd);
	mem_free(g->ahead);
	mem_free(g->links);
	mem_free(g);
}

/* Where bytes are received that do not land directly. */
static int open_buffers(struct engine *g, struct error *e)
{
	int rc = g->sealed ? uring_buffers_open(&g->buffers, &g->ring) : -ENOTSUP;

	if (rc == 0)
		return 0;
	if (rc == -ENOMEM)
		return error_errno(e, rc, "cannot open the uring engine");
	if (g->sealed)
		log_info("transport", "this kernel's io_uring lacks provided buffer rings (Linux "
			 "5.19); every connection has a buffer of its own");
	g->ahead = mem_aligned(4096, (size_t)g->link_count * URING_AHEAD_BYTES);
	if (!g->ahead)
		return error_errno(e, -ENOMEM, "cannot open the uring engine");
	for (uint32_t i = 0; i < g->link_count; i++)
		g->links[i].ahead = g->ahead + (size_t)i * URING_AHEAD_BYTES;
	return 0;
}

static int uring_open(struct engine **out, struct transport *t,
		      const struct transport_options *o, struct error *e)
{
	struct engine *g = mem_calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return error_errno(e, -ENOMEM, "cannot open the uring engine");
	g->transport = t;
	g->clock = o->clock;
	g->sealed = o->identity;
	g->link_count = engine_links(o);
	g->wake_fd = -1;
	g->links = mem_calloc(g->link_count, sizeof(*g->links));
	if (!g->links) {
		rc = error_errno(e, -ENOMEM, "cannot open the uring engine");
		goto err;
	}
	for (uint32_t i = 0; i < g->link_count; i++)
		g->links[i].fd = -1;
	g->wake_fd = fault_here() ? -1 : eventfd(0, EFD_CLOEXEC);
	if (g->wake_fd < 0) {
		rc = error_errno(e, errno ? -errno : -EMFILE, "cannot open an eventfd");
		goto err;
	}
	rc = uring_setup(&g->ring, 2 * g->link_count + URING_LISTENERS_MAX + 3, &g->disabled, e);
	if (rc < 0)
		goto err;
	rc = open_buffers(g, e);
	if (rc < 0) {
		io_uring_queue_exit(&g->ring);
		goto err;
	}
	g->left_ns = clock_ns(g->clock);
	*out = g;
	return 0;

err:
	uring_free(g);
	return rc;
}

static int uring_listen(struct engine *g, const struct address *a, struct address *bound,
			struct error *e)
{
	int fd;

	if (g->listener_count == URING_LISTENERS_MAX)
		return error_set(e, -ENFILE, "cannot listen on %s: a transport listens on at most "
				 "%d addresses", a->text, URING_LISTENERS_MAX);
	fd = tcp_listen(a, g->sealed, bound, e);
	if (fd < 0)
		return fd;
	g->listeners[g->listener_count++] = (struct listener){ .fd = fd };
	return 0;
}

static int uring_connect(struct engine *g, const struct address *a, struct lane *owner,
			 struct link **out, struct error *e)
{
	struct sockaddr_storage to;
	struct tcp_link *l;
	socklen_t length;
	int fd;

	fd = tcp_socket(a, g->sealed, &to, &length, e);
	if (fd < 0)
		return fd;
	l = link_new(g, fd);
	assert(l && "there is a link for every peer");
	l->link.lane = owner;
	l->to = to;
	link_connect(g, l, length);
	*out = &l->link;
	return 0;
}

static void uring_send(struct engine *g, struct link *link)
{
	link_mark_dirty(g, CONTAINER_OF(link, struct tcp_link, link));
}

static void uring_finish(struct engine *g, struct link *link, bool flush)
{
	link_finish(g, CONTAINER_OF(link, struct tcp_link, link), flush);
}

static void start_sends(struct engine *g)
{
	struct tcp_link *l;

	while ((l = g->dirty)) {
		g->dirty = l->next_dirty;
		l->dirty = false;
		link_send(g, l);
	}
}

static void arm_listener(struct engine *g, uint32_t index)
{
	struct listener *s = &g->listeners[index];
	struct io_uring_sqe *sqe = uring_prepare(g);

	if (s->single)
		io_uring_prep_accept(sqe, s->fd, NULL, NULL, SOCK_CLOEXEC);
	else
		io_uring_prep_multishot_accept(sqe, s->fd, NULL, NULL, SOCK_CLOEXEC);
	uring_tag(sqe, OP_ACCEPT, index);
	s->armed = true;
}

/* The ring's first turn, on the thread that will have all the others. */
static void take_ownership(struct engine *g)
{
	int rc;

	g->owned = true;
	g->owner = pthread_self();
	if (!g->disabled)
		return;
	rc = io_uring_register((unsigned)g->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	assert(rc == 0 && "a ring that was set up can be started");
}

/* Keeps accepting and waking armed; returns the timeout, shortened if a
 * listener pauses.
 */
static uint64_t arm_all(struct engine *g, uint64_t now_ns, uint64_t timeout_ns)
{
	struct io_uring_sqe *sqe;

	for (uint32_t i = 0; i < g->listener_count; i++) {
		struct listener *s = &g->listeners[i];

		if (s->armed)
			continue;
		if (s->again_ns > now_ns)
			timeout_ns = MIN(timeout_ns, s->again_ns - now_ns);
		else
			arm_listener(g, i);
	}
	if (!g->wake_armed) {
		sqe = uring_prepare(g);
		io_uring_prep_read(sqe, g->wake_fd, &g->wake_value, sizeof(g->wake_value), 0);
		uring_tag(sqe, OP_WAKE, 0);
		g->wake_armed = true;
	}
	return timeout_ns;
}

/* Links that ended while nothing was in flight produce no completion. */
static bool has_ended(const struct engine *g)
{
	for (uint32_t i = 0; g->ending && i < g->link_count; i++)
		if (g->links[i].fd >= 0 && g->links[i].finishing && link_is_idle(&g->links[i]))
			return true;
	return false;
}

static int enter(struct engine *g, uint64_t timeout_ns)
{
	struct __kernel_timespec ts = { .tv_sec = (long long)(timeout_ns / NS_PER_S),
					.tv_nsec = (long long)(timeout_ns % NS_PER_S) };
	struct io_uring_cqe *cqe;

	if (timeout_ns == 0)
		return io_uring_submit_and_get_events(&g->ring);
	return io_uring_submit_and_wait_timeout(&g->ring, &cqe, 1,
						timeout_ns == UINT64_MAX ? NULL : &ts, NULL);
}

/* Time that went by unnoticed: between two waits, and past the end of this
 * one; ordinary work and timer slack do not count.
 */
static uint64_t gap_of(const struct engine *g, uint64_t before_ns, uint64_t after_ns,
		       uint64_t timeout_ns)
{
	uint64_t away_ns = before_ns - g->left_ns, inside_ns = after_ns - before_ns, gap_ns = 0;

	if (away_ns > gap_slack_ns)
		gap_ns += away_ns - gap_slack_ns;
	if (inside_ns > timeout_ns && inside_ns - timeout_ns > gap_slack_ns)
		gap_ns += inside_ns - timeout_ns - gap_slack_ns;
	return gap_ns;
}

static uint64_t uring_wait(struct engine *g, uint64_t timeout_ns)
{
	uint64_t before_ns = clock_ns(g->clock), after_ns, gap_ns;
	int rc;

	if (!g->owned)
		take_ownership(g);
	assert(pthread_equal(g->owner, pthread_self()) && "one thread polls a transport");
	start_sends(g);
	timeout_ns = arm_all(g, before_ns, timeout_ns);
	if (has_ended(g))
		timeout_ns = 0;
	rc = enter(g, timeout_ns);
	if (rc < 0 && rc != -ETIME && rc != -EINTR && rc != -EBUSY && rc != -EAGAIN)
		log_error("transport", "io_uring: %s", error_describe(rc));
	after_ns = clock_ns(g->clock);
	gap_ns = gap_of(g, before_ns, after_ns, timeout_ns);
	g->left_ns = after_ns;
	return gap_ns;
}

static void accepted(struct engine *g, uint32_t index, int result, unsigned flags)
{
	struct listener *s = &g->listeners[index];
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	struct address address;
	struct tcp_link *l;

	if (!(flags & IORING_CQE_F_MORE))
		s->armed = false;
	if (result == -EINVAL && !s->single) {
		s->single = true;
		return;
	}
	if (result == -EMFILE || result == -ENFILE || result == -ENOBUFS || result == -ENOMEM) {
		log_warn("transport", "cannot accept a connection: %s; trying again soon",
			 error_describe(result));
		s->again_ns = clock_ns(g->clock) + accept_again_ns;
	}
	if (result < 0)
		return;
	if (getpeername(result, (struct sockaddr *)&from, &length) < 0) {
		close(result);          /* gone already */
		return;
	}
	address_of_sockaddr(&address, (struct sockaddr *)&from);
	l = link_new(g, result);
	if (!l) {
		close(result);
		return;
	}
	if (lane_accepted(g->transport, &l->link, &address))
		link_receive(g, l);
	else
		link_free(g, l);
}

static void complete(struct engine *g, uint64_t user_data, int result, unsigned flags)
{
	uint32_t index = (uint32_t)user_data;

	switch (user_data >> 32) {
	case OP_ACCEPT:
		accepted(g, index, result, flags);
		break;
	case OP_CONNECT:
		link_connected(g, &g->links[index], result);
		break;
	case OP_RECEIVE:
		link_received(g, &g->links[index], result, flags);
		break;
	case OP_SEND:
		link_sent(g, &g->links[index], result);
		break;
	case OP_WAKE:
		atomic_store(&g->woken, false);
		g->wake_armed = false;
		break;
	case OP_WATCH:
		g->watched = 0;
		break;
	default:
		break;                  /* of a cancellation, or liburing's own timeout */
	}
}

static void uring_deliver(struct engine *g)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	io_uring_for_each_cqe(&g->ring, head, cqe) {
		complete(g, cqe->user_data, cqe->res, cqe->flags);
		count++;
	}
	io_uring_cq_advance(&g->ring, count);
	for (uint32_t i = 0; g->ending && i < g->link_count; i++) {
		struct tcp_link *l = &g->links[i];
		struct lane *lane = l->link.lane;

		if (l->fd < 0 || !l->finishing || !link_is_idle(l))
			continue;
		link_free(g, l);
		lane_closed(lane);
	}
}

/* Safe in a signal handler. */
static void uring_wake(struct engine *g)
{
	uint64_t one = 1;
	ssize_t n;

	if (atomic_exchange(&g->woken, true))
		return;
	do
		n = write(g->wake_fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

static void uring_watch(struct engine *g, int descriptor)
{
	struct io_uring_sqe *sqe;

	if (g->watched)
		return;
	sqe = uring_prepare(g);
	io_uring_prep_poll_add(sqe, descriptor, POLLIN);
	uring_tag(sqe, OP_WATCH, 0);
	g->watched = descriptor + 1;
}

static bool all_flushed(const struct engine *g)
{
	for (uint32_t i = 0; i < g->link_count; i++)
		if (g->links[i].fd >= 0 && g->links[i].flushing && !g->links[i].shut)
			return false;
	return true;
}

/* Lets goodbyes out, then ends every connection and waits until the kernel has
 * let go of our memory, which it does at once.
 */
static void drain(struct engine *g)
{
	uint64_t now_ns = clock_ns(g->clock), flush_ns = now_ns + close_flush_ns, end_ns;

	while (!all_flushed(g) && (now_ns = clock_ns(g->clock)) < flush_ns) {
		uring_wait(g, flush_ns - now_ns);
		uring_deliver(g);
	}
	for (uint32_t i = 0; i < g->link_count; i++)
		if (g->links[i].fd >= 0)
			link_finish(g, &g->links[i], false);
	end_ns = clock_ns(g->clock) + close_end_ns;
	while (g->used && (now_ns = clock_ns(g->clock)) < end_ns) {
		uring_wait(g, end_ns - now_ns);
		uring_deliver(g);
	}
}

/* The polling thread has ended and the kernel cancelled what it had in flight;
 * goodbyes leave by ordinary calls.
 */
static void drain_elsewhere(struct engine *g)
{
	for (uint32_t i = 0; i < g->link_count; i++)
		if (g->links[i].fd >= 0)
			link_send_rest(&g->links[i]);
}

static void uring_close(struct engine *g)
{
	if (g->owned && !pthread_equal(g->owner, pthread_self()))
		drain_elsewhere(g);
	else
		drain(g);
	for (uint32_t i = 0; i < g->link_count; i++)
		if (g->links[i].fd >= 0)
			close(g->links[i].fd);
	for (uint32_t i = 0; i < g->listener_count; i++)
		close(g->listeners[i].fd);
	uring_buffers_close(&g->buffers, &g->ring);
	io_uring_queue_exit(&g->ring);
	uring_free(g);
}

const struct engine_ops engine_uring = {
	.name = "uring", .intact = true,  /* in the clear it stays within one kernel */
	.open = uring_open, .close = uring_close, .listen = uring_listen,
	.connect = uring_connect, .send = uring_send, .finish = uring_finish,
	.wait = uring_wait, .deliver = uring_deliver, .wake = uring_wake,
	.watch = uring_watch,
};
