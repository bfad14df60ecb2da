/* flow_test.c - flows in random bad networks, in virtual time, from one seed each.
 *
 * The model behind (tests/support/flow_world.c) checks all the time that a message
 * arrives once, whole, in the order of its key, that places are given back and that
 * no number is used twice.  PETALS_SIM_SEEDS=N runs N networks.
 */
#include <stdlib.h>

#include "dataplane/base/memory.h"
#include "tests/support/flow_world.h"
#include "tests/test.h"

#if defined(__SANITIZE_THREAD__)
enum { NETWORKS = 20 };                 /* one thread: nothing to be found here */
#else
enum { NETWORKS = 150 };
#endif

enum { POSTS_MOST = 120, BOUND_S = 40 };

static double up_to(struct random *r, double most)
{
	return random_chance(r, 0.3) ? 0 : most * random_unit(r);
}

static void draw_network(struct random *r, struct port_network_options *o)
{
	static const uint32_t mtus[] = { 1200, 1452, 1472, 8972 };
	static const double rates[] = { 0, 0, 0.125, 1.25 };

	*o = (struct port_network_options){
		.delay_ns = 2000 + random_below(r, 300000),
		.bytes_per_ns = rates[random_below(r, ARRAY_LENGTH(rates))],
		.queue_bytes = (uint32_t)(30000 + random_below(r, 300000)),
		.mtu_bytes = mtus[random_below(r, ARRAY_LENGTH(mtus))],
		.datagrams = 4096,
	};
	if (random_chance(r, 0.3))
		o->mark_bytes = o->queue_bytes / 3;
}

static void draw_impairment(struct random *r, struct impair_options *o)
{
	*o = (struct impair_options){
		.drop = up_to(r, 0.2), .duplicate = up_to(r, 0.1), .reorder = up_to(r, 0.1),
		.corrupt = up_to(r, 0.05), .jitter_ns = (uint64_t)up_to(r, 200000),
		.reorder_ns = 1 + (uint64_t)up_to(r, 2e6),
	};
}

static uint32_t draw_bytes(struct random *r)
{
	switch (random_below(r, 6)) {
	case 0: return (uint32_t)random_below(r, 200);
	case 1: return 1152;
	case 2: return 28672;
	case 3: return (uint32_t)random_below(r, WIRE_SMALL_BYTES + 1);
	case 4: return (uint32_t)random_below(r, 4000);
	default: return random_chance(r, 0.5) ? (uint32_t)random_below(r, 400000) : 600;
	}
}

static void post_some(struct flow_world *w, struct random *r)
{
	for (uint64_t n = random_below(r, 12); n > 0 && w->post_count < POSTS_MOST; n--) {
		uint32_t from = (uint32_t)random_below(r, 2);

		flow_world_post(w, from, 1 - from, (uint32_t)random_below(r, FLOW_WORLD_KEYS),
				draw_bytes(r), random_chance(r, 0.5) ? FLOW_DECODE : FLOW_BATCH);
	}
}

/* What a message layer does when a path goes bad. */
static void mend(struct flow_world *w)
{
	if (w->lanes[0][1].broken || w->lanes[1][0].broken)
		flow_world_settle(w, 0, 1);
}

static void disturb(struct flow_world *w, struct random *r)
{
	uint32_t node = (uint32_t)random_below(r, 2);

	switch (random_below(r, 12)) {
	case 0:
		flow_world_freeze(w, node, random_below(r, 300 * NS_PER_MS));
		break;
	case 1:
		port_network_cut(w->network, node, 1 - node, true);
		flow_world_run(w, w->clock.now_ns + random_below(r, 100 * NS_PER_MS));
		port_network_cut(w->network, node, 1 - node, false);
		break;
	case 2:
		flow_world_settle(w, 0, 1);
		break;
	case 3:
		if (random_chance(r, 0.3))
			flow_world_restart(w, 0, 1);
		break;
	default:
		break;
	}
}

static void run_network(uint64_t seed)
{
	struct port_network_options network;
	struct impair_options bad;
	struct flow_world *w;
	struct random r;
	uint64_t start_ns;

	random_seed(&r, seed);
	draw_network(&r, &network);
	draw_impairment(&r, &bad);
	w = flow_world_open(random_u64(&r), 2, &network, &bad);
	if (random_chance(&r, 0.3))
		w->seal.rekey_bytes = 20000 + random_below(&r, 500000);
	start_ns = w->clock.now_ns;
	flow_world_connect(w, 0, 1);
	for (int round = 0; round < 25; round++) {
		post_some(w, &r);
		flow_world_run(w, w->clock.now_ns + random_below(&r, 3 * NS_PER_MS));
		disturb(w, &r);
		mend(w);
	}
	while (!flow_world_run(w, w->clock.now_ns + 100 * NS_PER_MS)) {
		mend(w);
		if (w->clock.now_ns - start_ns > BOUND_S * NS_PER_S)
			fail_msg("not finished in %d s of virtual time; seed %ju", BOUND_S,
				 (uintmax_t)seed);
	}
	flow_world_close(w);
}

/* Goal: any bad network with loss up to 20 %, reordering, duplication, corruption,
 * cuts, frozen and restarted ends: each message once, in a bounded time, no leak.
 */
TEST(flow__random_networks)
{
	const char *text = getenv("PETALS_SIM_SEEDS");
	uint64_t count = text ? strtoull(text, NULL, 10) : NETWORKS;
	uint64_t before = mem_live_blocks();

	for (uint64_t i = 0; i < count; i++) {
		run_network(test_seed() * 1000003 + i);
		CHECK_EQ(mem_live_blocks(), before);
	}
}
