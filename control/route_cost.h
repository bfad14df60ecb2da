/* route_cost.h - what using one member costs a step: computing, and the ways to it and from it.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  Plain storage.
 * Units      _ns.
 * Errors     None.
 */
#ifndef PETALS_CONTROL_ROUTE_COST_H
#define PETALS_CONTROL_ROUTE_COST_H

#include "control/route.h"

struct route_cost {
	uint64_t network_ns;            /* from the caller, or from who has not measured it */
	uint64_t before_ns, after_ns;   /* from who comes before the query's blocks, to who
					 * comes after them */
	uint64_t block_ns;
	uint64_t stall_ns;              /* it has not finished anything for so long */
	uint64_t busy;                  /* sessions there: settles ties */
};

struct route_cost route_cost_of(const struct route_query *q, const struct member *m);

#endif
