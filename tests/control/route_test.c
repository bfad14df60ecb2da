/* route_test.c - routes are valid and the cheapest there are, found the slow way. */
#include "control/route.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

enum { SMALL_BLOCKS = 7, SMALL_MEMBERS = 6 };

static struct member *host(struct view *v, uint64_t id, uint32_t first, uint32_t end,
			   uint32_t step_us)
{
	struct member m = {
		.id = id, .kind = "cpu", .fingerprint = 5, .blocks = VIEW_BLOCKS_MAX,
		.first = first, .end = end, .state = MEMBER_SERVING,
		.load = { .step_us = step_us },
	};

	snprintf(m.address.text, sizeof(m.address.text), "sim:%u", (unsigned int)id);
	assert(view_put(v, &m) == 0);
	return &v->members[v->count - 1];
}

static void be_cuda(struct member *m)
{
	memcpy(m->kind, "cuda", sizeof("cuda"));
}

/* What a test says of each member, by id. */
struct told {
	uint32_t rtt_us[2048], pending[2048];
	bool excluded[2048];
	uint64_t before, after;
};

static uint32_t rtt_us(void *ctx, const struct member *m)
{
	return ((struct told *)ctx)->rtt_us[m->id];
}

static uint32_t pending(void *ctx, const struct member *m)
{
	return ((struct told *)ctx)->pending[m->id];
}

static bool excluded(void *ctx, const struct member *m)
{
	return ((struct told *)ctx)->excluded[m->id];
}

static struct route_query query(const struct view *v, struct told *t, uint32_t blocks)
{
	return (struct route_query){
		.view = v, .fingerprint = 5, .kind = "cpu", .first = 0, .end = blocks,
		.before = t->before, .after = t->after,
		.rtt_us = rtt_us, .excluded = excluded, .pending = pending, .ctx = t,
	};
}

static uint64_t network_ns(const struct told *t, const struct member *m)
{
	return (t->rtt_us[m->id] ? t->rtt_us[m->id] : 150) * 500ull;
}

static uint64_t block_ns(const struct told *t, const struct member *m)
{
	return m->load.step_us * 1000ull * (1 + m->load.waiting + t->pending[m->id]) /
	       (m->end - m->first);
}

static uint64_t measured_ns(const struct member *from, const struct member *to)
{
	for (uint32_t i = 0; from && to && i < from->load.link_count; i++)
		if (strcmp(from->load.links[i].to.text, to->address.text) == 0)
			return from->load.links[i].rtt_us * 500ull;
	return 0;
}

/* From one server to the next, NULL: from or to the caller. */
static uint64_t between_ns(const struct told *t, const struct member *from,
			   const struct member *to)
{
	uint64_t measured = measured_ns(from, to);

	if (!measured)
		measured = measured_ns(to, from);
	return measured ? measured : network_ns(t, to ? to : from);
}

static void measure(struct member *from, const struct member *to, uint32_t us)
{
	from->load.links[from->load.link_count].to = to->address;
	from->load.links[from->load.link_count++].rtt_us = us;
}

/* Whether a span that may be used begins or ends at a block. */
static bool is_boundary(const struct view *v, const struct told *t, uint32_t block)
{
	for (uint32_t i = 0; i < v->count; i++)
		if (!t->excluded[v->members[i].id] &&
		    (v->members[i].first == block || v->members[i].end == block))
			return true;
	return false;
}

/* Tries every server for block `at` on; used has the servers that were left. */
static void try_all(const struct view *v, const struct told *t, uint32_t at, uint32_t end,
		    int on, uint32_t used, uint64_t cost_ns, uint64_t *best_ns)
{
	if (at == end) {
		const struct member *last = &v->members[on];

		*best_ns = MIN(*best_ns, cost_ns + between_ns(t, last, view_find(v, t->after)));
		return;
	}
	for (uint32_t i = 0; i < v->count; i++) {
		const struct member *m = &v->members[i];
		bool stays = (int)i == on;

		if (m->first > at || at >= m->end || t->excluded[m->id] ||
		    (!stays && used & 1u << i) ||
		    (!stays && on >= 0 && !is_boundary(v, t, at)))
			continue;
		try_all(v, t, at + 1, end, (int)i, used | 1u << i,
			cost_ns + block_ns(t, m) + (stays ? 0 : m->load.stalled_us * 1000ull) +
				(stays ? 0 : between_ns(t, on < 0 ? view_find(v, t->before) :
							&v->members[on], m)), best_ns);
	}
}

/* The route covers [first, end) in order, within spans, no server twice. */
static void check_route(const struct route_query *q, const struct route *r)
{
	uint32_t at = q->first;

	CHECK(r->count >= 1 && r->count <= ROUTE_HOPS_MAX);
	for (uint32_t i = 0; i < r->count; i++) {
		const struct member *m = view_find(q->view, r->hops[i].server);

		CHECK(m != NULL);
		CHECK_TEXT(m->address.text, r->hops[i].address.text);
		CHECK_EQ(r->hops[i].first, at);
		CHECK(r->hops[i].end > at && m->first <= at && r->hops[i].end <= m->end);
		CHECK_EQ(m->state, MEMBER_SERVING);
		for (uint32_t j = 0; j < i; j++)
			CHECK(r->hops[j].server != r->hops[i].server);
		at = r->hops[i].end;
	}
	CHECK_EQ(at, q->end);
}

