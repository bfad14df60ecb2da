/* flow_world.c - the harness of flow tests: a watching port, a model, a clock. */
#include "tests/support/flow_world.h"

#include "dataplane/base/memory.h"
#include "dataplane/packet.h"
#include "tests/test.h"

enum { STEP_NS = 500, HELD = 4096, LARGE_MESSAGES = 4 };

/* ---- a port that sees what is sent before the network spoils it ---- */

struct watch {
	struct port port;
	struct port *inner;
	struct flow_world *world;
};

static struct port *inner(struct port *p)
{
	return CONTAINER_OF(p, struct watch, port)->inner;
}

static void watch_close(struct port *p)
{
	port_close(inner(p));
	mem_free(CONTAINER_OF(p, struct watch, port));
}

static int watch_path(struct port *p, const struct address *to, uint32_t *path, struct error *e)
{
	return inner(p)->ops->path(inner(p), to, path, e);
}

static void watch_forget(struct port *p, uint32_t path)
{
	inner(p)->ops->forget(inner(p), path);
}

static uint32_t watch_mtu(struct port *p, uint32_t path)
{
	return inner(p)->ops->mtu_bytes(inner(p), path);
}

static bool watch_lend(struct port *p, uint32_t path, uint32_t bytes, struct port_datagram *out)
{
	return inner(p)->ops->lend(inner(p), path, bytes, out);
}

/* Numbers rise by one or more: none comes twice. */
static void watch_send(struct port *p, struct port_datagram *burst, uint32_t count)
{
	struct flow_world *w = CONTAINER_OF(p, struct watch, port)->world;

	for (uint32_t i = 0; i < count; i++) {
		struct packet packet;

		CHECK_EQ(packet_decode(burst[i].bytes, burst[i].length, &packet),
			 PACKET_FAULT_NONE);
		CHECK(packet.connection >= 1 && packet.connection <= w->connections);
		CHECK(packet.number >= w->next_numbers[packet.connection - 1]);
		w->next_numbers[packet.connection - 1] = packet.number + 1;
	}
	inner(p)->ops->send(inner(p), burst, count);
}

static uint32_t watch_receive(struct port *p, struct port_datagram *burst, uint32_t most)
{
	return inner(p)->ops->receive(inner(p), burst, most);
}

static void watch_release(struct port *p, struct port_datagram *burst, uint32_t count)
{
	inner(p)->ops->release(inner(p), burst, count);
}

static uint64_t watch_rest(struct port *p, int *descriptor)
{
	return inner(p)->ops->rest(inner(p), descriptor);
}

static const struct port_ops watch_ops = {
	.name = "watch", .close = watch_close, .path = watch_path, .forget = watch_forget,
	.mtu_bytes = watch_mtu, .lend = watch_lend, .send = watch_send,
	.receive = watch_receive, .release = watch_release, .rest = watch_rest,
};

static struct port *watch_open(struct flow_world *w, struct port *of)
{
	struct watch *watch = mem_calloc(1, sizeof(*watch));

	assert_non_null(watch);
	*watch = (struct watch){ .port.ops = &watch_ops, .inner = of, .world = w };
	return &watch->port;
}

/* ---- events ---- */

static void on_opened(void *ctx)
{
	struct flow_lane *lane = ctx;

	CHECK(!lane->opened);
	lane->opened = true;
}

static bool on_land(void *ctx, uint32_t payload_bytes, const uint8_t *header,
		    struct flow_landing *out)
{
	struct flow_lane *lane = ctx;

	if (lane->refuse > 0) {
		lane->refuse--;
		return false;
	}
	/* Exactly as much as was asked for, so that a byte more is seen. */
	out->payload = mem_aligned(64, payload_bytes ? payload_bytes : 1);
	assert_non_null(out->payload);
	out->owner = lane;
	lane->landed++;
	return true;
}

static void on_unland(void *ctx, const struct flow_landing *l)
{
	struct flow_lane *lane = ctx;

	CHECK(l->owner == lane);
	lane->landed--;
	mem_free(l->payload);
}

