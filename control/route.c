/* route.c - the cheapest chain of servers over the blocks, for one identity class
 * after another.
 *
 * Only places where a span begins or ends can be worth a change of servers, so the
 * boundaries are those, and a search walks them once, keeping for each server the
 * cheapest way of being on it: boundaries x servers steps.  That search may use a
 * server twice, around a faster one in between.  Then the answer is sought under
 * three narrower rules, one of which every proper route obeys: the server is not
 * used from the gap on, not used up to the gap, or it must be used across the gap.
 */
#include "control/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum {
	RTT_US_ASSUMED = 150,
	BLOCK_US_ASSUMED = 100,         /* of a server that has not computed yet */
	BOUNDARIES_MAX = 2 * VIEW_MEMBERS_MAX + 2,
	SEARCHES_MAX = 128,             /* narrower rules tried before the best is taken */
	WAITING_MAX = 1000000,
};

#define BLOCK_NS_MAX (1000 * NS_PER_S)
#define COST_NONE    UINT64_MAX
#define PENALTY_MAX  (1000 * NS_PER_S)

struct candidate {
	const struct member *member;
	uint32_t first, end;            /* boundaries it may be used between */
	uint64_t network_ns, block_ns;
	uint64_t busy;                  /* sessions there: settles ties */
};

/* How a boundary is reached at least cost: by `by`, entered at boundary `from`. */
struct arrival {
	uint64_t cost_ns;
	uint32_t by, from;
};

struct leg {
	uint32_t by, first, end;        /* boundaries */
};

struct search {
	const struct route_query *query;
	uint32_t count;
	struct candidate candidates[VIEW_MEMBERS_MAX];
	uint32_t boundary_count;
	uint32_t boundaries[BOUNDARIES_MAX];    /* blocks, ascending */
	struct arrival arrivals[BOUNDARIES_MAX];
	uint32_t forced[BOUNDARIES_MAX];        /* candidate + 1 for the part after it, 0: any */
	uint64_t on_ns[VIEW_MEMBERS_MAX];       /* being on a candidate, at least cost */
	uint32_t entered[VIEW_MEMBERS_MAX];
	uint64_t penalty_ns;                    /* per hop, to make routes shorter */
	uint32_t searches;
	uint64_t best_ns;
	uint32_t best_count;
	struct leg best[BOUNDARIES_MAX];
	struct leg legs[BOUNDARIES_MAX];        /* of the last walk */
};

/* ---- who takes part ---- */

static bool takes_part(const struct route_query *q, const struct member *m, const char *kind)
{
	return m->state == MEMBER_SERVING && m->fingerprint == q->fingerprint &&
	       !strcmp(m->kind, kind) && m->first < q->end && m->end > q->first &&
	       m->first < m->end && !(q->excluded && q->excluded(q->ctx, m));
}

static void add_candidate(struct search *s, const struct member *m)
{
	const struct route_query *q = s->query;
	uint32_t pending = q->pending ? q->pending(q->ctx, m) : 0;
	uint64_t rtt_us = q->rtt_us ? q->rtt_us(q->ctx, m) : 0;
	uint64_t waiting = MIN((uint64_t)m->load.waiting + pending, WAITING_MAX);
	uint64_t span = m->end - m->first;
	uint64_t step_us = m->load.step_us ? m->load.step_us : BLOCK_US_ASSUMED * span;
	struct candidate *c = &s->candidates[s->count++];

	*c = (struct candidate){
		.member = m,
		.network_ns = (rtt_us ? rtt_us : RTT_US_ASSUMED) * NS_PER_US / 2,
		.block_ns = MIN(MIN(step_us, 1000000000u) * NS_PER_US * (1 + waiting) / span,
				BLOCK_NS_MAX),
		.busy = (uint64_t)m->load.sessions + pending,
	};
}

