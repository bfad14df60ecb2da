/* transport.c - the calls of transport.h: opens the layer over an engine,
 * lends messages.  The loop's turn is turn.c's; what happens to a connection is lane.c's,
 * to who is at its other end peer.c's, what is in its stream inbound.c's and outbound.c's.
 */
#include "dataplane/transport.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "dataplane/layer.h"
#include "dataplane/transport_sim.h"

static const struct engine_ops *const engines[] = { &engine_uring, &engine_sim };

static const struct counter_row rows[TRANSPORT_COUNTERS] = {
	[SENT_MESSAGES] = { COUNTER, "petals_transport_sent_messages_total",
		"Messages handed to the network.", "type" },
	[RECEIVED_MESSAGES] = { COUNTER, "petals_transport_received_messages_total",
		"Whole messages that arrived.", "type" },
	[SENT_BYTES] = { COUNTER, "petals_transport_sent_bytes_total",
		"Bytes of messages handed to the network, headers included.", "type" },
	[RECEIVED_BYTES] = { COUNTER, "petals_transport_received_bytes_total",
		"Bytes of messages that arrived, headers included.", "type" },
	[ERRORS] = { COUNTER, "petals_transport_errors_total",
		"Bad messages and refused connections.", "kind" },
	[PEERS] = { GAUGE, "petals_transport_peers", "Connections that are up.", NULL },
	[LOST] = { COUNTER, "petals_transport_lost_total",
		"Connections that ended other than by our own choice.", "cause" },
	[CREDIT_WAITS] = { COUNTER, "petals_transport_credit_waits_total",
		"Messages that could not be reserved at once.", "slot" },
	[SLOTS] = { GAUGE, "petals_transport_slots_in_use",
		"Slots of the landing arena in use.", "slot" },
	[RTT] = { HISTOGRAM, "petals_transport_rtt_seconds",
		"Round trips of pings.", NULL, seconds_buckets },
	[LOOP_GAPS] = { HISTOGRAM, "petals_transport_loop_gap_seconds",
		"Times in which the network loop was held up and noticed nothing.", NULL,
		seconds_buckets },
	[WAKEUPS] = { COUNTER, "petals_transport_wakeups_total",
		"Times the network loop went to sleep and woke.", NULL },
};

void transport_options_default(struct transport_options *o)
{
	*o = (struct transport_options){
		.peers_max = 64, .lanes = 2, .small_per_peer = 64, .large_per_peer = 4,
		.large_bytes = 4 << 20,
		.heartbeat_ns = 50 * NS_PER_MS, .silence_ns = 250 * NS_PER_MS,
		.connect_ns = 3 * NS_PER_S, .send_queue_messages = 1024,
		.near_ns = 2 * NS_PER_MS, .path_silence_ns = 250 * NS_PER_MS,
	};
}

/* Those on their way out hold their entry until their messages are back. */
static uint32_t peer_entries(const struct transport_options *o)
{
	return o->peers_max + 4 + o->peers_max / 4;
}

static void plan_arena(const struct transport_options *o, struct arena_plan *plan)
{
	uint32_t peers = peer_entries(o);
	uint32_t large = o->large_bytes ? MAX(16u, o->large_per_peer) : 0;

	*plan = (struct arena_plan){ .sizes = {
		[ARENA_TINY] = { FREE_BYTES, { peers * FREE_PER_PEER, o->send_queue_messages } },
		[ARENA_SMALL] = { WIRE_SMALL_BYTES,
				  { peers * o->small_per_peer, o->send_queue_messages } },
		[ARENA_LARGE] = { (uint32_t)align_up(o->large_bytes, 64),
				  { peers * o->large_per_peer,
				    MIN(large, o->send_queue_messages) } },
	}, .note_bytes = sizeof(struct envelope) };
}

static int check_options(const struct transport_options *o, struct error *e)
{
	for (int i = 0; i < WIRE_TYPE_COUNT; i++)
		assert(!wire_types[i].free || wire_types[i].most_bytes <= FREE_BYTES);
	if (o->peers_max == 0 || o->small_per_peer == 0 || o->send_queue_messages == 0)
		return error_set(e, -EINVAL, "a transport needs at least one peer, one landing "
				 "slot and one message to send");
	if (o->lanes < 1 || o->lanes > TRANSPORT_LANES_MAX)
		return error_set(e, -EINVAL, "%u connections per peer; 1 to %d are possible",
				 o->lanes, TRANSPORT_LANES_MAX);
	if (o->large_bytes > WIRE_PAYLOAD_BYTES_MAX)
		return error_set(e, -EINVAL, "landing slots of %u bytes; at most %d are possible",
				 o->large_bytes, WIRE_PAYLOAD_BYTES_MAX);
	if (o->small_per_peer > CREDIT_GRANT_MOST || o->large_per_peer > CREDIT_GRANT_MOST)
		return error_set(e, -EINVAL, "more than %d landing slots per peer",
				 CREDIT_GRANT_MOST);
	return 0;
}

