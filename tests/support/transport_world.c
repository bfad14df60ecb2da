/* transport_world.c - opens, turns and closes the transports of a test. */
#include "tests/support/transport_world.h"

#include "dataplane/port_impaired.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/log.h"
#include "tests/test.h"

const char *const world_engines[] = { "sim", "uring", "sim sealed", "uring sealed",
					"sim sealed datagrams" };
const int world_engine_count = ARRAY_LENGTH(world_engines);

static void on_up(void *ctx, const struct peer_info *info)
{
	struct world_node *n = ctx;

	assert(n->ups < WORLD_PEERS_MAX);
	n->up[n->ups] = *info;
	wire_text_set(n->up_name[n->ups], WIRE_NAME_BYTES, info->name);
	n->up[n->ups].name = n->up_name[n->ups];
	n->ups++;
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct world_node *n = ctx;

	assert(n->losses < WORLD_PEERS_MAX);
	n->lost[n->losses].peer = peer;
	n->lost[n->losses].code = code;
	snprintf(n->lost[n->losses].reason, ERROR_TEXT_BYTES, "%s", reason);
	n->losses++;
}

static void on_received(void *ctx, struct message *m)
{
	struct world_node *n = ctx;

	n->receipts++;
	if (n->on_received) {
		n->on_received(n, m);
	} else if (n->put_at_once) {
		message_put(n->transport, m);
	} else {
		assert(n->kept < WORLD_MESSAGES_MAX);
		n->received[n->kept++] = m;
	}
}

static void on_writable(void *ctx, uint32_t peer)
{
	struct world_node *n = ctx;

	n->writables++;
}

static const struct transport_events events = { on_up, on_lost, on_received, on_writable };

void world_open(struct world *w, const char *engine, const struct sim_options *sim)
{
	const struct sim_options quiet = { .seed = test_seed(), .delay_least_ns = 20 * NS_PER_US,
					   .delay_most_ns = 80 * NS_PER_US };

	const struct port_network_options datagrams = {
		.delay_ns = 20 * NS_PER_US, .bytes_per_ns = 12.5, .queue_bytes = 1 << 20,
		.mark_bytes = 1 << 19, .mtu_bytes = 8400, .datagrams = 4096,
	};

	log_configure(LOG_OFF, false);
	memset(w, 0, sizeof(*w));
	w->engine = strncmp(engine, "sim", 3) == 0 ? "sim" : "uring";
	w->clock = clock_real();
	if (strcmp(w->engine, "sim") == 0) {
		CHECK_EQ(sim_network_open(&w->network, sim ? sim : &quiet), 0);
		w->clock = sim_clock(w->network);
	}
	if (!strstr(engine, "sealed"))
		return;
	if (strstr(engine, "datagrams"))
		CHECK_EQ(port_network_open(&w->ports, &datagrams, w->clock), 0);
	test_ca_open(&w->ca, "region", test_seed());
	w->identity = test_identity(&w->ca, "node", PRINCIPAL_ANY, w->clock);
}

void world_options(struct world *w, struct transport_options *o)
{
	transport_options_default(o);
	o->engine = w->engine;
	o->clock = w->clock;
	o->network = w->network;
	o->identity = w->identity;
	o->role = ROLE_SERVER;
	o->name = "node";
	o->peers_max = 8;
	o->small_per_peer = 8;
	o->large_per_peer = 2;
	o->large_bytes = 4 << 20;
	o->send_queue_messages = 64;
}

struct world_node *world_add(struct world *w, const struct transport_options *given)
{
	struct world_node *n = &w->nodes[w->count];
	struct transport_options o;
	struct address any;
	struct error e;

	assert(w->count < WORLD_NODES_MAX);
	world_options(w, &o);
	if (given)
		o = *given;
	n->world = w;
	n->index = w->count++;
	if (w->ports && o.near_ns) {
		CHECK_EQ(port_sim_open(&n->port, w->ports, (uint32_t)n->index), 0);
		w->impair.seed++;
		if (!impair_is_none(&w->impair))
			CHECK_EQ(port_impaired_open(&n->port, n->port, &w->impair, w->clock, 1024),
				 0);
		o.port = n->port;
		snprintf(o.datagrams.text, sizeof(o.datagrams.text), "sim:%d", n->index);
	}
	CHECK_OK(transport_open(&n->transport, &o, &events, n, &e), &e);
	CHECK_EQ(core_open(&n->core, n->transport, w->clock), 0);
	if (w->network)
		n->id = sim_attach(w->network, n->core, n->transport);
	CHECK_OK(address_parse(&any, w->network ? "sim:0" : "127.0.0.1:0", &e), &e);
	CHECK_OK(transport_listen(n->transport, &any, &n->address, &e), &e);
	return n;
}

void world_put_all(struct world_node *n)
{
	for (int i = 0; i < n->kept; i++)
		message_put(n->transport, n->received[i]);
	n->kept = 0;
}

void world_remove(struct world_node *n)
{
	if (!n->transport)
		return;
	world_put_all(n);
	if (n->world->network)
		sim_detach(n->world->network, n->id);
	core_close(n->core);
	transport_close(n->transport);
	port_close(n->port);
	n->port = NULL;
	n->transport = NULL;
	n->core = NULL;
}

void world_close(struct world *w)
{
	for (int i = 0; i < w->count; i++)
		world_remove(&w->nodes[i]);
	if (w->identity) {
		identity_close(w->identity);
		test_ca_close(&w->ca);
	}
	port_network_close(w->ports);
	sim_network_close(w->network);
}

