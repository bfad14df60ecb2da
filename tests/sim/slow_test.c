/* slow_test.c - whole simulated swarms with servers that are slow, not dead: their sessions move
 * where others are faster, stay where nobody is, do not flap, and say the same.
 */
#include "tests/support/sim_swarm.h"
#include "tests/test.h"

#ifdef __SANITIZE_THREAD__
enum { SEEDS_QUICK = 2, STRIDE = 9 };
#else
enum { SEEDS_QUICK = 20, STRIDE = 1 };
#endif
#define BATCH_NS (60 * NS_PER_MS)       /* so that an answer takes seconds */
#define NEVER_NS (3600 * NS_PER_S)
#define TURN_NS (80 * NS_PER_MS)        /* not so long that it seems dead */
#define QUICK_BATCH_NS (5 * NS_PER_MS)  /* a slow core makes slow only who computes fast */

enum ail { AIL_TENFOLD, AIL_FIFTH, AIL_STUCK, AIL_CORE, AILS };

static void ail(struct simulation *s, enum ail kind, int server)
{
	switch (kind) {
	case AIL_TENFOLD: simulation_slow_device(s, (uint32_t)server, 10 * BATCH_NS); break;
	case AIL_FIFTH: simulation_slow_device(s, (uint32_t)server, BATCH_NS / 5 * 6); break;
	case AIL_STUCK: simulation_slow_device(s, (uint32_t)server, NEVER_NS); break;
	case AIL_CORE: simulation_slow(s, (uint32_t)server, TURN_NS); break;
	default: assert(!"an ailment");
	}
}

/* Before token `at`, hop `hop`'s server falls ill. */
struct patient {
	enum ail kind;
	uint32_t at, hop;
	bool ill;
};

static void on_token(void *ctx, struct answer *a)
{
	struct patient *p = ctx;

	if (a->count != p->at || p->ill)
		return;
	p->ill = true;
	ail(a->simulation, p->kind, simulation_hop_server(a->simulation, a->session, p->hop));
}

/* Checks the answer; what is returned is closed, and tells of repairs and moves. */
static struct answer run_patient(uint64_t seed, uint32_t replicas, struct patient p)
{
	struct simulation_options o;
	struct answer a = { .on_token = on_token, .ctx = &p };
	struct simulation *s;

	sim_swarm_options(&o, seed);
	o.replicas = replicas;
	o.batch_ns = p.kind == AIL_CORE ? QUICK_BATCH_NS : BATCH_NS;
	s = sim_swarm_open(&o);
	sim_answer_begin(&a, s);
	sim_answer_finish(&a, s, seed);
	CHECK(p.ill);
	answer_close(&a);
	simulation_close(s);
	return a;
}

/* Goal: whichever hop's device becomes ten times slower, or stuck, or its core slow, at whatever
 * step, the answer is the same; early enough, its session moves, once, and that is no repair.
 * One that is a fifth slower is never left.
 */
TEST(slow__each_hop_at_every_step)
{
	for (enum ail kind = 0; kind < AILS; kind++) {
		uint32_t moves = 0;

		for (uint32_t hop = 0; hop < 3; hop++) {
			for (uint32_t at = 0; at < SIM_TOKENS; at += STRIDE) {
				struct answer a = run_patient(test_seed() + 100 * hop + at, 2,
							      (struct patient){ kind, at, hop,
										false });

				CHECK_EQ(a.repairs, 0);
				CHECK(a.moves <= 1);
				moves += a.moves;
				/* Not before it has worked, nor when there is no time left. */
				if ((kind == AIL_TENFOLD || kind == AIL_STUCK) && at >= 1 &&
				    at < SIM_TOKENS / 4)
					CHECK_EQ(a.moves, 1);
			}
		}
		CHECK_EQ(moves > 0, kind != AIL_FIFTH);
	}
}

