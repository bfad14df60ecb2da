/* transport_sim_test.c - the network that tests lean on: what it promises and
 * that the same seed tells the same story.
 */
#include "dataplane/transport_sim.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/transport_world.h"
#include "tests/test.h"

/* A world of nodes that pass messages around a ring, for stories. */
static uint64_t story_hash;

static void note(uint64_t value)
{
	story_hash = (story_hash ^ value) * 0x100000001b3ull;
}

static void pass_on(struct world_node *n, struct message *m)
{
	uint64_t left = world_key(m);

	note(clock_ns(n->world->clock));
	note((uint64_t)n->index << 32 | m->frame.payload_bytes);
	message_put(n->transport, m);
	if (left > 0)
		(void)world_say(n, n->up[0].dialed ? n->up[0].peer : n->up[n->ups - 1].peer,
				(uint32_t)(left * 37 % 9000), left - 1);
}

static uint64_t story(uint64_t seed, double corrupt, double reset)
{
	const struct sim_options o = { .seed = seed, .delay_least_ns = 10 * NS_PER_US,
				       .delay_most_ns = 200 * NS_PER_US, .bytes_per_ns = 1.25,
				       .corrupt_chance = corrupt, .reset_chance = reset };
	struct world *w = test_calloc(1, sizeof(*w));
	struct error e;
	uint32_t peer;
	uint64_t hash;

	story_hash = 0xcbf29ce484222325ull;
	world_open(w, "sim", &o);
	for (int i = 0; i < 4; i++)
		world_add(w, NULL)->on_received = pass_on;
	for (int i = 0; i < 4; i++)
		CHECK_OK(transport_connect(w->nodes[i].transport, &w->nodes[(i + 1) % 4].address,
					   &peer, &e), &e);
	world_pass(w, 10 * NS_PER_MS);
	for (int i = 0; i < 4; i++)
		if (w->nodes[i].ups)
			(void)world_say(&w->nodes[i], w->nodes[i].up[0].peer, 100, 300);
	world_pass(w, 200 * NS_PER_MS);
	for (int i = 0; i < 4; i++) {
		note((uint64_t)w->nodes[i].receipts);
		for (int l = 0; l < w->nodes[i].losses; l++)
			note((uint64_t)w->nodes[i].lost[l].code);
	}
	hash = story_hash;
	world_close(w);
	test_free(w);
	return hash;
}

/* Goal: the same seed gives the same run, event for event, failures included;
 * another seed another one.
 */
TEST(sim__same_seed_same_story)
{
	for (uint64_t seed = test_seed(); seed < test_seed() + 10; seed++) {
		uint64_t plain = story(seed, 0, 0), rough = story(seed, 0.001, 0.001);

		CHECK(story(seed, 0, 0) == plain);
		CHECK(story(seed, 0.001, 0.001) == rough);
		CHECK(story(seed + 1000, 0, 0) != plain);
		CHECK(rough != plain);
	}
}

/* Goal: delays stay within their bounds, bandwidth stretches large messages. */
TEST(sim__delay_and_bandwidth)
{
	const struct sim_options o = { .seed = test_seed(), .delay_least_ns = NS_PER_MS,
				       .delay_most_ns = 2 * NS_PER_MS, .bytes_per_ns = 0.1 };
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	uint64_t before_ns, took_ns;
	uint32_t peer;

	world_open(w, "sim", &o);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	for (int i = 1; i < 50; i++) {
		before_ns = clock_ns(w->clock);
		CHECK_EQ(world_say(a, peer, 0, 1), 0);
		CHECK(world_wait_received(b, i));
		world_put_all(b);
		took_ns = clock_ns(w->clock) - before_ns;
		CHECK(took_ns >= NS_PER_MS);
		CHECK(took_ns <= 2 * NS_PER_MS + 2 * NS_PER_US);
		world_pass(w, 10 * NS_PER_MS);
	}
	before_ns = clock_ns(w->clock);
	CHECK_EQ(world_say(a, peer, 1000000, 1), 0);
	CHECK(world_wait_received(b, 50));
	took_ns = clock_ns(w->clock) - before_ns;
	CHECK(took_ns >= 11 * NS_PER_MS && took_ns <= 13 * NS_PER_MS);
	world_close(w);
	test_free(w);
}

/* Goal: a killed node's peers hear of it at once, after what it had sent; it can
 * be closed then, and a new one take its place.
 */
TEST(sim__kill)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct transport_options o;
	struct world_node *a, *b, *c;
	uint32_t peer;

	world_open(w, "sim", NULL);
	world_options(w, &o);
	o.lanes = 1;                    /* another lane's end may come before */
	a = world_add(w, &o);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	CHECK_EQ(world_say(b, world_peer(b), 100, 1), 0);
	sim_kill(w->network, b->id);
	CHECK_EQ(world_say(a, peer, 100, 1), 0);
	world_remove(b);
	CHECK(world_wait_lost(a, 1));
	CHECK_EQ(a->lost[0].code, -ECONNRESET);
	CHECK_EQ(a->receipts, 1);
	c = world_add(w, NULL);
	world_join(a, c);
	world_close(w);
	test_free(w);
}

/* Goal: a frozen node takes no turns; what is sent to it waits. */
TEST(sim__freeze_and_thaw)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	uint32_t peer;

	world_open(w, "sim", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	b->still = true;
	CHECK_EQ(world_say(a, peer, 100, 1), 0);
	world_pass(w, 100 * NS_PER_MS);
	CHECK_EQ(b->receipts, 0);
	b->still = false;
	CHECK(world_wait_received(b, 1));
	CHECK_EQ(a->losses, 0);
	world_close(w);
	test_free(w);
}

