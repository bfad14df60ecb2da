/* generations_test.c - what choices in progress share: room, counters, the order in which their
 * tokens are told.
 */
#include "control/generation.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/support/sim_swarm.h"
#include "tests/test.h"

static const uint32_t prompt[] = { 5, 17, 42, 8, 91, 3 };

/* Goal: every token is counted once, with the time its edge took. */
TEST(generations__count_their_tokens)
{
	struct simulation *s = sim_swarm_open_plain();
	struct counters *c = generations_counters(simulation_generations(s));
	struct answer a = { 0 }, *all[] = { &a };
	struct error e;

	CHECK_OK(answer_begin(&a, s, prompt, ARRAY_LENGTH(prompt), 7, 30 * NS_PER_S, &e), &e);
	CHECK(answers_wait(s, all, 1, 30 * NS_PER_S));
	CHECK_EQ(sim_metric(c, "petals_prompt_tokens_total"), ARRAY_LENGTH(prompt));
	CHECK_EQ(sim_metric(c, "petals_generation_tokens_total"), 7);
	CHECK_EQ(sim_metric(c, "petals_edge_seconds_count"), 7);
	CHECK_EQ(sim_metric(c, "petals_time_to_first_token_seconds_count"), 1);
	CHECK_EQ(sim_metric(c, "petals_inter_token_seconds_count"), 6);
	answer_close(&a);
	simulation_close(s);
}

enum { MANY = 8 };

static struct { struct answer answers[MANY]; uint32_t most_untold; } crowd;

static void count_untold(void *ctx, struct answer *a)
{
	uint32_t untold = 0;

	for (int i = 0; i < MANY; i++) {
		const struct answer *other = &crowd.answers[i];

		if (other->generation && !other->finished)
			untold += generation_usage(other->generation).completion_tokens -
				  other->count;
	}
	crowd.most_untold = MAX(crowd.most_untold, untold);
}

/* Goal: the next steps of a batch of tokens set out before the first of them is told. */
TEST(generations__tell_tokens_after_the_steps_that_follow)
{
	struct simulation *s = sim_swarm_open_plain();
	struct answer *all[MANY];
	struct error e;

	memset(&crowd, 0, sizeof(crowd));
	for (int i = 0; i < MANY; i++) {
		all[i] = &crowd.answers[i];
		all[i]->on_token = count_untold;
		CHECK_OK(answer_begin(all[i], s, prompt, ARRAY_LENGTH(prompt), 10, 30 * NS_PER_S,
				      &e), &e);
	}
	CHECK(answers_wait(s, all, MANY, 30 * NS_PER_S));
	CHECK(crowd.most_untold > 1);
	for (int i = 0; i < MANY; i++) {
		CHECK_TEXT(all[i]->reason, "");
		CHECK_EQ(all[i]->count, 10);
		CHECK_BYTES(all[i]->tokens, all[0]->tokens, 10 * sizeof(uint32_t));
	}
	for (int i = 0; i < MANY; i++)
		answer_close(all[i]);
	simulation_close(s);
}

/* Goal: more generations than there is room for are refused with the figure; those that run
 * are not disturbed.
 */
TEST(generations__refuse_past_their_room)
{
	struct simulation *s = sim_swarm_open_plain();
	struct answer a[64] = { 0 }, *all[64], one_more = { 0 };
	struct error e;

	for (int i = 0; i < 64; i++) {
		all[i] = &a[i];
		CHECK_OK(answer_begin(&a[i], s, prompt, 3, 2, 60 * NS_PER_S, &e), &e);
	}
	CHECK_EQ(answer_begin(&one_more, s, prompt, 3, 2, 60 * NS_PER_S, &e), -EBUSY);
	CHECK(strstr(e.text, "64"));
	answer_close(&one_more);
	CHECK(answers_wait(s, all, 64, 60 * NS_PER_S));
	for (int i = 0; i < 64; i++) {
		CHECK_TEXT(a[i].reason, "");
		CHECK_BYTES(a[i].tokens, a[0].tokens, 2 * sizeof(uint32_t));
	}
	for (int i = 0; i < 64; i++)
		answer_close(&a[i]);
	simulation_close(s);
}
