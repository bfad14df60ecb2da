/* fake_generations.h - generations whose tokens a test hands out.  A test that includes this
 * is linked with these functions in the place of generation.c's.
 */
#ifndef PETALS_TESTS_CONTROL_FAKE_GENERATIONS_H
#define PETALS_TESTS_CONTROL_FAKE_GENERATIONS_H

#include <errno.h>

#include "control/generation.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

enum { FAKE_MAX = 64 };

struct generations { int unused; };

struct generation {
	struct generation_options o;
	uint64_t session;
	uint32_t given;
	bool finished;
};

/* What is open, oldest first. */
static struct {
	struct generation *open[FAKE_MAX];
	uint32_t count, most;           /* -EBUSY beyond `most` */
	uint32_t opened, closed;        /* in all */
	int refuse;                     /* generation_open() fails with this */
} fake = { .most = FAKE_MAX };

int generations_open(struct generations **out, const struct generations_options *o,
		     struct error *e)
{
	*out = NULL;
	return -ENOTSUP;
}

void generations_close(struct generations *g)
{
}

struct counters *generations_counters(struct generations *g)
{
	return NULL;
}

int generation_open(struct generation **out, struct generations *g,
		    const struct generation_options *o, struct error *e)
{
	struct generation *made;

	if (fake.refuse)
		return error_set(e, fake.refuse, "the fake refuses");
	if (fake.count == fake.most)
		return error_set(e, -EBUSY, "the fake is full");
	made = mem_calloc(1, sizeof(*made));
	CHECK(made);
	made->o = *o;
	made->session = 0x1000 + fake.opened++;
	fake.open[fake.count++] = made;
	*out = made;
	return 0;
}

void generation_close(struct generation *g)
{
	uint32_t kept = 0;

	if (!g)
		return;
	for (uint32_t i = 0; i < fake.count; i++)
		if (fake.open[i] != g)
			fake.open[kept++] = fake.open[i];
	CHECK_EQ(kept, fake.count - 1);
	fake.count = kept;
	fake.closed++;
	mem_free(g);
}

struct generation_usage generation_usage(const struct generation *g)
{
	return (struct generation_usage){ g->o.prompt_count, g->given };
}

uint64_t generation_session(const struct generation *g)
{
	return g->finished ? 0 : g->session;
}

const struct session_stats *generation_stats(const struct generation *g)
{
	return NULL;
}

/* A token whose text is sure at once; hidden: it ends the text. */
static __attribute__((unused)) void fake_token(struct generation *g, uint32_t id,
					       const char *text, bool hidden)
{
	const struct choice choice = {
		.token = id, .logprob = -0.5f, .top_count = 1, .top = { { id, -0.5f } },
	};
	const struct generation_token t = {
		.choice = &choice, .hidden = hidden, .text = text, .text_bytes = strlen(text),
	};

	g->given++;
	g->o.events.token(g->o.ctx, &t);
}

static __attribute__((unused)) void fake_finish(struct generation *g, enum finish how,
						const char *text, const char *stop, int code,
						const char *reason)
{
	CHECK(!g->finished);
	g->finished = true;
	g->o.events.finished(g->o.ctx, how, text, strlen(text), stop, code, reason);
}

/* The echoed prompt, every token at the same score. */
static __attribute__((unused)) void fake_prompt(struct generation *g)
{
	struct choice choices[16] = { { .token = 0 } };

	CHECK(g->o.score_prompt && g->o.prompt_count <= ARRAY_LENGTH(choices));
	for (uint32_t i = 0; i < g->o.prompt_count; i++)
		choices[i] = (struct choice){ .token = g->o.prompt[i], .logprob = -1 };
	g->o.events.prompt(g->o.ctx, choices, g->o.prompt_count);
}

#endif