/* Goal: a cut is silent; joined again, everything passes in order.  A cut that
 * stays shows as silence, and a connection across it does not come up.
 */
TEST(sim__cut_and_join)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b, *c;
	struct error e;
	uint32_t peer, other;

	world_open(w, "sim", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	c = world_add(w, NULL);
	peer = world_join(a, b);
	other = world_join(a, c);
	sim_cut(w->network, a->id, b->id, true);
	for (uint64_t i = 0; i < 5; i++)
		CHECK_EQ(world_say(a, peer, 100, i), 0);
	CHECK_EQ(world_say(a, other, 100, 9), 0);
	CHECK(world_wait_received(c, 1));
	world_pass(w, 100 * NS_PER_MS);
	CHECK_EQ(b->receipts, 0);
	sim_cut(w->network, b->id, a->id, false);
	CHECK(world_wait_received(b, 5));
	for (int i = 0; i < 5; i++)
		CHECK(world_matches(b->received[i], (uint64_t)i));
	CHECK_EQ(a->losses + b->losses, 0);

	sim_cut(w->network, a->id, b->id, true);
	transport_expect(a->transport, peer, 1);
	CHECK(world_wait_lost(a, 1));
	CHECK_EQ(a->lost[0].code, -ETIMEDOUT);
	CHECK_OK(transport_connect(a->transport, &b->address, &peer, &e), &e);
	CHECK(world_wait_lost(a, 2));
	CHECK_EQ(a->lost[1].code, -ETIMEDOUT);
	sim_cut(w->network, a->id, b->id, false);
	world_pass(w, 100 * NS_PER_MS);
	world_join(a, b);
	world_close(w);
	test_free(w);
}

/* Goal: a slow node answers late, by what each turn costs. */
TEST(sim__delay_of_a_node)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	uint64_t quick_ns;
	uint32_t peer;

	world_open(w, "sim", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	world_pass(w, 10 * NS_PER_MS);
	quick_ns = transport_rtt_ns(a->transport, peer);
	sim_delay(w->network, b->id, 30 * NS_PER_MS);
	world_pass(w, 30 * NS_PER_S);
	CHECK(transport_rtt_ns(a->transport, peer) > quick_ns + 20 * NS_PER_MS);
	CHECK_EQ(a->losses, 0);
	world_close(w);
	test_free(w);
}

/* Goal: corruption is always found, in headers and in payloads, never delivered. */
TEST(sim__corruption_is_found)
{
	const struct sim_options o = { .seed = test_seed(), .delay_most_ns = 1000,
				       .corrupt_chance = 0.02 };
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	struct error e;
	uint32_t peer;
	int lost = 0, heard = 0, in_headers = 0, in_payloads = 0;

	world_open(w, "sim", &o);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	for (int i = 0; i < 60; i++) {
		a->ups = b->ups = a->losses = b->losses = b->receipts = 0;
		CHECK_OK(transport_connect(a->transport, &b->address, &peer, &e), &e);
		world_pass(w, NS_PER_MS);
		for (uint64_t m = 0; m < 30; m++)
			(void)world_say(a, peer, 200, m);
		world_pass(w, 50 * NS_PER_MS);
		for (int m = 0; m < b->kept; m++)
			CHECK(world_matches(b->received[m], (uint64_t)m));
		heard += b->receipts;
		lost += a->losses > 0;
		for (int k = 0; k < b->losses; k++) {
			in_headers += strstr(b->lost[k].reason, "header_crc") != NULL;
			in_payloads += strstr(b->lost[k].reason, "payload_crc") != NULL;
		}
		world_put_all(b);
		transport_disconnect(a->transport, peer, "next");
		world_pass(w, 10 * NS_PER_S);
	}
	CHECK(lost > 0 && lost < 60);
	CHECK(in_headers > 0 && in_payloads > 0);
	CHECK(heard > 0);
	world_close(w);
	test_free(w);
}

/* Goal: a run ends when done, at its time, and never goes back. */
TEST(sim_run__ends)
{
	struct sim_options o = { .seed = 1 };
	struct sim_network *n;
	uint64_t before_ns;

	CHECK_EQ(sim_network_open(&n, &o), 0);
	before_ns = clock_ns(sim_clock(n));
	CHECK(!sim_run(n, UINT64_MAX, NULL, NULL));     /* nothing will happen */
	CHECK(clock_ns(sim_clock(n)) == before_ns);
	CHECK(!sim_run(n, before_ns + 5, NULL, NULL));
	CHECK(clock_ns(sim_clock(n)) == before_ns + 5);
	sim_network_close(n);
	sim_network_close(NULL);
}

/* Goal: out of memory anywhere in a conversation costs at most the connection. */
#ifdef PETALS_FAULTS
TEST(sim__faults_cost_a_connection)
{
	uint64_t live = mem_live_blocks();
	bool fired = true;

	for (int nth = 1; fired && nth < 60; nth++) {
		struct world *w = test_calloc(1, sizeof(*w));
		struct world_node *a, *b;
		struct error e;
		uint32_t peer;

		world_open(w, "sim", NULL);
		a = world_add(w, NULL);
		b = world_add(w, NULL);
		fault_arm(nth);
		if (transport_connect(a->transport, &b->address, &peer, &e) == 0) {
			world_pass(w, NS_PER_MS);
			for (uint64_t m = 0; m < 5; m++)
				(void)world_say(a, peer, 5000, m);
			world_pass(w, 10 * NS_PER_MS);
			CHECK(b->receipts == 5 || a->losses == 1);
		}
		fired = fault_fired();
		fault_disarm();
		world_close(w);
		test_free(w);
	}
	CHECK(!fired);
	CHECK_EQ(mem_live_blocks(), live);
}
#endif
