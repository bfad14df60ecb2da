/* session_move.c - owns planned moves: the blocks of a hop that is to go are opened elsewhere
 * while steps still flow through it.
 *
 *   from     to       by
 *   NONE     OPENING  a hop leaves (it drains, or session_slow.c calls it slow) and others could
 *                     take its blocks: they are sent OPENs
 *   OPENING  NONE     one of them refused, was lost or took too long: the route is as it was
 *   OPENING  NONE     the leaving hop was lost first: those being opened fill the gap
 *   OPENING  KEPT     all of them said OPENED: they take its place and are replayed to
 *   KEPT     NONE     a step given since was answered: the hop that left is closed
 *   KEPT     NONE     the new hops were lost before that: it takes its place again
 *
 * What the two sets of hops say to their neighbours is kept apart by epochs, as in a repair.
 */
#include <stdio.h>
#include <string.h>

#include "control/session_private.h"
#include "dataplane/base/log.h"

enum { PAUSE_DOUBLINGS = 5 };
#define PAUSE_NS (100 * NS_PER_MS)      /* before the next try, doubled each time in a row */
#define OPEN_NS (2 * NS_PER_S)          /* for all OPENEDs to come */

void session_move_check(const struct session *s)
{
	const struct move *m = &s->move;

	assert((m->state == MOVE_NONE) == (m->slot_count == 0));
	for (uint32_t i = 0; i < m->slot_count; i++) {
		const struct slot *slot = &m->slots[i];

		assert(slot->hop.first == (i ? m->slots[i - 1].hop.end : m->first));
		assert(slot->state != SLOT_LOST && slot->epoch <= s->epoch);
		assert(m->state != MOVE_KEPT || slot->state == SLOT_OPEN);
	}
	assert(!m->slot_count || m->slots[m->slot_count - 1].hop.end == m->end);
}

/* Whether it is still slow is found out anew. */
static void forget_slow(struct session *s, struct slot *slots, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (slots[i].leaving != LEAVE_SLOW)
			continue;
		slots[i].leaving = LEAVE_NOT;
		session_slow_calm(s, &slots[i]);
	}
}

void session_move_drop(struct session *s)
{
	struct move *m = &s->move;

	for (uint32_t i = 0; i < m->slot_count; i++)
		session_drop_slot(s, &m->slots[i]);
	m->slot_count = 0;
	m->state = MOVE_NONE;
}

static void pause_moves(struct session *s)
{
	struct move *m = &s->move;

	m->not_before_ns = node_now(s->table->options.node) +
			   (PAUSE_NS << MIN(m->abandoned, PAUSE_DOUBLINGS));
}

static void abandon(struct session *s, const char *who, const char *why)
{
	struct sessions *t = s->table;

	log_info("session", "%016llx: blocks [%u,%u) stay where they are: %s: %s",
		 (unsigned long long)s->id, s->move.first, s->move.end, who, why);
	counters_add(t->counters, SESSIONS_ABANDONED, 0, 1);
	session_move_drop(s);
	s->move.abandoned++;
	forget_slow(s, s->slots, s->slot_count);
	pause_moves(s);
	sessions_check_at(t, session_move_due(s));
}

void session_move_lost(struct session *s, const struct slot *slot, const char *reason,
		       uint64_t ban_ns)
{
	struct warm *warm = warm_find(s->table, slot->hop.server);
	const struct address who = slot->hop.address;

	if (s->move.state == MOVE_KEPT) {
		session_move_drop(s);       /* it is not needed, unless the others fail, too */
		return;
	}
	if (warm)
		warm_ban(s->table, warm, ban_ns);
	abandon(s, who.text, reason);
}

struct slot *session_move_slot(struct session *s, uint32_t peer)
{
	for (uint32_t i = 0; i < s->move.slot_count; i++)
		if (s->move.slots[i].peer == peer)
			return &s->move.slots[i];
	return NULL;
}

bool session_move_uses(const struct session *s, uint64_t server)
{
	for (uint32_t i = 0; i < s->move.slot_count; i++)
		if (s->move.slots[i].hop.server == server)
			return true;
	return false;
}