/* Goal: on random views the cost is that of the best of all routes. */
TEST(route_find__as_brute_force)
{
	struct told *t = mem_calloc(1, sizeof(*t));
	struct random random;
	struct view *v;
	int found = 0;

	random_seed(&random, test_seed());
	CHECK_EQ(view_open(&v), 0);
	for (int round = 0; round < 4000; round++) {
		uint32_t blocks = 1 + (uint32_t)random_below(&random, SMALL_BLOCKS);
		struct route_query q = query(v, t, blocks);
		uint64_t best_ns = UINT64_MAX;
		struct route r;
		char missing[64];
		int rc;

		v->count = 0;
		for (uint64_t id = 1; id <= 1 + random_below(&random, SMALL_MEMBERS); id++) {
			uint32_t first = (uint32_t)random_below(&random, SMALL_BLOCKS);
			uint32_t end = first + 1 + (uint32_t)random_below(&random,
									  SMALL_BLOCKS - first);
			/* Slow servers with long spans around fast ones with short ones tempt
			 * a search to use the slow ones twice.
			 */
			struct member *m = host(v, id, first, end,
						1 + (uint32_t)random_below(&random, 3000));

			m->load.waiting = (uint32_t)random_below(&random, 3);
			if (random_chance(&random, 0.1))
				m->load.stalled_us = 20000 + (uint32_t)random_below(&random, 9000);
			t->rtt_us[id] = (uint32_t)random_below(&random, 200);
			t->pending[id] = (uint32_t)random_below(&random, 2);
			t->excluded[id] = random_chance(&random, 0.1);
		}
		for (uint32_t i = 0; i < v->count; i++)
			for (uint32_t k = 0; k < v->count; k++)
				if (i != k && random_chance(&random, 0.3))
					measure(&v->members[i], &v->members[k],
						1 + (uint32_t)random_below(&random, 3000));
		q.first = (uint32_t)random_below(&random, q.end);
		/* Servers around the blocks asked for, not used for them. */
		t->before = q.before = random_below(&random, 3);
		t->after = q.after = random_below(&random, 3);
		t->excluded[1] = t->excluded[1] || t->before == 1 || t->after == 1;
		t->excluded[2] = t->excluded[2] || t->before == 2 || t->after == 2;
		try_all(v, t, q.first, q.end, -1, 0, 0, &best_ns);
		rc = route_find(&q, &r, missing, sizeof(missing));
		CHECK_EQ(rc, best_ns == UINT64_MAX ? -ENOENT : 0);
		if (rc < 0) {
			CHECK(missing[0] != '\0');
			continue;
		}
		found++;
		check_route(&q, &r);
		CHECK_EQ(r.cost_us, best_ns / 1000);
	}
	CHECK(found > 500);
	view_close(v);
	mem_free(t);
}

/* Goal: round trips that servers have measured to each other decide, from either side. */
TEST(route_find__goes_where_servers_are_near_each_other)
{
	struct told *t = mem_calloc(1, sizeof(*t));
	struct route_query q;
	struct view *v;
	struct route r;
	char missing[64];

	CHECK_EQ(view_open(&v), 0);
	host(v, 1, 0, 10, 100);
	host(v, 2, 0, 10, 100);
	host(v, 3, 10, 20, 100);
	host(v, 4, 10, 20, 100);
	t->rtt_us[1] = t->rtt_us[2] = t->rtt_us[3] = t->rtt_us[4] = 200;
	measure(view_find(v, 1), view_find(v, 3), 5000);
	measure(view_find(v, 1), view_find(v, 4), 4000);
	measure(view_find(v, 2), view_find(v, 3), 6000);
	measure(view_find(v, 4), view_find(v, 2), 20);
	q = query(v, t, 20);
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	CHECK_EQ(r.hops[0].server, 2);
	CHECK_EQ(r.hops[1].server, 4);
	CHECK_EQ(r.cost_us, 100 + 100 + 10 + 100 + 100);
	view_close(v);
	mem_free(t);
}

/* Goal: a server that would be used on both sides of a faster one is used once. */
TEST(route_find__no_server_twice)
{
	struct told *t = mem_calloc(1, sizeof(*t));
	struct route_query q;
	struct view *v;
	struct route r;
	char missing[64];

	CHECK_EQ(view_open(&v), 0);
	host(v, 1, 0, 30, 30000);       /* 1 ms a block */
	host(v, 2, 10, 20, 10);
	q = query(v, t, 30);
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	check_route(&q, &r);
	CHECK_EQ(r.count, 1);
	host(v, 3, 20, 30, 10);
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	check_route(&q, &r);
	CHECK_EQ(r.count, 3);
	view_close(v);
	mem_free(t);
}

