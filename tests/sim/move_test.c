/* move_test.c - whole simulated swarms: hops that leave hand their sessions over while steps flow
 * through them, whatever becomes of those who take over, and at whatever moment.
 */
#include "tests/support/sim_swarm.h"
#include "tests/test.h"

#ifdef __SANITIZE_THREAD__
enum { SEEDS_QUICK = 2, MOMENTS = 3, STRIDE = 9 };
#else
enum { SEEDS_QUICK = 40, MOMENTS = 24, STRIDE = 1 };
#endif
#define MOMENT_NS (600 * NS_PER_US)
#define ON_THE_WAY_NS (8 * NS_PER_MS)   /* longer than a step takes through the rest of a route */

enum fate { FATE_KILL, FATE_FREEZE, FATE_DRAIN, FATE_CUT_CLIENT, FATES };

static const char *const fates[FATES] = { "killed", "frozen", "drained", "cut from the client" };

static void strike(struct simulation *s, enum fate fate, int server)
{
	switch (fate) {
	case FATE_KILL: simulation_kill(s, (uint32_t)server); break;
	case FATE_FREEZE: simulation_freeze(s, (uint32_t)server, true); break;
	case FATE_DRAIN: simulation_drain(s, (uint32_t)server, 30 * NS_PER_S); break;
	case FATE_CUT_CLIENT: simulation_cut_client(s, (uint32_t)server, true); break;
	default: assert(!"a fate");
	}
}

struct leaver {
	uint32_t at, hop;               /* before this token, this hop's server leaves */
	int server;
};

static void leave(void *ctx, struct answer *a)
{
	struct leaver *l = ctx;

	if (a->count != l->at || l->server >= 0)
		return;
	l->server = simulation_hop_server(a->simulation, a->session, l->hop);
	simulation_drain(a->simulation, (uint32_t)l->server, 40 * NS_PER_S);
}

static bool has_left(void *ctx)
{
	const struct leaver *l = ctx;

	return l->server >= 0;
}

static bool wait_for_leaver(struct simulation *s, struct leaver *l)
{
	struct sim_network *n = simulation_network(s);

	return sim_run(n, clock_ns(sim_clock(n)) + SIM_ANSWER_NS, has_left, l);
}

/* Whether the client may still use the server that leaves. */
static bool is_held(struct simulation *s, const struct answer *a, const struct leaver *l)
{
	return !a->finished && (simulation_hop_server(s, a->session, l->hop) == l->server ||
				simulation_move_server(s, a->session) == l->server);
}

/* One server of two leaves, and `moment` later the other one meets its fate, as long as the
 * first is still held.  Returns whether it was.
 */
static bool run_moment(uint64_t seed, enum fate fate, struct leaver l, uint64_t moment_ns)
{
	struct simulation_options o;
	struct answer a = { .on_token = leave, .ctx = &l }, *all[] = { &a };
	struct simulation *s;
	bool held, ends;

	sim_swarm_options(&o, seed);
	o.batch_ns = NS_PER_MS;
	s = sim_swarm_open(&o);
	sim_answer_begin(&a, s);
	CHECK(wait_for_leaver(s, &l));
	simulation_run(s, moment_ns);
	held = is_held(s, &a, &l);
	if (held)
		strike(s, fate, l.server < 3 ? l.server + 3 : l.server - 3);
	/* A step may have passed the other one already, and that is an answer: then nobody is
	 * left.  One that drains serves on.
	 */
	simulation_run(s, ON_THE_WAY_NS);
	ends = held && (fate == FATE_DRAIN || a.finished || is_held(s, &a, &l));
	if (ends && !answers_wait(s, all, 1, SIM_ANSWER_NS))
		fail_msg("seed %llu: hop %u leaves at token %u, the other one is %s %llu us later: "
			 "no answer", (unsigned long long)seed, l.hop, l.at, fates[fate],
			 (unsigned long long)(moment_ns / NS_PER_US));
	if (ends)
		sim_answer_check(&a, seed);
	answer_close(&a);
	simulation_close(s);
	return held;
}

/* Goal: whatever the only replacement meets, at any moment before it has answered, the
 * generation goes on where it was: no token differs, and no deadline is waited for.
 */
TEST(move__the_old_hop_stays_until_the_new_one_has_answered)
{
	for (enum fate fate = 0; fate < FATES; fate++) {
		for (uint32_t hop = 0; hop < 3; hop++) {
			uint32_t struck = 0;

			for (uint32_t i = 0; i < MOMENTS; i++)
				struck += run_moment(test_seed() + 100 * hop + i, fate,
						     (struct leaver){ 5, hop, -1 },
						     i * MOMENT_NS);
			CHECK(struck > MOMENTS / 4);
		}
	}
}

