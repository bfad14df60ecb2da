/* session_slow.c - finds hops that are slow, not dead: they answer pings, and so are nobody's loss,
 * but others could do their blocks much faster.
 *
 * Once a second each hop is priced as route.h prices it, without queues: what servers tell of
 * their steps, our own round trips to them, and how long a server has not finished the
 * step it is at.  A hop that costs SLOW_TIMES what the best other servers would cost and
 * SLOW_MORE_US more, SLOW_CHECKS times in a row, is to be moved (session_move.c); one that has not
 * finished a step for longer than any takes, at once.  Queues are left out, since sessions that
 * fled a full server would fill the next one.
 *
 * Nothing flaps: a move needs a factor, so none goes back for the same reason; blocks that were
 * moved rest, twice as long each time; and of the sessions on slow hops only a share moves in
 * each check, so that the next ones see what that changed.
 */
#include <stdio.h>
#include <string.h>

#include "control/session_private.h"
#include "dataplane/base/log.h"

enum {
	SLOW_TIMES = 3,
	SLOW_MORE_US = 5000,            /* less is not worth a replay */
	SLOW_CHECKS = 3,
	SHARE = 4,                      /* one of so many sessions moves in a check */
	CALM_DOUBLINGS = 6,
	USUAL_SHIFT = 8,                /* how slowly what is usual follows what is worse */
	KINDS_MAX = 16,                 /* of more, servers are compared with themselves */
};
#define CALM_NS (5 * NS_PER_S)

/* What one check knows of all servers. */
struct check {
	struct sessions *table;
	uint64_t now_ns;
	uint32_t moves_left;
	uint32_t kind_count;
	struct {
		const char *kind;               /* the view's */
		uint32_t least_block_us;        /* of its servers that have computed */
	} kinds[KINDS_MAX];
};

void session_slow_calm(const struct session *s, struct slot *slot)
{
	uint64_t calm_ns = CALM_NS << MIN(slot->calms, CALM_DOUBLINGS);

	slot->calms++;
	slot->calm_until_ns = node_now(s->table->options.node) + calm_ns;
}

/* Of a kind; a new one, if it is to be `added` and there is room.  NULL: nobody has computed. */
static uint32_t *least_of(struct check *c, const char *kind, bool added)
{
	for (uint32_t i = 0; i < c->kind_count; i++)
		if (strcmp(c->kinds[i].kind, kind) == 0)
			return &c->kinds[i].least_block_us;
	if (!added || c->kind_count == KINDS_MAX)
		return NULL;
	c->kinds[c->kind_count].kind = kind;
	c->kinds[c->kind_count].least_block_us = UINT32_MAX;
	return &c->kinds[c->kind_count++].least_block_us;
}

/* What blocks take: at each server when it goes well, and where they take least now. */
static void learn(struct check *c)
{
	struct sessions *t = c->table;
	const struct view *v = directory_client_view(t->options.directory);

	for (uint32_t i = 0; i < v->count; i++) {
		const struct member *m = &v->members[i];
		struct warm *warm = warm_find(t, m->id);
		uint32_t block_us, *least;

		if (m->fingerprint != t->options.fingerprint || m->state != MEMBER_SERVING ||
		    m->load.step_us == 0)
			continue;
		block_us = MAX(m->load.step_us / (m->end - m->first), 1);
		least = least_of(c, m->kind, true);
		if (least)
			*least = MIN(*least, block_us);
		if (!warm)
			continue;
		if (warm->block_us == 0 || block_us < warm->block_us)
			warm->block_us = block_us;
		warm->block_us += (block_us - warm->block_us) >> USUAL_SHIFT;
	}
}

/* The best that may be hoped for of a block of this hop's: as fast as at any server of the
 * session's kind now, or as it was here; 0: nobody knows.
 */
static uint32_t best_block_us(struct check *c, const struct session *s, const struct slot *slot)
{
	const struct warm *warm = warm_find(c->table, slot->hop.server);
	const uint32_t *least = least_of(c, s->kind, false);
	uint32_t us = least ? *least : UINT32_MAX;

	if (warm && warm->block_us)
		us = MIN(us, warm->block_us);
	return us == UINT32_MAX ? 0 : us;
}

