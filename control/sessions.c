/* sessions.c - owns the client's table of sessions: messages and events that reach them, the
 * links kept warm to every server, bans, deadlines, counters.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/session_private.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { SESSION_HOLDER, BAN_DOUBLINGS = 4 };
#define WARM_CHECK_NS (1 * NS_PER_S)
#define BUSY_BAN_NS (100 * NS_PER_MS)

static const struct counter_row rows[SESSIONS_COUNTERS] = {
	[SESSIONS_OPENED] = { COUNTER, "petals_session_opened_total",
		"Sessions begun.", NULL, NULL },
	[SESSIONS_FAILED] = { COUNTER, "petals_session_failed_total",
		"Sessions that failed, by reason.", "reason", NULL },
	[SESSIONS_OPEN] = { GAUGE, "petals_sessions",
		"Sessions open now.", NULL, NULL },
	[SESSIONS_STEPS] = { COUNTER, "petals_session_steps_total",
		"Steps given to routes.", NULL, NULL },
	[SESSIONS_REPAIRS] = { COUNTER, "petals_session_hops_replaced_total",
		"Hops given up, by reason.", "reason", NULL },
	[SESSIONS_ABANDONED] = { COUNTER, "petals_session_moves_abandoned_total",
		"Planned moves given up because the new hops did not open.", NULL, NULL },
	[SESSIONS_SLOW] = { COUNTER, "petals_session_slow_hops_total",
		"Hops left because they were slow and others were not, by address.", "server",
		NULL },
	[SESSIONS_REPAIR_SECONDS] = { HISTOGRAM, "petals_session_repair_seconds",
		"From noticing a lost hop to its replacement being told to go on.", NULL,
		seconds_buckets },
	[SESSIONS_STEP_SECONDS] = { HISTOGRAM, "petals_session_step_seconds",
		"From giving a step to its result.", NULL, seconds_buckets },
	[SESSIONS_QUEUE_SECONDS] = { HISTOGRAM, "petals_session_step_queue_seconds",
		"Part of a step spent waiting for devices, summed over hops.", NULL,
		seconds_buckets },
	[SESSIONS_COMPUTE_SECONDS] = { HISTOGRAM, "petals_session_step_compute_seconds",
		"Part of a step spent on devices, summed over hops.", NULL, seconds_buckets },
	[SESSIONS_WIRE_SECONDS] = { HISTOGRAM, "petals_session_step_wire_seconds",
		"The rest of a step: transport and wake-ups.", NULL, seconds_buckets },
	[SESSIONS_REPEATED] = { COUNTER, "petals_session_repeated_results_total",
		"Results that came twice and were dropped.", NULL, NULL },
	[SESSIONS_HOPS] = { GAUGE, "petals_session_links",
		"Links kept to servers.", NULL, NULL },
};

struct warm *warm_find(struct sessions *t, uint64_t server)
{
	for (uint32_t i = 0; i < t->warm_count; i++)
		if (t->warm[i].server == server)
			return &t->warm[i];
	return NULL;
}

/* Twice as long each time it fails again, so that nobody alternates between two servers that
 * cannot be reached while a third one could.
 */
void warm_ban(struct sessions *t, struct warm *w, uint64_t ban_ns)
{
	uint64_t until = node_now(t->options.node) + (ban_ns << MIN(w->failures, BAN_DOUBLINGS));

	w->failures++;
	w->banned_until_ns = MAX(w->banned_until_ns, until);
}

void sessions_check_at(struct sessions *t, uint64_t when_ns)
{
	t->check_ns = MIN(t->check_ns, when_ns);
}

/* Which slot of a session a peer is; NULL when it was replaced. */
static struct slot *slot_of_peer(struct session *s, uint32_t peer)
{
	for (uint32_t i = 0; i < s->slot_count; i++)
		if (s->slots[i].peer == peer && s->slots[i].state != SLOT_LOST)
			return &s->slots[i];
	return NULL;
}

