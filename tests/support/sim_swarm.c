/* sim_swarm.c - swarms on the smallest model with grouped heads, and its undisturbed answer. */
#include "tests/support/sim_swarm.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "tests/test.h"

static const uint32_t prompt[] = { 3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26, 43, 38, 32, 79,
				   50, 28, 84, 19, 71, 69, 39, 93, 75, 10, 58, 20, 94 };

static struct {
	bool made;
	uint32_t tokens[SIM_TOKENS];
	float logprobs[SIM_TOKENS];
} quiet;

void sim_swarm_options(struct simulation_options *o, uint64_t seed)
{
	simulation_options_default(o);
	o->seed = seed;
	o->model = test_data("llama-gqa-tied");
	log_configure(getenv("PETALS_SIM_LOG") ? LOG_DEBUG : LOG_OFF, false);
}

struct simulation *sim_swarm_open(const struct simulation_options *o)
{
	struct simulation *s = NULL;
	struct error e;

	CHECK_OK(simulation_open(&s, o, &e), &e);
	CHECK(simulation_settle(s));
	return s;
}

struct simulation *sim_swarm_open_plain(void)
{
	struct simulation_options o;

	sim_swarm_options(&o, test_seed());
	o.model = test_data("llama-plain");
	o.spans = 2;
	o.replicas = 1;
	return sim_swarm_open(&o);
}

void sim_answer_begin_within(struct answer *a, struct simulation *s, uint64_t within_ns)
{
	struct error e;

	CHECK_OK(answer_begin(a, s, prompt, ARRAY_LENGTH(prompt), SIM_TOKENS, within_ns, &e), &e);
}

void sim_answer_begin(struct answer *a, struct simulation *s)
{
	sim_answer_begin_within(a, s, SIM_ANSWER_NS);
}

static void make_quiet(void)
{
	struct simulation_options o;
	struct answer a = { 0 }, *all[] = { &a };
	struct simulation *s;

	if (quiet.made)
		return;
	sim_swarm_options(&o, 1);
	o.spans = 1;
	o.replicas = 1;
	s = sim_swarm_open(&o);
	sim_answer_begin(&a, s);
	CHECK(answers_wait(s, all, 1, SIM_ANSWER_NS));
	CHECK_TEXT(a.reason, "");
	CHECK_EQ(a.count, SIM_TOKENS);
	memcpy(quiet.tokens, a.tokens, sizeof(quiet.tokens));
	memcpy(quiet.logprobs, a.logprobs, sizeof(quiet.logprobs));
	quiet.made = true;
	answer_close(&a);
	simulation_close(s);
}

void sim_answer_check(const struct answer *a, uint64_t seed)
{
	make_quiet();
	if (a->reason[0])
		fail_msg("seed %llu: %s", (unsigned long long)seed, a->reason);
	CHECK_EQ(a->finish, FINISH_LENGTH);
	CHECK_EQ(a->count, SIM_TOKENS);
	for (int i = 0; i < SIM_TOKENS; i++)
		if (a->tokens[i] != quiet.tokens[i])
			fail_msg("seed %llu: token %d is %u, undisturbed %u",
				 (unsigned long long)seed, i, a->tokens[i], quiet.tokens[i]);
	CHECK_BYTES(a->logprobs, quiet.logprobs, sizeof(quiet.logprobs));
}

void sim_answer_finish(struct answer *a, struct simulation *s, uint64_t seed)
{
	struct answer *all[] = { a };

	if (!answers_wait(s, all, 1, SIM_ANSWER_NS))
		fail_msg("seed %llu: no answer in 60 virtual seconds", (unsigned long long)seed);
	sim_answer_check(a, seed);
}

void sim_crowd_begin(struct sim_crowd *c, struct simulation *s, uint32_t count)
{
	CHECK(count <= ARRAY_LENGTH(c->answers));
	*c = (struct sim_crowd){ .count = count };
	for (uint32_t i = 0; i < count; i++)
		sim_answer_begin(&c->answers[i], s);
}

void sim_crowd_finish(struct sim_crowd *c, struct simulation *s, uint64_t seed)
{
	for (uint32_t i = 0; i < c->count; i++)
		sim_answer_finish(&c->answers[i], s, seed);
	for (uint32_t i = 0; i < c->count; i++)
		answer_close(&c->answers[i]);
}

void sim_swarm_check_clean(struct simulation *s, uint32_t servers)
{
	simulation_run(s, 2 * NS_PER_S);
	for (uint32_t i = 0; i < servers; i++) {
		CHECK_EQ(simulation_server_sessions(s, i), 0);
		CHECK_EQ(simulation_server_pages_held(s, i), 0);
	}
}

double sim_metric(struct counters *c, const char *series, ...)
{
	struct buffer page = { 0 };
	char line[160] = "\n";
	const char *at;
	double value = NAN;
	va_list arguments;
	int n;

	va_start(arguments, series);
	n = vsnprintf(line + 1, sizeof(line) - 2, series, arguments);
	va_end(arguments);
	CHECK(n > 0 && (size_t)n < sizeof(line) - 2);
	memcpy(line + 1 + n, " ", 2);
	counters_render(&c, 1, &page);
	at = strstr(buffer_string(&page), line);
	if (at)
		value = strtod(at + strlen(line), NULL);
	buffer_close(&page);
	return value;
}

uint64_t sim_count(const char *variable, uint64_t usual)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : usual;
}