bool session_move_kept(const struct session *s, uint32_t peer)
{
	const struct move *m = &s->move;

	return m->state == MOVE_KEPT && m->end == s->table->options.blocks &&
	       m->slots[m->slot_count - 1].peer == peer;
}

static bool begin(struct session *s, const struct slot *leaving)
{
	const struct route_query query =
		session_route_query(s, leaving->hop.first, leaving->hop.end);
	char missing[WIRE_REASON_BYTES];
	struct move *m = &s->move;
	struct route route;

	if (route_find(&query, &route, missing, sizeof(missing)) < 0 ||
	    route.count > MOVE_HOPS_MAX || s->slot_count + route.count > ROUTE_HOPS_MAX)
		return false;
	m->first = leaving->hop.first;
	m->end = leaving->hop.end;
	if (leaving->leaving == LEAVE_DRAINS)
		snprintf(m->why, sizeof(m->why), "which leaves");
	for (uint32_t i = 0; i < route.count; i++)
		m->slots[i] = session_new_slot(s, &route.hops[i]);
	m->slot_count = route.count;
	m->epoch = ++s->epoch;
	m->started_ns = node_now(s->table->options.node);
	m->state = MOVE_OPENING;
	return true;
}

/* The first leaving hop whose blocks somebody could take. */
static void begin_any(struct session *s)
{
	bool drains = false;

	for (uint32_t i = 0; i < s->slot_count; i++) {
		if (!s->slots[i].leaving)
			continue;
		if (begin(s, &s->slots[i]))
			return;
		drains = drains || s->slots[i].leaving == LEAVE_DRAINS;
	}
	forget_slow(s, s->slots, s->slot_count);
	if (drains)
		pause_moves(s);
}

/* Slots of the route that hold the blocks of the move, [at, *end); false when it was cut anew
 * there, or none of them leaves any more.
 */
static bool find_leaving(const struct session *s, uint32_t *at, uint32_t *end)
{
	bool leaving = false;

	for (*at = 0; *at < s->slot_count && s->slots[*at].hop.first != s->move.first; ++*at)
		;
	for (*end = *at; *end < s->slot_count && s->slots[*end].hop.end <= s->move.end; ++*end)
		leaving = leaving || s->slots[*end].leaving;
	return leaving && s->slots[*end - 1].hop.end == s->move.end && *end - *at <= MOVE_HOPS_MAX;
}

static void open_slots(struct session *s)
{
	struct move *m = &s->move;
	uint64_t deadline_ns = MIN(m->started_ns + OPEN_NS, s->options.deadline_ns);
	uint32_t at, end;

	if (!find_leaving(s, &at, &end)) {
		abandon(s, "the route", "it has changed");
		return;
	}
	for (uint32_t i = 0; i < m->slot_count && m->state == MOVE_OPENING; i++) {
		bool last = i + 1 == m->slot_count;
		const struct slot *next = !last ? &m->slots[i + 1] :
					  end < s->slot_count ? &s->slots[end] : NULL;
		struct slot *slot = &m->slots[i];
		uint32_t hops = s->slot_count - (end - at) + m->slot_count;
		int rc = slot->state != SLOT_NEW ? 0 :
			 session_open_slot(s, slot, at + i, hops, next,
					   last ? m->epoch : m->slots[i + 1].epoch, deadline_ns);

		if (rc < 0)
			session_move_lost(s, slot, error_describe(rc), s->table->options.ban_ns);
	}
}

/* The log, and who counts. */
static void tell(struct session *s, const struct slot *from, const struct slot *to)
{
	struct sessions *t = s->table;
	bool slow = from->leaving == LEAVE_SLOW;

	s->stats.moves++;
	counters_add(t->counters, SESSIONS_REPAIRS,
		     counters_series(t->counters, SESSIONS_REPAIRS, slow ? "slow" : "leaving"), 1);
	if (slow)
		counters_add(t->counters, SESSIONS_SLOW,
			     counters_series(t->counters, SESSIONS_SLOW, from->hop.address.text),
			     1);
	log_info("session", "%016llx: blocks [%u,%u) move from %s, %s, to %s after %.1f ms",
		 (unsigned long long)s->id, s->move.first, s->move.end, from->hop.address.text,
		 s->move.why, to->hop.address.text,
		 (double)(node_now(t->options.node) - s->move.started_ns) / NS_PER_MS);
}