static void on_arrived(void *ctx, const uint8_t header[WIRE_HEADER_BYTES],
		       const struct flow_landing *l)
{
	struct flow_lane *lane = ctx;
	struct flow_world *w = lane->world;
	struct wire_header h;
	struct post *p;

	memcpy(&h, header, sizeof(h));
	CHECK(le32_get(h.step) < w->post_count);
	p = &w->posts[le32_get(h.step)];
	CHECK_BYTES(header, &p->header, WIRE_HEADER_BYTES);
	CHECK(p->lane == &w->lanes[lane->other][lane->node]);
	CHECK_EQ(p->state, POST_SENT);
	CHECK_EQ(p->arrivals, 0);
	CHECK_EQ(p->sequence, lane->expected[p->key]);
	CHECK_BYTES(l->payload, p->payload, p->bytes);
	lane->expected[p->key]++;
	p->arrivals++;
	p->arrived_ns = w->clock.now_ns;
	w->arrivals[w->arrival_count++] = (uint32_t)(p - w->posts);
	on_unland(ctx, l);
}

static void finish(struct post *p, enum post_state state)
{
	p->state = state;
	p->lane->unfinished--;
	mem_free(p->payload);
	p->payload = NULL;
}

static void on_acked(void *ctx, void *owner)
{
	struct post *p = owner;

	CHECK(p->lane == ctx);
	CHECK_EQ(p->state, POST_SENT);
	CHECK_EQ(p->arrivals, 1);
	finish(p, POST_ACKED);
}

static void on_broken(void *ctx, enum flow_end why)
{
	struct flow_lane *lane = ctx;

	CHECK(!lane->broken);
	lane->broken = true;
	lane->why = why;
}

static const struct flow_events events = {
	.opened = on_opened, .land = on_land, .unland = on_unland, .arrived = on_arrived,
	.acked = on_acked, .broken = on_broken,
};

/* ---- the world ---- */

static void open_node(struct flow_world *w, uint32_t node, const struct impair_options *bad)
{
	struct impair_options mine = { 0 };
	struct flow_node *n = &w->nodes[node];

	CHECK_EQ(port_sim_open(&n->sim, w->network, node), 0);
	if (bad)
		mine = *bad;
	mine.seed = random_u64(&w->random);
	CHECK_EQ(port_impaired_open(&n->impaired, n->sim, &mine, &w->clock.clock, HELD), 0);
	n->port = watch_open(w, n->impaired);
	CHECK_EQ(flows_open(&n->flows, n->port, &w->options), 0);
	for (uint32_t other = 0; other < FLOW_WORLD_NODES; other++) {
		w->lanes[node][other].world = w;
		w->lanes[node][other].node = node;
		w->lanes[node][other].other = other;
	}
}

struct flow_world *flow_world_open(uint64_t seed, uint32_t nodes,
				   const struct port_network_options *network,
				   const struct impair_options *bad)
{
	struct flow_world *w = mem_calloc(1, sizeof(*w));

	assert_non_null(w);
	random_seed(&w->random, seed);
	simulated_clock_init(&w->clock, NS_PER_S);
	CHECK_EQ(port_network_open(&w->network, network, &w->clock.clock), 0);
	flows_options_default(&w->options);
	w->options.lossy = 1;
	w->options.flows_max = FLOW_WORLD_NODES;
	seal_policy_default(&w->seal);
	w->large_bytes = 1 << 20;
	w->node_count = nodes;
	for (uint32_t i = 0; i < nodes; i++)
		open_node(w, i, bad);
	return w;
}

/* Posts that cannot come any more. */
static void drop_posts(struct flow_world *w, struct flow_lane *lane)
{
	for (uint32_t i = 0; i < w->post_count; i++)
		if (w->posts[i].lane == lane && w->posts[i].state <= POST_SENT)
			finish(&w->posts[i], POST_DROPPED);
	lane->queue_head = lane->queue_tail;
}

static void close_lane(struct flow_lane *lane)
{
	flow_close(lane->flow);
	lane->flow = NULL;
	lane->opened = lane->broken = false;
	CHECK_EQ(lane->landed, 0);
}

void flow_world_close(struct flow_world *w)
{
	for (uint32_t a = 0; a < w->node_count; a++)
		for (uint32_t b = 0; b < w->node_count; b++) {
			close_lane(&w->lanes[a][b]);
			drop_posts(w, &w->lanes[a][b]);
			CHECK_EQ(w->lanes[a][b].unfinished, 0);
		}
	for (uint32_t a = 0; a < w->node_count; a++) {
		flows_close(w->nodes[a].flows);
		port_close(w->nodes[a].port);
	}
	port_network_close(w->network);
	mem_free(w);
}