/* Goal: the blocks nobody covers are named, of the class that lacks the fewest. */
TEST(route_find__names_what_is_missing)
{
	struct told *t = mem_calloc(1, sizeof(*t));
	struct route_query q;
	struct view *v;
	struct route r;
	char missing[64];

	CHECK_EQ(view_open(&v), 0);
	q = query(v, t, 24);
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), -ENOENT);
	CHECK_TEXT(missing, "[0,24)");
	host(v, 1, 0, 8, 10);
	host(v, 2, 12, 16, 10);
	host(v, 3, 8, 24, 10)->state = MEMBER_DRAINING;
	host(v, 4, 8, 24, 10)->fingerprint = 6;
	host(v, 5, 16, 24, 10);
	t->excluded[5] = true;
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), -ENOENT);
	CHECK_TEXT(missing, "[8,12), [16,24)");
	q.first = 14;
	q.end = 18;
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), -ENOENT);
	CHECK_TEXT(missing, "[16,18)");
	be_cuda(host(v, 6, 2, 24, 10));
	q.kind = NULL;
	q.first = 0;
	q.end = 24;
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), -ENOENT);
	CHECK_TEXT(missing, "[0,2)");
	t->excluded[5] = false;
	host(v, 7, 8, 12, 10);
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	CHECK_TEXT(missing, "");
	check_route(&q, &r);
	view_close(v);
	mem_free(t);
}

/* Goal: without a class asked for, the one with the best route is taken, unmixed. */
TEST(route_find__takes_the_best_class)
{
	struct told *t = mem_calloc(1, sizeof(*t));
	struct route_query q;
	struct view *v;
	struct route r;
	char missing[64];

	CHECK_EQ(view_open(&v), 0);
	host(v, 1, 0, 8, 800);
	host(v, 2, 8, 16, 800);
	be_cuda(host(v, 3, 0, 8, 10));
	q = query(v, t, 16);
	q.kind = NULL;
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	CHECK_EQ(r.hops[0].server, 1);
	be_cuda(host(v, 4, 8, 16, 10));
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	CHECK_EQ(r.hops[0].server, 3);
	CHECK_EQ(r.hops[1].server, 4);
	view_close(v);
	mem_free(t);
}

/* Goal: ties go to the less busy server, then to the lower id, in any order of the view. */
TEST(route_find__settles_ties)
{
	struct told *t = mem_calloc(1, sizeof(*t));
	struct route_query q;
	struct view *v;
	struct route r;
	char missing[64];

	CHECK_EQ(view_open(&v), 0);
	host(v, 9, 0, 8, 100);
	host(v, 3, 0, 8, 100);
	host(v, 5, 0, 8, 100);
	q = query(v, t, 8);
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	CHECK_EQ(r.hops[0].server, 3);
	view_find(v, 3)->load.sessions = 2;
	view_find(v, 5)->load.sessions = 1;
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	CHECK_EQ(r.hops[0].server, 9);
	t->pending[9] = 1;
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	CHECK_EQ(r.hops[0].server, 5);
	view_close(v);
	mem_free(t);
}

/* Goal: many tiny fast servers do not make a route longer than a route may be. */
TEST(route_find__keeps_the_hop_limit)
{
	struct told *t = mem_calloc(1, sizeof(*t));
	struct route_query q;
	struct view *v;
	struct route r;
	char missing[128];

	CHECK_EQ(view_open(&v), 0);
	for (uint32_t b = 0; b < 200; b++) {
		host(v, 1 + b, b, b + 1, 1);
		t->rtt_us[1 + b] = 1;
	}
	q = query(v, t, 200);
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), -ENOENT);
	CHECK(strstr(missing, "more than 64") != NULL);
	for (uint32_t b = 0; b < 200; b += 4)
		host(v, 1000 + b, b, b + 4, 4000000);
	CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
	check_route(&q, &r);
	view_close(v);
	mem_free(t);
}

/* Goal: a full view of overlapping spans is searched, and the route is valid. */
TEST(route_find__full_view)
{
	struct told *t = mem_calloc(1, sizeof(*t));
	struct random random;
	struct route_query q;
	struct view *v;
	struct route r;
	char missing[64];

	random_seed(&random, test_seed());
	CHECK_EQ(view_open(&v), 0);
	for (uint32_t id = 1; id <= VIEW_MEMBERS_MAX; id++) {
		uint32_t first = (uint32_t)random_below(&random, 120);

		host(v, id, first, MIN(126u, first + 1 + (uint32_t)random_below(&random, 60)),
		     (uint32_t)random_below(&random, 20000));
	}
	q = query(v, t, 126);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(route_find(&q, &r, missing, sizeof(missing)), 0);
		check_route(&q, &r);
		t->excluded[r.hops[0].server] = true;
	}
	view_close(v);
	mem_free(t);
}