/* All are open: they take their place; those that leave are kept until the new ones have
 * answered.
 */
static void change_over(struct session *s)
{
	struct move *m = &s->move;
	struct slot old[MOVE_HOPS_MAX];
	uint32_t at, end, count = m->slot_count;
	bool whole = find_leaving(s, &at, &end);

	assert(whole);                      /* open_slots() has looked */
	memcpy(old, &s->slots[at], (end - at) * sizeof(old[0]));
	/* Epochs only rise: a repair meanwhile has taken later ones. */
	if (s->epoch != m->epoch) {
		m->slots[0].epoch = ++s->epoch;
		m->epoch = ++s->epoch;
	}
	for (uint32_t i = 0; i < count; i++) {
		m->slots[i].since = s->position;
		m->slots[i].calms = old[0].calms;
		if (old[0].leaving == LEAVE_SLOW)
			session_slow_calm(s, &m->slots[i]);
	}
	session_splice(s, at, end - at, m->slots, count);
	if (at + count < s->slot_count)
		s->slots[at + count].epoch = m->epoch;
	memcpy(m->slots, old, (end - at) * sizeof(old[0]));
	m->slot_count = end - at;
	m->state = MOVE_KEPT;
	m->position = s->position;
	m->abandoned = 0;
	s->unproven = true;
	tell(s, old, &s->slots[at]);
	session_tell_slots(s);
}

void session_move(struct session *s)
{
	struct move *m = &s->move;
	uint64_t now = node_now(s->table->options.node);
	uint32_t open = 0;

	if (m->state == MOVE_NONE && now >= m->not_before_ns)
		begin_any(s);
	if (m->state == MOVE_OPENING)
		open_slots(s);
	if (m->state == MOVE_OPENING && now >= m->started_ns + OPEN_NS)
		abandon(s, "the new hops", "they did not open in time");
	for (uint32_t i = 0; m->state == MOVE_OPENING && i < m->slot_count; i++)
		open += m->slots[i].state == SLOT_OPEN;
	if (open && open == m->slot_count)
		change_over(s);
	session_move_check(s);
	sessions_check_at(s->table, session_move_due(s));
}

bool session_move_fills(struct session *s, uint32_t at, uint32_t end, uint32_t *filled)
{
	struct move *m = &s->move;
	uint32_t first = s->slots[at].hop.first, last = s->slots[end - 1].hop.end;

	if (m->state == MOVE_NONE || m->first >= last || m->end <= first)
		return false;
	if (m->first != first || m->end != last ||
	    s->slot_count - (end - at) + m->slot_count > ROUTE_HOPS_MAX) {
		session_move_drop(s);       /* else its servers could not be used here */
		return false;
	}
	log_info("session", "%016llx: blocks [%u,%u) %s %s", (unsigned long long)s->id, first, last,
		 m->state == MOVE_KEPT ? "go back to" : "were about to move to",
		 m->slots[0].hop.address.text);
	forget_slow(s, m->slots, m->slot_count);
	for (uint32_t i = at; i < end; i++)
		session_drop_slot(s, &s->slots[i]);
	m->slots[0].epoch = ++s->epoch;
	for (uint32_t i = 0; i < m->slot_count && m->state == MOVE_OPENING; i++)
		m->slots[i].since = s->position;
	session_splice(s, at, end - at, m->slots, m->slot_count);
	*filled = m->slot_count;
	if (at + m->slot_count < s->slot_count)
		s->slots[at + m->slot_count].epoch = ++s->epoch;
	m->slot_count = 0;
	m->state = MOVE_NONE;
	pause_moves(s);
	return true;
}

void session_move_result(struct session *s)
{
	if (s->move.state != MOVE_KEPT || s->confirmed <= s->move.position)
		return;
	session_move_drop(s);
	sessions_check_at(s->table, session_move_due(s));
}

uint64_t session_move_due(const struct session *s)
{
	const struct move *m = &s->move;

	if (m->state == MOVE_OPENING)
		return m->started_ns + OPEN_NS;
	for (uint32_t i = 0; m->state == MOVE_NONE && i < s->slot_count; i++)
		if (s->slots[i].leaving)
			return m->not_before_ns;
	return UINT64_MAX;
}
