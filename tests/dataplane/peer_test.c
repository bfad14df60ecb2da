/* peer_test.c - who counts as alive: heartbeats, silence, and time of our own
 * that is nobody's silence.
 */
#include <errno.h>
#include <unistd.h>

#include "tests/support/raw_peer.h"
#include "tests/test.h"

static const char sent_pings[] = "petals_transport_sent_messages_total{type=\"ping\"}";

/* Goal: a peer of whom something is expected and who says nothing is lost after
 * silence_ns, on either engine; the others stay.
 */
TEST(peer__silence_is_noticed)
{
	for (int i = 0; i < world_engine_count; i++) {
		struct world *w = test_calloc(1, sizeof(*w));
		struct world_node *a, *b, *c;
		uint64_t before_ns;
		uint32_t peer;

		world_open(w, world_engines[i], NULL);
		a = world_add(w, NULL);
		b = world_add(w, NULL);
		c = world_add(w, NULL);
		peer = world_join(a, b);
		transport_expect(a->transport, world_join(a, c), 1);
		world_pass(w, 10 * NS_PER_MS);
		b->still = true;
		transport_expect(a->transport, peer, 1);
		before_ns = clock_ns(w->clock);
		CHECK(world_wait_lost(a, 1));
		CHECK_EQ(a->lost[0].peer, peer);
		CHECK_EQ(a->lost[0].code, -ETIMEDOUT);
		CHECK(clock_ns(w->clock) - before_ns >= 250 * NS_PER_MS);
		if (w->network)
			CHECK(clock_ns(w->clock) - before_ns <= 251 * NS_PER_MS);
		world_pass(w, 20 * NS_PER_MS);
		CHECK_EQ(a->losses, 1);
		b->still = false;
		world_close(w);
		test_free(w);
	}
}

/* Goal: a peer that is only slow to answer is pinged, answers pings, and stays; one of whom
 * nothing is expected is pinged by either side every few seconds.
 */
TEST(peer__pings_keep_a_waiting_peer)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	uint32_t peer;
	double pings;

	world_open(w, "sim", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	pings = world_counter(a, sent_pings) + world_counter(b, sent_pings);
	world_pass(w, 60 * NS_PER_S);
	CHECK_NEAR(world_counter(a, sent_pings) + world_counter(b, sent_pings) - pings, 16, 3);
	pings = world_counter(a, sent_pings);
	transport_expect(a->transport, peer, 2);
	transport_expect(a->transport, peer, -1);
	world_pass(w, 5 * NS_PER_S);
	CHECK_NEAR(world_counter(a, sent_pings) - pings, 100, 5);
	CHECK_EQ(a->losses, 0);
	transport_expect(a->transport, peer, -1);
	pings = world_counter(a, sent_pings) + world_counter(b, sent_pings);
	world_pass(w, 60 * NS_PER_S);
	CHECK_NEAR(world_counter(a, sent_pings) + world_counter(b, sent_pings) - pings, 16, 3);
	world_close(w);
	test_free(w);
}

/* Goal: with nothing expected a short freeze goes unnoticed, a long one not. */
TEST(peer__idle_peers_have_more_time)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;

	world_open(w, "sim", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	world_join(a, b);
	b->still = true;
	world_pass(w, 5 * NS_PER_S);
	b->still = false;
	world_pass(w, NS_PER_S);
	CHECK_EQ(a->losses, 0);
	CHECK_EQ(b->losses, 0);
	b->still = true;
	CHECK(world_run(w, 11 * NS_PER_S, NULL, NULL) == false);
	CHECK_EQ(a->losses, 1);
	CHECK_EQ(a->lost[0].code, -ETIMEDOUT);
	world_close(w);
	test_free(w);
}

/* Goal: being held up ourselves is not the peer's silence. */
TEST(peer__our_own_gap_is_not_silence)
{
	for (int i = 0; i < world_engine_count; i++) {
		struct world *w = test_calloc(1, sizeof(*w));
		struct world_node *a, *b;

		world_open(w, world_engines[i], NULL);
		a = world_add(w, NULL);
		b = world_add(w, NULL);
		transport_expect(a->transport, world_join(a, b), 1);
		world_pass(w, 100 * NS_PER_MS);
		a->still = true;
		world_pass(w, 400 * NS_PER_MS);
		a->still = false;
		world_pass(w, 20 * NS_PER_MS);
		CHECK_EQ(a->losses, 0);
		CHECK(world_counter(a, "petals_transport_loop_gap_seconds_count") >= 1);
		/* ... and the peer's silence still is. */
		b->still = true;
		CHECK(world_wait_lost(a, 1));
		b->still = false;
		world_close(w);
		test_free(w);
	}
}

/* Goal: expecting again after a pause in which nobody turned the loop starts the
 * clock afresh.
 */
TEST(peer__expecting_starts_the_clock)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	uint32_t peer;

	world_open(w, "uring", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	usleep(300000);
	transport_expect(a->transport, peer, 1);
	world_pass(w, 50 * NS_PER_MS);
	CHECK_EQ(a->losses, 0);
	world_close(w);
	test_free(w);
}

/* Goal: bytes in the middle of a message count as life. */
TEST(peer__a_trickle_is_alive)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raw = test_calloc(1, sizeof(*raw));
	uint8_t out[WIRE_HEADER_BYTES + 200], payload[200] = { 0 };
	struct transport_options o;
	struct world_node *n;

	world_open(w, "uring", NULL);
	world_options(w, &o);
	o.heartbeat_ns = 10 * NS_PER_MS;
	o.silence_ns = 60 * NS_PER_MS;
	n = world_add(w, &o);
	raw_open(raw, n);
	raw_greet(raw);
	transport_expect(n->transport, world_peer(n), 1);
	raw_message(out, &(struct frame){ .type = WIRE_CALL, .payload_bytes = 200 }, payload);
	for (int i = 0; i < 20; i++) {          /* never answers a ping, yet lives */
		raw_send(raw, out + 10 * i, 10);
		world_pass(w, 8 * NS_PER_MS);
	}
	CHECK_EQ(n->losses, 0);
	CHECK(world_wait_lost(n, 1));
	CHECK_EQ(n->lost[0].code, -ETIMEDOUT);
	CHECK(strstr(n->lost[0].reason, "answer was expected"));
	raw_close(raw);
	world_close(w);
	test_free(raw);
	test_free(w);
}

/* Goal: a peer that connects but never greets is given up, and said so. */
TEST(peer__no_hello_in_time)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	struct error e;
	uint32_t peer;

	world_open(w, "sim", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	b->still = true;
	CHECK_OK(transport_connect(a->transport, &b->address, &peer, &e), &e);
	CHECK(world_wait_lost(a, 1));
	CHECK_EQ(a->lost[0].code, -ETIMEDOUT);
	CHECK(strstr(a->lost[0].reason, "no hello"));
	world_close(w);
	test_free(w);
}
