/* sampler_test.c - choices against a plain reading of the rules. */
#include "compute/sampler.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "compute/sampler_math.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

enum { VOCABULARY = 1003, DRAWS = 20000 };

static void random_logits(struct random *r, float *logits, uint32_t count, double spread)
{
	for (uint32_t i = 0; i < count; i++)
		logits[i] = (float)((random_unit(r) + random_unit(r) + random_unit(r) - 1.5) *
				    spread);
}

static struct sampler *open_sampler(const struct sampler_options *o, uint32_t vocabulary)
{
	struct error e = { 0 };
	struct sampler *s;

	CHECK_OK(sampler_options_check(o, vocabulary, &e), &e);
	CHECK_EQ(sampler_open(&s, o, vocabulary), 0);
	return s;
}

/* Greedy, by all of the logits and by their summary, which is as good. */
static uint32_t next_both_ways(struct sampler *s, float *logits, uint32_t vocabulary)
{
	struct logits_summary summary;
	struct logits_draw draw;
	struct choice c, plain;

	logits_summarise(logits, vocabulary, &summary);
	sampler_next(s, logits, &c);
	CHECK(sampler_is_plain(s, &draw) && draw.scale == 0);
	sampler_next_plain(s, &summary, &plain);
	CHECK_EQ(plain.token, c.token);
	CHECK_BYTES(&plain.logprob, &c.logprob, sizeof(c.logprob));
	CHECK_EQ(plain.top_count, 0);
	return c.token;
}

/* Goal: greedy takes the largest logit, the lowest id among equals, NaN never. */
TEST(sampler_next__greedy)
{
	struct sampler_options o;
	struct sampler *s;
	struct logits_draw draw;
	float logits[40];

	sampler_options_default(&o);
	o.temperature = 0;
	s = open_sampler(&o, 40);
	for (int i = 0; i < 40; i++)
		logits[i] = (float)(i % 7);
	logits[3] = NAN;
	CHECK_EQ(next_both_ways(s, logits, 40), 6);
	logits[39] = 6.5f;
	CHECK_EQ(next_both_ways(s, logits, 40), 39);
	for (int i = 0; i < 40; i++)
		logits[i] = -INFINITY;
	CHECK_EQ(next_both_ways(s, logits, 40), 0);
	for (int i = 0; i < 40; i++)
		logits[i] = NAN;
	CHECK_EQ(next_both_ways(s, logits, 40), 0);
	sampler_close(s);
	o.top_logprobs = 1;
	s = open_sampler(&o, 40);
	CHECK(!sampler_is_plain(s, &draw));
	sampler_close(s);
	o.top_logprobs = 0;
	o.presence_penalty = 1;
	s = open_sampler(&o, 40);
	CHECK(!sampler_is_plain(s, &draw));
	sampler_close(s);
}

/* Goal: what a summary is drawn by is this step's and the options'. */
TEST(sampler_is_plain__says_what_to_draw)
{
	struct logits_draw first, second, again;
	struct logits_summary summary = { 3, 0, 0, 1 };
	struct sampler_options o;
	struct sampler *s, *t;
	struct choice c;

	sampler_options_default(&o);
	o.temperature = 0.5f;
	o.top_k = 7;
	o.top_p = 0.25f;
	o.min_p = 0.125f;
	o.seed = 99;
	s = open_sampler(&o, 40);
	t = open_sampler(&o, 40);
	CHECK(sampler_is_plain(s, &first) && sampler_is_plain(t, &again));
	CHECK(first.scale == 2 && first.top_k == 7 && first.top_p == 0.25f);
	CHECK(first.min_p == 0.125f && first.share >= 0 && first.share < 1);
	CHECK(first.share == again.share);
	sampler_next_plain(s, &summary, &c);
	CHECK_EQ(c.token, 3);
	CHECK(sampler_is_plain(s, &second) && second.share != first.share);
	sampler_close(s);
	sampler_close(t);
}