/* Likewise, in the route or about to take a place in it. */
static struct slot *any_slot_of_peer(struct session *s, uint32_t peer)
{
	struct slot *slot = slot_of_peer(s, peer);

	return slot ? slot : session_move_slot(s, peer);
}

static void on_opened(void *ctx, struct message *m)
{
	struct sessions *t = ctx;
	struct session *s = map_get(t->by_id, m->frame.session);
	struct slot *slot = s ? any_slot_of_peer(s, m->peer) : NULL;

	if (slot && slot->state == SLOT_OPENING && slot->epoch >= m->frame.epoch) {
		slot->state = SLOT_OPEN;
		session_advance(s);
	}
	node_put(t->options.node, m);
}

static void on_result(void *ctx, struct message *m)
{
	struct sessions *t = ctx;
	struct session *s = map_get(t->by_id, m->frame.session);

	if (s)
		session_result(s, m);
	node_put(t->options.node, m);
}

static void on_lost(void *ctx, struct message *m)
{
	struct sessions *t = ctx;
	struct session *s = map_get(t->by_id, m->frame.session);
	const struct slot *move = s ? session_move_slot(s, m->peer) : NULL;
	char reason[WIRE_REASON_BYTES];

	snprintf(reason, sizeof(reason), "%.*s",
		 (int)MIN(m->frame.payload_bytes, sizeof(reason) - 1), (const char *)m->payload);
	if (move)
		session_move_lost(s, move, reason, t->options.ban_ns);
	for (uint32_t i = 0; s && i < s->slot_count; i++) {
		struct slot *slot = &s->slots[i];

		if (slot->epoch != m->frame.epoch || i == 0 || s->slots[i - 1].peer != m->peer)
			continue;
		session_slot_lost(s, slot, reason, t->options.ban_ns);
		session_advance(s);
		break;
	}
	node_put(t->options.node, m);
}

static void on_refused(void *ctx, struct message *m)
{
	struct sessions *t = ctx;
	struct session *s = map_get(t->by_id, m->frame.session);
	struct slot *slot = s ? slot_of_peer(s, m->peer) : NULL;
	const struct slot *move = s && !slot ? session_move_slot(s, m->peer) : NULL;
	struct wire_refused refused;
	uint64_t ban_ns;
	uint32_t refusal;

	memcpy(&refused, m->payload, sizeof(refused));
	refusal = le32_get(refused.refusal);
	ban_ns = refusal == REFUSED_BUSY ? BUSY_BAN_NS : t->options.ban_ns;
	if (!wire_text_ok(refused.reason, sizeof(refused.reason)))
		wire_text_set(refused.reason, sizeof(refused.reason), "refused without a reason");
	if (move) {
		session_move_lost(s, move, refused.reason, ban_ns);
	} else if (slot && refusal == REFUSED_INVALID) {
		/* Another server would say the same: this request cannot be served. */
		session_fail(s, -EINVAL, "%s refused: %s", slot->hop.address.text, refused.reason);
	} else if (slot) {
		session_slot_lost(s, slot, refused.reason, ban_ns);
		session_advance(s);
	}
	node_put(t->options.node, m);
}

static void on_leaving(void *ctx, struct message *m)
{
	struct sessions *t = ctx;
	struct session *s = map_get(t->by_id, m->frame.session);
	struct slot *slot = s ? slot_of_peer(s, m->peer) : NULL;
	const struct slot *move = s && !slot ? session_move_slot(s, m->peer) : NULL;

	if (slot) {
		slot->leaving = LEAVE_DRAINS;
		session_advance(s);
	} else if (move && s->move.state == MOVE_OPENING) {
		session_move_lost(s, move, "it is draining, too", t->options.ban_ns);
	}
	node_put(t->options.node, m);
}

