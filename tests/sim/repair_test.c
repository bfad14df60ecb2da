/* repair_test.c - whole simulated swarms: whatever happens to the hops of a generation, at
 * whatever step, its tokens and log-probabilities are those of an undisturbed run.
 */
#include "tests/support/sim_swarm.h"
#include "tests/test.h"

/* A simulation has one thread: ThreadSanitizer sees enough in a few runs. */
#ifdef __SANITIZE_THREAD__
enum { SEEDS_QUICK = 3, STRIDE = 9 };
#else
enum { SEEDS_QUICK = 60, STRIDE = 1 };
#endif

/* Goal: tokens and log-probabilities do not depend on where the model is cut. */
TEST(cuts__same_bits_through_1_2_3_and_5_servers)
{
	static const uint32_t spans[] = { 1, 2, 3, 5 };

	for (size_t i = 0; i < ARRAY_LENGTH(spans); i++) {
		struct simulation_options o;
		struct answer a = { 0 }, *all[] = { &a };
		struct simulation *s;

		sim_swarm_options(&o, test_seed() + i);
		o.spans = spans[i];
		o.replicas = 1;
		o.rows_max = 4 + 5 * (uint32_t)i;    /* other chunks of the prompt each time */
		s = sim_swarm_open(&o);
		sim_answer_begin(&a, s);
		CHECK(answers_wait(s, all, 1, 60 * NS_PER_S));
		sim_answer_check(&a, o.seed);
		answer_close(&a);
		sim_swarm_check_clean(s, o.spans);
		simulation_close(s);
	}
}

/* Tokens and log-probabilities of a quiet run without replicas. */
static void run_quiet(struct simulation_options *o, struct answer *a)
{
	struct answer *all[] = { a };
	struct simulation *s;

	o->replicas = 1;
	s = sim_swarm_open(o);
	sim_answer_begin(a, s);
	CHECK(answers_wait(s, all, 1, 60 * NS_PER_S));
	CHECK_TEXT(a->reason, "");
	generation_close(a->generation);
	a->generation = NULL;
	simulation_close(s);
}

static void run_encoded(enum row_encoding round, enum compute_mode compute, uint32_t spans,
			struct answer *a)
{
	struct simulation_options o;

	sim_swarm_options(&o, test_seed());
	o.spans = spans;
	o.round = round;
	o.compute = compute;
	run_quiet(&o, a);
}

/* Goal: the same holds in every encoding of hidden states, and in bf16 arithmetic. */
TEST(cuts__same_bits_in_every_encoding)
{
	for (enum row_encoding round = ROW_F32; round <= ROW_INT8; round++) {
		for (enum compute_mode mode = COMPUTE_F32; mode <= COMPUTE_BF16; mode++) {
			struct answer whole = { 0 }, cut = { 0 };

			run_encoded(round, mode, 1, &whole);
			run_encoded(round, mode, 3, &cut);
			CHECK_BYTES(whole.tokens, cut.tokens, SIM_TOKENS * sizeof(uint32_t));
			CHECK_BYTES(whole.logprobs, cut.logprobs, SIM_TOKENS * sizeof(float));
			answer_close(&whole);
			answer_close(&cut);
		}
	}
}

enum fault { FAULT_KILL, FAULT_FREEZE, FAULT_CUT_CLIENT, FAULT_CUT_NEXT, FAULT_DRAIN, FAULT_SLOW,
	     FAULT_COUNT };

struct plan {
	enum fault fault;
	uint32_t hop, hops;          /* hops [hop, hop + hops) are hit */
	uint32_t at;                 /* before this token is taken in */
	bool directory;              /* the directory dies, too */
	bool again;                  /* the replacement of the first is hit three tokens later */
	bool done_once, done_again;
};

/* Servers of the swarm at hand that were hit already; a random swarm keeps one of each span
 * unharmed, `spans` apart.
 */
static struct { bool server[SIMULATION_SERVERS_MAX]; uint32_t spans, count; } harmed;

static bool another_is_unharmed(int server)
{
	for (uint32_t i = (uint32_t)server % harmed.spans; i < harmed.count; i += harmed.spans)
		if (i != (uint32_t)server && !harmed.server[i])
			return true;
	return false;
}

