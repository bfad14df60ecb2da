/* session.c - owns one session's life on the client: states, steps, results, deadline.  Who
 * its hops are is session_repair.c's.
 */
#include "control/session_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "compute/row.h"
#include "dataplane/base/log.h"

enum { SESSION_HOLDER };

void session_check(const struct session *s)
{
	bool whole = s->slot_count > 0;

	for (uint32_t i = 0; i < s->slot_count; i++) {
		const struct slot *slot = &s->slots[i];

		assert(i == 0 || slot->hop.first == s->slots[i - 1].hop.end);
		assert(slot->epoch > 0 && slot->epoch <= s->epoch);
		whole = whole && slot->state != SLOT_LOST;
		assert(s->state != SESSION_READY || slot->state == SLOT_OPEN);
		assert(s->state != SESSION_READY || i + 1 == s->slot_count ||
		       slot->told_epoch == s->slots[i + 1].epoch);
	}
	assert(s->state != SESSION_OPENING || whole);
	assert(s->state != SESSION_READY || (whole && s->told_epoch == s->slots[0].epoch));
	session_move_check(s);
	assert(s->confirmed <= s->wanted_end && s->wanted_end <= s->position);
	assert(s->position <= s->options.tokens_max);
}

void session_fail(struct session *s, int code, const char *format, ...)
{
	struct sessions *t = s->table;
	char reason[512];
	va_list args;

	if (s->state == SESSION_FAILED || s->state == SESSION_CLOSED)
		return;
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	s->state = SESSION_FAILED;
	session_expect(s);
	counters_add(t->counters, SESSIONS_FAILED,
		     counters_series(t->counters, SESSIONS_FAILED, error_describe(code)), 1);
	log_warn("session", "%016llx failed: %s", (unsigned long long)s->id, reason);
	s->options.events.failed(s->options.ctx, code, reason);
}

static void slot_expect(struct session *s, struct slot *slot, bool expect)
{
	if (expect != slot->expected)
		node_expect(s->table->options.node, slot->peer, expect ? 1 : -1);
	slot->expected = expect;
}

/* While an answer is due from a hop, its silence counts. */
void session_expect(struct session *s)
{
	bool alive = s->state != SESSION_FAILED && s->state != SESSION_CLOSED;

	for (uint32_t i = 0; i < s->slot_count; i++) {
		struct slot *slot = &s->slots[i];

		slot_expect(s, slot, alive && slot->peer && slot->state != SLOT_LOST &&
			    (slot->state != SLOT_OPEN || s->wanted_end > s->confirmed));
	}
	for (uint32_t i = 0; i < s->move.slot_count; i++) {
		struct slot *slot = &s->move.slots[i];

		slot_expect(s, slot, alive && slot->peer && slot->state != SLOT_OPEN);
	}
}

static void session_ready(struct session *s)
{
	struct sessions *t = s->table;
	uint64_t now = node_now(t->options.node);

	s->state = SESSION_READY;
	if (s->repair_started_ns) {
		uint64_t took = now - s->repair_started_ns;

		s->repair_started_ns = 0;
		s->stats.repairs++;
		s->stats.repair_ns += took;
		counters_observe(t->counters, SESSIONS_REPAIR_SECONDS, 0, (double)took / NS_PER_S);
		log_info("session", "%016llx repaired in %.1f ms, %u positions replayed",
			 (unsigned long long)s->id, (double)took / NS_PER_MS, s->confirmed);
	}
	session_check(s);
	if (!s->opened) {
		s->opened = true;
		s->options.events.opened(s->options.ctx);
	}
}

static uint32_t slots_in(const struct session *s, enum slot_state state)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->slot_count; i++)
		count += s->slots[i].state == state;
	return count;
}

void session_advance(struct session *s)
{
	if (s->state == SESSION_FAILED || s->state == SESSION_CLOSED)
		return;
	if (!session_find_hops(s)) {
		s->state = SESSION_ROUTING;
		sessions_check_at(s->table, session_due(s));
		session_expect(s);
		return;
	}
	session_open_slots(s);
	if (slots_in(s, SLOT_OPEN) == s->slot_count)
		session_tell_slots(s);
	if (slots_in(s, SLOT_OPEN) == s->slot_count && s->opened)
		session_move(s);
	if (slots_in(s, SLOT_LOST)) {
		/* One could not be dialed or told: look again, from the poll. */
		s->state = SESSION_ROUTING;
		sessions_check_at(s->table, node_now(s->table->options.node));
		return;
	}
	if (slots_in(s, SLOT_OPEN) < s->slot_count) {
		s->state = SESSION_OPENING;
		session_check(s);
	} else if (s->state != SESSION_READY || s->repair_started_ns) {
		session_ready(s);
	}
	if (s->state != SESSION_CLOSED && s->out)
		boundary_pump(s->out);
	session_expect(s);
}

uint64_t session_due(const struct session *s)
{
	if (s->state == SESSION_FAILED || s->state == SESSION_CLOSED)
		return UINT64_MAX;
	return MIN(s->state == SESSION_ROUTING ? s->retry_ns : session_move_due(s),
		   s->options.deadline_ns);
}

