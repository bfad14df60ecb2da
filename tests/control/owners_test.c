/* owners_test.c - a lease is its maker's until it is forgotten. */
#include "control/owners.h"

#include <errno.h>

#include "tests/test.h"

/* Goal: nobody but the owner passes, and nobody takes over; plain connections always pass. */
TEST(owners__keep_others_out)
{
	const struct principal a = { .name = "gpu-17", .roles = 1 },
			       b = { .name = "gpu-18", .roles = 1 };
	struct error e = { 0 };
	struct owners *o;

	CHECK_EQ(owners_open(&o, 2), 0);
	CHECK_EQ(owners_check(o, 7, &b, &e), 0);
	CHECK_EQ(owners_claim(o, 7, &a), 0);
	CHECK_EQ(owners_check(o, 7, &a, &e), 0);
	CHECK_EQ(owners_check(o, 7, NULL, &e), 0);
	CHECK_EQ(owners_check(o, 7, &b, &e), -EPERM);
	CHECK_TEXT(e.text, "that lease is gpu-17's, not gpu-18's");
	CHECK_EQ(owners_claim(o, 7, &b), 0);
	CHECK_EQ(owners_check(o, 7, &b, &e), -EPERM);
	CHECK_EQ(owners_claim(o, 8, NULL), 0);
	CHECK_EQ(owners_check(o, 8, &b, &e), 0);
	CHECK_EQ(owners_claim(o, 8, &b), 0);
	CHECK_EQ(owners_claim(o, 9, &b), -ENOSPC);
	owners_forget(o, 7);
	owners_forget(o, 7);
	CHECK_EQ(owners_claim(o, 7, &b), 0);
	owners_close(o);
	owners_close(NULL);
}
