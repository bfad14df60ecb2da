/* lease_test.c - leases end when they should, oldest first, and never earlier. */
#include "control/lease.h"

#include <errno.h>

#include "dataplane/base/random.h"
#include "tests/test.h"

/* Goal: a lease holds until its end, and is told once. */
TEST(lease_expire__at_its_end)
{
	struct leases *l;

	CHECK_EQ(leases_open(&l, 4), 0);
	CHECK(leases_deadline(l) == UINT64_MAX);
	CHECK_EQ(lease_grant(l, 7, 100, 1000), 0);
	CHECK_EQ(lease_ttl_ns(l, 7), 100);
	CHECK_EQ(leases_deadline(l), 1100);
	CHECK_EQ(lease_expire(l, 1099), 0);
	CHECK_EQ(lease_expire(l, 1100), 7);
	CHECK_EQ(lease_expire(l, 1100), 0);
	CHECK_EQ(lease_ttl_ns(l, 7), 0);
	leases_close(l);
}

/* Goal: granting again moves the end; revoking removes it. */
TEST(lease_grant__again)
{
	struct leases *l;

	CHECK_EQ(leases_open(&l, 2), 0);
	CHECK_EQ(lease_grant(l, 1, 100, 0), 0);
	CHECK_EQ(lease_grant(l, 2, 50, 0), 0);
	CHECK_EQ(lease_grant(l, 3, 50, 0), -ENOSPC);
	CHECK_EQ(lease_grant(l, 2, 300, 40), 0);
	CHECK_EQ(lease_expire(l, 90), 0);
	lease_revoke(l, 1);
	lease_revoke(l, 1);
	CHECK_EQ(lease_expire(l, 339), 0);
	CHECK_EQ(lease_expire(l, 340), 2);
	leases_close(l);
}

/* Goal: held leases last at least that long; longer ones keep their end. */
TEST(leases_hold__until)
{
	struct leases *l;

	CHECK_EQ(leases_open(&l, 2), 0);
	CHECK_EQ(lease_grant(l, 1, 100, 0), 0);
	CHECK_EQ(lease_grant(l, 2, 500, 0), 0);
	leases_hold(l, 300);
	CHECK_EQ(lease_expire(l, 299), 0);
	CHECK_EQ(lease_expire(l, 300), 1);
	CHECK_EQ(lease_expire(l, 499), 0);
	CHECK_EQ(lease_expire(l, 500), 2);
	leases_close(l);
}

/* Goal: against a plain model, every lease ends exactly when it must, in order. */
TEST(lease_expire__as_a_model_says)
{
	uint64_t ends[41] = { 0 }, now = 0;
	struct random random;
	struct leases *l;

	random_seed(&random, test_seed());
	CHECK_EQ(leases_open(&l, 40), 0);
	for (int i = 0; i < 20000; i++) {
		uint64_t id = 1 + random_below(&random, 40), least = UINT64_MAX;

		now += random_below(&random, 5);
		if (random_chance(&random, 0.4)) {
			uint64_t ttl = 1 + random_below(&random, 60);

			CHECK_EQ(lease_grant(l, id, ttl, now), 0);
			ends[id] = now + ttl;
		} else if (random_chance(&random, 0.1)) {
			lease_revoke(l, id);
			ends[id] = 0;
		}
		for (;;) {
			uint64_t expected = 0;

			for (id = 1; id <= 40; id++)
				if (ends[id] && ends[id] <= now &&
				    (!expected || ends[id] < ends[expected]))
					expected = id;
			CHECK_EQ(lease_expire(l, now), expected);
			ends[expected] = 0;
			if (!expected)
				break;
		}
		for (id = 1; id <= 40; id++)
			if (ends[id] && ends[id] < least)
				least = ends[id];
		CHECK(leases_deadline(l) <= least);
	}
	leases_close(l);
}
