/* rope_test.c - frequencies and slopes against transformers' own, to f32's
 * last digits.
 */
#include "tests/test.h"

#include <math.h>

#include "compute/model/config.h"

struct expected { uint32_t index; double value; };

static void check(const float *found, const struct expected *expected, size_t count)
{
	for (size_t i = 0; i < count; i++)
		CHECK_NEAR(found[expected[i].index], expected[i].value, 2e-6 * expected[i].value);
}

/* Goal: theta^(-2 i / dims), and a linear factor divides it. */
TEST(rope_frequencies__plain_and_linear)
{
	static const struct expected quarter[] = {
		{ 0, 0.25 }, { 1, 0.18747355043888092 }, { 16, 0.0024999999441206455 },
		{ 31, 3.333803761051968e-05 },
	};
	struct rope_config rope = { .theta = 10000, .dims = 64 };
	float plain[32], linear[32];

	rope_frequencies(&rope, plain);
	rope.scaling = ROPE_LINEAR;
	rope.factor = 4;
	rope_frequencies(&rope, linear);
	check(linear, quarter, ARRAY_LENGTH(quarter));
	for (int i = 0; i < 32; i++)
		CHECK(plain[i] == 4 * linear[i]);
}

/* Goal: Llama 3.1's frequencies in all three ranges; divisors baked from them
 * give the same.
 */
TEST(rope_frequencies__llama3)
{
	static const struct expected published[] = {
		{ 0, 1.0 }, { 1, 0.8146172165870667 }, { 10, 0.12868738174438477 },
		{ 28, 0.0032114461064338684 }, { 29, 0.0021665706299245358 },
		{ 30, 0.0013718936825171113 }, { 31, 0.0008567514596506953 },
		{ 32, 0.0005248460220173001 }, { 34, 0.0001785077911335975 },
		{ 35, 9.556212171446532e-05 }, { 36, 7.784655463183299e-05 },
		{ 40, 3.428102354519069e-05 }, { 63, 3.068925877869333e-07 },
	};
	struct rope_config rope = {
		.theta = 500000, .dims = 128, .scaling = ROPE_LLAMA3, .factor = 8,
		.low_freq_factor = 1, .high_freq_factor = 4, .original_positions = 8192,
	};
	float scaled[64], plain[64], baked[64];

	rope_frequencies(&rope, scaled);
	check(scaled, published, ARRAY_LENGTH(published));
	rope.scaling = ROPE_PLAIN;
	rope_frequencies(&rope, plain);
	rope.scaling = ROPE_DIVISORS;
	for (int i = 0; i < 64; i++)
		rope.divisors[i] = plain[i] / scaled[i];
	rope_frequencies(&rope, baked);
	for (int i = 0; i < 64; i++)
		CHECK_NEAR(baked[i], scaled[i], 2e-7 * scaled[i]);
}

/* Goal: BLOOM's slopes for counts of heads that are powers of two or not. */
TEST(alibi_slopes__any_head_count)
{
	static const struct expected six[] = {
		{ 0, 0.25 }, { 1, 0.0625 }, { 2, 0.015625 }, { 3, 0.00390625 }, { 4, 0.5 },
		{ 5, 0.125 },
	};
	static const struct expected eight[] = { { 0, 0.5 }, { 7, 0.00390625 } };
	static const struct expected bloom[] = {
		{ 0, 0.9170040488243103 }, { 1, 0.8408964276313782 }, { 63, 0.003906251396983862 },
		{ 64, 0.9576032757759094 }, { 65, 0.8781260848045349 },
		{ 111, 0.016316769644618034 },
	};
	float slopes[112];

	alibi_slopes(1, slopes);
	CHECK(slopes[0] == 0.00390625f);
	alibi_slopes(3, slopes);
	CHECK(slopes[0] == 0.0625f && slopes[1] == 0.00390625f && slopes[2] == 0.25f);
	alibi_slopes(6, slopes);
	check(slopes, six, ARRAY_LENGTH(six));
	alibi_slopes(8, slopes);
	check(slopes, eight, ARRAY_LENGTH(eight));
	alibi_slopes(112, slopes);
	check(slopes, bloom, ARRAY_LENGTH(bloom));
}