/* Goal: log-probabilities are those of a softmax in f64, the best ones first. */
TEST(sampler_next__logprobs)
{
	static float logits[VOCABULARY], copy[VOCABULARY];
	struct sampler_options o;
	struct sampler *s;
	struct choice c, score;
	struct random r;

	random_seed(&r, test_seed());
	sampler_options_default(&o);
	o.temperature = 0;
	o.top_logprobs = 5;
	s = open_sampler(&o, VOCABULARY);
	for (int round = 0; round < 20; round++) {
		double sum = 0;

		random_logits(&r, logits, VOCABULARY, round * 4);
		for (int i = 0; i < VOCABULARY; i++)
			sum += exp((double)logits[i]);
		memcpy(copy, logits, sizeof(copy));
		sampler_score(s, logits, 17, &score);
		CHECK_NEAR(score.logprob, (double)logits[17] - log(sum), 2e-5);
		sampler_next(s, logits, &c);
		CHECK_EQ(c.top_count, 5);
		CHECK_EQ(c.top[0].token, c.token);
		CHECK_BYTES(c.top, score.top, sizeof(c.top[0]) * 5);
		CHECK(c.top[0].logprob == c.logprob);
		for (uint32_t i = 0; i < 5; i++) {
			uint32_t larger = 0, t = c.top[i].token;

			CHECK_NEAR(c.top[i].logprob, (double)copy[t] - log(sum), 2e-5);
			for (uint32_t j = 0; j < VOCABULARY; j++)
				larger += copy[j] > copy[t] || (copy[j] == copy[t] && j < t);
			CHECK_EQ(larger, i);
		}
	}
	sampler_close(s);
}

/* Goal: without log-probabilities the same token is chosen, and they are no numbers. */
TEST(sampler_next__without_logprobs)
{
	static float logits[VOCABULARY], copy[VOCABULARY];
	struct random r;

	random_seed(&r, test_seed());
	for (int round = 0; round < 20; round++) {
		struct choice with, without;

		random_logits(&r, logits, VOCABULARY, 3);
		for (int wanted = 0; wanted < 2; wanted++) {
			struct sampler_options o;
			struct sampler *s;

			sampler_options_default(&o);
			o.temperature = round % 2 ? 0 : 0.7f;
			o.seed = (uint64_t)round;
			o.logprobs = wanted;
			s = open_sampler(&o, VOCABULARY);
			memcpy(copy, logits, sizeof(copy));
			sampler_next(s, copy, wanted ? &with : &without);
			sampler_close(s);
		}
		CHECK_EQ(without.token, with.token);
		CHECK(isnan(without.logprob) && with.logprob < 0);
	}
}

/* The distribution that the options allow, by the book; sums to 1. */
static void expected(const struct sampler_options *o, const float *logits, uint32_t count,
		     double *out)
{
	uint32_t k = o->top_k ? MIN(o->top_k, count) : count;
	bool taken[64] = { false };
	double total = 0, sum = 0, largest = -INFINITY, before = 0, order[64];

	CHECK(count <= 64);
	for (uint32_t i = 0; i < count; i++)
		largest = fmax(largest, (double)logits[i]);
	for (uint32_t i = 0; i < count; i++)
		out[i] = 0;
	for (int pass = 0; pass < 2; pass++) {
		memset(taken, 0, sizeof(taken));
		for (uint32_t n = 0; n < k; n++) {
			uint32_t best = UINT32_MAX;

			for (uint32_t i = 0; i < count; i++)
				if (!taken[i] && (best == UINT32_MAX || logits[i] > logits[best]))
					best = i;
			taken[best] = true;
			order[n] = exp(((double)logits[best] - largest) / (double)o->temperature);
			if (pass == 0) {
				total += order[n];
				continue;
			}
			if (before < (double)o->top_p * total && order[n] >= (double)o->min_p) {
				out[best] = order[n];
				sum += order[n];
			}
			before += order[n];
		}
	}
	for (uint32_t i = 0; i < count; i++)
		out[i] /= sum;
}

/* Goal: over many draws each token comes as often as temperature, top-k, top-p and min-p
 * say, and never when they exclude it.
 */