static void open_lane(struct flow_lane *lane, const struct flow_options *o)
{
	struct flow_world *w = lane->world;
	struct error e = { 0 };

	CHECK_OK(flow_open(&lane->flow, w->nodes[lane->node].flows, o, &events, lane,
			   w->clock.now_ns, &e), &e);
}

void flow_world_connect(struct flow_world *w, uint32_t a, uint32_t b)
{
	struct flow_options to_b = {
		.large_in = { w->large_bytes, LARGE_MESSAGES },
		.large_out = { w->large_bytes, LARGE_MESSAGES }, .seal = w->seal,
	}, to_a;

	for (size_t i = 0; i < SEAL_SECRET_BYTES; i++) {
		to_b.send_secret[i] = (uint8_t)random_u64(&w->random);
		to_b.receive_secret[i] = (uint8_t)random_u64(&w->random);
	}
	assert(w->connections + 2 <= ARRAY_LENGTH(w->next_numbers));
	to_b.connection_in = ++w->connections;
	to_b.connection_out = ++w->connections;
	to_a = to_b;
	memcpy(to_a.send_secret, to_b.receive_secret, SEAL_SECRET_BYTES);
	memcpy(to_a.receive_secret, to_b.send_secret, SEAL_SECRET_BYTES);
	to_a.connection_in = to_b.connection_out;
	to_a.connection_out = to_b.connection_in;
	snprintf(to_b.to.text, sizeof(to_b.to.text), "sim:%u", b);
	snprintf(to_a.to.text, sizeof(to_a.to.text), "sim:%u", a);
	open_lane(&w->lanes[a][b], &to_b);
	open_lane(&w->lanes[b][a], &to_a);
}

uint32_t flow_world_post(struct flow_world *w, uint32_t from, uint32_t to, uint32_t key,
			 uint32_t bytes, enum flow_class class)
{
	struct flow_lane *lane = &w->lanes[from][to];
	uint32_t index = w->post_count++;
	struct post *p = &w->posts[index];
	uint64_t word;

	assert(index < FLOW_WORLD_POSTS && key < FLOW_WORLD_KEYS);
	*p = (struct post){ .lane = lane, .key = key, .sequence = lane->sequences[key]++,
			    .bytes = bytes, .class = class, .posted_ns = w->clock.now_ns,
			    .payload = mem_alloc(bytes + 8) };
	assert_non_null(p->payload);
	p->header = (struct wire_header){ .payload_bytes = le32_of(bytes), .session = le64_of(key),
					  .step = le32_of(index), .rows = le32_of(p->sequence) };
	for (uint32_t at = 0; at < bytes; at += 8) {
		word = random_u64(&w->random);
		memcpy(p->payload + at, &word, 8);
	}
	lane->queue[lane->queue_tail++ % FLOW_WORLD_POSTS] = index;
	lane->unfinished++;
	return index;
}

static void pump(struct flow_lane *lane)
{
	struct flow_world *w = lane->world;

	while (lane->queue_head != lane->queue_tail) {
		struct post *p = &w->posts[lane->queue[lane->queue_head % FLOW_WORLD_POSTS]];
		struct flow_message m = {
			.header = (const uint8_t *)&p->header, .payload = p->payload,
			.payload_bytes = p->bytes, .key = p->key, .class = p->class, .owner = p,
		};

		if (!lane->flow || !flow_may_send(lane->flow, p->bytes))
			return;
		CHECK_EQ(flow_send(lane->flow, &m), 0);
		p->state = POST_SENT;
		lane->queue_head++;
	}
}

static void on_unsent(void *ctx, void *owner)
{
	struct flow_lane *lane = ctx;
	struct post *p = owner;

	CHECK(p->lane == lane);
	CHECK_EQ(p->state, POST_SENT);
	CHECK_EQ(p->arrivals, 0);
	p->state = POST_QUEUED;
}