static void hit(struct simulation *s, const struct plan *p, uint64_t session, uint32_t hop)
{
	int server = simulation_hop_server(s, session, hop);
	int next = simulation_hop_server(s, session, hop + 1);

	if (server < 0)
		return;
	if (harmed.count) {
		if (!another_is_unharmed(server) ||
		    (p->fault == FAULT_CUT_NEXT && next >= 0 && !another_is_unharmed(next)))
			return;
		harmed.server[server] = true;
		if (p->fault == FAULT_CUT_NEXT && next >= 0)
			harmed.server[next] = true;
	}
	switch (p->fault) {
	case FAULT_KILL: simulation_kill(s, (uint32_t)server); break;
	case FAULT_FREEZE: simulation_freeze(s, (uint32_t)server, true); break;
	case FAULT_CUT_CLIENT: simulation_cut_client(s, (uint32_t)server, true); break;
	case FAULT_CUT_NEXT:
		if (next >= 0)
			simulation_cut_servers(s, (uint32_t)server, (uint32_t)next, true);
		break;
	case FAULT_DRAIN: simulation_drain(s, (uint32_t)server, 30 * NS_PER_S); break;
	case FAULT_SLOW: simulation_slow(s, (uint32_t)server, 5 * NS_PER_MS); break;
	default: break;
	}
}

static void on_token(void *ctx, struct answer *a)
{
	struct plan *p = ctx;

	if (a->count == p->at && !p->done_once) {
		p->done_once = true;
		for (uint32_t h = p->hop; h < p->hop + p->hops; h++)
			hit(a->simulation, p, a->session, h);
		if (p->directory)
			simulation_kill_directory(a->simulation);
	}
	if (p->again && a->count == p->at + 3 && !p->done_again) {
		p->done_again = true;
		hit(a->simulation, p, a->session, p->hop);
	}
}

/* Checks the answer; what is returned is closed, and tells of repairs and moves. */
static struct answer run_plan(const struct simulation_options *o, struct plan plan)
{
	struct answer a = { .on_token = on_token, .ctx = &plan };
	struct simulation *s = sim_swarm_open(o);

	sim_answer_begin(&a, s);
	sim_answer_finish(&a, s, o->seed);
	CHECK(plan.done_once);
	answer_close(&a);
	simulation_close(s);
	return a;
}

static void every_hop_every_step(enum fault fault)
{
	for (uint32_t hop = 0; hop < 3; hop++) {
		for (uint32_t at = 0; at < SIM_TOKENS; at += STRIDE) {
			struct simulation_options o;
			struct plan plan = { .fault = fault, .hop = hop, .hops = 1, .at = at };
			struct answer a;

			sim_swarm_options(&o, test_seed() + 100 * hop + at);
			a = run_plan(&o, plan);
			CHECK_EQ(a.moves, 0);
			CHECK(a.repairs <= 1);
			/* Near the end the last steps may be past the hop already. */
			CHECK(a.repairs == 1 || at + 3 > SIM_TOKENS);
		}
	}
}

/* Goal: kill -9 of any hop at any step changes no bit. */
TEST(repair__kill_each_hop_at_every_step)
{
	every_hop_every_step(FAULT_KILL);
}

/* Goal: a frozen hop is noticed and replaced, and changes no bit. */
TEST(repair__freeze_each_hop_at_every_step)
{
	every_hop_every_step(FAULT_FREEZE);
}

/* Goal: two neighbours lost at once are both replaced, replayed from before them. */
TEST(repair__two_neighbours_at_once)
{
	for (uint32_t hop = 0; hop < 2; hop++) {
		for (uint32_t at = 0; at < SIM_TOKENS; at += 3) {
			struct simulation_options o;
			struct plan plan = { .fault = FAULT_KILL, .hop = hop, .hops = 2, .at = at };

			sim_swarm_options(&o, test_seed() + 10 * hop + at);
			run_plan(&o, plan);
		}
	}
}

/* Goal: all hops lost at once: the client replays everything. */
TEST(repair__all_hops_at_once)
{
	struct simulation_options o;
	struct plan plan = { .fault = FAULT_KILL, .hop = 0, .hops = 3, .at = 7 };

	sim_swarm_options(&o, test_seed());
	run_plan(&o, plan);
}

/* Goal: with nobody left for a span the request ends by its deadline with an error that
 * names the blocks.
 */
TEST(repair__only_replica_lost_names_the_blocks)
{
	struct simulation_options o;
	struct plan plan = { .fault = FAULT_KILL, .hop = 1, .hops = 1, .at = 4 };
	struct answer a = { .on_token = on_token, .ctx = &plan }, *all[] = { &a };
	struct simulation *s;

	sim_swarm_options(&o, test_seed());
	o.replicas = 1;
	s = sim_swarm_open(&o);
	sim_answer_begin_within(&a, s, 5 * NS_PER_S);
	CHECK(answers_wait(s, all, 1, 6 * NS_PER_S));
	CHECK_EQ(a.finish, FINISH_ERROR);
	if (!strstr(a.reason, "[1,3)"))
		fail_msg("the blocks [1,3) are not named: %s", a.reason);
	answer_close(&a);
	simulation_close(s);
}

