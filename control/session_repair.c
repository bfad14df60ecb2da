/* session_repair.c - owns a session's route: finding hops for uncovered blocks, opening them,
 * telling each survivor who comes after it now.
 *
 * Repair is one comparison, made again after every event: each sender of a boundary (the
 * client, or a hop) must know the epoch of the boundary after it.  Where what it was told
 * differs, it is told: in the OPEN of a new hop, in a REROUTE of a surviving one, and for the
 * client's own boundary by aiming it anew.  Replacing the hops of a lost span raises the
 * epochs of the boundaries around them, and the rest follows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/session_private.h"
#include "dataplane/base/log.h"

enum { RETRY_NS = 20 * 1000 * 1000 };

void session_slot_lost(struct session *s, struct slot *slot, const char *reason,
		       uint64_t ban_ns)
{
	struct sessions *t = s->table;
	struct warm *warm = warm_find(t, slot->hop.server);
	uint64_t now = node_now(t->options.node);

	if (slot->state == SLOT_LOST)
		return;
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
	log_info("session", "%016llx: hop %u of %u (%s, blocks [%u,%u)) lost: %s",
		 (unsigned long long)s->id, (unsigned)(slot - s->slots) + 1, s->slot_count,
		 slot->hop.address.text, slot->hop.first, slot->hop.end, reason);
	counters_add(t->counters, SESSIONS_REPAIRS,
		     counters_series(t->counters, SESSIONS_REPAIRS, slot->leaving ? "leaving" :
				     s->opened ? "lost" : "not opened"), 1);
	if (warm)
		warm_ban(t, warm, ban_ns);
	if (s->opened && !s->repair_started_ns)
		s->repair_started_ns = now;
	if (slot->expected)
		node_expect(t->options.node, slot->peer, -1);
	slot->expected = false;
	slot->state = SLOT_LOST;
	if (s->told_epoch == s->slots[0].epoch && slot == s->slots && s->out)
		boundary_untarget(s->out);
	s->retry_ns = now;
}

void session_drop_slot(struct session *s, struct slot *slot)
{
	struct node *n = s->table->options.node;
	struct warm *warm = warm_find(s->table, slot->hop.server);
	const struct frame close = {
		.type = WIRE_CLOSE, .session = s->id, .epoch = s->epoch,
	};

	if (slot->expected)
		node_expect(n, slot->peer, -1);
	if (slot->peer) {
		/* A hop that only seemed lost must not keep our pages. */
		if (slot->state != SLOT_NEW && node_is_up(n, slot->peer))
			node_send(n, slot->peer, &close, NULL);
		node_unlink(n, slot->peer);
	}
	if (warm && warm->routed)
		warm->routed--;
	*slot = (struct slot){ 0 };
}

static uint32_t query_rtt(void *ctx, const struct member *m)
{
	struct session *s = ctx;
	struct warm *warm = warm_find(s->table, m->id);
	struct transport *t = node_transport(s->table->options.node);

	return warm && warm->peer ? (uint32_t)(transport_rtt_ns(t, warm->peer) / NS_PER_US) : 0;
}

static bool query_excluded(void *ctx, const struct member *m)
{
	struct session *s = ctx;
	struct warm *warm = warm_find(s->table, m->id);

	for (uint32_t i = 0; i < s->slot_count; i++)
		if (s->slots[i].hop.server == m->id && s->slots[i].state != SLOT_LOST)
			return true;
	if (session_move_uses(s, m->id))
		return true;
	if (!warm || warm->banned_until_ns <= node_now(s->table->options.node))
		return false;
	return !s->desperate || !warm->peer || !node_is_up(s->table->options.node, warm->peer);
}

static uint32_t query_pending(void *ctx, const struct member *m)
{
	struct session *s = ctx;
	struct warm *warm = warm_find(s->table, m->id);

	return warm && warm->routed > m->load.sessions ? warm->routed - m->load.sessions : 0;
}

struct route_query session_route_query(struct session *s, uint32_t first, uint32_t end)
{
	const struct sessions_options *o = &s->table->options;
	struct route_query query = {
		.view = directory_client_view(o->directory),
		.fingerprint = o->fingerprint,
		.kind = s->kind[0] ? s->kind : o->kind,
		.first = first, .end = end,
		.rtt_us = query_rtt, .excluded = query_excluded, .pending = query_pending,
		.ctx = s,
	};