static int open_memory(struct transport *t, struct error *e)
{
	struct arena_plan plan;

	plan_arena(&t->options, &plan);
	t->peer_count = peer_entries(&t->options);
	t->peers = mem_calloc(t->peer_count, sizeof(*t->peers));
	t->lane_count = engine_links(&t->options);
	t->lanes = mem_calloc(t->lane_count, sizeof(*t->lanes));
	if (!t->peers || !t->lanes || map_open(&t->by_id, t->options.peers_max) < 0 ||
	    counters_open(&t->counters, rows, TRANSPORT_COUNTERS) < 0 ||
	    arena_open(&t->arena, &plan) < 0)
		return error_errno(e, -ENOMEM, "cannot open a transport for %u peers",
				   t->options.peers_max);
	for (int i = 0; i < ARENA_SIZES; i++)
		t->slot_series[i] = counters_series(t->counters, SLOTS, arena_size_name(i));
	return 0;
}

static void close_memory(struct transport *t)
{
	arena_close(t->arena);
	counters_close(t->counters);
	map_close(t->by_id);
	mem_free(t->lanes);
	mem_free(t->peers);
	mem_free(t);
}

/* That nobody else has; from the seed in a simulation. */
uint64_t transport_fresh_number(struct transport *t)
{
	return t->random ? random_u64(t->random) : random_entropy();
}

static int open_flows(struct transport *t, struct error *e)
{
	struct flows_options o;
	int rc;

	if (!t->options.port || !t->options.identity)
		return 0;
	flows_options_default(&o);
	o.flows_max = t->peer_count;
	o.give_up_ns = t->options.path_silence_ns;
	rc = flows_open(&t->flows, t->options.port, &o);
	return rc < 0 ? error_errno(e, rc, "cannot open a datagram path") : 0;
}

int transport_open_on(const struct engine_ops *ops, struct transport **out,
		      const struct transport_options *o, const struct transport_events *events,
		      void *ctx, struct error *e)
{
	struct transport *t;
	int rc;

	*out = NULL;
	rc = check_options(o, e);
	if (rc < 0)
		return rc;
	t = mem_calloc(1, sizeof(*t));
	if (!t)
		return error_errno(e, -ENOMEM, "cannot open a transport");
	t->options = *o;
	if (!t->options.name)
		t->options.name = wire_role_name(o->role);
	if (t->options.large_bytes <= WIRE_SMALL_BYTES)
		t->options.large_bytes = t->options.large_per_peer = 0;
	t->ops = ops;
	t->events = *events;
	t->ctx = ctx;
	t->random = o->network ? sim_random(o->network) : NULL;
	t->node = transport_fresh_number(t);
	t->now_ns = clock_ns(o->clock);
	t->timer_att = UINT64_MAX;
	rc = open_memory(t, e);
	if (rc < 0)
		goto err;
	rc = ops->open(&t->engine, t, &t->options, e);
	if (rc < 0)
		goto err;
	rc = open_flows(t, e);
	if (rc < 0)
		goto err_engine;
	*out = t;
	return 0;

err_engine:
	ops->close(t->engine);
err:
	close_memory(t);
	return rc;
}

int transport_open(struct transport **out, const struct transport_options *o,
		   const struct transport_events *events, void *ctx, struct error *e)
{
	for (size_t i = 0; i < ARRAY_LENGTH(engines); i++)
		if (strcmp(engines[i]->name, o->engine) == 0)
			return transport_open_on(engines[i], out, o, events, ctx, e);
	*out = NULL;
	return error_set(e, -EINVAL, "there is no transport engine '%s'; uring and sim are known",
			 o->engine);
}

void transport_close(struct transport *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->peer_count; i++)
		if (t->peers[i].state == PEER_JOINING || t->peers[i].state == PEER_UP)
			peer_leave(&t->peers[i], "it is closing");
	for (uint32_t i = 0; i < t->lane_count; i++)
		if (t->lanes[i].state != LANE_FREE)
			lane_leave(&t->lanes[i], "it is closing");
	t->ops->close(t->engine);
	for (uint32_t i = 0; i < t->lane_count; i++)
		if (t->lanes[i].state != LANE_FREE)
			lane_release(&t->lanes[i]);
	flows_close(t->flows);
	close_memory(t);
}