static void peer_up(void *ctx, const struct peer_info *info)
{
	struct sessions *t = ctx;

	for (struct session *s = t->list; s; s = s->next) {
		struct slot *slot = any_slot_of_peer(s, info->peer);

		if (slot && slot->state == SLOT_NEW)
			session_advance(s);
	}
}

static void peer_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct sessions *t = ctx;

	for (uint32_t i = 0; i < t->warm_count; i++) {
		struct warm *w = &t->warm[i];

		if (w->peer != peer)
			continue;
		node_unlink(t->options.node, peer);
		w->peer = 0;
	}
	for (struct session *s = t->list; s; s = s->next) {
		struct slot *slot = slot_of_peer(s, peer), *move = session_move_slot(s, peer);

		if (s->state == SESSION_FAILED)
			continue;
		/* The peer and its counts are gone. */
		if (move) {
			move->expected = false;
			session_move_lost(s, move, reason, t->options.ban_ns);
		}
		if (slot) {
			slot->expected = false;
			session_slot_lost(s, slot, reason, t->options.ban_ns);
			session_advance(s);
		}
	}
}

static void peer_writable(void *ctx, uint32_t peer)
{
	struct sessions *t = ctx;

	for (struct session *s = t->list; s; s = s->next)
		if (s->out && boundary_peer(s->out) == peer)
			boundary_pump(s->out);
}

/* Links every serving member of our model, and lets go of those that went. */
static void warm_update(struct sessions *t)
{
	const struct view *v = directory_client_view(t->options.directory);
	uint32_t kept = 0, up = 0;

	for (uint32_t i = 0; i < t->warm_count; i++)
		t->warm[i].present = false;
	for (uint32_t i = 0; i < v->count; i++) {
		const struct member *m = &v->members[i];
		struct warm *w = warm_find(t, m->id);

		if (m->fingerprint != t->options.fingerprint || m->state != MEMBER_SERVING)
			continue;
		if (!w && t->warm_count < VIEW_MEMBERS_MAX) {
			w = &t->warm[t->warm_count++];
			*w = (struct warm){ .server = m->id };
		}
		if (!w)
			continue;
		w->present = true;
		if (!w->peer && node_link(t->options.node, &m->address, &w->peer, NULL) < 0)
			w->peer = 0;
	}
	for (uint32_t i = 0; i < t->warm_count; i++) {
		struct warm *w = &t->warm[i];

		if (!w->present && w->peer) {
			node_unlink(t->options.node, w->peer);
			w->peer = 0;
		}
		if (w->present || w->routed)
			t->warm[kept++] = *w;
	}
	t->warm_count = kept;
	for (uint32_t i = 0; i < kept; i++)
		up += t->warm[i].peer != 0;
	counters_set(t->counters, SESSIONS_HOPS, 0, up);
}

void sessions_view_changed(struct sessions *t)
{
	warm_update(t);
	for (struct session *s = t->list; s; s = s->next) {
		bool leaving = false;

		for (uint32_t i = 0; i < s->slot_count; i++)
			leaving = leaving || s->slots[i].leaving;
		if (s->state == SESSION_ROUTING || leaving)
			session_advance(s);
	}
}

static void sessions_sweep(struct sessions *t)
{
	for (struct session **at = &t->list; t->closed && *at;) {
		struct session *s = *at;

		if (s->state != SESSION_CLOSED) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		t->closed--;
		pool_put(t->pool, SESSION_HOLDER, s);
	}
}

static void session_poll(struct session *s, uint64_t now_ns)
{
	if (now_ns >= s->options.deadline_ns) {
		if (s->state == SESSION_ROUTING)
			session_fail(s, -ENOENT, "%s; waited until the deadline",
				     s->reason[0] ? s->reason : "no route was found");
		else
			session_fail(s, -ETIMEDOUT, "the deadline passed at position %u of %u",
				     s->confirmed, s->position);
	} else if (now_ns >= session_due(s)) {
		session_advance(s);
	}
}