TEST(sampler_next__draws_the_distribution)
{
	const struct { float temperature, top_p, min_p; uint32_t top_k; } cases[] = {
		{ 1, 1, 0, 0 }, { 0.5f, 1, 0, 0 }, { 2, 1, 0, 0 }, { 1, 1, 0, 5 },
		{ 1, 0.8f, 0, 0 }, { 1, 1, 0.2f, 0 }, { 0.7f, 0.9f, 0.05f, 20 }, { 2, 1, 0, 1 },
		{ 1, 1e-6f, 0, 0 }, { 1, 0.5f, 0, 100 }, { 1, 1, 0.3f, 10 }, { 1, 0.99f, 0.2f, 0 },
	};
	float logits[50], copy[50];
	struct random r;

	random_seed(&r, test_seed());
	for (size_t n = 0; n < ARRAY_LENGTH(cases); n++) {
		struct sampler_options o;
		uint32_t counts[50] = { 0 };
		struct sampler *s;
		double want[50];

		sampler_options_default(&o);
		o.temperature = cases[n].temperature;
		o.top_p = cases[n].top_p;
		o.min_p = cases[n].min_p;
		o.top_k = cases[n].top_k;
		o.seed = n;
		s = open_sampler(&o, 50);
		random_logits(&r, logits, 50, 3);
		expected(&o, logits, 50, want);
		for (int i = 0; i < DRAWS; i++) {
			struct choice c;

			memcpy(copy, logits, sizeof(copy));
			sampler_next(s, copy, &c);
			counts[c.token]++;
		}
		for (int i = 0; i < 50; i++) {
			double deviation = sqrt(want[i] * (1 - want[i]) / DRAWS);

			if (want[i] == 0)
				CHECK_EQ(counts[i], 0);
			CHECK_NEAR((double)counts[i] / DRAWS, want[i], 5 * deviation + 1e-9);
		}
		sampler_close(s);
	}
}

/* Goal: a choice depends on (seed, step) alone: a sampler that starts again and is
 * led to the same step chooses the same; another seed differs.
 */
TEST(sampler_next__seed_and_step_decide)
{
	static float logits[VOCABULARY], copy[VOCABULARY];
	struct sampler_options o;
	uint32_t first[50], differing = 0;
	struct random r;

	random_seed(&r, test_seed());
	random_logits(&r, logits, VOCABULARY, 3);
	sampler_options_default(&o);
	for (int round = 0; round < 3; round++) {
		struct sampler *s;

		o.seed = round < 2 ? 42 : 43;
		o.top_k = round == 1 ? VOCABULARY : 0;      /* no limit either way */
		s = open_sampler(&o, VOCABULARY);
		for (int i = 0; i < 50; i++) {
			struct choice c;

			memcpy(copy, logits, sizeof(copy));
			sampler_next(s, copy, &c);
			if (round == 0)
				first[i] = c.token;
			else if (round == 1)
				CHECK_EQ(c.token, first[i]);
			else
				differing += c.token != first[i];
		}
		sampler_close(s);
	}
	CHECK(differing > 40);
	for (int i = 1; i < 50; i++)
		differing += first[i] != first[0];
	CHECK(differing > 80);
}

/* Goal: top-k and top-p agree with a full sort on large vocabularies of any spread. */
TEST(sampler_next__cuts_large_vocabularies)
{
	static float logits[VOCABULARY], copy[VOCABULARY], sorted[VOCABULARY];
	struct random r;

	random_seed(&r, test_seed());
	for (int round = 0; round < 60; round++) {
		double spread = pow(10, (double)(round % 6) - 3);
		struct sampler_options o;
		struct sampler *s;
		uint32_t k = 1 + (uint32_t)random_below(&r, VOCABULARY);

		sampler_options_default(&o);
		o.top_k = k;
		o.temperature = 2;
		s = open_sampler(&o, VOCABULARY);
		random_logits(&r, logits, VOCABULARY, spread);
		memcpy(sorted, logits, sizeof(sorted));
		for (uint32_t i = 1; i < VOCABULARY; i++)
			for (uint32_t j = i; j > 0 && sorted[j] > sorted[j - 1]; j--) {
				float swap = sorted[j];

				sorted[j] = sorted[j - 1];
				sorted[j - 1] = swap;
			}
		for (int i = 0; i < 20; i++) {
			struct choice c;

			memcpy(copy, logits, sizeof(copy));
			sampler_next(s, copy, &c);
			CHECK(logits[c.token] >= sorted[k - 1]);
		}
		sampler_close(s);
	}
}

