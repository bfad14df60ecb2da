/* impair_test.c - the words of --impair, and that the dice keep to them. */
#include "dataplane/impair.h"

#include <errno.h>

#include "tests/test.h"

/* Goal: every word is understood, with its units. */
TEST(impair_parse__all_words)
{
	struct impair_options o = { 0 };
	struct error e = { 0 };

	CHECK_OK(impair_parse(&o, "drop=5%,reorder=2%,duplicate=1%,corrupt=0.1%,delay=2ms,"
			      "jitter=30us,hold=1s,rate=1G,seed=9", &e), &e);
	CHECK_NEAR(o.drop, 0.05, 1e-12);
	CHECK_NEAR(o.reorder, 0.02, 1e-12);
	CHECK_NEAR(o.duplicate, 0.01, 1e-12);
	CHECK_NEAR(o.corrupt, 0.001, 1e-12);
	CHECK_EQ(o.delay_ns, 2 * NS_PER_MS);
	CHECK_EQ(o.jitter_ns, 30 * NS_PER_US);
	CHECK_EQ(o.reorder_ns, NS_PER_S);
	CHECK_NEAR(o.bytes_per_ns, 0.125, 1e-12);
	CHECK_EQ(o.seed, 9);
	CHECK_OK(impair_parse(&o, "", &e), &e);
	CHECK(!impair_is_none(&o));
	o = (struct impair_options){ .seed = 4 };
	CHECK(impair_is_none(&o));
}

/* Goal: nonsense is refused by name. */
TEST(impair_parse__nonsense)
{
	static const char *const rows[] = {
		"drop", "drop=", "drop=5", "drop=101%", "drop=-1%", "drop=nan%", "drp=5%",
		"delay=3", "delay=3%", "rate=1", "drop=5%;delay=1ms", ",", "drop=5%,,delay=1ms",
		"seed=1x", "delay=1e300s",
		"drop=000000000000000000000000000000000000000000000000000000000000005%",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct impair_options o = { 0 };
		struct error e = { 0 };

		CHECK_EQ(impair_parse(&o, rows[i], &e), -EINVAL);
		CHECK(e.text[0] != '\0');
	}
}

/* Goal: over many pieces the chances come out, the same again from the same seed,
 * and no piece passes faster than the rate.
 */
TEST(impair_fate__keeps_to_its_options)
{
	enum { PIECES = 20000, BYTES = 1000 };
	struct impair_options o = { .drop = 0.2, .duplicate = 0.1, .corrupt = 0.05,
				    .delay_ns = 500, .jitter_ns = 100, .bytes_per_ns = 1,
				    .seed = test_seed() };
	uint32_t dropped = 0, doubled = 0, corrupted = 0;
	struct impair a, b;

	impair_start(&a, &o);
	impair_start(&b, &o);
	for (uint64_t n = 0; n < PIECES; n++) {
		struct impair_fate f = impair_fate(&a, BYTES, 0), g = impair_fate(&b, BYTES, 0);

		CHECK_EQ(f.copies, g.copies);
		CHECK_EQ(f.due_ns[0], g.due_ns[0]);
		dropped += f.copies == 0;
		doubled += f.copies == 2;
		corrupted += f.corrupt;
		CHECK(!f.corrupt || f.bit < 8 * BYTES);
		for (uint32_t copy = 0; copy < f.copies; copy++) {
			CHECK(f.due_ns[copy] >= (n + 1) * BYTES + 500);
			CHECK(f.due_ns[copy] <= (n + 1) * BYTES + 600);
		}
	}
	CHECK_NEAR((double)dropped / PIECES, 0.2, 0.02);
	CHECK_NEAR((double)doubled / PIECES, 0.08, 0.02);
	CHECK_NEAR((double)corrupted / PIECES, 0.05, 0.01);
}