/* Goal: the same at every step of a generation, the last ones included. */
TEST(move__at_every_step)
{
	for (uint32_t at = 0; at < SIM_TOKENS; at += STRIDE)
		for (uint32_t hop = 0; hop < 3; hop++)
			run_moment(test_seed() + at, (enum fate)((at + hop) % FATES),
				   (struct leaver){ at, hop, -1 }, (at % 7) * 200 * NS_PER_US);
}

/* Goal: with nobody to take over, the generation ends where it is, although all leave. */
TEST(move__nobody_to_move_to)
{
	struct simulation_options o;
	struct leaver l = { 3, 1, -1 };
	struct answer a = { .on_token = leave, .ctx = &l };
	struct simulation *s;

	sim_swarm_options(&o, test_seed());
	o.replicas = 1;
	s = sim_swarm_open(&o);
	sim_answer_begin(&a, s);
	CHECK(wait_for_leaver(s, &l));
	simulation_drain(s, 0, 40 * NS_PER_S);
	simulation_drain(s, 2, 40 * NS_PER_S);
	sim_answer_finish(&a, s, o.seed);
	answer_close(&a);
	sim_swarm_check_clean(s, 3);
	simulation_close(s);
}

/* Goal: while the leaving server waits for a replacement, one that joins is moved to. */
TEST(move__to_a_server_that_joins_later)
{
	struct simulation_options o;
	struct leaver l = { 2, 1, -1 };
	struct answer a = { .on_token = leave, .ctx = &l };
	struct simulation *s;
	struct error e;
	int other;

	sim_swarm_options(&o, test_seed());
	o.batch_ns = 20 * NS_PER_MS;
	s = sim_swarm_open(&o);
	sim_answer_begin(&a, s);
	while (a.count < 1)
		simulation_run(s, NS_PER_MS);
	other = simulation_hop_server(s, a.session, 1) < 3 ? 4 : 1;
	simulation_kill(s, (uint32_t)other);
	CHECK(wait_for_leaver(s, &l));
	simulation_run(s, 100 * NS_PER_MS);
	CHECK_EQ(simulation_hop_server(s, a.session, 1), l.server);
	CHECK_OK(simulation_start(s, (uint32_t)other, &e), &e);
	sim_answer_finish(&a, s, o.seed);
	CHECK_EQ(simulation_server_sessions(s, (uint32_t)l.server), 0);
	answer_close(&a);
	simulation_close(s);
}

/* A swarm drawn from a seed: some leave, others fail, at random moments; of each span one
 * server stays that nothing happens to.
 */
static void random_moves(uint64_t seed)
{
	struct simulation_options o;
	struct sim_crowd crowd;
	struct random r;
	struct simulation *s;
	uint32_t servers;

	random_seed(&r, seed);
	sim_swarm_options(&o, seed);
	o.spans = 1 + (uint32_t)random_below(&r, 4);
	o.replicas = 3;
	o.rows_max = 1 + (uint32_t)random_below(&r, 20);
	o.batch_ns = (20 + random_below(&r, 2000)) * NS_PER_US;
	o.network.delay_most_ns = (30 + random_below(&r, 3000)) * NS_PER_US;
	servers = o.spans * o.replicas;
	s = sim_swarm_open(&o);
	sim_crowd_begin(&crowd, s, 1 + (uint32_t)random_below(&r, 3));
	/* Servers 0 to spans - 1 are spared: the others leave, and then some more happens. */
	for (uint32_t i = o.spans; i < servers; i++) {
		simulation_run(s, random_below(&r, 5000) * NS_PER_US);
		strike(s, random_chance(&r, 0.6) ? FATE_DRAIN : (enum fate)random_below(&r, FATES),
		       (int)i);
	}
	sim_crowd_finish(&crowd, s, seed);
	simulation_run(s, 2 * NS_PER_S);
	for (uint32_t i = 0; i < o.spans; i++)
		CHECK_EQ(simulation_server_sessions(s, i), 0);
	simulation_close(s);
}

/* Goal: any cut, any order of leaving and failing: the same bits.  PETALS_SIM_SEEDS=N runs N. */
TEST(move__seeded_swarms_that_leave)
{
	uint64_t seeds = sim_count("PETALS_SIM_SEEDS", SEEDS_QUICK);

	for (uint64_t i = 0; i < seeds; i++)
		random_moves(test_seed() + i);
}
