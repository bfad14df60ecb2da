/* simulation_test.c - the simulated swarm repeats itself from its seed, and its faults do what
 * they say.
 */
#include "control/simulation.h"

#include "dataplane/base/log.h"
#include "tests/test.h"

static const uint32_t prompt[] = { 5, 17, 42, 8, 91, 3 };

static struct simulation *swarm(uint64_t seed, uint32_t spans, uint32_t replicas)
{
	struct simulation_options o;
	struct simulation *s;
	struct error e;

	log_configure(LOG_OFF, false);
	simulation_options_default(&o);
	o.seed = seed;
	o.model = test_data("llama-plain");
	o.spans = spans;
	o.replicas = replicas;
	CHECK_OK(simulation_open(&s, &o, &e), &e);
	CHECK(simulation_settle(s));
	return s;
}

static void kill_first(void *ctx, struct answer *a)
{
	if (a->count == 5)
		simulation_kill(a->simulation,
				(uint32_t)simulation_hop_server(a->simulation, a->session, 0));
}

/* Virtual time when an answer with a kill in it ends. */
static uint64_t run_once(uint64_t seed)
{
	struct simulation *s = swarm(seed, 3, 2);
	struct answer a = { .on_token = kill_first }, *all[] = { &a };
	uint64_t end;
	struct error e;

	CHECK_OK(answer_begin(&a, s, prompt, ARRAY_LENGTH(prompt), 12, 30 * NS_PER_S, &e), &e);
	CHECK(answers_wait(s, all, 1, 30 * NS_PER_S));
	CHECK_EQ(a.count, 12);
	CHECK_TEXT(a.reason, "");
	end = clock_ns(sim_clock(simulation_network(s)));
	answer_close(&a);
	simulation_close(s);
	return end;
}

/* Goal: the same seed is the same run, to the virtual nanosecond; another seed is not. */
TEST(simulation__repeats_from_its_seed)
{
	uint64_t first = run_once(test_seed());

	CHECK_EQ(run_once(test_seed()), first);
	CHECK(run_once(test_seed() + 1) != first);
}

/* Goal: killed servers are gone, restarted ones serve again under a new id. */
TEST(simulation__kill_and_start)
{
	struct simulation *s = swarm(test_seed(), 2, 1);
	struct answer a = { 0 }, *all[] = { &a };
	struct error e;

	simulation_kill(s, 1);
	CHECK(!simulation_alive(s, 1));
	CHECK(simulation_alive(s, 0));
	CHECK_OK(answer_begin(&a, s, prompt, ARRAY_LENGTH(prompt), 4, 60 * NS_PER_S, &e), &e);
	CHECK(!answers_wait(s, all, 1, 3 * NS_PER_S));
	CHECK_OK(simulation_start(s, 1, &e), &e);
	CHECK(answers_wait(s, all, 1, 20 * NS_PER_S));
	CHECK_EQ(a.finish, FINISH_LENGTH);
	answer_close(&a);
	simulation_close(s);
}

/* Goal: a directory that comes back with an empty store has its members back within a
 * heartbeat, and a running answer does not notice.
 */
TEST(simulation__directory_comes_back)
{
	struct simulation *s = swarm(test_seed(), 3, 1);
	struct answer a = { 0 }, *all[] = { &a };
	struct error e;

	CHECK_OK(answer_begin(&a, s, prompt, ARRAY_LENGTH(prompt), 40, 60 * NS_PER_S, &e), &e);
	simulation_kill_directory(s);
	simulation_run(s, 20 * NS_PER_MS);
	CHECK_OK(simulation_start_directory(s, &e), &e);
	CHECK(answers_wait(s, all, 1, 20 * NS_PER_S));
	CHECK_EQ(a.finish, FINISH_LENGTH);
	CHECK_EQ(a.count, 40);
	simulation_run(s, 5 * NS_PER_S);
	CHECK(simulation_settle(s));
	answer_close(&a);
	simulation_close(s);
}
