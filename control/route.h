/* route.h - chooses the hops that cover blocks [first, end): a shortest path over
 * measured round trips, compute time per block and queues.
 *
 * Nodes are block boundaries, edges are (server, from, to) with from and to inside
 * the server's span, cost = network + step_us x (to - from) / span x (1 + waiting).
 * Half the measured round trip from the client stands for a hop's network time
 * until servers report their own.  Only serving members of one model and one
 * identity class take part; no server appears twice.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  Plain storage.
 * Units      Blocks, _us.
 * Errors     -ENOENT when blocks are uncovered: `missing` names them.
 */
#ifndef PETALS_CONTROL_ROUTE_H
#define PETALS_CONTROL_ROUTE_H

#include "control/view.h"

enum { ROUTE_HOPS_MAX = 64 };

struct route_hop {
	uint64_t server;                /* member id */
	struct address address;
	uint32_t first, end;
};

struct route {
	uint32_t count;
	uint64_t cost_us;
	struct route_hop hops[ROUTE_HOPS_MAX];
};

struct route_query {
	const struct view *view;
	uint64_t fingerprint;
	const char *kind;               /* NULL: the class with the best route */
	uint32_t first, end;
	/* Measured by the caller, 0: unknown (150 us is assumed). */
	uint32_t (*rtt_us)(void *ctx, const struct member *m);
	/* Servers not to use: just failed, or already in the route. */
	bool (*excluded)(void *ctx, const struct member *m);
	/* Sessions the caller already sent there and the view does not show yet. */
	uint32_t (*pending)(void *ctx, const struct member *m);
	void *ctx;
};

int route_find(const struct route_query *q, struct route *out, char *missing,
	       size_t missing_bytes);

#endif
