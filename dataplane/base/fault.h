/* fault.h - fails the nth breakable call, in test builds.
 *
 * A function that can fail for outside reasons asks fault_here() first.  In
 * release builds that is a constant false.  A sweep arms n = 1, 2, 3, ...
 * until an operation succeeds untouched, and checks each time that whatever
 * was acquired was given back:
 *
 *	for (nth = 1; ; nth++) {
 *		fault_arm(nth);
 *		rc = thing_open(&t);
 *		if (!fault_fired()) break;       // ran to its end unharmed
 *		CHECK(rc < 0);
 *	}
 *
 * Threads    One armed sweep at a time; the countdown is atomic.
 * Ownership  None.
 * Units      None.
 * Errors     None.
 */
#ifndef PETALS_BASE_FAULT_H
#define PETALS_BASE_FAULT_H

#include "dataplane/base/types.h"

#ifdef PETALS_FAULTS
bool fault_here(void);           /* true: this call must fail now */
void fault_arm(int nth);         /* 1 = the very next breakable call */
void fault_disarm(void);
bool fault_fired(void);          /* since the last fault_arm() */
#else
static inline bool fault_here(void) { return false; }
#endif

#endif
