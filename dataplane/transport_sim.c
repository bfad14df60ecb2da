/* transport_sim.c - the engine over the simulated network, and the network's
 * own life: nodes, failures, and the run from one event to the next.
 *
 * Sending hands each message to the wire at once, as a kernel with endless
 * buffers would.  A node takes a turn when something is in an inbox of its, when
 * its core or its transport has a deadline, or when it was called upon from
 * outside; it does not before its last turn is over.
 */
#include "dataplane/transport_sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/memory.h"
#include "dataplane/sim_wire.h"

enum { FIRST_FREE_PORT = 50000 };

static const uint64_t turn_least_ns = 1000;     /* so that time passes for a busy node */

static int sim_open(struct engine **out, struct transport *t, const struct transport_options *o,
		    struct error *e)
{
	struct sim_network *n = o->network;
	struct engine *g;

	if (!n)
		return error_set(e, -EINVAL, "the sim engine needs a network to be on");
	if (n->serials == SIM_NODES_MAX)
		return error_set(e, -ENFILE, "a simulated network takes %d nodes in its life",
				 SIM_NODES_MAX);
	g = mem_calloc(1, sizeof(*g));
	if (!g)
		return error_errno(e, -ENOMEM, "cannot open a simulated node");
	g->network = n;
	g->transport = t;
	g->serial = n->serials++;
	g->next = n->engines;
	n->engines = g;
	*out = g;
	return 0;
}

/* A call from outside a turn may have changed what the node waits for. */
static void touch(struct engine *g)
{
	if (!g->in_turn)
		g->woken = true;
}

static void sim_close(struct engine *g)
{
	struct sim_network *n = g->network;
	struct engine **at = &n->engines;

	while (g->ends) {
		if (!g->dead)
			sim_transmit_end(n, g->ends->other, -ECONNRESET,
					 "the connection was closed without a goodbye");
		sim_disown(g->ends);
	}
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	for (int i = 0; i < n->node_count; i++)
		if (n->nodes[i] == g)
			n->nodes[i] = NULL;
	mem_free(g);
}

static struct engine *find_listener(struct sim_network *n, const struct address *a)
{
	for (struct engine *g = n->engines; g; g = g->next)
		for (uint32_t i = 0; i < g->listeners && !g->dead; i++)
			if (strcmp(g->listening[i].text, a->text) == 0)
				return g;
	return NULL;
}

static int check_address(const struct address *a, struct error *e)
{
	if (strncmp(a->text, "sim:", 4) == 0)
		return 0;
	return error_set(e, -EINVAL, "'%s' is not on the simulated network; sim:N is", a->text);
}

static int sim_listen(struct engine *g, const struct address *a, struct address *bound,
		      struct error *e)
{
	struct sim_network *n = g->network;
	int rc = check_address(a, e);

	if (rc < 0)
		return rc;
	if (g->listeners == SIM_LISTENERS_MAX)
		return error_set(e, -ENFILE, "cannot listen on %s: a transport listens on at most "
				 "%d addresses", a->text, SIM_LISTENERS_MAX);
	*bound = *a;
	if (address_port(a) == 0)
		snprintf(bound->text, sizeof(bound->text), "sim:%u",
			 FIRST_FREE_PORT + n->next_port++);
	if (find_listener(n, bound))
		return error_set(e, -EADDRINUSE, "cannot listen on %s: the port is taken",
				 bound->text);
	g->listening[g->listeners++] = *bound;
	return 0;
}

static int sim_connect(struct engine *g, const struct address *a, struct lane *owner,
		       struct link **out, struct error *e)
{
	struct sim_network *n = g->network;
	int rc = check_address(a, e);
	struct end *end;

	if (rc < 0)
		return rc;
	end = sim_connection_open(n, g, find_listener(n, a));
	if (!end)
		return error_errno(e, -ENOMEM, "cannot connect to %s", a->text);
	end->link.lane = owner;
	*out = &end->link;
	end->other->greeting.kind = CHUNK_SYN;
	sim_transmit(n, end->other, &end->other->greeting);
	touch(g);
	return 0;
}

