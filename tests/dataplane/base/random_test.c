/* random_test.c - the sequence is the published one; ranges hold. */
#include "tests/test.h"

#include "dataplane/base/random.h"

/* xoshiro256** by its definition, over wide arithmetic: the slow twin. */
static uint64_t twin(unsigned __int128 s[4])
{
	unsigned __int128 mask = UINT64_MAX, x = (s[1] * 5) & mask, t = (s[1] << 17) & mask;
	uint64_t result = (uint64_t)((((x << 7) | (x >> 57)) & mask) * 9);

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = ((s[3] << 45) | (s[3] >> 19)) & mask;
	return result;
}

/* Goal: a state gives the generator's sequence, whatever the seed. */
TEST(random_u64__agrees_with_its_twin)
{
	struct random r = { { 1, 2, 3, 4 } };
	unsigned __int128 s[4];

	CHECK(random_u64(&r) == 11520);      /* 2 * 5 rotated by 7, times 9 */
	CHECK(random_u64(&r) == 0);
	CHECK(random_u64(&r) == 1509978240);
	random_seed(&r, test_seed());
	for (int i = 0; i < 4; i++)
		s[i] = r.state[i];
	for (int i = 0; i < 10000; i++)
		CHECK(random_u64(&r) == twin(s));
}

/* Goal: splitmix64's first output for seed 0 is the known one. */
TEST(random_seed__is_splitmix64)
{
	struct random r;

	random_seed(&r, 0);
	CHECK(r.state[0] == 0xe220a8397b1dcdafull);
	CHECK(r.state[1] == 0x6e789e6aa1b965f4ull);
}

/* Goal: the same seed, the same numbers; another seed, others. */
TEST(random_seed__repeats)
{
	struct random a, b, c;
	int same = 0;

	random_seed(&a, test_seed());
	random_seed(&b, test_seed());
	random_seed(&c, test_seed() + 1);
	for (int i = 0; i < 100; i++) {
		uint64_t x = random_u64(&a);

		CHECK(x == random_u64(&b));
		same += x == random_u64(&c);
	}
	CHECK_EQ(same, 0);
}

/* Goal: every value below the bound comes up about equally often. */
TEST(random_below__is_even)
{
	int counts[7] = { 0 };
	struct random r;

	random_seed(&r, test_seed());
	for (int i = 0; i < 70000; i++)
		counts[random_below(&r, 7)]++;
	for (int i = 0; i < 7; i++)
		CHECK(counts[i] > 9500 && counts[i] < 10500);
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(random_below(&r, 1), 0);
		CHECK(random_below(&r, (1ull << 63) + 1) <= 1ull << 63);
	}
}

/* Goal: [0, 1), with the mean in the middle; chances at their edges. */
TEST(random_unit__stays_in_range)
{
	struct random r;
	double sum = 0;

	random_seed(&r, test_seed());
	for (int i = 0; i < 10000; i++) {
		double x = random_unit(&r);

		CHECK(x >= 0 && x < 1);
		CHECK(!random_chance(&r, 0));
		CHECK(random_chance(&r, 1));
		sum += x;
	}
	CHECK_NEAR(sum / 10000, 0.5, 0.02);
}

/* Goal: the system gives something, and not twice the same. */
TEST(random_entropy__differs)
{
	CHECK(random_entropy() != random_entropy());
}
