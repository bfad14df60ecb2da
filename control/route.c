/* route.c - the cheapest chain of servers over the blocks, for one identity class
 * after another.
 *
 * Servers are changed only where a span begins or ends: elsewhere it is never worth it, but
 * for a detour of one block through a server that is near to two that are far apart, and
 * nobody is used as a mere relay.  The boundaries are those places, and a search walks
 * them once, keeping for each server the cheapest way of being on it, and how it was
 * entered at each boundary.  A server is entered from whichever other one makes that
 * cheapest, which is looked for among those that are cheap to be on first.  That search
 * may use a server twice, around a faster one in between.  Then the answer is sought
 * under three narrower rules, one of which every proper route obeys: the server is not
 * used from the gap on, not used up to the gap, or it must be used across the gap.
 */
#include "control/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/route_cost.h"
#include "dataplane/base/memory.h"

enum {
	NOBODY = UINT32_MAX,            /* comes before the first, after the last */
	BOUNDARIES_MAX = 2 * VIEW_MEMBERS_MAX + 2,
	SEARCHES_MAX = 128,             /* narrower rules tried before the best is taken */
};

#define COST_NONE    UINT64_MAX
#define PENALTY_MAX  (1000 * NS_PER_S)

struct candidate {
	const struct member *member;
	struct route_cost cost;
	uint32_t first, end;            /* boundaries it may be used between */
	uint32_t link_count;
	struct { uint32_t to; uint64_t network_ns; } links[MEMBER_LINKS_MAX];   /* candidates */
};

/* Where a candidate was entered from at some boundary: `via`, itself entered at `from`. */
struct entry {
	uint32_t via, from;
};

struct leg {
	uint32_t by, first, end;        /* boundaries */
};

/* Of an address, to find candidates by. */
struct place {
	uint64_t hash;
	uint32_t candidate;
};

/* A candidate on which a boundary is reached. */
struct arrival {
	uint64_t cost_ns;
	uint32_t by;
};

