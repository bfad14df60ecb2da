/* uring_link_test.c - one TCP connection: slow readers, short writes, ends at
 * awkward moments.
 */
#include <errno.h>
#include <unistd.h>

#include "tests/support/raw_peer.h"
#include "tests/test.h"

static const char large_slots[] = "petals_transport_slots_in_use{slot=\"large\"}";

static void big_hello(struct raw_peer *raw)
{
	struct wire_hello hello = { .lanes = 1,
				    .version_least = WIRE_VERSION, .version_most = WIRE_VERSION,
				    .credit_small = le32_of(100), .credit_large = le32_of(8),
				    .slot_large_bytes = le32_of(4 << 20), .name = "slow" };
	struct frame f = { .type = WIRE_HELLO, .payload_bytes = sizeof(hello) };
	uint8_t out[256];

	raw_greet_with(raw, out, raw_message(out, &f, &hello));
}

/* Reads what the node sends, a little at a time, while it takes its turns. */
static void read_exactly(struct raw_peer *raw, uint8_t *out, size_t bytes)
{
	size_t held = MIN(bytes, raw->in_bytes);
	ssize_t n;

	memcpy(out, raw->in, held);
	raw->in_bytes -= held;
	memmove(raw->in, raw->in + held, raw->in_bytes);
	while (held < bytes) {
		n = recv(raw->fd, out + held, MIN(bytes - held, 50000u), MSG_DONTWAIT);
		if (n > 0)
			held += (size_t)n;
		core_turn(raw->node->core, n > 0 ? 0 : NS_PER_MS);
	}
}

/* Goal: what does not fit into the socket waits in order and loses nothing,
 * however slowly it is read.
 */
TEST(uring_link__slow_reader)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raw = test_calloc(1, sizeof(*raw));
	uint8_t *payload = test_malloc(4 << 20), header[WIRE_HEADER_BYTES];
	struct message m = { .payload = payload };
	struct world_node *n;
	uint64_t heard = 0;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	raw_open(raw, n);
	big_hello(raw);
	for (uint64_t i = 0; i < 12; i++)
		CHECK_EQ(world_say(n, world_peer(n), i % 3 ? 3000 : 4 << 20, i), 0);
	world_pass(w, 30 * NS_PER_MS);
	while (heard < 12) {
		read_exactly(raw, header, sizeof(header));
		CHECK_EQ(wire_decode(header, &m.frame, NULL), 0);
		read_exactly(raw, payload, m.frame.payload_bytes);
		if (m.frame.type == WIRE_CALL)
			CHECK(world_matches(&m, heard++));
	}
	CHECK_EQ(n->losses, 0);
	raw_close(raw);
	world_close(w);
	test_free(payload);
	test_free(raw);
	test_free(w);
}

/* Goal: a reader that goes away while much is queued for it is a loss, and no
 * signal; everything queued is given back.
 */
TEST(uring_link__reader_goes_away)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raw = test_calloc(1, sizeof(*raw));
	struct world_node *n;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	raw_open(raw, n);
	big_hello(raw);
	for (uint64_t i = 0; i < 8; i++)
		CHECK_EQ(world_say(n, world_peer(n), 4 << 20, i), 0);
	world_pass(w, 5 * NS_PER_MS);
	raw_close(raw);
	CHECK(world_wait_lost(n, 1));
	CHECK_EQ(n->lost[0].code, -ECONNRESET);
	CHECK(world_wait_counter(n, large_slots, 0));
	world_close(w);
	test_free(raw);
	test_free(w);
}

/* Goal: leaving a peer that does not read ends after a moment all the same. */
TEST(uring_link__linger_is_bounded)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raw = test_calloc(1, sizeof(*raw));
	struct world_node *n;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	raw_open(raw, n);
	big_hello(raw);
	for (uint64_t i = 0; i < 8; i++)
		CHECK_EQ(world_say(n, world_peer(n), 4 << 20, i), 0);
	transport_disconnect(n->transport, world_peer(n), "too slow");
	CHECK(world_wait_counter(n, large_slots, 0));
	CHECK_EQ(n->losses, 0);
	raw_close(raw);
	world_close(w);
	test_free(raw);
	test_free(w);
}

/* Goal: a connection may be given up before it is there. */
TEST(uring_link__disconnect_while_connecting)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	struct error e;
	uint32_t peer;

	world_open(w, "uring", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	for (int i = 0; i < 30; i++) {
		CHECK_OK(transport_connect(a->transport, &b->address, &peer, &e), &e);
		if (i % 3)
			core_turn(a->core, 0);
		transport_disconnect(a->transport, peer, "changed my mind");
		world_pass(w, NS_PER_MS);
	}
	CHECK_EQ(a->losses, 0);
	CHECK_EQ(world_say(a, world_join(a, b), 10, 1), 0);
	CHECK(world_wait_received(b, 1));
	world_close(w);
	test_free(w);
}