/* The message as one chunk, perhaps with a bit turned over. */
static struct chunk *chunk_of(struct sim_network *n, const struct iovec *parts, unsigned count,
			      size_t bytes)
{
	struct chunk *c = sim_chunk_get(n, bytes);
	size_t at = 0, bit;

	if (!c)
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		memcpy(c->data + at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	if (n->options.corrupt_chance > 0 && random_chance(&n->random, n->options.corrupt_chance)) {
		bit = random_below(&n->random, 8 * bytes);
		c->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	return c;
}

static void reset(struct sim_network *n, struct end *end)
{
	sim_transmit_end(n, end->other, -ECONNRESET, "connection reset");
	sim_transmit_end(n, end, -ECONNRESET, "connection reset");
}

static void sim_send(struct engine *g, struct link *link)
{
	struct end *end = CONTAINER_OF(link, struct end, link);
	struct sim_network *n = g->network;
	struct iovec parts[2];
	struct chunk *c;
	unsigned count;
	size_t bytes;

	if (end->sending || g->dead)
		return;
	end->sending = true;            /* a message that was sent may queue another */
	while ((count = lane_gather(link->lane, parts, ARRAY_LENGTH(parts), &bytes)) > 0) {
		if (!end->other->ended) {
			c = chunk_of(n, parts, count, bytes);
			if (!c || (n->options.reset_chance > 0 &&
				   random_chance(&n->random, n->options.reset_chance))) {
				if (c)
					sim_chunk_put(n, c);
				reset(n, end);
			} else {
				sim_transmit(n, end->other, c);
			}
		}
		lane_sent(link->lane, bytes);
	}
	end->sending = false;
	touch(g);
}

/* What was queued is on the wire already, so flushing needs no time. */
static void sim_finish(struct engine *g, struct link *link, bool flush)
{
	struct end *end = CONTAINER_OF(link, struct end, link);

	if (end->finishing)
		return;
	end->finishing = true;
	if (!g->dead)
		sim_transmit_end(g->network, end->other, -ECONNRESET,
				 "the connection was closed without a goodbye");
	sim_make_ready(end);
	touch(g);
}

static uint64_t sim_wait(struct engine *g, uint64_t timeout_ns)
{
	uint64_t gap_ns = g->gap_ns;

	g->gap_ns = 0;
	return gap_ns;
}

/* False: no room for the peer; the end is gone, perhaps with its connection. */
static bool accept_end(struct engine *g, struct end *end)
{
	struct address from;
	const struct engine *dialer = end->other->node;

	if (dialer && dialer->listeners)
		from = dialer->listening[0];
	else
		snprintf(from.text, sizeof(from.text), "sim:dialer-%d", end->other->serial);
	if (lane_accepted(g->transport, &end->link, &from))
		return true;
	sim_transmit_end(g->network, end->other, -ECONNRESET,
			 "the connection was closed without a goodbye");
	sim_disown(end);
	return false;
}

static bool take(struct engine *g, struct end *end, struct chunk *c)
{
	switch (c->kind) {
	case CHUNK_ACCEPTED:
		return accept_end(g, end);
	case CHUNK_CONNECTED:
		lane_connected(end->link.lane);
		return true;
	case CHUNK_DATA:
		lane_bytes(end->link.lane, c->data, c->bytes);
		sim_chunk_put(g->network, c);
		return true;
	default:
		assert(c->kind == CHUNK_END);
		lane_broken(end->link.lane, c->code, c->reason);
		return true;
	}
}

static void deliver_end(struct engine *g, struct end *end)
{
	struct lane *lane;
	struct chunk *c;

	while (!end->finishing && (c = sim_inbox_pop(end)))
		if (!take(g, end, c))
			return;
	if (!end->finishing)
		return;
	lane = end->link.lane;
	sim_disown(end);
	lane_closed(lane);
}

static void sim_deliver(struct engine *g)
{
	struct end *end;

	while ((end = sim_next_ready(g)))
		deliver_end(g, end);
}

static void sim_wake(struct engine *g)
{
	g->woken = true;
}

const struct engine_ops engine_sim = {
	.name = "sim", .open = sim_open, .close = sim_close, .listen = sim_listen,
	.connect = sim_connect, .send = sim_send, .finish = sim_finish, .wait = sim_wait,
	.deliver = sim_deliver, .wake = sim_wake,
};

int sim_network_open(struct sim_network **out, const struct sim_options *o)
{
	struct sim_network *n = mem_calloc(1, sizeof(*n));

	*out = n;
	if (!n)
		return -ENOMEM;
	assert(o->delay_least_ns <= o->delay_most_ns);
	n->options = *o;
	simulated_clock_init(&n->clock, NS_PER_S);
	random_seed(&n->random, o->seed);
	return 0;
}

void sim_network_close(struct sim_network *n)
{
	struct chunk *c;

	if (!n)
		return;
	assert(!n->engines && "close its transports first");
	while (n->heap_count > 0) {             /* what nobody will receive */
		simulated_clock_advance_to(&n->clock, MAX(n->clock.now_ns, sim_next_arrival(n)));
		sim_arrive(n);
	}
	for (int i = 0; i < SIM_CHUNK_CLASSES; i++) {
		while ((c = n->free[i])) {
			n->free[i] = c->next;
			mem_free(c);
		}
	}
	mem_free(n->heap);
	mem_free(n);
}

const struct clock *sim_clock(struct sim_network *n)
{
	return &n->clock.clock;
}

struct random *sim_random(struct sim_network *n)
{
	return &n->random;
}

int sim_attach(struct sim_network *n, struct core *c, struct transport *t)
{
	struct engine *g = transport_engine(t);
	int id = n->node_count;

	assert(g->network == n && !g->core && id < SIM_NODES_MAX);
	n->nodes[id] = g;
	n->node_serials[id] = g->serial;
	n->node_count++;
	g->core = c;
	g->woken = true;
	return id;
}

static struct engine *node_of(const struct sim_network *n, int node)
{
	assert(node >= 0 && node < n->node_count);
	return n->nodes[node];
}

void sim_detach(struct sim_network *n, int node)
{
	struct engine *g = node_of(n, node);

	if (g)
		g->core = NULL;
}

void sim_kill(struct sim_network *n, int node)
{
	struct engine *g = node_of(n, node);

	if (!g || g->dead)
		return;
	for (struct end *end = g->ends; end; end = end->next)
		sim_transmit_end(n, end->other, -ECONNRESET,
				 "the connection was closed without a goodbye");
	g->dead = true;
}

void sim_freeze(struct sim_network *n, int node, bool frozen)
{
	struct engine *g = node_of(n, node);

	if (!g || g->frozen == frozen)
		return;
	g->frozen = frozen;
	if (frozen) {
		g->frozen_since_ns = n->clock.now_ns;
	} else {
		g->gap_ns += n->clock.now_ns - g->frozen_since_ns;
		g->woken = true;
	}
}

void sim_cut(struct sim_network *n, int a, int b, bool cut)
{
	int serials[2];

	assert(a >= 0 && a < n->node_count && b >= 0 && b < n->node_count);
	serials[0] = n->node_serials[a];
	serials[1] = n->node_serials[b];
	for (int i = 0; i < 2; i++) {
		uint8_t *byte = &n->cut[serials[i]][serials[1 - i] / 8];
		uint8_t bit = (uint8_t)(1 << serials[1 - i] % 8);

		*byte = cut ? *byte | bit : *byte & (uint8_t)~bit;
	}
	if (cut)
		return;
	if (n->nodes[a])
		sim_release_held(n, n->nodes[a]);
	if (n->nodes[b])
		sim_release_held(n, n->nodes[b]);
}

void sim_delay(struct sim_network *n, int node, uint64_t extra_ns)
{
	struct engine *g = node_of(n, node);

	if (g)
		g->extra_ns = extra_ns;
}

static void note_deadline(struct engine *g)
{
	g->deadline_ns = MIN(core_deadline(g->core), transport_deadline(g->transport));
}

static uint64_t next_turn(const struct sim_network *n, const struct engine *g)
{
	uint64_t due_ns;

	if (!g || !g->core || g->dead || g->frozen)
		return UINT64_MAX;
	due_ns = g->woken || g->ready_head ? n->clock.now_ns : g->deadline_ns;
	if (transport_datagram_counters(g->transport))  /* arrive unannounced */
		due_ns = MIN(due_ns, transport_deadline(g->transport));
	return due_ns == UINT64_MAX ? due_ns :
	       MAX(MAX(due_ns, g->busy_until_ns), n->clock.now_ns);
}

static void turn(struct sim_network *n, struct engine *g)
{
	g->woken = false;
	g->in_turn = true;
	core_turn(g->core, 0);
	g->in_turn = false;
	g->gap_ns += g->extra_ns;
	g->busy_until_ns = n->clock.now_ns + MAX(g->extra_ns, turn_least_ns);
	note_deadline(g);
}

/* The node whose turn comes first; of several the one with the least id. */
static struct engine *next_node(const struct sim_network *n, uint64_t *due_ns)
{
	struct engine *first = NULL;

	*due_ns = UINT64_MAX;
	for (int i = 0; i < n->node_count; i++) {
		uint64_t turn_ns = next_turn(n, n->nodes[i]);

		if (turn_ns < *due_ns) {
			*due_ns = turn_ns;
			first = n->nodes[i];
		}
	}
	return first;
}

bool sim_run(struct sim_network *n, uint64_t until_ns, bool (*done)(void *ctx), void *ctx)
{
	uint64_t turn_ns, next_ns;
	struct engine *g;

	for (int i = 0; i < n->node_count; i++)
		if (n->nodes[i] && n->nodes[i]->core)
			note_deadline(n->nodes[i]);
	while (!done || !done(ctx)) {
		g = next_node(n, &turn_ns);
		next_ns = MIN(turn_ns, sim_next_arrival(n));
		if (next_ns > until_ns || next_ns == UINT64_MAX) {
			if (until_ns != UINT64_MAX && until_ns > n->clock.now_ns)
				simulated_clock_advance_to(&n->clock, until_ns);
			return false;
		}
		if (next_ns > n->clock.now_ns)
			simulated_clock_advance_to(&n->clock, next_ns);
		if (sim_next_arrival(n) <= n->clock.now_ns)
			sim_arrive(n);
		else
			turn(n, g);
	}
	return true;
}
