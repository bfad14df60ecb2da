/* path_test.c - the datagram path beside a peer's connections: taken by itself, given up when
 * it goes bad, taken again; and whichever way a message goes, it arrives once and in order.
 */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/random.h"
#include "tests/support/transport_world.h"
#include "tests/test.h"

enum { SESSIONS = 5 };

/* What one side has said to the other and heard from it, by session. */
struct talk {
	uint64_t said[SESSIONS], heard[SESSIONS];
};

struct scene {
	struct world world;
	struct world_node *a, *b;
	uint32_t to_b, to_a;
	struct talk talks[2];           /* a's, b's */
	struct random random;
};

static const char by_flow[] = "petals_transport_flow_received_messages_total";

static struct scene *the_scene;

static void take(struct world_node *n, struct message *m)
{
	struct talk *t = &the_scene->talks[n->index];
	uint64_t key = world_key(m);

	CHECK(m->frame.session < SESSIONS);
	CHECK(world_matches(m, key));
	CHECK_EQ(key, t->heard[m->frame.session] + 1);
	t->heard[m->frame.session] = key;
	message_put(n->transport, m);
}

static struct scene *scene_open(uint64_t seed, const char *impair)
{
	struct error e;

	struct scene *s = test_calloc(1, sizeof(*s));

	the_scene = s;
	random_seed(&s->random, seed);
	world_open(&s->world, "sim sealed datagrams", NULL);
	s->world.impair.seed = seed;
	CHECK_OK(impair_parse(&s->world.impair, impair, &e), &e);
	s->a = world_add(&s->world, NULL);
	s->b = world_add(&s->world, NULL);
	s->a->on_received = s->b->on_received = take;
	s->to_b = world_join(s->a, s->b);
	s->to_a = world_peer(s->b);
	return s;
}

static void scene_close(struct scene *s)
{
	world_close(&s->world);
	test_free(s);
}

static void say(struct scene *s, int who, uint64_t session, uint32_t bytes)
{
	struct talk *t = &s->talks[who];

	if (world_say_in(who ? s->b : s->a, who ? s->to_a : s->to_b, session, bytes,
			 t->said[session] + 1) == 0)
		t->said[session]++;
}

static bool all_heard(void *ctx)
{
	struct scene *s = ctx;

	for (int i = 0; i < SESSIONS; i++)
		if (s->talks[0].said[i] != s->talks[1].heard[i] ||
		    s->talks[1].said[i] != s->talks[0].heard[i])
			return false;
	return true;
}

static uint32_t some_bytes(struct scene *s)
{
	static const uint32_t most[] = { 1, 600, 3000, 65536, 300000 };

	return (uint32_t)random_below(&s->random, most[random_below(&s->random, 5)]);
}

static void talk_for(struct scene *s, int turns)
{
	for (int i = 0; i < turns; i++) {
		say(s, (int)random_below(&s->random, 2), random_below(&s->random, SESSIONS),
		    some_bytes(s));
		if (random_chance(&s->random, 0.3))
			world_pass(&s->world, random_below(&s->random, 200 * NS_PER_US));
	}
}

static bool by_datagrams(struct scene *s)
{
	return transport_by_datagrams(s->a->transport, s->to_b) &&
	       transport_by_datagrams(s->b->transport, s->to_a);
}

/* Goal: near peers with ports take to datagrams, all that is said goes that way, in order. */
TEST(path__carries_what_is_said)
{
	struct scene *s = scene_open(test_seed(), "");

	CHECK(by_datagrams(s));
	talk_for(s, 300);
	CHECK(world_run(&s->world, 5 * NS_PER_S, all_heard, s));
	CHECK(world_datagram_counter(s->b, by_flow) > 50);
	CHECK(world_datagram_counter(s->a, by_flow) > 50);
	CHECK_EQ(s->a->losses + s->b->losses, 0);
	CHECK_EQ((int)world_counter(s->a, "petals_transport_slots_in_use{slot=\"large\"}"), 0);
	scene_close(s);
}

/* Goal: a path that is cut is given up within a moment, in the middle of what was being said,
 * and taken again once it is whole; the peer never notices.
 */
TEST(path__falls_back_and_returns)
{
	struct scene *s = scene_open(test_seed(), "");

	for (int round = 0; round < 3; round++) {
		talk_for(s, 60);
		port_network_cut(s->world.ports, 0, 1, true);
		if (round != 1)         /* else only one direction dies */
			port_network_cut(s->world.ports, 1, 0, true);
		talk_for(s, 60);
		CHECK(world_run(&s->world, NS_PER_S, all_heard, s));
		talk_for(s, 60);
		CHECK(!by_datagrams(s));
		CHECK(world_run(&s->world, NS_PER_S, all_heard, s));
		port_network_cut(s->world.ports, 0, 1, false);
		port_network_cut(s->world.ports, 1, 0, false);
		world_pass(&s->world, 20 * NS_PER_S);
		CHECK(by_datagrams(s));
	}
	CHECK(world_datagram_counter(s->a,
				     "petals_transport_flow_ends_total{cause=\"silent\"}") >= 1);
	CHECK_EQ(s->a->losses + s->b->losses, 0);
	scene_close(s);
}

