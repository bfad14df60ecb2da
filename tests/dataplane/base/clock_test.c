/* clock_test.c - real time moves on, simulated time when told. */
#include "tests/test.h"

#include "dataplane/base/clock.h"

/* Goal: the monotonic clock never goes back, and it is this century. */
TEST(clock_real__is_monotonic)
{
	const struct clock *c = clock_real();
	uint64_t last = clock_ns(c);

	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_ns(c);

		CHECK(now >= last);
		last = now;
	}
	CHECK(clock_unix_ms(c) > 1700000000000ull);
}

/* Goal: a simulated clock shows what it was set to and nothing else. */
TEST(simulated_clock__moves_only_when_told)
{
	struct simulated_clock s;

	simulated_clock_init(&s, 5 * NS_PER_S);
	CHECK_EQ(clock_ns(&s.clock), 5 * NS_PER_S);
	CHECK_EQ(clock_ns(&s.clock), 5 * NS_PER_S);
	simulated_clock_advance_to(&s, 7 * NS_PER_S);
	CHECK_EQ(clock_ns(&s.clock), 7 * NS_PER_S);
	CHECK_EQ(clock_unix_ms(&s.clock), 7000);
	simulated_clock_advance_to(&s, 7 * NS_PER_S);
	CHECK_EQ(clock_ns(&s.clock), 7 * NS_PER_S);
}
