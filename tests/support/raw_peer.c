/* raw_peer.c - sends and hears bytes while the node takes its turns. */
#include "tests/support/raw_peer.h"

#include <errno.h>
#include <unistd.h>

#include "tests/test.h"

void raw_open(struct raw_peer *r, struct world_node *n)
{
	struct sockaddr_storage to;
	socklen_t length;
	struct error e;

	memset(r, 0, sizeof(*r));
	r->node = n;
	CHECK_OK(address_resolve(&n->address, &to, &length, &e), &e);
	r->fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(r->fd >= 0);
	CHECK_EQ(connect(r->fd, (struct sockaddr *)&to, length), 0);
}

void raw_close(struct raw_peer *r)
{
	close(r->fd);
}

void raw_send(struct raw_peer *r, const void *data, size_t bytes)
{
	const uint8_t *p = data;

	while (bytes > 0) {
		ssize_t n = send(r->fd, p, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			return;                 /* it closed: the test will see */
		if (n > 0) {
			p += n;
			bytes -= (size_t)n;
		}
		core_turn(r->node->core, 0);
	}
}

size_t raw_message(uint8_t *out, const struct frame *f, const void *payload)
{
	wire_encode(f, payload, out);
	if (f->payload_bytes)
		memcpy(out + WIRE_HEADER_BYTES, payload, f->payload_bytes);
	return WIRE_HEADER_BYTES + f->payload_bytes;
}

size_t raw_hello(uint8_t *out)
{
	struct wire_hello hello = { .node = le64_of(42), .role = ROLE_TOOL, .lanes = 1,
				    .version_least = WIRE_VERSION, .version_most = WIRE_VERSION,
				    .credit_small = le32_of(4), .credit_large = le32_of(1),
				    .slot_large_bytes = le32_of(1 << 20), .name = "raw" };

	return raw_message(out, &(struct frame){ .type = WIRE_HELLO,
						 .payload_bytes = sizeof(hello) }, &hello);
}

void raw_greet(struct raw_peer *r)
{
	uint8_t out[256];

	raw_greet_with(r, out, raw_hello(out));
}

void raw_greet_with(struct raw_peer *r, const uint8_t *hello, size_t bytes)
{
	const struct frame ping = { .type = WIRE_PING, .payload_bytes = sizeof(le64) };
	uint8_t out[256], payload[512];
	struct frame f;
	int ups = r->node->ups;

	raw_send(r, hello, bytes);
	CHECK(raw_hear(r, WIRE_HELLO, &f, payload));
	raw_send(r, out, raw_message(out, &ping, &(le64){ 0 }));
	CHECK(raw_hear(r, WIRE_PONG, &f, payload));
	CHECK_EQ(r->node->ups, ups + 1);
}

static void hear_some(struct raw_peer *r)
{
	ssize_t n;

	core_turn(r->node->core, 200 * NS_PER_US);
	n = recv(r->fd, r->in + r->in_bytes, sizeof(r->in) - r->in_bytes, MSG_DONTWAIT);
	if (n > 0)
		r->in_bytes += (size_t)n;
	else if (n == 0 || errno != EAGAIN)
		r->ended = true;
}

static void drop(struct raw_peer *r, size_t bytes)
{
	r->in_bytes -= bytes;
	memmove(r->in, r->in + bytes, r->in_bytes);
}

bool raw_hear(struct raw_peer *r, enum wire_type type, struct frame *f, uint8_t *payload)
{
	struct error e;
	size_t bytes;

	for (;;) {
		bytes = WIRE_HEADER_BYTES;
		if (r->in_bytes >= bytes) {
			CHECK_OK(wire_decode(r->in, f, &e), &e);
			bytes += f->payload_bytes;
		}
		if (r->in_bytes < bytes) {
			if (r->ended)
				return false;
			hear_some(r);
			continue;
		}
		memcpy(payload, r->in + WIRE_HEADER_BYTES, f->payload_bytes);
		drop(r, bytes);
		if (f->type == type)
			return true;
	}
}

bool raw_wait_end(struct raw_peer *r)
{
	uint64_t until_ns = clock_ns(clock_real()) + 5 * NS_PER_S;

	while (!r->ended && clock_ns(clock_real()) < until_ns)
		hear_some(r);
	return r->ended;
}