static int sessions_poll(void *ctx, uint64_t now_ns)
{
	struct sessions *t = ctx;

	if (now_ns >= t->warm_check_ns) {
		t->warm_check_ns = now_ns + WARM_CHECK_NS;
		warm_update(t);
	}
	if (now_ns >= t->slow_check_ns) {
		t->slow_check_ns = now_ns + SLOW_CHECK_NS;
		sessions_check_slow(t);
	}
	if (now_ns < t->check_ns)
		return 0;
	t->check_ns = UINT64_MAX;
	for (struct session *s = t->list; s; s = s->next)
		if (session_due(s) <= now_ns)
			session_poll(s, now_ns);
	sessions_sweep(t);
	for (struct session *s = t->list; s; s = s->next)
		sessions_check_at(t, session_due(s));
	counters_set(t->counters, SESSIONS_OPEN, 0, map_length(t->by_id));
	return 1;
}

static uint64_t sessions_deadline(void *ctx)
{
	const struct sessions *t = ctx;

	return MIN(t->check_ns, MIN(t->warm_check_ns, t->slow_check_ns));
}

static int sessions_open_tables(struct sessions *t)
{
	const struct pool_holder holder = { "sessions", t->options.sessions_max };
	int rc = pool_open(&t->pool, sizeof(struct session), &holder, 1);

	if (rc == 0)
		rc = map_open(&t->by_id, t->options.sessions_max);
	if (rc == 0)
		rc = counters_open(&t->counters, rows, SESSIONS_COUNTERS);
	t->warm = rc == 0 ? mem_calloc(VIEW_MEMBERS_MAX, sizeof(*t->warm)) : NULL;
	return rc == 0 && !t->warm ? -ENOMEM : rc;
}

int sessions_open(struct sessions **out, const struct sessions_options *o, struct error *e)
{
	struct sessions *t = mem_calloc(1, sizeof(*t));
	const struct poller poller = { "sessions", t, sessions_poll, sessions_deadline };
	const struct node_listener listener = { t, peer_up, peer_lost, peer_writable };
	int rc;

	if (!t)
		return error_errno(e, -ENOMEM, "table of sessions");
	t->options = *o;
	t->check_ns = UINT64_MAX;
	random_seed(&t->random, o->seed ? o->seed : random_entropy());
	rc = sessions_open_tables(t);
	if (rc == 0)
		rc = node_listener_add(o->node, &listener);
	if (rc < 0) {
		sessions_close(t);
		return error_errno(e, rc, "table of %u sessions", o->sessions_max);
	}
	node_handle(o->node, WIRE_OPENED, on_opened, t);
	node_handle(o->node, WIRE_RESULT, on_result, t);
	node_handle(o->node, WIRE_LOST, on_lost, t);
	node_handle(o->node, WIRE_REFUSED, on_refused, t);
	node_handle(o->node, WIRE_LEAVING, on_leaving, t);
	core_add(node_core(o->node), &poller);
	*out = t;
	return 0;
}

void sessions_close(struct sessions *t)
{
	if (!t)
		return;
	node_listener_remove(t->options.node, t);
	for (struct session *s = t->list; s; s = s->next)
		session_close(s);
	if (t->list)
		sessions_sweep(t);
	for (uint32_t i = 0; i < t->warm_count; i++)
		if (t->warm[i].peer)
			node_unlink(t->options.node, t->warm[i].peer);
	mem_free(t->warm);
	map_close(t->by_id);
	pool_close(t->pool);
	counters_close(t->counters);
	mem_free(t);
}

struct counters *sessions_counters(struct sessions *t)
{
	return t->counters;
}

uint32_t sessions_count(const struct sessions *t)
{
	return map_length(t->by_id);
}

bool sessions_covered(const struct sessions *t, char *missing, size_t bytes)
{
	const struct view *v = directory_client_view(t->options.directory);

	view_missing(v, t->options.fingerprint, t->options.kind, t->options.blocks, missing,
		     bytes);
	return missing[0] == '\0';
}
