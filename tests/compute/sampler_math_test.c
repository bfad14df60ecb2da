/* sampler_math_test.c - the passes over a vocabulary against plain f64. */
#include "compute/sampler_math.h"

#include <math.h>

#include "dataplane/base/random.h"
#include "tests/test.h"

enum { COUNT = 1000 };

/* Goal: exponentials and sums agree with f64 for every length and spread. */
TEST(logits_weigh__agrees_with_f64)
{
	float logits[COUNT], out[COUNT];
	struct random r;

	random_seed(&r, test_seed());
	for (uint32_t count = 1; count <= COUNT; count += 37) {
		struct logits_summary summary;
		float largest;
		double sum = 0, exact = 0, least = 0.01;

		for (uint32_t i = 0; i < count; i++)
			logits[i] = (float)(random_unit(&r) * 40 - 30);
		logits[count / 3] = -INFINITY;
		largest = logits[logits_best(logits, count)];
		if (count == 1)
			continue;
		for (uint32_t i = 0; i < count; i++) {
			exact += exp((double)logits[i]);
			CHECK(logits[i] <= largest);
		}
		CHECK_NEAR(logits_log_sum(logits, count), log(exact), 3e-6);
		logits_summarise(logits, count, &summary);
		CHECK_EQ(summary.token, logits_best(logits, count));
		CHECK(summary.logit == logits[summary.token]);
		CHECK(logits_summary_log_sum(&summary) == logits_log_sum(logits, count));
		sum = logits_weigh(logits, count, largest, 0.5f, (float)least, out);
		for (uint32_t i = 0; i < count; i++) {
			double w = exp(((double)logits[i] - (double)largest) * 0.5);

			if (fabs(w - least) > 1e-6)
				CHECK_NEAR(out[i], w < least ? 0 : w, 4e-7 * w);
			sum -= (double)out[i];
		}
		CHECK_NEAR(sum, 0, 1e-5);
	}
}

/* Goal: nothing but -infinity and NaN is survived. */
TEST(logits_best__nothing_there)
{
	float logits[3] = { -INFINITY, NAN, -INFINITY };

	CHECK_EQ(logits_best(logits, 3), 0);
	CHECK(logits_log_sum(logits, 3) == -INFINITY);
	logits[1] = -3;
	CHECK_EQ(logits_best(logits, 3), 1);
	CHECK_NEAR(logits_log_sum(logits, 3), -3, 1e-6);
}

/* Goal: the best is found wherever it lies, and the first of equals. */
TEST(logits_best__first_of_equals_anywhere)
{
	static float logits[5000];
	struct random r;

	random_seed(&r, test_seed());
	for (int round = 0; round < 200; round++) {
		uint32_t count = 1 + (uint32_t)random_below(&r, ARRAY_LENGTH(logits));
		uint32_t one = (uint32_t)random_below(&r, count);
		uint32_t two = (uint32_t)random_below(&r, count);

		for (uint32_t i = 0; i < count; i++)
			logits[i] = (float)random_unit(&r);
		logits[one] = logits[two] = 2;
		CHECK_EQ(logits_best(logits, count), MIN(one, two));
	}
}

/* Goal: the sort is stable and descending, zeros of both signs equal. */
TEST(candidates_sort__stable_descending)
{
	static struct candidate c[500], scratch[500];
	struct random r;

	random_seed(&r, test_seed());
	for (int round = 0; round < 50; round++) {
		uint32_t count = (uint32_t)random_below(&r, 500);

		for (uint32_t i = 0; i < count; i++) {
			c[i].token = i;
			c[i].logit = (float)((int)random_below(&r, 41) - 20) * 0.37f;
			if (random_chance(&r, 0.1))
				c[i].logit = -0.0f;
		}
		candidates_sort(c, count, scratch);
		for (uint32_t i = 1; i < count; i++) {
			CHECK(c[i - 1].logit >= c[i].logit);
			if (c[i - 1].logit == c[i].logit)
				CHECK(c[i - 1].token < c[i].token);
		}
	}
}

/* Goal: a walk never ends on a token without weight, whatever rounding does. */
TEST(weights_find__never_lands_on_nothing)
{
	float weights[40] = { 0 };

	CHECK_EQ(weights_find(weights, 40, 0), 40);
	weights[7] = 0.25f;
	weights[20] = 0.5f;
	weights[21] = 0.25f;
	CHECK_EQ(weights_find(weights, 40, 0), 7);
	CHECK_EQ(weights_find(weights, 40, 0.2499), 7);
	CHECK_EQ(weights_find(weights, 40, 0.25), 20);
	CHECK_EQ(weights_find(weights, 40, 0.7499), 20);
	CHECK_EQ(weights_find(weights, 40, 0.75), 21);
	CHECK_EQ(weights_find(weights, 40, 1), 21);
	CHECK_EQ(weights_find(weights, 40, 2), 21);
}
