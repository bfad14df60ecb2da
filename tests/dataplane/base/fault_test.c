/* fault_test.c - the countdown fires once, at the call that was asked for. */
#include "tests/test.h"

#include "dataplane/base/fault.h"

#ifdef PETALS_FAULTS

/* Goal: exactly the nth call fails, and only once. */
TEST(fault_here__fails_the_nth_call)
{
	for (int nth = 1; nth < 5; nth++) {
		fault_arm(nth);
		for (int call = 1; call < 10; call++)
			CHECK_EQ(fault_here(), call == nth);
		CHECK(fault_fired());
	}
}

/* Goal: arming starts anew; too few calls leave it unfired. */
TEST(fault_fired__is_since_the_last_arm)
{
	fault_arm(1);
	CHECK(fault_here());
	CHECK(fault_fired());
	fault_arm(3);
	CHECK(!fault_fired());
	CHECK(!fault_here());
	fault_disarm();
	CHECK(!fault_here());
	CHECK(!fault_here());
	CHECK(!fault_here());
	CHECK(!fault_fired());
}

#else

/* Goal: in a release build nothing ever fails on purpose. */
TEST(fault_here__is_constant_in_release)
{
	for (int i = 0; i < 100; i++)
		CHECK(!fault_here());
}

#endif
