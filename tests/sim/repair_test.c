/* repair_test.c - whole simulated swarms: whatever happens to the hops of a generation, at
 * whatever step, its tokens and log-probabilities are those of an undisturbed run.
 */
#include <stdlib.h>

#include "control/simulation.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

/* A simulation has one thread: ThreadSanitizer sees enough in a few runs. */
#ifdef __SANITIZE_THREAD__
enum { TOKENS = 20, SEEDS_QUICK = 3, STRIDE = 9 };
#else
enum { TOKENS = 20, SEEDS_QUICK = 60, STRIDE = 1 };
#endif

static const uint32_t prompt[] = { 3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26, 43, 38, 32, 79,
				   50, 28, 84, 19, 71, 69, 39, 93, 75, 10, 58, 20, 94 };

/* What the swarm must say; made by one server, once. */
static struct {
	bool made;
	uint32_t tokens[TOKENS];
	float logprobs[TOKENS];
} quiet;

static void options_for(struct simulation_options *o, uint64_t seed)
{
	simulation_options_default(o);
	o->seed = seed;
	o->model = test_data("llama-gqa-tied");
	/* PETALS_SIM_LOG=1 shows what the swarm says. */
	log_configure(getenv("PETALS_SIM_LOG") ? LOG_DEBUG : LOG_OFF, false);
}

static struct simulation *open_swarm(const struct simulation_options *o)
{
	struct simulation *s = NULL;
	struct error e;

	CHECK_OK(simulation_open(&s, o, &e), &e);
	CHECK(simulation_settle(s));
	return s;
}

static void begin(struct answer *a, struct simulation *s)
{
	struct error e;

	CHECK_OK(answer_begin(a, s, prompt, ARRAY_LENGTH(prompt), TOKENS, 60 * NS_PER_S, &e), &e);
}

static void make_quiet(void)
{
	struct simulation_options o;
	struct answer a = { 0 }, *all[] = { &a };
	struct simulation *s;

	if (quiet.made)
		return;
	options_for(&o, 1);
	o.spans = 1;
	o.replicas = 1;
	s = open_swarm(&o);
	begin(&a, s);
	CHECK(answers_wait(s, all, 1, 60 * NS_PER_S));
	CHECK_TEXT(a.reason, "");
	CHECK_EQ(a.count, TOKENS);
	memcpy(quiet.tokens, a.tokens, sizeof(quiet.tokens));
	memcpy(quiet.logprobs, a.logprobs, sizeof(quiet.logprobs));
	quiet.made = true;
	answer_close(&a);
	simulation_close(s);
}

static void check_quiet(const struct answer *a, uint64_t seed)
{
	make_quiet();
	if (a->reason[0])
		fail_msg("seed %llu: %s", (unsigned long long)seed, a->reason);
	CHECK_EQ(a->finish, FINISH_LENGTH);
	CHECK_EQ(a->count, TOKENS);
	for (int i = 0; i < TOKENS; i++)
		if (a->tokens[i] != quiet.tokens[i])
			fail_msg("seed %llu: token %d is %u, undisturbed %u",
				 (unsigned long long)seed, i, a->tokens[i], quiet.tokens[i]);
	CHECK_BYTES(a->logprobs, quiet.logprobs, sizeof(quiet.logprobs));
}

/* After the answers are gone, nobody holds anything for them. */
static void check_clean(struct simulation *s, uint32_t servers)
{
	simulation_run(s, 2 * NS_PER_S);
	for (uint32_t i = 0; i < servers; i++) {
		CHECK_EQ(simulation_server_sessions(s, i), 0);
		CHECK_EQ(simulation_server_pages_held(s, i), 0);
	}
}

