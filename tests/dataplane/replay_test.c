/* replay_test.c - the window against a plain list of what was marked. */
#include "dataplane/replay.h"

#include "dataplane/base/random.h"
#include "tests/test.h"

enum { NUMBERS = 200000 };

static bool twin_seen(const uint8_t *marked, uint64_t end, uint64_t number)
{
	return number < end && (end - number > REPLAY_NUMBERS || marked[number]);
}

/* Goal: numbers in any order, with jumps, duplicates and stragglers, are told
 * apart as a list without bounds would, but for what fell out of the window.
 */
TEST(replay_seen__equals_a_list)
{
	static uint8_t marked[NUMBERS];
	static struct replay r;
	struct random random;
	uint64_t end = 0;

	random_seed(&random, test_seed());
	memset(marked, 0, sizeof(marked));
	r = (struct replay){ 0 };
	while (end < NUMBERS - 20000) {
		uint64_t reach = random_chance(&random, 0.01) ? 20000 : 100;
		uint64_t number = end + random_below(&random, reach), back;

		back = random_below(&random, reach);
		number -= MIN(number, back);
		CHECK_EQ(replay_seen(&r, number), twin_seen(marked, end, number));
		if (replay_seen(&r, number))
			continue;
		replay_mark(&r, number);
		marked[number] = 1;
		end = MAX(end, number + 1);
		CHECK(replay_seen(&r, number));
	}
	for (uint64_t number = 0; number < NUMBERS; number++)
		CHECK_EQ(replay_seen(&r, number), twin_seen(marked, end, number));
}

/* Goal: an acknowledgement's words hold what arrived and nothing else. */
TEST(replay_word__tells_what_arrived)
{
	static struct replay r;

	r = (struct replay){ 0 };
	CHECK_EQ(replay_word(&r, 0), 0);
	replay_mark(&r, 0);
	replay_mark(&r, 2);
	replay_mark(&r, 63);
	CHECK_EQ(replay_word(&r, 0), 1ull | 4 | 1ull << 63);
	CHECK_EQ(replay_word(&r, 1), 0);
	replay_mark(&r, 64 * 9 + 5);
	CHECK_EQ(replay_word(&r, 9), 1 << 5);
	CHECK_EQ(replay_word(&r, 0), 1ull | 4 | 1ull << 63);
	replay_mark(&r, 64ull * REPLAY_WORDS);
	CHECK_EQ(replay_word(&r, 0), 0);         /* forgotten; below the window, too */
	CHECK_EQ(replay_word(&r, REPLAY_WORDS), 1);
	CHECK(replay_seen(&r, 1));
}

/* Goal: a leap over many windows leaves nothing of them behind. */
TEST(replay_mark__leaps)
{
	static struct replay r;
	uint64_t far = UINT64_MAX - 1;

	r = (struct replay){ 0 };
	for (uint64_t i = 0; i < 64ull * REPLAY_WORDS; i++)
		replay_mark(&r, i);
	replay_mark(&r, far);
	CHECK(replay_seen(&r, far));
	for (uint64_t i = 1; i < REPLAY_NUMBERS; i++)
		CHECK(!replay_seen(&r, far - i));
	CHECK(replay_seen(&r, far - REPLAY_NUMBERS));
	CHECK(!replay_seen(&r, UINT64_MAX));
}