	for (uint32_t i = 0; i < s->slot_count; i++) {
		if (s->slots[i].hop.end == first)
			query.before = s->slots[i].hop.server;
		if (s->slots[i].hop.first == end)
			query.after = s->slots[i].hop.server;
	}
	return query;
}

static int look_for_route(struct session *s, uint32_t first, uint32_t end, struct route *route,
			  char *missing, size_t missing_bytes)
{
	const struct route_query query = session_route_query(s, first, end);

	return route_find(&query, route, missing, missing_bytes);
}

static int find_route(struct session *s, uint32_t first, uint32_t end, struct route *route)
{
	char missing[WIRE_REASON_BYTES - 32];
	int rc = look_for_route(s, first, end, route, missing, sizeof(missing));

	if (rc < 0) {
		/* A banned server that answers again is better than none. */
		s->desperate = true;
		rc = look_for_route(s, first, end, route, missing, sizeof(missing));
		s->desperate = false;
	}
	if (rc < 0)
		snprintf(s->reason, sizeof(s->reason), "no server covers blocks %s", missing);
	return rc;
}

/* "cpu/int8/f32": the last part names the encoding of rows between blocks. */
static int kind_encoding(const char *kind, enum wire_encoding *out)
{
	const char *slash = strrchr(kind, '/');

	for (int i = WIRE_F32; slash && i < WIRE_TOKENS; i++) {
		if (strcmp(slash + 1, wire_encoding_name(i)) == 0) {
			*out = i;
			return 0;
		}
	}
	return -EPROTO;
}

/* The identity class of the first route binds the session: its rows' encoding and where
 * replacements may come from.
 */
static int bind_kind(struct session *s, const struct route *route)
{
	const struct sessions_options *o = &s->table->options;
	const struct member *m = view_find(directory_client_view(o->directory),
					   route->hops[0].server);
	struct boundary_options boundary = {
		.node = o->node, .session = s->id, .width = o->hidden,
		.chunk_rows = o->chunk_rows,
	};

	if (s->kind[0])
		return 0;
	if (!m || kind_encoding(m->kind, &boundary.encoding) < 0)
		return -EPROTO;
	snprintf(s->kind, sizeof(s->kind), "%s", m->kind);
	return boundary_open(&s->out, &boundary);
}

struct slot session_new_slot(struct session *s, const struct route_hop *hop)
{
	struct warm *warm = warm_find(s->table, hop->server);

	if (warm)
		warm->routed++;
	return (struct slot){ .hop = *hop, .epoch = ++s->epoch, .since = s->position };
}

void session_splice(struct session *s, uint32_t at, uint32_t lost, const struct slot *slots,
		    uint32_t count)
{
	uint32_t after = s->slot_count - at - lost;

	assert(at + count + after <= ROUTE_HOPS_MAX);
	memmove(&s->slots[at + count], &s->slots[at + lost], after * sizeof(s->slots[0]));
	memcpy(&s->slots[at], slots, count * sizeof(s->slots[0]));
	s->slot_count = at + count + after;
}

/* Puts the hops of `route` in the place of slots [at, at + lost). */
static void replace_slots(struct session *s, uint32_t at, uint32_t lost,
			  const struct route *route)
{
	struct slot fresh[ROUTE_HOPS_MAX];

	s->unproven = true;
	for (uint32_t i = at; i < at + lost; i++)
		session_drop_slot(s, &s->slots[i]);
	for (uint32_t i = 0; i < route->count; i++)
		fresh[i] = session_new_slot(s, &route->hops[i]);
	session_splice(s, at, lost, fresh, route->count);
	if (at + route->count < s->slot_count)
		s->slots[at + route->count].epoch = ++s->epoch;
}

bool session_find_hops(struct session *s)
{
	struct route route;
	uint32_t at = 0, filled;

	if (s->slot_count == 0) {
		if (find_route(s, 0, s->table->options.blocks, &route) < 0 ||
		    bind_kind(s, &route) < 0)
			goto later;
		replace_slots(s, 0, 0, &route);
	}
	while (at < s->slot_count) {
		uint32_t end = at;

		while (end < s->slot_count && s->slots[end].state == SLOT_LOST)
			end++;
		if (end == at) {
			at++;
			continue;
		}
		if (session_move_fills(s, at, end, &filled)) {
			at += filled;
			continue;
		}
		if (find_route(s, s->slots[at].hop.first, s->slots[end - 1].hop.end, &route) < 0 ||
		    s->slot_count - (end - at) + route.count > ROUTE_HOPS_MAX)
			goto later;
		replace_slots(s, at, end - at, &route);
		at += route.count;
	}
	return true;
later:
	s->retry_ns = node_now(s->table->options.node) + RETRY_NS;
	return false;
}

