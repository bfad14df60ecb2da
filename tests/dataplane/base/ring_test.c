/* ring_test.c - order is kept, bounds hold, two threads agree. */
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/ring.h"

enum { HANDED_OVER = 100000 };

/* Goal: first in, first out; full refuses; empty gives NULL; around the end. */
TEST(ring__keeps_order_and_bounds)
{
	struct ring *r;
	int x[8];

	CHECK_EQ(ring_open(&r, 4), 0);
	for (int round = 0; round < 10; round++) {
		CHECK(!ring_pop(r));
		for (int i = 0; i < 4; i++)
			CHECK(ring_push(r, &x[i]));
		CHECK(!ring_push(r, &x[4]));
		CHECK_EQ(ring_length(r), 4);
		CHECK(ring_pop(r) == &x[0]);
		CHECK(ring_push(r, &x[4]));
		for (int i = 1; i < 5; i++)
			CHECK(ring_pop(r) == &x[i]);
		CHECK_EQ(ring_length(r), 0);
	}
	ring_close(r);
	ring_close(NULL);
}

/* Goal: only powers of two are taken. */
TEST(ring_open__refuses_odd_capacities)
{
	static const uint32_t bad[] = { 0, 3, 6, 100, UINT32_MAX };
	struct ring *r;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		CHECK_EQ(ring_open(&r, bad[i]), -EINVAL);
		CHECK(!r);
	}
	CHECK_EQ(ring_open(&r, 1), 0);
	CHECK(ring_push(r, r));
	CHECK(!ring_push(r, r));
	CHECK(ring_pop(r) == r);
	ring_close(r);
}

static void *produce(void *arg)
{
	struct ring *r = arg;

	for (uintptr_t i = 1; i <= HANDED_OVER; i++)
		while (!ring_push(r, (void *)i))
			sched_yield();
	return NULL;
}

/* Goal: between two threads nothing is lost, doubled or reordered. */
TEST(ring__two_threads_hand_over_everything)
{
	struct ring *r;
	pthread_t producer;

	CHECK_EQ(ring_open(&r, 64), 0);
	CHECK_EQ(pthread_create(&producer, NULL, produce, r), 0);
	for (uintptr_t i = 1; i <= HANDED_OVER; i++) {
		void *entry;

		CHECK(ring_length(r) <= 64);
		while (!(entry = ring_pop(r)))
			sched_yield();
		CHECK_EQ(entry, i);
	}
	pthread_join(producer, NULL);
	CHECK(!ring_pop(r));
	ring_close(r);
}

#ifdef PETALS_FAULTS
/* Goal: a failed open leaves nothing behind. */
TEST(ring_open__unwinds_every_failure)
{
	uint64_t before = mem_live_blocks();
	struct ring *r;

	for (int nth = 1; nth <= 2; nth++) {
		fault_arm(nth);
		CHECK_EQ(ring_open(&r, 8), -ENOMEM);
		CHECK_EQ(mem_live_blocks(), before);
	}
	fault_disarm();
}
#endif