/* Equal costs go to the less busy server, then to the lower id. */
static int compare_candidates(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

	if (a->busy != b->busy)
		return a->busy < b->busy ? -1 : 1;
	if (a->member->id != b->member->id)
		return a->member->id < b->member->id ? -1 : 1;
	return 0;
}

static int compare_blocks(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

static uint32_t boundary_at(const struct search *s, uint32_t block)
{
	const uint32_t *found = bsearch(&block, s->boundaries, s->boundary_count,
					sizeof(block), compare_blocks);

	assert(found);
	return (uint32_t)(found - s->boundaries);
}

static void find_boundaries(struct search *s)
{
	const struct route_query *q = s->query;
	uint32_t i, kept = 0;

	s->boundary_count = 0;
	s->boundaries[s->boundary_count++] = q->first;
	s->boundaries[s->boundary_count++] = q->end;
	for (i = 0; i < s->count; i++) {
		const struct member *m = s->candidates[i].member;

		s->boundaries[s->boundary_count++] = MAX(m->first, q->first);
		s->boundaries[s->boundary_count++] = MIN(m->end, q->end);
	}
	qsort(s->boundaries, s->boundary_count, sizeof(*s->boundaries), compare_blocks);
	for (i = 0; i < s->boundary_count; i++)
		if (!kept || s->boundaries[kept - 1] != s->boundaries[i])
			s->boundaries[kept++] = s->boundaries[i];
	s->boundary_count = kept;
	for (i = 0; i < s->count; i++) {
		struct candidate *c = &s->candidates[i];

		c->first = boundary_at(s, MAX(c->member->first, q->first));
		c->end = boundary_at(s, MIN(c->member->end, q->end));
	}
}

static void gather(struct search *s, const char *kind)
{
	const struct view *v = s->query->view;
	uint32_t i;

	s->count = 0;
	for (i = 0; i < v->count; i++)
		if (takes_part(s->query, &v->members[i], kind))
			add_candidate(s, &v->members[i]);
	qsort(s->candidates, s->count, sizeof(*s->candidates), compare_candidates);
	find_boundaries(s);
}

/* ---- the search ---- */

static bool allowed(const struct search *s, uint32_t by, uint32_t at)
{
	const struct candidate *c = &s->candidates[by];

	return c->first <= at && at < c->end && (!s->forced[at] || s->forced[at] == by + 1);
}

/* From boundary `at` to the next one on one candidate: stays on it, or enters it. */
static void advance(struct search *s, uint32_t by, uint32_t at)
{
	const struct candidate *c = &s->candidates[by];
	struct arrival *next = &s->arrivals[at + 1];
	uint64_t enter_ns = s->arrivals[at].cost_ns;
	uint64_t blocks = s->boundaries[at + 1] - s->boundaries[at];

	if (!allowed(s, by, at)) {
		s->on_ns[by] = COST_NONE;
		return;
	}
	if (enter_ns != COST_NONE)
		enter_ns += c->network_ns + s->penalty_ns;
	if (enter_ns < s->on_ns[by]) {
		s->on_ns[by] = enter_ns;
		s->entered[by] = at;
	}
	if (s->on_ns[by] == COST_NONE)
		return;
	s->on_ns[by] += c->block_ns * blocks;
	if (s->on_ns[by] < next->cost_ns)
		*next = (struct arrival){ s->on_ns[by], by, s->entered[by] };
}

static uint64_t walk(struct search *s)
{
	uint32_t at, i;

	for (i = 0; i < s->count; i++)
		s->on_ns[i] = COST_NONE;
	s->arrivals[0] = (struct arrival){ 0 };
	for (at = 0; at + 1 < s->boundary_count; at++) {
		s->arrivals[at + 1] = (struct arrival){ .cost_ns = COST_NONE };
		for (i = 0; i < s->count; i++)
			advance(s, i, at);
	}
	return s->arrivals[s->boundary_count - 1].cost_ns;
}

/* The legs of the last walk, in order; legs has room for every boundary. */
static uint32_t unwind(const struct search *s, struct leg *legs)
{
	uint32_t at = s->boundary_count - 1, count = 0, i;

	while (at) {
		const struct arrival *a = &s->arrivals[at];

		legs[count++] = (struct leg){ a->by, a->from, at };
		at = a->from;
	}
	for (i = 0; i < count / 2; i++) {
		struct leg swapped = legs[i];

		legs[i] = legs[count - 1 - i];
		legs[count - 1 - i] = swapped;
	}
	return count;
}

/* The first leg whose server comes again later; count when there is none. */
static uint32_t find_repeat(const struct leg *legs, uint32_t count, uint32_t *again)
{
	uint32_t i, j;

	for (i = 0; i < count; i++)
		for (j = count - 1; j > i; j--)
			if (legs[i].by == legs[j].by) {
				*again = j;
				return i;
			}
	return count;
}

static uint64_t cost_of(const struct search *s, const struct leg *legs, uint32_t count,
			uint64_t penalty_ns)
{
	uint64_t cost_ns = 0;
	uint32_t i;

	for (i = 0; i < count; i++) {
		const struct candidate *c = &s->candidates[legs[i].by];

		cost_ns += c->network_ns + penalty_ns + c->block_ns *
			   (s->boundaries[legs[i].end] - s->boundaries[legs[i].first]);
	}
	return cost_ns;
}

/* Keeps the legs if they are the best so far, once every server that repeats
 * has taken over what lies between its uses.
 */
static void keep(struct search *s, struct leg *legs, uint32_t count)
{
	uint32_t again, i;
	uint64_t cost_ns;

	while ((i = find_repeat(legs, count, &again)) < count) {
		legs[i].end = legs[again].end;
		memmove(legs + i + 1, legs + again + 1, (count - again - 1) * sizeof(*legs));
		count -= again - i;
	}
	cost_ns = cost_of(s, legs, count, s->penalty_ns);
	if (cost_ns >= s->best_ns)
		return;
	s->best_ns = cost_ns;
	s->best_count = count;
	memcpy(s->best, legs, count * sizeof(*legs));
}

static void look(struct search *s);

/* The three narrower rules for candidate `by` around the gap at boundary `at`. */
static void narrow(struct search *s, uint32_t by, uint32_t at)
{
	struct candidate *c = &s->candidates[by];
	struct candidate whole = *c;
	uint32_t forced = s->forced[at];

	c->end = at;
	look(s);
	*c = whole;
	c->first = at + 1;
	look(s);
	*c = whole;
	s->forced[at] = by + 1;
	look(s);
	s->forced[at] = forced;
}

static void look(struct search *s)
{
	uint32_t count, repeat, again, by, at;

	/* Narrower rules only cost more: what is no better now never will be. */
	if (s->searches++ >= SEARCHES_MAX || walk(s) >= s->best_ns)
		return;
	count = unwind(s, s->legs);
	repeat = find_repeat(s->legs, count, &again);
	if (repeat == count) {
		keep(s, s->legs, count);
		return;
	}
	by = s->legs[repeat].by;
	at = s->legs[repeat].end;
	keep(s, s->legs, count);
	narrow(s, by, at);
}

/* True when the candidates cover the blocks within the limit of hops. */
static bool solve(struct search *s)
{
	for (s->penalty_ns = 0; s->penalty_ns <= PENALTY_MAX;
	     s->penalty_ns = s->penalty_ns ? 8 * s->penalty_ns : NS_PER_MS) {
		s->searches = 0;
		s->best_ns = COST_NONE;
		s->best_count = 0;
		memset(s->forced, 0, sizeof(s->forced));
		look(s);
		if (s->best_ns == COST_NONE)
			return false;
		if (s->best_count <= ROUTE_HOPS_MAX)
			return true;
	}
	return false;
}

static void take(const struct search *s, struct route *out)
{
	uint32_t i;

	memset(out, 0, sizeof(*out));
	out->count = s->best_count;
	out->cost_us = cost_of(s, s->best, s->best_count, 0) / NS_PER_US;
	for (i = 0; i < out->count; i++) {
		const struct leg *leg = &s->best[i];
		const struct member *m = s->candidates[leg->by].member;

		out->hops[i] = (struct route_hop){
			.server = m->id, .address = m->address,
			.first = s->boundaries[leg->first], .end = s->boundaries[leg->end],
		};
	}
}

/* ---- what is missing ---- */

/* Writes the uncovered blocks as "[8,16), [24,30)" and counts them. */
static uint32_t name_missing(const struct search *s, char *out, size_t bytes)
{
	uint32_t at, i, missing = 0;
	size_t used = 0;

	out[0] = '\0';
	for (at = 0; at + 1 < s->boundary_count; at++) {
		uint32_t first = s->boundaries[at];

		for (i = 0; i < s->count; i++)
			if (s->candidates[i].first <= at && at < s->candidates[i].end)
				break;
		if (i < s->count)
			continue;
		/* Candidates begin and end at boundaries, so two parts in a row that
		 * nobody covers do not happen.
		 */
		missing += s->boundaries[at + 1] - first;
		if (used < bytes)
			used += (size_t)snprintf(out + used, bytes - used, "%s[%u,%u)",
						 used ? ", " : "", first, s->boundaries[at + 1]);
	}
	if (!missing)
		snprintf(out, bytes, "none, but the servers are so small that more than %d are "
			 "needed", ROUTE_HOPS_MAX);
	return missing;
}

/* The next identity class after `last` in their order, NULL when there is none. */
static const char *next_kind(const struct route_query *q, const char *last)
{
	const char *next = NULL;
	uint32_t i;

	for (i = 0; i < q->view->count; i++) {
		const struct member *m = &q->view->members[i];

		if (m->fingerprint == q->fingerprint && m->state == MEMBER_SERVING &&
		    (!last || strcmp(m->kind, last) > 0) &&
		    (!next || strcmp(m->kind, next) < 0))
			next = m->kind;
	}
	return next;
}

struct outcome {
	bool found;
	uint64_t best_ns;               /* of what was found */
	uint32_t missing_blocks;        /* fewest so far */
};

static void try_kind(struct search *s, const char *kind, struct outcome *o, struct route *out,
		     char *missing, size_t missing_bytes)
{
	char text[512];
	uint32_t blocks;

	gather(s, kind);
	if (solve(s)) {
		uint64_t cost_ns = cost_of(s, s->best, s->best_count, 0);

		if (!o->found || cost_ns < o->best_ns)
			take(s, out);
		o->best_ns = o->found ? MIN(o->best_ns, cost_ns) : cost_ns;
		o->found = true;
		return;
	}
	blocks = name_missing(s, text, sizeof(text));
	if (!o->found && blocks < o->missing_blocks) {
		o->missing_blocks = blocks;
		snprintf(missing, missing_bytes, "%s", text);
	}
}

int route_find(const struct route_query *q, struct route *out, char *missing,
	       size_t missing_bytes)
{
	struct search *s = mem_calloc(1, sizeof(*s));
	struct outcome o = { .missing_blocks = UINT32_MAX };
	const char *kind = NULL;

	assert(q->first < q->end && missing_bytes > 0);
	missing[0] = '\0';
	out->count = 0;
	if (!s)
		return -ENOMEM;
	s->query = q;
	if (q->kind)
		try_kind(s, q->kind, &o, out, missing, missing_bytes);
	while (!q->kind && (kind = next_kind(q, kind)))
		try_kind(s, kind, &o, out, missing, missing_bytes);
	mem_free(s);
	if (o.found) {
		missing[0] = '\0';
		return 0;
	}
	if (o.missing_blocks == UINT32_MAX)
		snprintf(missing, missing_bytes, "[%u,%u)", q->first, q->end);
	return -ENOENT;
}
