/* stand_in.h - lets a test open the CUDA backend on the CPU that stands in for a GPU
 * (tests/cuda/), or, when PETALS_GPU=1 says so, on the host's own.
 *
 * Threads    At the start of a test program, before threads.
 * Ownership  None.
 * Units      None.
 * Errors     None.
 */
#ifndef PETALS_TESTS_STAND_IN_H
#define PETALS_TESTS_STAND_IN_H

#include "dataplane/base/types.h"

/* Sets the environment that driver.c, backend.c and tuning.c look at, whose file then is in the
 * build folder; true on a real GPU.
 */
bool stand_in_use(void);

#endif
