/* route_cost_test.c - what one server costs: computing, waiting, the ways to it and from it. */
#include "control/route_cost.h"

#include "tests/test.h"

static struct member host(uint64_t id, uint32_t first, uint32_t end, uint32_t step_us)
{
	struct member m = {
		.id = id, .kind = "cpu", .fingerprint = 5, .blocks = 20, .first = first,
		.end = end, .state = MEMBER_SERVING, .load = { .step_us = step_us },
	};

	snprintf(m.address.text, sizeof(m.address.text), "sim:%u", (unsigned int)id);
	return m;
}

static void measure(struct member *from, const struct member *to, uint32_t us)
{
	from->load.links[from->load.link_count].to = to->address;
	from->load.links[from->load.link_count++].rtt_us = us;
}

static uint32_t rtt_us(void *ctx, const struct member *m)
{
	return m->id == 3 ? 400 : 0;
}

/* Goal: the blocks' share of a step, queues unless left out, half a round trip on both sides:
 * measured by either side, else the caller's own, else assumed.
 */
TEST(route_cost_us__adds_up)
{
	struct member before = host(1, 0, 10, 100), m = host(3, 10, 20, 100);
	struct member after = host(4, 15, 20, 100);
	struct route_query q = { .fingerprint = 5, .kind = "cpu", .first = 10, .end = 15,
				 .rtt_us = rtt_us };
	struct view *v;

	CHECK_EQ(view_open(&v), 0);
	q.view = v;
	measure(&before, &m, 5000);
	measure(&after, &m, 60);
	m.load.waiting = 2;
	CHECK_EQ(view_put(v, &before), 0);
	CHECK_EQ(view_put(v, &m), 0);
	CHECK_EQ(view_put(v, &after), 0);
	CHECK_EQ(route_cost_us(&q, 3), 200 + 3 * 50 + 200);
	q.alone = true;
	CHECK_EQ(route_cost_us(&q, 3), 200 + 50 + 200);
	q.before = 1;
	CHECK_EQ(route_cost_us(&q, 3), 2500 + 50 + 200);
	q.after = 4;
	CHECK_EQ(route_cost_us(&q, 3), 2500 + 50 + 30);
	/* Not measured by either: the caller's own to whoever is next. */
	q.first = 15;
	q.end = 20;
	q.before = 1;
	q.after = 0;
	CHECK_EQ(route_cost_us(&q, 4), 75 + 100 + 75);
	CHECK_EQ(route_cost_us(&q, 9), UINT64_MAX);
	view_close(v);
}

/* Goal: who does not finish its steps costs as long as it has not, in company from a few usual
 * steps on, alone only when that is long anywhere.
 */
TEST(route_cost_of__stalled_servers)
{
	struct member m = host(7, 0, 10, 1000);
	struct route_query q = { .end = 10 };

	m.load.stalled_us = 3000;
	CHECK_EQ(route_cost_of(&q, &m).stall_ns, 0);
	m.load.stalled_us = 30000;
	CHECK_EQ(route_cost_of(&q, &m).stall_ns, 30 * NS_PER_MS);
	q.alone = true;
	CHECK_EQ(route_cost_of(&q, &m).stall_ns, 0);
	m.load.stalled_us = ROUTE_STALL_US + 1;
	CHECK_EQ(route_cost_of(&q, &m).stall_ns, NS_PER_S + NS_PER_US);
}

/* Goal: who has not computed yet is taken for as fast as the caller says. */
TEST(route_cost_of__unknown_servers)
{
	struct member m = host(7, 0, 10, 0);
	struct route_query q = { .end = 10 };

	CHECK_EQ(route_cost_of(&q, &m).block_ns, 100 * NS_PER_US);
	q.block_us = 7;
	CHECK_EQ(route_cost_of(&q, &m).block_ns, 7 * NS_PER_US);
	m.load.step_us = 50;
	CHECK_EQ(route_cost_of(&q, &m).block_ns, 5 * NS_PER_US);
}
