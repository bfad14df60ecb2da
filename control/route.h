/* route.h - chooses the hops that cover blocks [first, end): a shortest path over
 * measured round trips, compute time per block and queues.
 *
 * Nodes are (block boundary, server), edges are servers that compute blocks of their span,
 * step_us x blocks / span x (1 + waiting), and changes from one server to the next: half
 * the round trip that one of the two has measured to the other, and until one has, half the
 * caller's own to the next one.  Into the first server and back from the last one it is half
 * the caller's own.  A server that has not finished a step for unusually long costs that
 * long, too.  Only serving members of one model and one identity class take part;
 * no server appears twice.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  Plain storage.
 * Units      Blocks, _us.
 * Errors     -ENOENT when blocks are uncovered: `missing` names them.
 */
#ifndef PETALS_CONTROL_ROUTE_H
#define PETALS_CONTROL_ROUTE_H

#include "control/view.h"

enum {
	ROUTE_HOPS_MAX = 64,
	ROUTE_STALL_US = 1000000,       /* a step that takes longer is no ordinary one anywhere */
};

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
	uint64_t before, after;         /* servers whose blocks lie around these; 0: the caller */
	bool alone;                     /* as if nobody waited anywhere, unless it is stalled */
	uint32_t block_us;              /* of servers that have not computed yet; 0: 100 */
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
/* What blocks [q->first, q->end) cost on one server, by the same rules; UINT64_MAX: it is not
 * in the view.  Whether it serves or is excluded does not matter.
 */
uint64_t route_cost_us(const struct route_query *q, uint64_t server);

#endif