/* Goal: the same, but a new server joins before the deadline: the generation goes on. */
TEST(repair__waits_for_a_server_that_comes_back)
{
	struct simulation_options o;
	struct plan plan = { .fault = FAULT_KILL, .hop = 1, .hops = 1, .at = 4 };
	struct answer a = { .on_token = on_token, .ctx = &plan }, *all[] = { &a };
	struct simulation *s;
	struct error e;

	sim_swarm_options(&o, test_seed());
	o.replicas = 1;
	s = sim_swarm_open(&o);
	sim_answer_begin(&a, s);
	CHECK(!answers_wait(s, all, 1, 2 * NS_PER_S));
	CHECK(!simulation_alive(s, 1));
	CHECK_OK(simulation_start(s, 1, &e), &e);
	CHECK(answers_wait(s, all, 1, 30 * NS_PER_S));
	sim_answer_check(&a, o.seed);
	answer_close(&a);
	simulation_close(s);
}

/* Goal: a session never goes on with other weights: it waits for a server of its own kind while
 * one of the other kind serves the same blocks.
 */
TEST(repair__keeps_to_its_weights)
{
	static const enum weight_format formats[SIMULATION_WEIGHTS] = { WEIGHTS_INT8,
									WEIGHTS_INT4 };
	struct simulation_options o;
	struct plan plan = { .fault = FAULT_KILL, .hop = 1, .hops = 1, .at = 4 };
	struct answer a = { .on_token = on_token, .ctx = &plan }, *all[] = { &a }, alone = { 0 };
	struct simulation *s;
	uint32_t killed;
	struct error e;

	sim_swarm_options(&o, test_seed());
	memcpy(o.weights, formats, sizeof(formats));
	s = sim_swarm_open(&o);
	sim_answer_begin(&a, s);
	CHECK(!answers_wait(s, all, 1, 2 * NS_PER_S));
	killed = simulation_alive(s, 1) ? o.spans + 1 : 1;
	CHECK(!simulation_alive(s, killed));
	CHECK(simulation_alive(s, killed == 1 ? o.spans + 1 : 1));
	CHECK_OK(simulation_start(s, killed, &e), &e);
	CHECK(answers_wait(s, all, 1, 30 * NS_PER_S));
	CHECK_TEXT(a.reason, "");
	o.weights[0] = formats[killed / o.spans];
	run_quiet(&o, &alone);
	CHECK_EQ(a.count, SIM_TOKENS);
	CHECK_BYTES(a.tokens, alone.tokens, SIM_TOKENS * sizeof(uint32_t));
	CHECK_BYTES(a.logprobs, alone.logprobs, SIM_TOKENS * sizeof(float));
	answer_close(&a);
	answer_close(&alone);
	simulation_close(s);
}

/* Goal: a hop notices in tenths of a second that a replay goes into a cut link, though nothing
 * was wrong with that link before; not when idle links are given up.
 */
TEST(repair__replay_into_a_cut_link)
{
	struct simulation_options o;
	struct answer a = { 0 };
	struct simulation *s;
	uint32_t sender, one, other;

	sim_swarm_options(&o, test_seed());
	o.spans = 2;
	o.batch_ns = 200 * NS_PER_MS;
	s = sim_swarm_open(&o);
	sim_answer_begin(&a, s);
	while (a.count < 2)
		simulation_run(s, NS_PER_MS);
	sender = (uint32_t)simulation_hop_server(s, a.session, 0);
	one = (uint32_t)simulation_hop_server(s, a.session, 1);
	other = one == 1 ? 3 : 1;
	/* It moves to the other one, and the link to the first stays. */
	simulation_cut_client(s, one, true);
	simulation_run(s, 500 * NS_PER_MS);
	CHECK_EQ(simulation_hop_server(s, a.session, 1), (int)other);
	simulation_cut_client(s, one, false);
	simulation_run(s, 3 * NS_PER_S);
	simulation_cut_servers(s, sender, one, true);
	simulation_kill(s, other);
	simulation_run(s, 100 * NS_PER_MS);
	CHECK_EQ(simulation_hop_server(s, a.session, 1), (int)one);
	CHECK_EQ(generation_stats(a.generation)->repairs, 2);
	simulation_run(s, 500 * NS_PER_MS);
	CHECK_EQ(generation_stats(a.generation)->repairs, 3);
	simulation_cut_servers(s, sender, one, false);
	sim_answer_finish(&a, s, o.seed);
	answer_close(&a);
	simulation_close(s);
}

