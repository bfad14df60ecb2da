/* placement.h - which span a server without --blocks should host.
 *
 * Pure: the directory and the simulator run the same code.  Fills gaps first (the
 * span that covers most uncovered blocks), then raises the weakest block (the span
 * whose sorted replica counts are lexicographically least); ties go to the lowest
 * first block.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      Blocks.
 * Errors     None.
 */
#ifndef PETALS_CONTROL_PLACEMENT_H
#define PETALS_CONTROL_PLACEMENT_H

#include "control/view.h"

/* [*first, *end) with at most `capacity` blocks, capacity >= 1. */
void placement_choose(const struct view *v, uint64_t fingerprint, const char *kind,
		      uint32_t blocks, uint32_t capacity, uint32_t *first, uint32_t *end);

#endif
