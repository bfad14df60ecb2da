/* turn.c - one turn of a transport: lets the engine wait and deliver, then does what time
 * alone brings about (timers, certificates that expired), and tells who may write again.
 */
#include "dataplane/layer.h"

static const uint64_t principals_check_ns = 10 * NS_PER_S;
static const uint64_t engine_pause_ns = 20 * NS_PER_US;
static const uint64_t prompt_ns = NS_PER_MS;    /* no engine calls so little a gap */

void transport_sooner(struct transport *t, uint64_t att)
{
	t->timer_att = MIN(t->timer_att, att);
}

/* When the port has something, or the flows have; *descriptor tells of arrivals, if not -1. */
static uint64_t datagrams_due(const struct transport *t, int *descriptor)
{
	struct port *port = t->options.port;
	uint64_t rest_ns, due_ns;

	*descriptor = -1;
	if (!t->flows)
		return UINT64_MAX;
	if (t->datagrams_due)
		return 0;
	rest_ns = port->ops->rest(port, descriptor);
	due_ns = flows_deadline(t->flows);
	return rest_ns == UINT64_MAX ? due_ns :
				       MIN(due_ns, clock_ns(t->options.clock) + rest_ns);
}

uint64_t transport_deadline(const struct transport *t)
{
	uint64_t timer_ns = t->timer_att == UINT64_MAX ? UINT64_MAX : t->timer_att + t->gap_ns;
	int descriptor;

	if (t->waiting && t->writable_check)
		return 0;
	return MIN(timer_ns, datagrams_due(t, &descriptor));
}

/* Datagrams out and in, and what the paths make of it. */
static void datagrams(struct transport *t)
{
	int work;

	if (!t->flows)
		return;
	do {
		t->datagrams_due = false;
		t->in_flows = true;
		work = flows_poll(t->flows, t->now_ns, t->gap_ns);
		t->in_flows = false;
		t->datagrams_busy = work > 0;
		if (work == 0 && !t->datagrams_due)
			break;
		for (uint32_t i = 0; i < t->peer_count; i++)
			if (t->peers[i].state != PEER_FREE)
				path_turn(&t->peers[i]);
	} while (t->datagrams_due);
}

/* Deadlines only ever move away while bytes arrive, so looking at the peers
 * when the nearest one known has come is enough.
 */
static void run_timers(struct transport *t)
{
	uint64_t next = UINT64_MAX;

	if (attentive(t) < t->timer_att)
		return;
	t->timer_att = UINT64_MAX;
	for (uint32_t i = 0; i < t->peer_count; i++) {
		if (t->peers[i].state == PEER_FREE)
			continue;
		peer_timer(&t->peers[i]);
		next = MIN(next, peer_due_att(&t->peers[i]));
	}
	for (uint32_t i = 0; i < t->lane_count; i++) {
		if (t->lanes[i].state == LANE_FREE)
			continue;
		lane_timer(&t->lanes[i]);
		next = MIN(next, lane_due_att(&t->lanes[i]));
	}
	transport_sooner(t, next);
}

/* Certificates expire by themselves and are revoked at any time. */
static void check_principals(struct transport *t)
{
	struct identity *id = t->options.identity;

	if (!id || (identity_generation(id) == t->identity_generation &&
		    attentive(t) < t->check_att))
		return;
	t->identity_generation = identity_generation(id);
	t->check_att = attentive(t) + principals_check_ns;
	for (uint32_t i = 0; i < t->peer_count; i++)
		if (t->peers[i].state != PEER_FREE)
			peer_check_principal(&t->peers[i]);
}

/* Calls between two turns take the clock before this turn's gap is known; what
 * they noted must not lie in the future.
 */
static void take_gap(struct transport *t, uint64_t gap_ns)
{
	t->gap_ns += gap_ns;
	counters_observe(t->counters, LOOP_GAPS, 0, (double)gap_ns / NS_PER_S);
	for (uint32_t i = 0; i < t->peer_count; i++) {
		struct peer *p = &t->peers[i];

		if (p->state == PEER_FREE)
			continue;
		p->born_att = MIN(p->born_att, attentive(t));
		p->heard_att = MIN(p->heard_att, attentive(t));
		p->ping_att = MIN(p->ping_att, attentive(t));
		p->expect_att = MIN(p->expect_att, attentive(t));
	}
	for (uint32_t i = 0; i < t->lane_count; i++)
		t->lanes[i].born_att = MIN(t->lanes[i].born_att, attentive(t));
}

static bool can_write(const struct peer *p)
{
	for (int size = 0; size <= CREDIT_NONE; size++) {
		if (!(p->wants & 1 << size))
			continue;
		if ((size == CREDIT_NONE || p->credit[size].available) &&
		    arena_room(p->transport->arena, slot_of_credit(size), ARENA_SENDING))
			return true;
	}
	return false;
}

static void fire_writable(struct transport *t)
{
	if (!t->waiting || !t->writable_check)
		return;
	t->writable_check = false;
	for (uint32_t i = 0; i < t->peer_count && t->waiting; i++) {
		struct peer *p = &t->peers[i];

		if (p->state != PEER_UP || !p->wants || !can_write(p))
			continue;
		p->wants = 0;
		t->waiting--;
		t->fired++;
		t->events.writable(t->ctx, p->id);
	}
}

static void show_slots(struct transport *t)
{
	for (int i = 0; i < ARENA_SIZES; i++) {
		uint32_t held = arena_held(t->arena, i, ARENA_LANDING) +
				arena_held(t->arena, i, ARENA_SENDING);

		if (held == t->slot_shown[i])
			continue;
		t->slot_shown[i] = held;
		counters_set(t->counters, SLOTS, t->slot_series[i], held);
	}
}

/* A busy port is looked at far more often than the engine, whose waits are system calls. */
static bool may_skip_engine(const struct transport *t)
{
	return t->datagrams_busy && !t->engine_due && t->ops->watch &&
	       t->now_ns - t->engine_ns < engine_pause_ns;
}

static void wait_for_engine(struct transport *t, uint64_t timeout_ns)
{
	uint64_t deadline_ns, gap_ns;
	int descriptor;

	datagrams_due(t, &descriptor);
	if (descriptor >= 0 && t->ops->watch)
		t->ops->watch(t->engine, descriptor);
	deadline_ns = transport_deadline(t);
	if (deadline_ns != UINT64_MAX)
		timeout_ns = MIN(timeout_ns, deadline_ns > t->now_ns ? deadline_ns - t->now_ns : 0);
	if (t->options.busy_poll)
		timeout_ns = 0;
	t->engine_due = false;
	gap_ns = t->ops->wait(t->engine, timeout_ns);
	t->now_ns = t->engine_ns = clock_ns(t->options.clock);
	if (gap_ns)
		take_gap(t, gap_ns);
	if (timeout_ns)
		counters_add(t->counters, WAKEUPS, 0, 1);
	t->ops->deliver(t->engine);
}

int transport_poll(struct transport *t, uint64_t timeout_ns)
{
	t->fired = 0;
	t->now_ns = clock_ns(t->options.clock);
	/* Where we come late they wait: only the engine tells by how much. */
	if (t->datagrams_due && t->now_ns - t->engine_ns < prompt_ns)
		datagrams(t);
	if (!may_skip_engine(t))
		wait_for_engine(t, timeout_ns);
	run_timers(t);
	datagrams(t);
	check_principals(t);
	fire_writable(t);
	show_slots(t);
	return t->fired;
}