/* Goal: the directory may die: running generations do not notice, even a repair works. */
TEST(directory__its_death_goes_unnoticed)
{
	for (uint32_t at = 0; at < SIM_TOKENS; at += 6) {
		struct simulation_options o;
		struct plan quiet_hops = { .hops = 0, .at = at, .directory = true };
		struct plan with_kill = { .fault = FAULT_KILL, .hop = 1, .hops = 1, .at = at,
					  .directory = true };

		sim_swarm_options(&o, test_seed() + at);
		run_plan(&o, quiet_hops);
		run_plan(&o, with_kill);
	}
}

/* Goal: a draining hop hands its session over, and leaves. */
TEST(drain__sessions_move_and_the_server_leaves)
{
	for (uint32_t hop = 0; hop < 3; hop++) {
		struct simulation_options o;
		struct plan plan = { .fault = FAULT_DRAIN, .hop = hop, .hops = 1, .at = 5 };
		struct answer a;

		sim_swarm_options(&o, test_seed() + hop);
		a = run_plan(&o, plan);
		CHECK_EQ(a.moves, 1);
		CHECK_EQ(a.repairs, 0);
	}
}

/* Goal: sixteen generations side by side say what each says alone. */
TEST(batch__many_sessions_same_bits)
{
	struct simulation_options o;
	struct answer a[16] = { 0 }, *all[16];
	struct simulation *s;

	sim_swarm_options(&o, test_seed());
	s = sim_swarm_open(&o);
	for (int i = 0; i < 16; i++) {
		all[i] = &a[i];
		sim_answer_begin(&a[i], s);
	}
	CHECK(answers_wait(s, all, 16, 60 * NS_PER_S));
	for (int i = 0; i < 16; i++) {
		sim_answer_check(&a[i], o.seed);
		answer_close(&a[i]);
	}
	sim_swarm_check_clean(s, 6);
	simulation_close(s);
}

/* One swarm drawn from a seed: cuts, replicas, chunking, several generations, one or two
 * faults at random steps.
 */
static void random_swarm(uint64_t seed)
{
	struct simulation_options o;
	struct answer a[3] = { 0 }, *all[3];
	struct plan plan[3];
	struct random r;
	struct simulation *s;
	uint32_t count;

	random_seed(&r, seed);
	sim_swarm_options(&o, seed);
	o.spans = 1 + (uint32_t)random_below(&r, 5);
	o.replicas = 3;
	o.rows_max = 1 + (uint32_t)random_below(&r, 20);
	o.batch_ns = (20 + random_below(&r, 2000)) * NS_PER_US;
	o.network.delay_most_ns = (30 + random_below(&r, 5000)) * NS_PER_US;
	o.network.bytes_per_ns = random_chance(&r, 0.5) ? 0.01 : 0;
	o.network.corrupt_chance = random_chance(&r, 0.2) ? 0.0005 : 0;
	s = sim_swarm_open(&o);
	memset(&harmed, 0, sizeof(harmed));
	harmed.spans = o.spans;
	harmed.count = o.spans * o.replicas;
	count = 1 + (uint32_t)random_below(&r, 3);
	for (uint32_t i = 0; i < count; i++) {
		plan[i] = (struct plan){
			.fault = (enum fault)random_below(&r, FAULT_COUNT),
			.hop = (uint32_t)random_below(&r, o.spans),
			.hops = 1 + (uint32_t)random_below(&r, 2),
			.at = (uint32_t)random_below(&r, SIM_TOKENS),
			.directory = random_chance(&r, 0.2),
			.again = random_chance(&r, 0.3),
		};
		a[i].on_token = on_token;
		a[i].ctx = &plan[i];
		all[i] = &a[i];
		sim_answer_begin(&a[i], s);
	}
	if (!answers_wait(s, all, count, 60 * NS_PER_S))
		fail_msg("seed %llu: no answer in 60 virtual seconds", (unsigned long long)seed);
	for (uint32_t i = 0; i < count; i++) {
		sim_answer_check(&a[i], seed);
		answer_close(&a[i]);
	}
	memset(&harmed, 0, sizeof(harmed));
	simulation_close(s);
}

/* Goal: any cut, any load, any fault: the same bits.  PETALS_SIM_SEEDS=N runs N swarms. */
TEST(random__seeded_swarms_with_faults)
{
	uint64_t seeds = sim_count("PETALS_SIM_SEEDS", SEEDS_QUICK);

	for (uint64_t i = 0; i < seeds; i++)
		random_swarm(test_seed() + i);
}