/* Goal: where nobody else has the blocks a slow hop stays, and the answer just takes longer. */
TEST(slow__stays_where_nobody_is_faster)
{
	for (uint32_t hop = 0; hop < 3; hop++) {
		struct answer a = run_patient(test_seed() + hop, 1,
					      (struct patient){ AIL_TENFOLD, 3, hop, false });

		CHECK_EQ(a.moves, 0);
		CHECK_EQ(a.repairs, 0);
	}
}

/* Goal: when all servers of a span are equally slow, from the start or from the middle of an
 * answer, a session finds that out at most once.
 */
TEST(slow__does_not_wander_where_all_are_slow)
{
	for (uint32_t at = 0; at < 8; at += 4) {
		struct simulation_options o;
		struct answer a = { 0 };
		struct simulation *s;

		sim_swarm_options(&o, test_seed() + at);
		o.batch_ns = BATCH_NS;
		s = sim_swarm_open(&o);
		sim_answer_begin(&a, s);
		while (a.count < at)
			simulation_run(s, BATCH_NS);
		for (uint32_t i = 1; i < 6; i += 3)
			ail(s, AIL_TENFOLD, (int)i);
		sim_answer_finish(&a, s, o.seed);
		CHECK(a.moves <= 1);
		answer_close(&a);
		simulation_close(s);
	}
}

static bool finished(void *ctx)
{
	return ((struct answer *)ctx)->finished;
}

/* Goal: servers that take turns at being slow do not make a session follow them: it rests longer
 * after each move.
 */
TEST(slow__does_not_flap)
{
	struct simulation_options o;
	struct answer a = { 0 };
	struct simulation *s;
	struct sim_network *n;
	uint32_t turns = 0;

	sim_swarm_options(&o, test_seed());
	o.spans = 1;
	o.batch_ns = NS_PER_S;
	s = sim_swarm_open(&o);
	n = simulation_network(s);
	sim_answer_begin_within(&a, s, 600 * NS_PER_S);
	while (!a.finished) {
		simulation_slow_device(s, turns % 2, 8 * NS_PER_S);
		simulation_slow_device(s, (turns + 1) % 2, NS_PER_S);
		turns++;
		sim_run(n, clock_ns(sim_clock(n)) + 5 * NS_PER_S, finished, &a);
	}
	sim_answer_check(&a, o.seed);
	CHECK(turns >= 12);
	/* Each turn is a reason; after rests of 5, 10, 20, ... s few moves fit. */
	CHECK(a.moves <= 6 && a.moves <= turns / 3);
	answer_close(&a);
	simulation_close(s);
}

/* A swarm in which some servers are slow from the start and others become so, while one dies. */
static void random_swarm(uint64_t seed)
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
	o.rows_max = 4 + (uint32_t)random_below(&r, 16);
	o.batch_ns = (1 + random_below(&r, 30)) * NS_PER_MS;
	o.network.delay_most_ns = (30 + random_below(&r, 5000)) * NS_PER_US;
	servers = o.spans * o.replicas;
	s = sim_swarm_open(&o);
	sim_crowd_begin(&crowd, s, 1 + (uint32_t)random_below(&r, 3));
	/* Servers 0 to spans - 1 stay well. */
	for (uint32_t i = o.spans; i < servers; i++) {
		simulation_run(s, random_below(&r, 500) * NS_PER_MS);
		if (random_chance(&r, 0.15))
			simulation_kill(s, i);
		else if (random_chance(&r, 0.5))
			simulation_slow_device(s, i, random_below(&r, 40) * o.batch_ns);
		else if (random_chance(&r, 0.5))
			simulation_slow_device(s, i, NEVER_NS);
		else
			simulation_slow(s, i, random_below(&r, 100) * NS_PER_MS);
	}
	sim_crowd_finish(&crowd, s, seed);
	simulation_close(s);
}

/* Goal: any mixture: the same bits, before the deadline.  PETALS_SIM_SEEDS=N runs N swarms. */
TEST(slow__seeded_swarms)
{
	uint64_t seeds = sim_count("PETALS_SIM_SEEDS", SEEDS_QUICK);

	for (uint64_t i = 0; i < seeds; i++)
		random_swarm(test_seed() + i);
}