/* Goal: penalties, biases and min_tokens do what they say, and logprobs ignore them. */
TEST(sampler_next__penalties_bias_and_min_tokens)
{
	const struct logit_bias bias[] = { { 2, 5 }, { 0, -100 } };
	const uint32_t stop_ids[] = { 1 }, prompt[] = { 3, 3, 999 };
	const float base[5] = { 4, 10, 1, 6.2f, 6 };
	struct sampler_options o;
	struct sampler *s;
	struct choice c;
	float logits[5];
	double sum = 0;

	for (int i = 0; i < 5; i++)
		sum += exp((double)base[i]);
	sampler_options_default(&o);
	o.temperature = 0;
	o.stop_ids = stop_ids;
	o.stop_id_count = 1;
	o.min_tokens = 3;
	o.bias = bias;
	o.bias_count = 2;
	o.repetition_penalty = 2;       /* token 3: 6.2 -> 3.1 */
	o.presence_penalty = 0.5f;
	o.frequency_penalty = 0.25f;
	s = open_sampler(&o, 5);
	sampler_prompt(s, prompt, 3);
	memcpy(logits, base, sizeof(base));
	sampler_next(s, logits, &c);
	CHECK_EQ(c.token, 2);                           /* 1 + 5; ties with 4, lowest id */
	CHECK_NEAR(c.logprob, 1 - log(sum), 1e-5);
	memcpy(logits, base, sizeof(base));
	sampler_next(s, logits, &c);
	CHECK_EQ(c.token, 4);                           /* 2 has 1 / 2 - 0.75 + 5 */
	CHECK_NEAR(logits[2], 4.75, 1e-6);
	CHECK_NEAR(logits[3], 3.1, 1e-6);
	CHECK_NEAR(logits[0], -96, 1e-6);
	memcpy(logits, base, sizeof(base));
	sampler_next(s, logits, &c);
	CHECK_EQ(c.token, 2);
	memcpy(logits, base, sizeof(base));
	sampler_next(s, logits, &c);
	CHECK_EQ(c.token, 1);                           /* min_tokens is over */
	CHECK_NEAR(logits[2], 1 / 2.0 - 0.5 - 0.5 + 5, 1e-6);
	sampler_close(s);
}

/* Goal: each absurd option is refused by name. */
TEST(sampler_options_check__refuses)
{
	const struct logit_bias far[] = { { 50, 1 } }, large[] = { { 1, 101 } };
	const uint32_t id[] = { 50 };
	struct sampler_options base, bad[14];
	const char *names[14];
	size_t n = 0;

	sampler_options_default(&base);
	CHECK_EQ(sampler_options_check(&base, 50, NULL), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		bad[i] = base;
#define BAD(field, value, name) bad[n].field = value, names[n++] = name
	BAD(temperature, -1, "temperature");
	BAD(temperature, 2.5f, "temperature");
	BAD(temperature, NAN, "temperature");
	BAD(top_p, 0, "top_p");
	BAD(top_p, 1.5f, "top_p");
	BAD(min_p, -0.1f, "min_p");
	BAD(repetition_penalty, 0, "repetition_penalty");
	BAD(repetition_penalty, INFINITY, "repetition_penalty");
	BAD(presence_penalty, 3, "presence_penalty");
	BAD(frequency_penalty, -3, "frequency_penalty");
	BAD(top_logprobs, 21, "top_logprobs");
	bad[n].bias_count = 1;
	BAD(bias, far, "logit_bias names token 50");
	bad[n].bias_count = 1;
	BAD(bias, large, "logit_bias of token 1");
	bad[n].stop_id_count = 1;
	BAD(stop_ids, id, "stop_token_ids");
	for (size_t i = 0; i < n; i++) {
		struct error e = { 0 };

		CHECK_EQ(sampler_options_check(&bad[i], 50, &e), -EINVAL);
		CHECK(strstr(e.text, names[i]));
	}
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, sampler_open() gives everything back. */
TEST(sampler_open__unwinds_every_failure)
{
	const struct logit_bias bias[] = { { 1, 1 } };
	const uint32_t id[] = { 1 };
	uint64_t live = mem_live_blocks();
	struct sampler_options o;

	sampler_options_default(&o);
	o.bias = bias;
	o.bias_count = 1;
	o.stop_ids = id;
	o.stop_id_count = 1;
	o.presence_penalty = 1;
	for (int nth = 1; nth < 100; nth++) {
		struct sampler *s;
		int rc;

		fault_arm(nth);
		rc = sampler_open(&s, &o, 50);
		sampler_close(s);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -ENOMEM);
	}
	fault_disarm();
}
#endif
