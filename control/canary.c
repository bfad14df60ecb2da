/* canary.c - owns the one generation that nobody asked for. */
#include "control/canary.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CANARY_NS (10 * NS_PER_S)       /* a try's own deadline */
#define RETRY_NS (1 * NS_PER_S)

static void on_prompt(void *ctx, const struct choice *choices, uint32_t count)
{
}

static void on_token(void *ctx, const struct generation_token *t)
{
}

static void on_finished(void *ctx, enum finish finish, const char *text, size_t text_bytes,
			const char *stop, int code, const char *reason)
{
	struct canary *c = ctx;

	c->finished = true;
	c->passed = finish != FINISH_ERROR;
	c->failed += !c->passed;
	snprintf(c->why_not, sizeof(c->why_not), "%s%.400s",
		 c->passed ? "" : "a canary of one token failed: ",
		 c->passed ? "" : reason ? reason : error_describe(code));
}

/* If not, why_not names the blocks that nobody has, as far as is known. */
static bool is_covered(struct canary *c)
{
	char missing[256];

	if (sessions_covered(c->sessions, missing, sizeof(missing)))
		return true;
	snprintf(c->why_not, sizeof(c->why_not), "no server has blocks %s", missing);
	return false;
}

void canary_open(struct canary *c, struct generations *g, struct sessions *s, uint32_t token)
{
	*c = (struct canary){ .generations = g, .sessions = s, .token = token };
	if (is_covered(c))
		snprintf(c->why_not, sizeof(c->why_not), "no canary has gone through yet");
}

void canary_close(struct canary *c)
{
	generation_close(c->generation);
	c->generation = NULL;
}

static void try(struct canary *c, uint64_t now_ns)
{
	struct generation_options o = {
		.prompt = &c->token, .prompt_count = 1, .max_tokens = 1, .ignore_eos = true,
		.deadline_ns = now_ns + CANARY_NS,
		.events = { on_prompt, on_token, on_finished }, .ctx = c,
	};
	struct error e = { 0 };

	sampler_options_default(&o.sampler);
	o.sampler.temperature = 0;
	o.sampler.logprobs = false;
	c->next_ns = now_ns + RETRY_NS;
	c->finished = false;
	c->tried++;
	if (generation_open(&c->generation, c->generations, &o, &e) < 0) {
		c->generation = NULL;
		c->failed++;
		snprintf(c->why_not, sizeof(c->why_not), "a canary of one token failed: %.400s",
			 e.text);
	}
}

bool canary_turn(struct canary *c, uint64_t now_ns)
{
	char before[sizeof(c->why_not)];

	memcpy(before, c->why_not, sizeof(before));
	if (c->generation && c->finished) {
		generation_close(c->generation);
		c->generation = NULL;
	}
	if (!is_covered(c)) {
		c->passed = false;
		c->next_ns = 0;
	} else if (!c->passed && !c->generation && now_ns >= c->next_ns) {
		if (c->next_ns == 0)
			snprintf(c->why_not, sizeof(c->why_not),
				 "every block has a server; a canary of one token is on its way");
		try(c, now_ns);
	}
	return strcmp(before, c->why_not) != 0;
}

void canary_doubt(struct canary *c)
{
	if (!c->passed)
		return;
	c->passed = false;
	snprintf(c->why_not, sizeof(c->why_not),
		 "a request failed; a canary of one token is on its way");
}

bool canary_passed(const struct canary *c)
{
	return c->passed;
}

const char *canary_why_not(const struct canary *c)
{
	return c->why_not;
}
