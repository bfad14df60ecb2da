/* placement_test.c - the chosen span is the best there is, found the slow way. */
#include "control/placement.h"

#include <stdlib.h>

#include "dataplane/base/random.h"
#include "tests/test.h"

enum { BLOCKS_MAX = 24 };

static void host(struct view *v, uint32_t first, uint32_t end, enum member_state state)
{
	struct member m = {
		.id = v->count + 1, .kind = "cpu", .fingerprint = 5, .blocks = BLOCKS_MAX,
		.first = first, .end = end, .state = state,
	};

	assert(view_put(v, &m) == 0);
}

static int ascending(const void *left, const void *right)
{
	return *(const int *)left - *(const int *)right;
}

/* Replicas of [first, end), sorted. */
static void replicas(const struct view *v, uint32_t first, uint32_t end, int *sorted)
{
	for (uint32_t b = first; b < end; b++) {
		sorted[b - first] = 0;
		for (uint32_t i = 0; i < v->count; i++) {
			const struct member *m = &v->members[i];

			if (m->state == MEMBER_SERVING || m->state == MEMBER_JOINING)
				sorted[b - first] += m->first <= b && b < m->end;
		}
	}
	qsort(sorted, end - first, sizeof(int), ascending);
}

/* Goal: on random views, no other span of that length is needed more. */
TEST(placement_choose__as_exhaustive_search)
{
	struct random random;
	struct view *v;

	random_seed(&random, test_seed());
	CHECK_EQ(view_open(&v), 0);
	for (int round = 0; round < 3000; round++) {
		uint32_t blocks = 1 + (uint32_t)random_below(&random, BLOCKS_MAX);
		uint32_t capacity = 1 + (uint32_t)random_below(&random, BLOCKS_MAX);
		uint32_t members = (uint32_t)random_below(&random, 7);
		uint32_t length = MIN(capacity, blocks), first, end, best = 0;

		v->count = 0;
		while (members--) {
			uint32_t from = (uint32_t)random_below(&random, blocks);

			host(v, from, from + 1 + (uint32_t)random_below(&random, blocks - from),
			     random_below(&random, 4));
		}
		for (uint32_t at = 1; at + length <= blocks; at++) {
			int here[BLOCKS_MAX], there[BLOCKS_MAX];
			uint32_t i = 0;

			replicas(v, at, at + length, here);
			replicas(v, best, best + length, there);
			while (i < length && here[i] == there[i])
				i++;
			if (i < length && here[i] < there[i])
				best = at;
		}
		placement_choose(v, 5, "cpu", blocks, capacity, &first, &end);
		CHECK_EQ(first, best);
		CHECK_EQ(end, best + length);
	}
	view_close(v);
}

/* Goal: servers that join one after another cover the model, then double it. */
TEST(placement_choose__fills_then_doubles)
{
	uint32_t counts[BLOCKS_MAX], first, end;
	struct view *v;

	CHECK_EQ(view_open(&v), 0);
	for (int i = 0; i < 6; i++) {
		placement_choose(v, 5, "cpu", BLOCKS_MAX, 8, &first, &end);
		CHECK_EQ(end - first, 8);
		CHECK_EQ(first, (uint32_t)(i % 3) * 8);
		host(v, first, end, i % 2 ? MEMBER_SERVING : MEMBER_JOINING);
	}
	for (uint32_t i = 0; i < v->count; i++)
		v->members[i].state = MEMBER_SERVING;
	view_coverage(v, 5, "cpu", counts, BLOCKS_MAX);
	for (int b = 0; b < BLOCKS_MAX; b++)
		CHECK_EQ(counts[b], 2);
	view_close(v);
}

/* Goal: other models, other classes and servers on their way out do not count. */
TEST(placement_choose__counts_only_its_own)
{
	uint32_t first, end;
	struct view *v;

	CHECK_EQ(view_open(&v), 0);
	host(v, 0, 8, MEMBER_SERVING);
	placement_choose(v, 5, "cuda", BLOCKS_MAX, 8, &first, &end);
	CHECK_EQ(first, 0);
	placement_choose(v, 6, "cpu", BLOCKS_MAX, 8, &first, &end);
	CHECK_EQ(first, 0);
	placement_choose(v, 5, NULL, BLOCKS_MAX, 8, &first, &end);
	CHECK_EQ(first, 8);
	v->members[0].state = MEMBER_DRAINING;
	placement_choose(v, 5, "cpu", BLOCKS_MAX, 8, &first, &end);
	CHECK_EQ(first, 0);
	view_close(v);
}
