/* route_cost.c - a member's load, and who has measured the way to whom, as times. */
#include "control/route_cost.h"

#include <string.h>

enum {
	RTT_US_ASSUMED = 150,
	BLOCK_US_ASSUMED = 100,         /* of a server that has not computed yet */
	WAITING_MAX = 1000000,
};

/* An unfinished step is an ordinary one for so many times of what one takes. */
enum { STALL_STEPS = 4 };

#define BLOCK_NS_MAX (1000 * NS_PER_S)

/* Half the round trip that `from` has measured to `to`; 0: it has not. */
static uint64_t measured_ns(const struct member *from, const struct member *to)
{
	for (uint32_t i = 0; i < from->load.link_count; i++)
		if (strcmp(from->load.links[i].to.text, to->address.text) == 0)
			return from->load.links[i].rtt_us * NS_PER_US / 2;
	return 0;
}

/* Half the caller's own round trip. */
static uint64_t callers_ns(const struct route_query *q, const struct member *m)
{
	uint64_t rtt_us = q->rtt_us ? q->rtt_us(q->ctx, m) : 0;

	return (rtt_us ? rtt_us : RTT_US_ASSUMED) * NS_PER_US / 2;
}

/* From a member to the next one. */
static uint64_t change_ns(const struct route_query *q, const struct member *from,
			  const struct member *to)
{
	uint64_t measured = measured_ns(from, to);

	if (!measured)
		measured = measured_ns(to, from);
	return measured ? measured : callers_ns(q, to);
}

struct route_cost route_cost_of(const struct route_query *q, const struct member *m)
{
	uint32_t pending = q->pending ? q->pending(q->ctx, m) : 0;
	const struct member *before = q->before ? view_find(q->view, q->before) : NULL;
	const struct member *after = q->after ? view_find(q->view, q->after) : NULL;
	uint64_t waiting = MIN((uint64_t)m->load.waiting + pending, WAITING_MAX);
	uint64_t span = m->end - m->first;
	uint64_t step_us = m->load.step_us ? m->load.step_us :
			   (q->block_us ? q->block_us : BLOCK_US_ASSUMED) * span;
	struct route_cost c = {
		.network_ns = callers_ns(q, m),
		.busy = (uint64_t)m->load.sessions + pending,
	};

	c.block_ns = MIN(MIN(step_us, 1000000000u) * NS_PER_US * (q->alone ? 1 : 1 + waiting) /
			 span, BLOCK_NS_MAX);
	if (m->load.stalled_us > ROUTE_STALL_US ||
	    (!q->alone && m->load.stalled_us > STALL_STEPS * step_us))
		c.stall_ns = m->load.stalled_us * NS_PER_US;
	c.before_ns = before ? change_ns(q, before, m) : c.network_ns;
	c.after_ns = after ? change_ns(q, m, after) : c.network_ns;
	return c;
}

uint64_t route_cost_us(const struct route_query *q, uint64_t server)
{
	const struct member *m = view_find(q->view, server);
	struct route_cost c;

	if (!m || m->first >= m->end)
		return UINT64_MAX;
	c = route_cost_of(q, m);
	return (c.before_ns + c.stall_ns + c.block_ns * (q->end - q->first) + c.after_ns) /
	       NS_PER_US;
}