bool world_run(struct world *w, uint64_t most_ns, bool (*done)(void *ctx), void *ctx)
{
	uint64_t until_ns = clock_ns(w->clock) + most_ns;

	if (w->network) {
		for (int i = 0; i < w->count; i++)
			if (w->nodes[i].transport)
				sim_freeze(w->network, w->nodes[i].id, w->nodes[i].still);
		return sim_run(w->network, until_ns, done, ctx);
	}
	while (!done || !done(ctx)) {
		for (int i = 0; i < w->count; i++)
			if (w->nodes[i].transport && !w->nodes[i].still)
				core_turn(w->nodes[i].core, 200 * NS_PER_US);
		if (clock_ns(w->clock) >= until_ns)
			return done && done(ctx);
	}
	return true;
}

void world_pass(struct world *w, uint64_t ns)
{
	world_run(w, ns, NULL, NULL);
}

struct wait {
	struct world_node *a, *b;
	uint32_t peer;
	int value, losses;
};

static bool both_up(void *ctx)
{
	struct wait *wait = ctx;

	return (transport_is_up(wait->a->transport, wait->peer) && wait->b->ups > wait->value) ||
	       wait->a->losses > wait->losses;
}

static bool both_by_datagrams(void *ctx)
{
	struct wait *wait = ctx;

	return transport_by_datagrams(wait->a->transport, wait->peer) &&
	       transport_by_datagrams(wait->b->transport, world_peer(wait->b));
}

uint32_t world_join(struct world_node *a, struct world_node *b)
{
	struct wait wait = { .a = a, .b = b, .value = b->ups, .losses = a->losses };
	struct error e;

	CHECK_OK(transport_connect(a->transport, &b->address, &wait.peer, &e), &e);
	CHECK(world_run(a->world, 5 * NS_PER_S, both_up, &wait));
	CHECK(transport_is_up(a->transport, wait.peer));
	wait.b = b;
	if (a->port && b->port)
		CHECK(world_run(a->world, 5 * NS_PER_S, both_by_datagrams, &wait));
	return wait.peer;
}

uint32_t world_peer(const struct world_node *n)
{
	assert(n->ups > 0);
	return n->up[n->ups - 1].peer;
}

static bool received_enough(void *ctx)
{
	struct wait *wait = ctx;

	return wait->a->receipts >= wait->value;
}

bool world_wait_received(struct world_node *n, int receipts)
{
	struct wait wait = { .a = n, .value = receipts };

	return world_run(n->world, 10 * NS_PER_S, received_enough, &wait);
}

static bool lost_enough(void *ctx)
{
	struct wait *wait = ctx;

	return wait->a->losses >= wait->value;
}

bool world_wait_lost(struct world_node *n, int losses)
{
	struct wait wait = { .a = n, .value = losses };

	return world_run(n->world, 10 * NS_PER_S, lost_enough, &wait);
}

static bool writable_enough(void *ctx)
{
	struct wait *wait = ctx;

	return wait->a->writables >= wait->value;
}

bool world_wait_writable(struct world_node *n, int writables)
{
	struct wait wait = { .a = n, .value = writables };

	return world_run(n->world, 10 * NS_PER_S, writable_enough, &wait);
}

struct watch {
	struct world_node *node;
	const char *series;
	double value;
};

static bool counter_is(void *ctx)
{
	struct watch *watch = ctx;

	return world_counter(watch->node, watch->series) == watch->value;
}

bool world_wait_counter(struct world_node *n, const char *series, double value)
{
	struct watch watch = { n, series, value };

	return world_run(n->world, 10 * NS_PER_S, counter_is, &watch);
}

static uint8_t pattern(uint64_t key, uint32_t at)
{
	return (uint8_t)((key * 0x9e3779b97f4a7c15ull >> 32) + at * 131u);
}

int world_say_in(struct world_node *n, uint32_t peer, uint64_t session, uint32_t bytes,
		 uint64_t key)
{
	struct message *m;
	int rc = transport_reserve(n->transport, peer, bytes, &m);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < bytes; i++)
		m->payload[i] = pattern(key, i);
	m->frame.type = WIRE_CALL;
	m->frame.session = session;
	m->frame.step = (uint32_t)key;
	m->frame.epoch = (uint32_t)(key >> 32);
	transport_send(n->transport, m);
	return 0;
}

int world_say(struct world_node *n, uint32_t peer, uint32_t bytes, uint64_t key)
{
	return world_say_in(n, peer, 7, bytes, key);
}

uint64_t world_key(const struct message *m)
{
	return (uint64_t)m->frame.epoch << 32 | m->frame.step;
}

bool world_matches(const struct message *m, uint64_t key)
{
	if (world_key(m) != key || m->frame.type != WIRE_CALL)
		return false;
	for (uint32_t i = 0; i < m->frame.payload_bytes; i++)
		if (m->payload[i] != pattern(key, i))
			return false;
	return true;
}

static double counter_of(struct counters *set, const char *series)
{
	struct buffer text = { 0 };
	char line[256];
	const char *at;
	double value = 0;

	counters_render(&set, 1, &text);
	snprintf(line, sizeof(line), "\n%s ", series);
	at = strstr(buffer_string(&text), line);
	if (at)
		value = strtod(at + strlen(line), NULL);
	buffer_close(&text);
	return value;
}

double world_counter(const struct world_node *n, const char *series)
{
	return counter_of(transport_counters(n->transport), series);
}

double world_datagram_counter(const struct world_node *n, const char *series)
{
	return counter_of(transport_datagram_counters(n->transport), series);
}

double world_errors(const struct world_node *n, const char *kind)
{
	char series[128];

	snprintf(series, sizeof(series), "petals_transport_errors_total{kind=\"%s\"}", kind);
	return world_counter(n, series);
}
