/* swarm_test.c - whole simulated swarms on the CUDA backend: the golden tokens of the small
 * checkpoints, whatever happens to the hops.
 */
#include <stdlib.h>

#include "control/simulation.h"
#include "dataplane/base/log.h"
#include "tests/support/golden.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

static const struct { const char *checkpoint, *golden; } checkpoints[] = {
	{ "llama-gqa-tied", "llama-gqa-tied/golden.json" },
	{ "mistral", "mistral/golden.json" },
	{ "bloom", "bloom/golden.json" },
	{ "gpt2", "gpt2/golden.json" },
};

static struct simulation *open_swarm(const char *checkpoint, const char *device,
				     enum compute_mode compute)
{
	struct simulation_options o;
	struct simulation *s = NULL;
	struct error e = { 0 };

	stand_in_use();
	simulation_options_default(&o);
	o.seed = test_seed();
	o.model = test_data(checkpoint);
	o.device = device;
	o.compute = compute;
	log_configure(getenv("PETALS_SIM_LOG") ? LOG_DEBUG : LOG_OFF, false);
	CHECK_OK(simulation_open(&s, &o, &e), &e);
	CHECK(simulation_settle(s));
	return s;
}

/* Kills whoever carries the middle hop, at the fifth token. */
static void kill_middle(void *ctx, struct answer *a)
{
	bool *killed = ctx;
	int server = simulation_hop_server(a->simulation, a->session, 1);

	if (a->count != 5 || *killed)
		return;
	CHECK(server >= 0);
	simulation_kill(a->simulation, (uint32_t)server);
	*killed = true;
}

static void generate(struct simulation *s, struct answer *a, const struct golden_prompt *p)
{
	struct answer *all[] = { a };
	struct error e = { 0 };

	CHECK_OK(answer_begin(a, s, p->ids, p->count, p->steps, 60 * NS_PER_S, &e), &e);
	CHECK(answers_wait(s, all, 1, 60 * NS_PER_S));
	CHECK_TEXT(a->reason, "");
	CHECK_EQ(a->count, p->steps);
}

/* Goal: three spans on cuda:0 say what transformers says, and go on saying it when a hop is
 * killed and its rows are replayed elsewhere.
 */
TEST(swarm__golden_tokens_although_a_hop_is_killed)
{
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct simulation *s = open_swarm(checkpoints[i].checkpoint, "cuda:0", COMPUTE_F32);
		bool killed = false;
		struct answer a = { .on_token = kill_middle, .ctx = &killed };
		struct golden g;

		golden_open(&g, test_data(checkpoints[i].golden));
		generate(s, &a, &g.prompts[0]);
		for (uint32_t t = 0; t < a.count; t++)
			if (a.tokens[t] != g.prompts[0].continuation[t])
				fail_msg("%s: token %u is %u, not %u", checkpoints[i].checkpoint, t,
					 a.tokens[t], g.prompts[0].continuation[t]);
		CHECK(killed);
		answer_close(&a);
		golden_close(&g);
		simulation_close(s);
	}
}

/* Goal: in bf16, too, a killed hop changes no bit of tokens and log-probabilities. */
TEST(swarm__bf16_same_bits_although_a_hop_is_killed)
{
	struct simulation *s = open_swarm("llama-gqa-tied", "cuda:0", COMPUTE_BF16);
	bool done = false;
	struct answer quiet = { 0 }, killed = { .on_token = kill_middle, .ctx = &done };
	struct golden g;

	golden_open(&g, test_data("llama-gqa-tied/golden.json"));
	generate(s, &quiet, &g.prompts[0]);
	generate(s, &killed, &g.prompts[0]);
	CHECK(done);
	CHECK_BYTES(killed.tokens, quiet.tokens, quiet.count * sizeof(*quiet.tokens));
	CHECK_BYTES(killed.logprobs, quiet.logprobs, quiet.count * sizeof(*quiet.logprobs));
	answer_close(&killed);
	answer_close(&quiet);
	golden_close(&g);
	simulation_close(s);
}
