/* relay.c - two sockets per connection, drained into each other. */
#include "tests/support/relay.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/tcp.h"
#include "tests/test.h"

void relay_open(struct relay *r, const struct address *target)
{
	struct address any;
	struct error e;

	r->target = *target;
	r->count = 0;
	CHECK_OK(address_parse(&any, "127.0.0.1:0", &e), &e);
	r->listen_fd = tcp_listen(&any, false, &r->address, &e);
	CHECK_OK(r->listen_fd < 0 ? r->listen_fd : 0, &e);
}

static void cut(struct relay *r, int index)
{
	for (int i = 0; i < 2; i++) {
		if (r->connections[index].fds[i] >= 0)
			close(r->connections[index].fds[i]);
		r->connections[index].fds[i] = -1;
	}
}

void relay_close(struct relay *r)
{
	for (int i = 0; i < r->count; i++)
		cut(r, i);
	close(r->listen_fd);
}

static void accept_one(struct relay *r)
{
	struct pollfd p = { .fd = r->listen_fd, .events = POLLIN };
	struct sockaddr_storage to;
	socklen_t length;
	struct error e;
	int *fds;

	if (poll(&p, 1, 0) != 1)
		return;
	CHECK(r->count < RELAY_CONNECTIONS_MAX);
	fds = r->connections[r->count].fds;
	r->connections[r->count].passed[0] = r->connections[r->count].passed[1] = 0;
	r->count++;
	fds[0] = accept(r->listen_fd, NULL, NULL);
	CHECK(fds[0] >= 0);
	fds[1] = tcp_socket(&r->target, false, &to, &length, &e);
	CHECK_OK(fds[1] < 0 ? fds[1] : 0, &e);
	CHECK_EQ(connect(fds[1], (struct sockaddr *)&to, length), 0);
}

static void send_all(int fd, const uint8_t *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return;                 /* the other side is gone: its reader will see */
		data += n;
		bytes -= (size_t)n;
	}
}

/* Passes on what waits in one direction; false: nothing does. */
static bool pass(struct relay *r, int index, int from)
{
	static uint8_t data[RELAY_BYTES];
	int *fds = r->connections[index].fds;
	uint64_t *passed = &r->connections[index].passed[from];
	ssize_t n;
	long go;

	if (fds[from] < 0)
		return false;
	n = recv(fds[from], data, sizeof(data) / 2, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return false;
	go = n > 0 && r->tamper ? r->tamper(r->ctx, index, from == 0, *passed, data, (size_t)n) :
				  n;
	if (n <= 0 || go < 0) {
		cut(r, index);
		return false;
	}
	*passed += (uint64_t)n;
	send_all(fds[1 - from], data, (size_t)go);
	return true;
}

void relay_turn(struct relay *r)
{
	accept_one(r);
	for (int i = 0; i < r->count; i++)
		while (pass(r, i, 0) | pass(r, i, 1))
			;
}
