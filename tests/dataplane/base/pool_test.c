/* pool_test.c - holders keep their limits, objects come back zeroed. */
#include "tests/test.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/pool.h"

enum { RING, FLIGHT };
static const struct pool_holder holders[] = { [RING] = { "ring", 3 }, [FLIGHT] = { "flight", 2 } };

static struct pool *open_pool(size_t bytes)
{
	struct pool *p;

	CHECK_EQ(pool_open(&p, bytes, holders, ARRAY_LENGTH(holders)), 0);
	return p;
}

/* Goal: each holder gets its maximum, at the same time, and no more. */
TEST(pool_get__every_holder_can_be_full_at_once)
{
	struct pool *p = open_pool(100);
	void *objects[5];

	CHECK_EQ(pool_size(p), 5);
	for (int i = 0; i < 5; i++) {
		objects[i] = pool_get(p, i < 3 ? RING : FLIGHT);
		CHECK(objects[i] != NULL);
		for (int j = 0; j < i; j++)
			CHECK(objects[i] != objects[j]);
		memset(objects[i], 0xff, 100);
	}
	CHECK(!pool_get(p, RING));
	CHECK(!pool_get(p, FLIGHT));
	for (int i = 0; i < 5; i++)
		pool_put(p, i < 3 ? RING : FLIGHT, objects[i]);
	CHECK_EQ(pool_held(p, RING), 0);
	CHECK_EQ(pool_held(p, FLIGHT), 0);
	pool_close(p);
}

/* Goal: nothing of the last holder's data is seen by the next. */
TEST(pool_get__objects_are_zeroed_and_aligned)
{
	struct pool *p = open_pool(200);

	for (int round = 0; round < 3; round++) {
		uint8_t *object = pool_get(p, RING);

		CHECK_EQ((uintptr_t)object % 64, 0);
		for (int i = 0; i < 200; i++)
			CHECK_EQ(object[i], 0);
		memset(object, round + 1, 200);
		pool_put(p, RING, object);
	}
	pool_close(p);
}

/* Goal: a move changes both counts, and a full holder refuses it. */
TEST(pool_move__keeps_the_limits)
{
	struct pool *p = open_pool(8);
	void *objects[3];

	for (int i = 0; i < 3; i++)
		objects[i] = pool_get(p, RING);
	CHECK(pool_move(p, RING, FLIGHT));
	CHECK(pool_move(p, RING, FLIGHT));
	CHECK(!pool_move(p, RING, FLIGHT));
	CHECK(pool_move(p, RING, RING));
	CHECK_EQ(pool_held(p, RING), 1);
	CHECK_EQ(pool_held(p, FLIGHT), 2);
	pool_put(p, RING, objects[0]);
	pool_put(p, FLIGHT, objects[1]);
	pool_put(p, FLIGHT, objects[2]);
	pool_close(p);
}

/* Goal: holders that may hold nothing make an empty pool, not a crash. */
TEST(pool_open__may_be_empty)
{
	static const struct pool_holder none[] = { { "none", 0 } };
	struct pool *p;

	CHECK_EQ(pool_open(&p, 8, none, 1), 0);
	CHECK_EQ(pool_size(p), 0);
	CHECK(!pool_get(p, 0));
	pool_close(p);
	pool_close(NULL);
}

/* Goal: a sum of limits beyond 32 bits is refused. */
TEST(pool_open__refuses_too_many)
{
	static const struct pool_holder many[] = { { "a", UINT32_MAX }, { "b", 1 } };
	struct pool *p;

	CHECK_EQ(pool_open(&p, 8, many, 2), -ENOMEM);
	CHECK(!p);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, the others are given back. */
TEST(pool_open__unwinds_every_failure)
{
	uint64_t before = mem_live_blocks();
	struct pool *p;
	int nth, rc;

	for (nth = 1;; nth++) {
		fault_arm(nth);
		rc = pool_open(&p, 8, holders, ARRAY_LENGTH(holders));
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -ENOMEM);
		CHECK_EQ(mem_live_blocks(), before);
	}
	fault_disarm();
	CHECK(nth > 4);
	pool_close(p);
	CHECK_EQ(mem_live_blocks(), before);
}
#endif