struct search {
	const struct route_query *query;
	uint32_t count;
	struct candidate candidates[VIEW_MEMBERS_MAX];
	uint32_t boundary_count;
	uint32_t boundaries[BOUNDARIES_MAX];    /* blocks, ascending */
	struct entry *entries;                  /* (boundaries, candidates) */
	uint64_t entries_room;
	struct place places[VIEW_MEMBERS_MAX];  /* ascending */
	uint32_t arrival_count;
	struct arrival arrivals[VIEW_MEMBERS_MAX];      /* at a boundary, cheapest first */
	uint32_t forced[BOUNDARIES_MAX];        /* candidate + 1 for the part after it, 0: any */
	uint64_t on_ns[VIEW_MEMBERS_MAX];       /* being on a candidate, at least cost */
	uint32_t entered[VIEW_MEMBERS_MAX];
	uint64_t enter_ns[VIEW_MEMBERS_MAX];    /* at the boundary at hand */
	uint32_t last;                          /* candidate that ends the last walk */
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

/* Equal costs go to the less busy server, then to the lower id. */
static int compare_candidates(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

	if (a->cost.busy != b->cost.busy)
		return a->cost.busy < b->cost.busy ? -1 : 1;
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

static int compare_places(const void *left, const void *right)
{
	const struct place *a = left, *b = right;

	return a->hash < b->hash ? -1 : a->hash > b->hash;
}

static uint64_t hash_text(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325;     /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3;
	return hash;
}

/* The candidate at an address, NOBODY: there is none. */
static uint32_t candidate_at(const struct search *s, const struct address *a)
{
	const struct place sought = { hash_text(a->text), 0 };
	const struct place *p = bsearch(&sought, s->places, s->count, sizeof(sought),
					compare_places);

	if (!p || strcmp(s->candidates[p->candidate].member->address.text, a->text) != 0)
		return NOBODY;
	return p->candidate;
}

/* What candidates have measured to each other. */
static void find_links(struct search *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		s->places[i] = (struct place){
			hash_text(s->candidates[i].member->address.text), i };
	qsort(s->places, s->count, sizeof(*s->places), compare_places);
	for (uint32_t i = 0; i < s->count; i++) {
		struct candidate *c = &s->candidates[i];

		for (uint32_t k = 0; k < c->member->load.link_count; k++) {
			const struct member_link *l = &c->member->load.links[k];
			uint32_t to = candidate_at(s, &l->to);

			if (to == NOBODY)
				continue;
			c->links[c->link_count].to = to;
			c->links[c->link_count++].network_ns = l->rtt_us * NS_PER_US / 2;
		}
	}
}

static void gather(struct search *s, const char *kind)
{
	const struct view *v = s->query->view;
	uint32_t i;

	s->count = 0;
	for (i = 0; i < v->count; i++)
		if (takes_part(s->query, &v->members[i], kind))
			s->candidates[s->count++] = (struct candidate){
				.member = &v->members[i],
				.cost = route_cost_of(s->query, &v->members[i]),
			};
	qsort(s->candidates, s->count, sizeof(*s->candidates), compare_candidates);
	find_boundaries(s);
	find_links(s);
}

static int make_room(struct search *s)
{
	uint64_t wanted = (uint64_t)s->boundary_count * s->count;

	if (wanted <= s->entries_room)
		return 0;
	mem_free(s->entries);
	s->entries = mem_calloc(wanted, sizeof(*s->entries));
	s->entries_room = s->entries ? wanted : 0;
	return s->entries ? 0 : -ENOMEM;
}

/* ---- the search ---- */

static bool allowed(const struct search *s, uint32_t by, uint32_t at)
{
	const struct candidate *c = &s->candidates[by];

	return c->first <= at && at < c->end && (!s->forced[at] || s->forced[at] == by + 1);
}

static uint64_t between_ns(const struct search *s, uint32_t from, uint32_t to)
{
	const struct candidate *one = &s->candidates[from], *two = &s->candidates[to];

	for (uint32_t i = 0; i < one->link_count; i++)
		if (one->links[i].to == to)
			return one->links[i].network_ns;
	for (uint32_t i = 0; i < two->link_count; i++)
		if (two->links[i].to == from)
			return two->links[i].network_ns;
	return two->cost.network_ns;
}

static int compare_arrivals(const void *left, const void *right)
{
	const struct arrival *a = left, *b = right;

	if (a->cost_ns != b->cost_ns)
		return a->cost_ns < b->cost_ns ? -1 : 1;
	return a->by < b->by ? -1 : a->by > b->by;
}

static void gather_arrivals(struct search *s)
{
	s->arrival_count = 0;
	for (uint32_t i = 0; i < s->count; i++)
		if (s->on_ns[i] != COST_NONE)
			s->arrivals[s->arrival_count++] = (struct arrival){ s->on_ns[i], i };
	qsort(s->arrivals, s->arrival_count, sizeof(s->arrivals[0]), compare_arrivals);
}

/* The cheapest way of entering a candidate at boundary `at`. */
static void enter(struct search *s, uint32_t by, uint32_t at)
{
	struct entry *e = &s->entries[(uint64_t)at * s->count + by];
	uint64_t best = COST_NONE;

	*e = (struct entry){ .via = NOBODY };
	if (at == 0)
		best = s->candidates[by].cost.before_ns;
	for (uint32_t i = 0; at && i < s->arrival_count; i++) {
		const struct arrival *a = &s->arrivals[i];
		uint64_t cost_ns;

		if (a->cost_ns >= best)
			break;
		cost_ns = a->by == by ? COST_NONE : a->cost_ns + between_ns(s, a->by, by);
		if (cost_ns >= best)
			continue;
		best = cost_ns;
		*e = (struct entry){ .via = a->by, .from = s->entered[a->by] };
	}
	s->enter_ns[by] = best == COST_NONE ? COST_NONE :
			  best + s->penalty_ns + s->candidates[by].cost.stall_ns;
}

/* From boundary `at` to the next one on one candidate: stays on it, or enters it. */
static void advance(struct search *s, uint32_t by, uint32_t at)
{
	uint64_t blocks = s->boundaries[at + 1] - s->boundaries[at];

	if (!allowed(s, by, at)) {
		s->on_ns[by] = COST_NONE;
		return;
	}
	if (s->enter_ns[by] < s->on_ns[by]) {
		s->on_ns[by] = s->enter_ns[by];
		s->entered[by] = at;
	}
	if (s->on_ns[by] != COST_NONE)
		s->on_ns[by] += s->candidates[by].cost.block_ns * blocks;
}

static uint64_t walk(struct search *s)
{
	uint64_t best = COST_NONE;
	uint32_t at, i;

	for (i = 0; i < s->count; i++)
		s->on_ns[i] = COST_NONE;
	for (at = 0; at + 1 < s->boundary_count; at++) {
		gather_arrivals(s);
		for (i = 0; i < s->count; i++)
			if (allowed(s, i, at))
				enter(s, i, at);
		for (i = 0; i < s->count; i++)
			advance(s, i, at);
	}
	for (i = 0; i < s->count; i++) {
		uint64_t on_ns = s->on_ns[i], after_ns = s->candidates[i].cost.after_ns;

		if (on_ns == COST_NONE || on_ns + after_ns >= best)
			continue;
		best = on_ns + after_ns;
		s->last = i;
	}
	return best;
}

/* The legs of the last walk, in order; legs has room for every boundary. */
static uint32_t unwind(const struct search *s, struct leg *legs)
{
	uint32_t end = s->boundary_count - 1, count = 0, i;
	struct entry on = { s->last, s->entered[s->last] };

	while (on.via != NOBODY) {
		legs[count++] = (struct leg){ on.via, on.from, end };
		end = on.from;
		on = s->entries[(uint64_t)on.from * s->count + on.via];
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
	uint64_t cost_ns = s->candidates[legs[count - 1].by].cost.after_ns;
	uint32_t i;

	for (i = 0; i < count; i++) {
		const struct candidate *c = &s->candidates[legs[i].by];

		cost_ns += i ? between_ns(s, legs[i - 1].by, legs[i].by) : c->cost.before_ns;
		cost_ns += penalty_ns + c->cost.stall_ns + c->cost.block_ns *
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
	bool found, no_memory;
	uint64_t best_ns;               /* of what was found */
	uint32_t missing_blocks;        /* fewest so far */
};

static void try_kind(struct search *s, const char *kind, struct outcome *o, struct route *out,
		     char *missing, size_t missing_bytes)
{
	char text[512];
	uint32_t blocks;

	gather(s, kind);
	o->no_memory = o->no_memory || make_room(s) < 0;
	if (!o->no_memory && solve(s)) {
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
	mem_free(s->entries);
	mem_free(s);
	if (o.no_memory)
		return -ENOMEM;
	if (o.found) {
		missing[0] = '\0';
		return 0;
	}
	if (o.missing_blocks == UINT32_MAX)
		snprintf(missing, missing_bytes, "[%u,%u)", q->first, q->end);
	return -ENOENT;
}