/* Goal: cuts and joins at any moment, on good networks and bad: each message arrives once, in
 * the order of its session, and no slot or credit is lost.
 */
TEST(path__any_moment_will_do)
{
	static const char *const networks[] = {
		"", "drop=5%,reorder=2%,corrupt=1%", "duplicate=10%,jitter=300us",
		"drop=20%,duplicate=5%,reorder=5%,corrupt=2%", "rate=200M",
	};
	const char *more = getenv("PETALS_SIM_SEEDS");
	uint64_t seeds = more ? strtoull(more, NULL, 10) : 20;

	for (uint64_t seed = 0; seed < seeds; seed++) {
		struct scene *s = scene_open(test_seed() + seed,
					     networks[seed % ARRAY_LENGTH(networks)]);

		for (int i = 0; i < 40; i++) {
			uint32_t from = (uint32_t)random_below(&s->random, 2);

			talk_for(s, 1 + (int)random_below(&s->random, 40));
			port_network_cut(s->world.ports, from, 1 - from,
					 random_chance(&s->random, 0.4));
			world_pass(&s->world, random_below(&s->random, 3) *
					      random_below(&s->random, 800 * NS_PER_MS));
		}
		port_network_cut(s->world.ports, 0, 1, false);
		port_network_cut(s->world.ports, 1, 0, false);
		CHECK(world_run(&s->world, 5 * NS_PER_S, all_heard, s));
		CHECK_EQ(s->a->losses + s->b->losses, 0);
		for (int i = 0; i < 20; i++) {  /* more than there is credit for */
			uint64_t said = s->talks[0].said[0];

			for (int n = 0; n < 100 && s->talks[0].said[0] == said; n++) {
				say(s, 0, 0, i % 2 ? 10 : 100000);
				world_pass(&s->world, 10 * NS_PER_MS);
			}
			CHECK_EQ(s->talks[0].said[0], said + 1);
			CHECK(world_run(&s->world, 5 * NS_PER_S, all_heard, s));
		}
		CHECK_EQ((int)world_counter(s->b, "petals_transport_slots_in_use{slot=\"small\"}"),
			 0);
		scene_close(s);
	}
}

/* Goal: a peer that is left hears what was on its way by datagrams, then the goodbye. */
TEST(path__goodbye_comes_last)
{
	struct scene *s = scene_open(test_seed(), "");

	for (uint64_t session = 0; session < SESSIONS; session++)
		say(s, 0, session, session % 2 ? 1 << 20 : 5000);
	transport_disconnect(s->a->transport, s->to_b, "done");
	CHECK(world_wait_lost(s->b, 1));
	CHECK_EQ(s->b->lost[0].code, -EPIPE);
	for (int session = 0; session < SESSIONS; session++)
		CHECK_EQ(s->talks[1].heard[session], s->talks[0].said[session]);
	world_pass(&s->world, NS_PER_S);
	world_join(s->a, s->b);
	scene_close(s);
}

/* Goal: a peer that is gone takes its path with it, whatever was on the way. */
TEST(path__ends_with_its_peer)
{
	struct scene *s = scene_open(test_seed(), "");

	talk_for(s, 50);
	world_remove(s->b);
	CHECK(world_wait_lost(s->a, 1));
	world_pass(&s->world, NS_PER_S);
	CHECK_EQ((int)world_counter(s->a, "petals_transport_slots_in_use{slot=\"small\"}"), 0);
	CHECK_EQ((int)world_datagram_counter(s->a, "petals_transport_flows"), 0);
	scene_close(s);
}

/* Goal: whoever has no port, or is far, keeps to the connection. */
TEST(path__only_where_both_want_it)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *with, *without, *far;
	struct transport_options o;
	struct error e;
	uint32_t peers[2];

	world_open(w, "sim sealed datagrams", NULL);
	with = world_add(w, NULL);
	world_options(w, &o);
	o.near_ns = 10 * NS_PER_US;
	far = world_add(w, &o);
	o.near_ns = 0;
	without = world_add(w, &o);
	CHECK_OK(transport_connect(far->transport, &with->address, &peers[0], &e), &e);
	CHECK_OK(transport_connect(with->transport, &without->address, &peers[1], &e), &e);
	world_pass(w, 3 * NS_PER_S);
	CHECK(transport_is_up(far->transport, peers[0]));
	CHECK(!transport_by_datagrams(far->transport, peers[0]));
	CHECK(transport_is_up(with->transport, peers[1]));
	CHECK(!transport_by_datagrams(with->transport, peers[1]));
	CHECK_EQ(world_say(with, peers[1], 100, 1), 0);
	CHECK(world_wait_received(without, 1));
	world_close(w);
	test_free(w);
}