int transport_listen(struct transport *t, const struct address *a, struct address *bound,
		     struct error *e)
{
	t->engine_due = true;
	return t->ops->listen(t->engine, a, bound, e);
}

static int dial_lane(struct peer *p, uint8_t index, struct error *e)
{
	struct transport *t = p->transport;
	struct lane *l = lane_new(t, &p->address);
	int rc;

	if (!l)
		return error_set(e, -ENFILE, "cannot connect to %s: all %u connections are taken",
				 p->address.text, t->lane_count);
	l->peer = p;
	l->index = index;
	t->engine_due = true;
	rc = t->ops->connect(t->engine, &p->address, l, &l->link, e);
	if (rc < 0) {
		lane_forget(l);
		return rc;
	}
	l->link->lane = l;
	p->lanes[index] = l;
	p->lanes_held++;
	return 0;
}

int transport_connect(struct transport *t, const struct address *a, uint32_t *peer,
		      struct error *e)
{
	struct peer *p;
	int rc = 0;

	t->now_ns = clock_ns(t->options.clock);
	p = peer_new(t, a);
	if (!p)
		return error_set(e, -ENFILE, "cannot connect to %s: all %u peers are taken",
				 a->text, t->options.peers_max);
	p->dialed = true;
	p->bond = transport_fresh_number(t);
	p->lane_count = (uint8_t)t->options.lanes;
	for (uint8_t i = 0; i < p->lane_count && rc == 0; i++)
		rc = dial_lane(p, i, e);
	if (rc < 0) {
		peer_undial(p);
		return rc;
	}
	*peer = p->id;
	return 0;
}

void transport_disconnect(struct transport *t, uint32_t peer, const char *reason)
{
	struct peer *p = peer_find(t, peer);

	if (p)
		peer_leave(p, reason);
}

struct envelope *envelope_get(struct peer *p, enum arena_size size, enum arena_holder holder,
			      uint32_t bytes)
{
	struct transport *t = p->transport;
	struct arena_slot slot;
	struct envelope *e;

	if (!arena_get(t->arena, size, holder, bytes, &slot))
		return NULL;
	e = arena_note(t->arena, slot);
	assert(e->state == ENVELOPE_IDLE);
	e->message = (struct message){ .payload = arena_bytes(t->arena, slot) };
	e->message.frame.payload_bytes = bytes;
	e->peer = p;
	e->slot = slot;
	e->control = CONTROLS;
	p->held++;
	return e;
}

void envelope_put(struct envelope *e)
{
	struct peer *p = e->peer;

	e->state = ENVELOPE_IDLE;
	arena_put(p->transport->arena, e->slot);
	p->transport->writable_check = true;
	p->held--;
	peer_settle(p);
}

static int wait_for(struct peer *p, enum credit_size size)
{
	static const char *const names[] = {
		[CREDIT_SMALL] = "small", [CREDIT_LARGE] = "large", [CREDIT_NONE] = "tiny",
	};
	struct counters *c = p->transport->counters;

	counters_add(c, CREDIT_WAITS, counters_series(c, CREDIT_WAITS, names[size]), 1);
	if (!p->wants)
		p->transport->waiting++;
	p->wants |= (uint8_t)(1 << size);
	return -EAGAIN;
}

static int reserve(struct transport *t, uint32_t peer, enum credit_size size, uint32_t bytes,
		   struct message **out)
{
	struct peer *p = peer_find(t, peer);
	struct envelope *e;

	*out = NULL;
	if (!p)
		return -ENOTCONN;
	if (p->state != PEER_UP)
		return wait_for(p, size);
	if (size == CREDIT_LARGE && bytes > MIN(p->large_bytes, t->options.large_bytes))
		return -EMSGSIZE;
	if (size != CREDIT_NONE && !credit_take(&p->credit[size]))
		return wait_for(p, size);
	e = envelope_get(p, slot_of_credit(size), ARENA_SENDING, bytes);
	if (!e) {
		if (size != CREDIT_NONE)
			credit_untake(&p->credit[size]);
		return wait_for(p, size);
	}
	e->state = ENVELOPE_RESERVED;
	e->credit = size;
	e->message.peer = peer;
	*out = &e->message;
	return 0;
}

int transport_reserve(struct transport *t, uint32_t peer, uint32_t payload_bytes,
		      struct message **out)
{
	return reserve(t, peer, payload_bytes <= WIRE_SMALL_BYTES ? CREDIT_SMALL : CREDIT_LARGE,
		       payload_bytes, out);
}