static void result_measure(struct session *s, const struct frame *f)
{
	struct counters *c = s->table->counters;
	uint64_t step_ns = node_now(s->table->options.node) - s->step_started_ns;
	uint64_t inside_ns = (f->queue_us + (uint64_t)f->compute_us) * NS_PER_US;

	s->stats.step_ns = step_ns;
	s->stats.queue_ns = f->queue_us * NS_PER_US;
	s->stats.compute_ns = f->compute_us * NS_PER_US;
	counters_observe(c, SESSIONS_STEP_SECONDS, 0, (double)step_ns / NS_PER_S);
	counters_observe(c, SESSIONS_QUEUE_SECONDS, 0, f->queue_us / 1e6);
	counters_observe(c, SESSIONS_COMPUTE_SECONDS, 0, f->compute_us / 1e6);
	if (inside_ns < step_ns)
		counters_observe(c, SESSIONS_WIRE_SECONDS, 0,
				 (double)(step_ns - inside_ns) / NS_PER_S);
}

/* A result came through all of them: what they did before is forgotten. */
static void forgive_servers(struct session *s)
{
	s->unproven = false;
	for (uint32_t i = 0; i < s->slot_count; i++) {
		struct warm *warm = warm_find(s->table, s->slots[i].hop.server);

		if (warm)
			warm->failures = 0;
	}
}

void session_result(struct session *s, const struct message *m)
{
	struct sessions *t = s->table;
	struct slot *last = s->slot_count ? &s->slots[s->slot_count - 1] : NULL;
	uint32_t end = m->frame.position + m->frame.rows;

	if (!last || !s->opened || s->state == SESSION_FAILED)
		return;
	if (m->peer != last->peer && !session_move_kept(s, m->peer))
		return;                     /* of a hop that was replaced */
	if (end <= s->confirmed) {
		counters_add(t->counters, SESSIONS_REPEATED, 0, 1);
		return;
	}
	if (m->frame.rows == 0 || end > s->wanted_end || m->frame.width != t->options.hidden) {
		session_slot_lost(s, last, "its result makes no sense", t->options.ban_ns);
		session_advance(s);
		return;
	}
	s->confirmed = end;
	if (s->unproven)
		forgive_servers(s);
	session_move_result(s);
	result_measure(s, &m->frame);
	session_expect(s);
	s->options.events.result(s->options.ctx, end, m->frame.rows, m->frame.encoding,
				 m->payload);
}

int session_step(struct session *s, const float *rows_in, uint32_t rows, bool want_all)
{
	struct sessions *t = s->table;
	uint32_t width = t->options.hidden;

	assert(s->opened && rows > 0);
	if (s->state == SESSION_FAILED || s->state == SESSION_CLOSED)
		return -EPIPE;
	if ((uint64_t)s->position + rows > s->options.tokens_max)
		return -ENOSPC;
	for (uint32_t done = 0, n; done < rows; done += n) {
		struct boundary_step step = { .step = ++s->step, .position = s->position };
		void *room;
		int rc;

		n = step.rows = step.kept = MIN(rows - done, t->options.chunk_rows);
		if (want_all)
			step.flags = WIRE_WANT_ALL;
		else if (done + n == rows)
			step.flags = WIRE_WANT_LAST;
		room = boundary_reserve(s->out, n);
		if (!room)
			return -ENOMEM;
		row_encode((enum row_encoding)boundary_encoding(s->out),
			   rows_in + (uint64_t)done * width, n, width, room);
		rc = boundary_append(s->out, &step);
		if (rc < 0)
			return rc;
		s->position += n;
	}
	s->wanted_end = s->position;
	s->step_started_ns = node_now(t->options.node);
	counters_add(t->counters, SESSIONS_STEPS, 0, 1);
	boundary_pump(s->out);
	session_expect(s);
	return 0;
}

int session_open(struct session **out, struct sessions *t, const struct session_options *o,
		 struct error *e)
{
	struct session *s = pool_get(t->pool, SESSION_HOLDER);

	if (!s)
		return error_set(e, -EBUSY, "%u sessions are open, no more are taken",
				 t->options.sessions_max);
	s->table = t;
	s->options = *o;
	do
		s->id = random_u64(&t->random);
	while (s->id == 0 || map_get(t->by_id, s->id));
	map_put(t->by_id, s->id, s);
	s->next = t->list;
	t->list = s;
	counters_add(t->counters, SESSIONS_OPENED, 0, 1);
	/* Routed by the next poll, so that no event fires inside this call. */
	s->retry_ns = node_now(t->options.node);
	sessions_check_at(t, s->retry_ns);
	sessions_check_at(t, o->deadline_ns);
	*out = s;
	return 0;
}

void session_close(struct session *s)
{
	if (!s || s->state == SESSION_CLOSED)
		return;
	s->state = SESSION_CLOSED;
	session_expect(s);
	session_move_drop(s);
	while (s->slot_count)
		session_drop_slot(s, &s->slots[--s->slot_count]);
	boundary_close(s->out);
	s->out = NULL;
	map_remove(s->table->by_id, s->id);
	/* Freed by the next poll: callers may be on our stack. */
	s->table->closed++;
	sessions_check_at(s->table, 0);
}

uint64_t session_id(const struct session *s)
{
	return s->id;
}

uint32_t session_position(const struct session *s)
{
	return s->position;
}

const struct session_stats *session_stats(const struct session *s)
{
	return &s->stats;
}

void session_route(const struct session *s, struct route *out)
{
	*out = (struct route){ .count = s->slot_count };
	for (uint32_t i = 0; i < s->slot_count; i++)
		out->hops[i] = s->slots[i].hop;
}
