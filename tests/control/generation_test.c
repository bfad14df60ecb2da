/* generation_test.c - what a generation does around a session: limits, ends, refusals, closing
 * at any moment.
 */
#include "control/generation.h"

#include <errno.h>

#include "tests/support/sim_swarm.h"
#include "tests/test.h"

static const uint32_t prompt[] = { 5, 17, 42, 8, 91, 3 };

/* Goal: as many tokens as asked, then length; usage counts both sides. */
TEST(generation__ends_at_its_length)
{
	struct simulation *s = sim_swarm_open_plain();
	struct answer a = { 0 }, *all[] = { &a };
	struct generation_usage usage;
	struct error e;

	CHECK_OK(answer_begin(&a, s, prompt, ARRAY_LENGTH(prompt), 7, 30 * NS_PER_S, &e), &e);
	CHECK(answers_wait(s, all, 1, 30 * NS_PER_S));
	usage = generation_usage(a.generation);
	CHECK_EQ(a.finish, FINISH_LENGTH);
	CHECK_EQ(usage.prompt_tokens, ARRAY_LENGTH(prompt));
	CHECK_EQ(usage.completion_tokens, 7);
	answer_close(&a);
	simulation_close(s);
}

static void close_itself(void *ctx, struct answer *a)
{
	if (a->count == 3)
		generation_close(a->generation);
}

/* Goal: an owner may close a generation from its own event: nothing fires after that, and
 * nothing is left behind.
 */
TEST(generation__may_be_closed_from_its_event)
{
	struct simulation *s = sim_swarm_open_plain();
	struct answer a = { .on_token = close_itself };
	struct error e;

	CHECK_OK(answer_begin(&a, s, prompt, ARRAY_LENGTH(prompt), 30, 30 * NS_PER_S, &e), &e);
	simulation_run(s, NS_PER_S);
	CHECK_EQ(a.count, 4);
	CHECK(!a.finished);
	CHECK_EQ(sessions_count(simulation_sessions(s)), 0);
	CHECK_EQ(simulation_server_sessions(s, 0), 0);
	a.generation = NULL;
	answer_close(&a);
	simulation_close(s);
}

/* Goal: an empty prompt is refused with a sentence. */
TEST(generation__refuses_an_empty_prompt)
{
	struct simulation *s = sim_swarm_open_plain();
	struct answer a = { 0 };
	struct error e;

	CHECK_EQ(answer_begin(&a, s, prompt, 0, 7, 30 * NS_PER_S, &e), -EINVAL);
	CHECK_TEXT(e.text, "the prompt has no tokens");
	answer_close(&a);
	simulation_close(s);
}

/* Goal: closing at any moment leaves nothing behind. */
TEST(generation__may_be_closed_at_any_moment)
{
	struct simulation *s = sim_swarm_open_plain();

	for (uint64_t us = 0; us < 8000; us += 137) {
		struct answer a = { 0 };
		struct error e;

		CHECK_OK(answer_begin(&a, s, prompt, ARRAY_LENGTH(prompt), 30, 30 * NS_PER_S, &e),
			 &e);
		simulation_run(s, us * NS_PER_US);
		answer_close(&a);
	}
	simulation_run(s, NS_PER_S);
	for (uint32_t i = 0; i < 2; i++) {
		CHECK_EQ(simulation_server_sessions(s, i), 0);
		CHECK_EQ(simulation_server_pages_held(s, i), 0);
	}
	CHECK_EQ(sessions_count(simulation_sessions(s)), 0);
	simulation_close(s);
}