/* The cost of the best others for a hop's blocks; UINT64_MAX: there are none. */
static uint64_t others_us(const struct route_query *query, uint32_t block_us,
			  struct address *first)
{
	struct route_query q = *query;
	char missing[WIRE_REASON_BYTES];
	struct route route;

	/* Who has not computed yet is worth a try: one session finds out for all. */
	q.block_us = block_us;
	if (route_find(&q, &route, missing, sizeof(missing)) < 0)
		return UINT64_MAX;
	*first = route.hops[0].address;
	return route.cost_us;
}

static bool is_stalled(const struct session *s, const struct slot *slot)
{
	const struct member *m = view_find(directory_client_view(s->table->options.directory),
					   slot->hop.server);

	return m && m->load.stalled_us > ROUTE_STALL_US;
}

/* Counts the checks that found a hop slow; says why in the move. */
static void look_at(struct check *c, struct session *s, struct slot *slot)
{
	struct route_query q = session_route_query(s, slot->hop.first, slot->hop.end);
	uint32_t block_us = best_block_us(c, s, slot);
	uint64_t hope_us = (uint64_t)block_us * (slot->hop.end - slot->hop.first);
	struct address other;
	uint64_t us, best_us;

	/* As we reach it ourselves: a bad link between two hops would make both look slow. */
	q.before = q.after = 0;
	q.alone = true;
	us = route_cost_us(&q, slot->hop.server);
	if (us == UINT64_MAX || us < SLOW_TIMES * hope_us + SLOW_MORE_US) {
		slot->slow = 0;
		return;
	}
	best_us = others_us(&q, block_us, &other);
	if (best_us >= (us - SLOW_MORE_US) / SLOW_TIMES) {
		slot->slow = 0;
		return;
	}
	slot->slow++;
	if (is_stalled(s, slot))
		snprintf(s->move.why, sizeof(s->move.why), "slow: no step done for %.1f s",
			 (double)us / 1e6);
	else
		snprintf(s->move.why, sizeof(s->move.why), "slow: %.1f ms a step, %.1f at %.60s",
			 (double)us / 1e3, (double)best_us / 1e3, other.text);
}

/* Moves off the hop if it has been slow for long enough. */
static bool leave_slow(struct check *c, struct session *s, struct slot *slot)
{
	bool stalled = is_stalled(s, slot);

	if (!stalled && (slot->slow < SLOW_CHECKS || s->unproven || c->moves_left == 0))
		return false;
	c->moves_left -= !stalled;
	slot->slow = 0;
	slot->leaving = LEAVE_SLOW;
	session_advance(s);
	return true;
}

/* A slow hop while one that was left is kept.  It need not be kept any longer when that was
 * a slow one, which could be found again, or when the answer that is waited for has to come
 * through this one.  But who drains takes its blocks back from who does not get on with them.
 */
static void end_keeping(struct session *s, struct slot *slot)
{
	struct move *m = &s->move;
	bool drains = m->slots[0].leaving == LEAVE_DRAINS, stalled = is_stalled(s, slot);

	if (drains && stalled && slot->hop.first >= m->first && slot->hop.end <= m->end) {
		session_slot_lost(s, slot, "it does not get on with its first step",
				  s->table->options.ban_ns);
		session_advance(s);
	} else if (stalled || (!drains && slot->slow >= SLOW_CHECKS)) {
		session_move_drop(s);
	}
}

static void check_session(struct check *c, struct session *s)
{
	for (uint32_t i = 0; i < s->slot_count && s->state == SESSION_READY; i++) {
		struct slot *slot = &s->slots[i];

		if (slot->leaving || c->now_ns < slot->calm_until_ns)
			continue;
		look_at(c, s, slot);
		if (slot->slow && s->move.state == MOVE_KEPT)
			end_keeping(s, slot);
		if (slot->slow && s->move.state == MOVE_NONE && leave_slow(c, s, slot))
			return;
	}
}

void sessions_check_slow(struct sessions *t)
{
	struct check c = {
		.table = t, .now_ns = node_now(t->options.node),
	};

	if (!t->list)
		return;
	learn(&c);
	c.moves_left = MAX(map_length(t->by_id) / SHARE, 1);
	for (struct session *s = t->list; s; s = s->next)
		if (s->state == SESSION_READY)
			check_session(&c, s);
}