int transport_reserve_free(struct transport *t, uint32_t peer, uint32_t payload_bytes,
			   struct message **out)
{
	*out = NULL;
	if (payload_bytes > FREE_BYTES)
		return -EMSGSIZE;
	return reserve(t, peer, CREDIT_NONE, payload_bytes, out);
}

static void give_credit_back(struct peer *p, struct envelope *e)
{
	if (e->credit == CREDIT_NONE || p->state != PEER_UP)
		return;
	credit_untake(&p->credit[e->credit]);
	p->transport->writable_check = true;
}

void transport_send(struct transport *t, struct message *m)
{
	struct envelope *e = CONTAINER_OF(m, struct envelope, message);
	const struct wire_type_row *row = &wire_types[m->frame.type];
	struct peer *p = e->peer;

	assert(e->state == ENVELOPE_RESERVED);
	assert(m->frame.type > WIRE_GOODBYE && m->frame.type < WIRE_TYPE_COUNT && row->served);
	assert(m->frame.payload_bytes >= row->least_bytes &&
	       m->frame.payload_bytes <= row->most_bytes);
	assert(e->credit != CREDIT_NONE || row->free);
	if (row->free)
		give_credit_back(p, e);
	if (p->state == PEER_UP)
		outbound_queue(p, e);
	else
		envelope_put(e);
}

static void put_received(struct peer *p, struct envelope *e)
{
	if (e->credit == CREDIT_NONE) {
		p->free_held--;
		return;
	}
	if (p->state != PEER_UP)
		return;
	credit_owe(&p->credit[e->credit]);
	peer_credit_due(p);
}

void message_put(struct transport *t, struct message *m)
{
	struct envelope *e = CONTAINER_OF(m, struct envelope, message);

	assert(e->peer->transport == t);
	assert(e->state == ENVELOPE_LENT || e->state == ENVELOPE_RESERVED);
	if (e->state == ENVELOPE_LENT)
		put_received(e->peer, e);
	else
		give_credit_back(e->peer, e);
	envelope_put(e);
}

void transport_expect(struct transport *t, uint32_t peer, int delta)
{
	struct peer *p = peer_find(t, peer);

	if (!p)
		return;
	assert(delta >= 0 || p->expected >= (uint32_t)-delta);
	if (p->expected == 0 && delta > 0) {
		t->now_ns = clock_ns(t->options.clock);
		p->expect_att = attentive(t);
	}
	p->expected += (uint32_t)delta;
	transport_sooner(t, peer_due_att(p));
}

void transport_renew_principal(struct transport *t, uint32_t peer, const struct principal *p)
{
	struct peer *found = peer_find(t, peer);

	if (found && t->options.identity)
		found->principal = *p;
}

uint64_t transport_rtt_ns(const struct transport *t, uint32_t peer)
{
	const struct peer *p = peer_find(t, peer);

	return p ? p->rtt_ns : 0;
}

bool transport_by_datagrams(const struct transport *t, uint32_t peer)
{
	const struct peer *p = peer_find(t, peer);

	return p && p->path.state == PATH_OPEN;
}

bool transport_is_up(const struct transport *t, uint32_t peer)
{
	const struct peer *p = peer_find(t, peer);

	return p && p->state == PEER_UP;
}

void transport_wake(struct transport *t)
{
	t->ops->wake(t->engine);
}

struct counters *transport_datagram_counters(struct transport *t)
{
	return t->flows ? flows_counters(t->flows) : NULL;
}

struct counters *transport_counters(struct transport *t)
{
	return t->counters;
}

void transport_arena(const struct transport *t, void **base, size_t *bytes)
{
	arena_region(t->arena, base, bytes);
}

struct engine *transport_engine(const struct transport *t)
{
	return t->engine;
}

void transport_error(struct transport *t, const char *kind)
{
	counters_add(t->counters, ERRORS, counters_series(t->counters, ERRORS, kind), 1);
}

void transport_count(struct transport *t, enum transport_counter counter, enum wire_type type,
		     uint32_t bytes)
{
	static const uint8_t bytes_of[] = {
		[SENT_MESSAGES] = SENT_BYTES, [RECEIVED_MESSAGES] = RECEIVED_BYTES,
	};
	const enum transport_counter pair[2] = { counter, bytes_of[counter] };
	const uint64_t amount[2] = { 1, WIRE_HEADER_BYTES + (uint64_t)bytes };

	for (int i = 0; i < 2; i++) {
		uint32_t *series = &t->series[pair[i]][type];

		if (*series == 0)
			*series = counters_series(t->counters, pair[i], wire_types[type].name) + 1;
		counters_add(t->counters, pair[i], *series - 1, amount[i]);
	}
}
