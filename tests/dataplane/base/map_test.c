/* map_test.c - the map against a plain array, and its refusals. */
#include "tests/test.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/map.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"

/* Goal: after any sequence of puts and removes the map holds what an array
 * that is searched from end to end holds.
 */
TEST(map__agrees_with_an_array)
{
	enum { IDS = 40, CAPACITY = 25, STEPS = 40000 };
	int objects[IDS];
	bool there[IDS] = { false };
	uint32_t length = 0;
	struct random r;
	struct map *m;

	random_seed(&r, test_seed());
	CHECK_EQ(map_open(&m, CAPACITY), 0);
	for (int step = 0; step < STEPS; step++) {
		uint64_t i = random_below(&r, IDS), id = i * 0x100000000ull + (i % 3);

		if (random_chance(&r, 0.55)) {
			int rc = map_put(m, id, &objects[i]);

			CHECK_EQ(rc, there[i] ? -EEXIST : length == CAPACITY ? -ENOSPC : 0);
			length += rc == 0;
			there[i] |= rc == 0;
		} else {
			CHECK(map_remove(m, id) == (there[i] ? &objects[i] : NULL));
			length -= there[i];
			there[i] = false;
		}
		CHECK_EQ(map_length(m), length);
		i = random_below(&r, IDS);
		CHECK(map_get(m, i * 0x100000000ull + (i % 3)) == (there[i] ? &objects[i] : NULL));
	}
	map_close(m);
}

/* Goal: a walk visits each value once. */
TEST(map_next__visits_each_once)
{
	int objects[100], seen[100] = { 0 }, *v;
	uint32_t cursor;
	struct map *m;

	CHECK_EQ(map_open(&m, 100), 0);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(map_put(m, (uint64_t)i * 7919, &objects[i]), 0);
	for (cursor = 0; (v = map_next(m, &cursor));)
		seen[v - objects]++;
	for (int i = 0; i < 100; i++)
		CHECK_EQ(seen[i], 1);
	map_close(m);
	map_close(NULL);
}

/* Goal: id 0 and the largest id are ids like others; capacity 0 holds none. */
TEST(map__edges)
{
	struct map *m;
	int a, b;

	CHECK_EQ(map_open(&m, 2), 0);
	CHECK_EQ(map_put(m, 0, &a), 0);
	CHECK_EQ(map_put(m, UINT64_MAX, &b), 0);
	CHECK_EQ(map_put(m, 1, &b), -ENOSPC);
	CHECK_EQ(map_put(m, 0, &b), -EEXIST);
	CHECK(map_get(m, 0) == &a);
	CHECK(map_get(m, UINT64_MAX) == &b);
	CHECK(!map_get(m, 1));
	map_close(m);
	CHECK_EQ(map_open(&m, 0), 0);
	CHECK_EQ(map_put(m, 1, &b), -ENOSPC);
	CHECK(!map_remove(m, 1));
	map_close(m);
	CHECK_EQ(map_open(&m, UINT32_MAX), -ENOMEM);
}

#ifdef PETALS_FAULTS
/* Goal: a failed open leaves nothing behind, and nothing later allocates. */
TEST(map_open__unwinds_every_failure)
{
	uint64_t before = mem_live_blocks();
	struct map *m;
	int a;

	for (int nth = 1; nth <= 2; nth++) {
		fault_arm(nth);
		CHECK_EQ(map_open(&m, 8), -ENOMEM);
		CHECK_EQ(mem_live_blocks(), before);
	}
	fault_disarm();
	CHECK_EQ(map_open(&m, 8), 0);
	fault_arm(1);
	CHECK_EQ(map_put(m, 1, &a), 0);
	CHECK(map_remove(m, 1) == &a);
	CHECK(!fault_fired());
	fault_disarm();
	map_close(m);
}
#endif