/* Goal: tokens and log-probabilities do not depend on where the model is cut. */
TEST(cuts__same_bits_through_1_2_3_and_5_servers)
{
	static const uint32_t spans[] = { 1, 2, 3, 5 };

	for (size_t i = 0; i < ARRAY_LENGTH(spans); i++) {
		struct simulation_options o;
		struct answer a = { 0 }, *all[] = { &a };
		struct simulation *s;

		options_for(&o, test_seed() + i);
		o.spans = spans[i];
		o.replicas = 1;
		o.rows_max = 4 + 5 * (uint32_t)i;    /* other chunks of the prompt each time */
		s = open_swarm(&o);
		begin(&a, s);
		CHECK(answers_wait(s, all, 1, 60 * NS_PER_S));
		check_quiet(&a, o.seed);
		answer_close(&a);
		check_clean(s, o.spans);
		simulation_close(s);
	}
}

/* Tokens and log-probabilities of a quiet run without replicas. */
static void run_quiet(struct simulation_options *o, struct answer *a)
{
	struct answer *all[] = { a };
	struct simulation *s;

	o->replicas = 1;
	s = open_swarm(o);
	begin(a, s);
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

	options_for(&o, test_seed());
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
			CHECK_BYTES(whole.tokens, cut.tokens, TOKENS * sizeof(uint32_t));
			CHECK_BYTES(whole.logprobs, cut.logprobs, TOKENS * sizeof(float));
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

static void run_plan(const struct simulation_options *o, struct plan plan)
{
	struct answer a = { .on_token = on_token, .ctx = &plan }, *all[] = { &a };
	struct simulation *s = open_swarm(o);

	begin(&a, s);
	if (!answers_wait(s, all, 1, 60 * NS_PER_S))
		fail_msg("seed %llu: no answer in 60 virtual seconds",
			 (unsigned long long)o->seed);
	check_quiet(&a, o->seed);
	CHECK(plan.done_once);
	answer_close(&a);
	simulation_close(s);
}

static void every_hop_every_step(enum fault fault)
{
	for (uint32_t hop = 0; hop < 3; hop++) {
		for (uint32_t at = 0; at < TOKENS; at += STRIDE) {
			struct simulation_options o;
			struct plan plan = { .fault = fault, .hop = hop, .hops = 1, .at = at };

			options_for(&o, test_seed() + 100 * hop + at);
			run_plan(&o, plan);
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
		for (uint32_t at = 0; at < TOKENS; at += 3) {
			struct simulation_options o;
			struct plan plan = { .fault = FAULT_KILL, .hop = hop, .hops = 2, .at = at };

			options_for(&o, test_seed() + 10 * hop + at);
			run_plan(&o, plan);
		}
	}
}

/* Goal: all hops lost at once: the client replays everything. */
TEST(repair__all_hops_at_once)
{
	struct simulation_options o;
	struct plan plan = { .fault = FAULT_KILL, .hop = 0, .hops = 3, .at = 7 };

	options_for(&o, test_seed());
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
	struct error e;

	options_for(&o, test_seed());
	o.replicas = 1;
	s = open_swarm(&o);
	CHECK_OK(answer_begin(&a, s, prompt, ARRAY_LENGTH(prompt), TOKENS, 5 * NS_PER_S, &e), &e);
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

	options_for(&o, test_seed());
	o.replicas = 1;
	s = open_swarm(&o);
	begin(&a, s);
	CHECK(!answers_wait(s, all, 1, 2 * NS_PER_S));
	CHECK(!simulation_alive(s, 1));
	CHECK_OK(simulation_start(s, 1, &e), &e);
	CHECK(answers_wait(s, all, 1, 30 * NS_PER_S));
	check_quiet(&a, o.seed);
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

	options_for(&o, test_seed());
	memcpy(o.weights, formats, sizeof(formats));
	s = open_swarm(&o);
	begin(&a, s);
	CHECK(!answers_wait(s, all, 1, 2 * NS_PER_S));
	killed = simulation_alive(s, 1) ? o.spans + 1 : 1;
	CHECK(!simulation_alive(s, killed));
	CHECK(simulation_alive(s, killed == 1 ? o.spans + 1 : 1));
	CHECK_OK(simulation_start(s, killed, &e), &e);
	CHECK(answers_wait(s, all, 1, 30 * NS_PER_S));
	CHECK_TEXT(a.reason, "");
	o.weights[0] = formats[killed / o.spans];
	run_quiet(&o, &alone);
	CHECK_EQ(a.count, TOKENS);
	CHECK_BYTES(a.tokens, alone.tokens, TOKENS * sizeof(uint32_t));
	CHECK_BYTES(a.logprobs, alone.logprobs, TOKENS * sizeof(float));
	answer_close(&a);
	answer_close(&alone);
	simulation_close(s);
}

/* Goal: the directory may die: running generations do not notice, even a repair works. */
TEST(directory__its_death_goes_unnoticed)
{
	for (uint32_t at = 0; at < TOKENS; at += 6) {
		struct simulation_options o;
		struct plan quiet_hops = { .hops = 0, .at = at, .directory = true };
		struct plan with_kill = { .fault = FAULT_KILL, .hop = 1, .hops = 1, .at = at,
					  .directory = true };

		options_for(&o, test_seed() + at);
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

		options_for(&o, test_seed() + hop);
		run_plan(&o, plan);
	}
}

/* Goal: sixteen generations side by side say what each says alone. */
TEST(batch__many_sessions_same_bits)
{
	struct simulation_options o;
	struct answer a[16] = { 0 }, *all[16];
	struct simulation *s;

	options_for(&o, test_seed());
	s = open_swarm(&o);
	for (int i = 0; i < 16; i++) {
		all[i] = &a[i];
		begin(&a[i], s);
	}
	CHECK(answers_wait(s, all, 16, 60 * NS_PER_S));
	for (int i = 0; i < 16; i++) {
		check_quiet(&a[i], o.seed);
		answer_close(&a[i]);
	}
	check_clean(s, 6);
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
	options_for(&o, seed);
	o.spans = 1 + (uint32_t)random_below(&r, 5);
	o.replicas = 3;
	o.rows_max = 1 + (uint32_t)random_below(&r, 20);
	o.batch_ns = (20 + random_below(&r, 2000)) * NS_PER_US;
	o.network.delay_most_ns = (30 + random_below(&r, 5000)) * NS_PER_US;
	o.network.bytes_per_ns = random_chance(&r, 0.5) ? 0.01 : 0;
	o.network.corrupt_chance = random_chance(&r, 0.2) ? 0.0005 : 0;
	s = open_swarm(&o);
	memset(&harmed, 0, sizeof(harmed));
	harmed.spans = o.spans;
	harmed.count = o.spans * o.replicas;
	count = 1 + (uint32_t)random_below(&r, 3);
	for (uint32_t i = 0; i < count; i++) {
		plan[i] = (struct plan){
			.fault = (enum fault)random_below(&r, FAULT_COUNT),
			.hop = (uint32_t)random_below(&r, o.spans),
			.hops = 1 + (uint32_t)random_below(&r, 2),
			.at = (uint32_t)random_below(&r, TOKENS),
			.directory = random_chance(&r, 0.2),
			.again = random_chance(&r, 0.3),
		};
		a[i].on_token = on_token;
		a[i].ctx = &plan[i];
		all[i] = &a[i];
		begin(&a[i], s);
	}
	if (!answers_wait(s, all, count, 60 * NS_PER_S))
		fail_msg("seed %llu: no answer in 60 virtual seconds", (unsigned long long)seed);
	for (uint32_t i = 0; i < count; i++) {
		check_quiet(&a[i], seed);
		answer_close(&a[i]);
	}
	memset(&harmed, 0, sizeof(harmed));
	simulation_close(s);
}

/* Goal: any cut, any load, any fault: the same bits.  PETALS_SIM_SEEDS=N runs N swarms. */
TEST(random__seeded_swarms_with_faults)
{
	const char *text = getenv("PETALS_SIM_SEEDS");
	uint64_t seeds = text ? strtoull(text, NULL, 10) : SEEDS_QUICK;

	make_quiet();
	for (uint64_t i = 0; i < seeds; i++)
		random_swarm(test_seed() + i);
}
