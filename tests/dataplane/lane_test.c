/* lane_test.c - several connections to one peer: who joins whom, what keeps its order,
 * and how they end together.
 */
#include "dataplane/transport.h"

#include <errno.h>

#include "tests/support/raw_peer.h"
#include "tests/test.h"

static uint64_t last_key[3];
static bool overtook;

static void in_order_by_session(struct world_node *n, struct message *m)
{
	uint64_t key = world_key(m);

	CHECK(world_matches(m, key));
	CHECK(key == last_key[m->frame.session] + 1);
	last_key[m->frame.session] = key;
	overtook |= m->frame.session > 0 && key > last_key[0];
	message_put(n->transport, m);
}

/* Goal: sessions keep their own order on several lanes; small messages of others overtake a
 * large one.
 */
OVER_ENGINES(lane__sessions_keep_their_order)
{
	struct transport_options o;
	struct world_node *a, *b;
	uint64_t said[3] = { 0 };
	uint32_t peer;

	memset(last_key, 0, sizeof(last_key));
	overtook = false;
	world_options(w, &o);
	o.lanes = 3;
	a = world_add(w, &o);
	b = world_add(w, NULL);
	b->on_received = in_order_by_session;
	peer = world_join(a, b);
	while (said[0] < 20 || said[1] < 60 || said[2] < 60)
		for (uint64_t s = 0; s < 3; s++) {
			uint32_t bytes = s == 0 ? 3 << 20 : (uint32_t)(100 * s + said[s]);

			if (said[s] < (s == 0 ? 20 : 60) &&
			    world_say_in(a, peer, s, bytes, said[s] + 1) == 0)
				said[s]++;
			else
				world_pass(w, 100 * NS_PER_US);
		}
	CHECK(world_wait_received(b, 140));
	CHECK(last_key[0] == 20 && last_key[1] == 60 && last_key[2] == 60);
	CHECK(overtook);
}

/* Goal: what was sent before a goodbye arrives before it, on every lane. */
OVER_ENGINES(lane__goodbye_is_the_last_on_every_lane)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);

	for (uint64_t s = 0; s < 2; s++)
		CHECK_EQ(world_say_in(a, peer, s, 2000000, s), 0);
	transport_disconnect(a->transport, peer, "done");
	CHECK(world_wait_lost(b, 1));
	CHECK_EQ(b->lost[0].code, -EPIPE);
	CHECK_EQ(b->receipts, 2);
}

static size_t hello_of(uint8_t *out, uint64_t node, uint64_t bond, uint8_t lane, uint8_t lanes)
{
	struct wire_hello hello;

	raw_hello(out);
	memcpy(&hello, out + WIRE_HEADER_BYTES, sizeof(hello));
	hello.node = le64_of(node);
	hello.bond = le64_of(bond);
	hello.lane = lane;
	hello.lanes = lanes;
	return raw_message(out, &(struct frame){ .type = WIRE_HELLO,
						 .payload_bytes = sizeof(hello) }, &hello);
}

/* Goal: connections join by node and bond, in any order, and each peer comes up only when
 * all of its own are there; nothing is said to them before.
 */
TEST(lane__joins_its_bond)
{
	/* node, bond, lane */
	static const uint8_t hellos[][3] = { { 1, 5, 1 }, { 1, 6, 0 }, { 2, 5, 1 }, { 1, 6, 1 },
					     { 1, 5, 0 } };
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raws = test_calloc(ARRAY_LENGTH(hellos), sizeof(*raws));
	struct world_node *n;
	uint8_t out[512];
	struct frame f;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(hellos); i++) {
		raw_open(&raws[i], n);
		raw_send(&raws[i], out, hello_of(out, hellos[i][0], hellos[i][1], hellos[i][2], 2));
		world_pass(w, 5 * NS_PER_MS);
	}
	for (int i = 0; i < 5; i += 3) {
		const struct frame ping = { .type = WIRE_PING, .payload_bytes = 8 };

		CHECK(raw_hear(&raws[i], WIRE_HELLO, &f, out));
		raw_send(&raws[i], out, raw_message(out, &ping, &(le64){ 0 }));
		world_pass(w, 5 * NS_PER_MS);
	}
	CHECK_EQ(n->ups, 2);
	CHECK_EQ(raws[2].in_bytes, 0);
	CHECK(raw_wait_end(&raws[2]));          /* its other lane never came */
	CHECK_EQ(n->losses, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(hellos); i++)
		raw_close(&raws[i]);
	world_close(w);
	test_free(raws);
	test_free(w);
}

/* Goal: absurd lanes are refused by name, each with its own sentence. */
TEST(lane__absurd_numbers_are_refused)
{
	static const struct { uint8_t lane, lanes; const char *field; } rows[] = {
		{ 0, 0, "lanes" }, { 0, TRANSPORT_LANES_MAX + 1, "lanes" }, { 2, 2, "lane" },
		{ 0, 2, NULL }, { 0, 2, "lane: came twice" },
	};
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raws = test_calloc(ARRAY_LENGTH(rows), sizeof(*raws));
	struct world_node *n;
	uint8_t out[512];
	struct frame f;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		raw_open(&raws[i], n);
		raw_send(&raws[i], out, hello_of(out, 1, 5, rows[i].lane, rows[i].lanes));
		if (!rows[i].field)
			continue;
		CHECK(raw_hear(&raws[i], WIRE_GOODBYE, &f, out));
		out[f.payload_bytes] = 0;
		CHECK(strncmp((char *)out, rows[i].field, strlen(rows[i].field)) == 0);
	}
	CHECK_EQ(n->ups, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		raw_close(&raws[i]);
	world_close(w);
	test_free(raws);
	test_free(w);
}

/* Goal: a message before every lane has greeted is out of order. */
TEST(lane__nothing_before_every_hello)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raw = test_calloc(1, sizeof(*raw));
	const struct frame ping = { .type = WIRE_PING, .payload_bytes = 8 };
	struct world_node *n;
	uint8_t out[512];
	struct frame f;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	raw_open(raw, n);
	raw_send(raw, out, hello_of(out, 1, 5, 0, 2));
	raw_send(raw, out, raw_message(out, &ping, &(le64){ 0 }));
	CHECK(raw_hear(raw, WIRE_GOODBYE, &f, out));
	CHECK_EQ((int)world_errors(n, "order"), 1);
	CHECK_EQ(n->ups, 0);
	raw_close(raw);
	world_close(w);
	test_free(raw);
	test_free(w);
}

/* Goal: the loss of one connection is the loss of the peer, told once. */
OVER_ENGINES(lane__lost_together)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);

	world_join(a, b);
	world_remove(b);
	CHECK(world_wait_lost(a, 1));
	world_pass(w, 20 * NS_PER_MS);
	CHECK_EQ(a->losses, 1);
	CHECK_EQ((int)world_counter(a, "petals_transport_peers"), 0);
}