static int send_open(struct session *s, struct slot *slot, uint32_t index, uint32_t hops,
		     const struct slot *next, uint32_t next_epoch, uint64_t deadline_ns)
{
	const struct sessions_options *o = &s->table->options;
	uint64_t now = node_now(o->node);
	struct wire_open open = {
		.identity = le64_of(view_identity(o->fingerprint, s->kind)),
		.first = le32_of(slot->hop.first), .end = le32_of(slot->hop.end),
		.tokens_max = le32_of(s->options.tokens_max),
		/* The next hop may have lost the sender that was replaying to it: then it
		 * misses what this one is about to get.
		 */
		.flags = le32_of(next && s->confirmed <= next->since ?
				 WIRE_OPEN_PASS_REPLAY : 0),
		.next_epoch = le32_of(next ? next_epoch : 1),
		.hops = (uint8_t)hops,
		.encoding = (uint8_t)boundary_encoding(s->out),
	};
	int rc;
	struct frame f = {
		.type = WIRE_OPEN, .session = s->id, .epoch = slot->epoch, .hop = (uint8_t)index,
		.payload_bytes = sizeof(open),
	};

	if (deadline_ns > now && deadline_ns != UINT64_MAX)
		f.deadline_us = (uint32_t)MIN((deadline_ns - now) / NS_PER_US, UINT32_MAX);
	wire_text_set(open.next, sizeof(open.next), next ? next->hop.address.text : "");
	rc = node_send(o->node, slot->peer, &f, &open);
	if (rc < 0)
		return rc;
	slot->state = SLOT_OPENING;
	slot->told_epoch = next ? next_epoch : 0;
	return 0;
}

int session_open_slot(struct session *s, struct slot *slot, uint32_t index, uint32_t hops,
		      const struct slot *next, uint32_t next_epoch, uint64_t deadline_ns)
{
	struct node *n = s->table->options.node;
	int rc = 0;

	if (!slot->peer)
		rc = node_link(n, &slot->hop.address, &slot->peer, NULL);
	if (rc < 0) {
		slot->peer = 0;
		return rc;
	}
	return !node_is_up(n, slot->peer) ? 0 :
	       send_open(s, slot, index, hops, next, next_epoch, deadline_ns);
}

void session_open_slots(struct session *s)
{
	for (uint32_t i = 0; i < s->slot_count; i++) {
		const struct slot *next = i + 1 < s->slot_count ? &s->slots[i + 1] : NULL;
		struct slot *slot = &s->slots[i];
		int rc = slot->state != SLOT_NEW ? 0 :
			 session_open_slot(s, slot, i, s->slot_count, next,
					   next ? next->epoch : 0, s->options.deadline_ns);

		if (rc < 0)
			session_slot_lost(s, slot, error_describe(rc), s->table->options.ban_ns);
	}
}

static void send_reroute(struct session *s, uint32_t i)
{
	struct slot *slot = &s->slots[i];
	const struct slot *next = &s->slots[i + 1];
	struct wire_reroute reroute = {
		.next_epoch = le32_of(next->epoch),
		.replay_end = le32_of(s->confirmed),
	};
	const struct frame f = {
		.type = WIRE_REROUTE, .session = s->id, .epoch = slot->epoch, .hop = (uint8_t)i,
		.payload_bytes = sizeof(reroute),
	};

	int rc;

	wire_text_set(reroute.next, sizeof(reroute.next), next->hop.address.text);
	rc = node_send(s->table->options.node, slot->peer, &f, &reroute);
	if (rc < 0)
		session_slot_lost(s, slot, error_describe(rc), s->table->options.ban_ns);
	else
		slot->told_epoch = next->epoch;
}

void session_tell_slots(struct session *s)
{
	const struct boundary_target target = {
		.peer = s->slots[0].peer, .hop = 0, .epoch = s->slots[0].epoch,
		.replay_end = s->confirmed,
	};

	for (uint32_t i = 0; i + 1 < s->slot_count; i++)
		if (s->slots[i].told_epoch != s->slots[i + 1].epoch)
			send_reroute(s, i);
	if (s->told_epoch != target.epoch) {
		boundary_target(s->out, &target);
		s->told_epoch = target.epoch;
	}
}
