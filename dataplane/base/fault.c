/* fault.c - the countdown to the call that must fail.  Empty in builds
 * without PETALS_FAULTS, where fault_here() is a constant.
 */
#include "dataplane/base/fault.h"

#ifdef PETALS_FAULTS

#include <stdatomic.h>

static atomic_int countdown;       /* 0: disarmed */
static atomic_bool fired;

bool fault_here(void)
{
	int left = atomic_load_explicit(&countdown, memory_order_relaxed);

	while (left > 0) {
		if (!atomic_compare_exchange_weak(&countdown, &left, left - 1))
			continue;
		if (left > 1)
			return false;
		atomic_store(&fired, true);
		return true;
	}
	return false;
}

void fault_arm(int nth)
{
	assert(nth > 0);
	atomic_store(&fired, false);
	atomic_store(&countdown, nth);
}

void fault_disarm(void)
{
	atomic_store(&countdown, 0);
}

bool fault_fired(void)
{
	return atomic_load(&fired);
}

#endif