/* Those that came back go in front of those that never left, in their order. */
static void rebuild_queue(struct flow_world *w, struct flow_lane *lane)
{
	lane->queue_head = lane->queue_tail = 0;
	for (uint32_t i = 0; i < w->post_count; i++)
		if (w->posts[i].lane == lane && w->posts[i].state == POST_QUEUED)
			lane->queue[lane->queue_tail++] = i;
}

void flow_world_settle(struct flow_world *w, uint32_t a, uint32_t b)
{
	struct flow_lane *lanes[2] = { &w->lanes[a][b], &w->lanes[b][a] };
	struct wire_completed has[2];

	for (int i = 0; i < 2; i++) {
		flow_stop(lanes[i]->flow);
		flow_completed(lanes[i]->flow, &has[i]);
	}
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(flow_settle(lanes[i]->flow, &has[1 - i], on_unsent), 0);
		close_lane(lanes[i]);
		rebuild_queue(w, lanes[i]);
	}
	flow_world_connect(w, a, b);
}

void flow_world_restart(struct flow_world *w, uint32_t a, uint32_t b)
{
	struct flow_lane *lanes[2] = { &w->lanes[a][b], &w->lanes[b][a] };

	for (int i = 0; i < 2; i++) {
		close_lane(lanes[i]);
		drop_posts(w, lanes[i]);
		memset(lanes[i]->sequences, 0, sizeof(lanes[i]->sequences));
		memset(lanes[i]->expected, 0, sizeof(lanes[i]->expected));
	}
	flow_world_connect(w, a, b);
}

void flow_world_freeze(struct flow_world *w, uint32_t node, uint64_t ns)
{
	struct flow_node *n = &w->nodes[node];

	if (n->frozen_until_ns == 0)
		n->frozen_since_ns = w->clock.now_ns;
	n->frozen_until_ns = MAX(n->frozen_until_ns, w->clock.now_ns + ns);
}

bool flow_world_is_finished(const struct flow_world *w)
{
	for (uint32_t a = 0; a < w->node_count; a++)
		for (uint32_t b = 0; b < w->node_count; b++)
			if (w->lanes[a][b].unfinished > 0)
				return false;
	return true;
}

static void turn(struct flow_world *w, uint32_t node)
{
	struct flow_node *n = &w->nodes[node];

	if (n->frozen_until_ns > w->clock.now_ns)
		return;
	if (n->frozen_until_ns) {
		n->gap_ns += w->clock.now_ns - n->frozen_since_ns;
		n->frozen_until_ns = 0;
	}
	flows_poll(n->flows, w->clock.now_ns, n->gap_ns);
	for (uint32_t other = 0; other < w->node_count; other++)
		pump(&w->lanes[node][other]);
}

static uint64_t node_due(const struct flow_world *w, const struct flow_node *n)
{
	uint64_t due_ns = port_impaired_next(n->impaired);

	if (n->frozen_until_ns > w->clock.now_ns)
		return n->frozen_until_ns;
	due_ns = MIN(due_ns, port_sim_next(n->sim));
	return MIN(due_ns, flows_deadline(n->flows));
}

static uint64_t next_due(const struct flow_world *w)
{
	uint64_t due_ns = UINT64_MAX, mine_ns;

	for (uint32_t i = 0; i < w->node_count; i++) {
		mine_ns = node_due(w, &w->nodes[i]);
		due_ns = MIN(due_ns, mine_ns);
	}
	return due_ns;
}

static void step(struct flow_world *w, uint64_t until_ns)
{
	uint64_t due_ns = MAX(next_due(w), w->clock.now_ns + STEP_NS);

	simulated_clock_advance_to(&w->clock, MIN(due_ns, until_ns));
	for (uint32_t i = 0; i < w->node_count; i++)
		turn(w, i);
}

bool flow_world_run(struct flow_world *w, uint64_t until_ns)
{
	for (uint32_t i = 0; i < w->node_count; i++)
		for (uint32_t other = 0; other < w->node_count; other++)
			pump(&w->lanes[i][other]);
	while (!flow_world_is_finished(w) && w->clock.now_ns < until_ns)
		step(w, until_ns);
	return flow_world_is_finished(w);
}

void flow_world_pass(struct flow_world *w, uint64_t ns)
{
	uint64_t until_ns = w->clock.now_ns + ns;

	while (w->clock.now_ns < until_ns)
		step(w, until_ns);
}
