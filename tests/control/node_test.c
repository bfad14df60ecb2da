/* node_test.c - links are shared and fall with their peers, small frames never get
 * lost or out of order while a peer lives, and whoever misbehaves goes.
 */
#include "control/node.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

/* What a listener was told. */
struct told {
	uint32_t ups, losses, writables;
	uint32_t last_up, last_lost;
	int code;
	char reason[WIRE_REASON_BYTES];
};

static void told_up(void *ctx, const struct peer_info *info)
{
	struct told *t = ctx;

	t->ups++;
	t->last_up = info->peer;
}

static void told_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct told *t = ctx;

	t->losses++;
	t->last_lost = peer;
	t->code = code;
	snprintf(t->reason, sizeof(t->reason), "%s", reason);
}

static void told_writable(void *ctx, uint32_t peer)
{
	((struct told *)ctx)->writables++;
}

static void listen_to(struct sim_program *p, struct told *t)
{
	*t = (struct told){ 0 };
	CHECK_EQ(node_listener_add(p->node, &(struct node_listener){
		.ctx = t, .up = told_up, .lost = told_lost, .writable = told_writable }), 0);
}

/* Takes WIRE_CLOSE frames, whose step numbers must rise by one. */
struct inbox {
	struct sim_program *program;
	uint64_t next;
	bool hold;                      /* keep the messages, and so their credit */
	struct message *held;
};

static void take_frame(void *ctx, struct message *m)
{
	struct inbox *box = ctx;

	CHECK_EQ(m->frame.step, box->next);
	box->next++;
	if (box->hold) {
		m->next = box->held;
		box->held = m;
	} else {
		node_put(box->program->node, m);
	}
}

/* Two programs, "a" linked to "b" at sim:1. */
struct pair {
	struct sim_network *network;
	struct sim_program a, b;
	struct told told_a, told_b;
	struct inbox inbox;
	struct address address;
	uint32_t peer;
};

static void pair_open(struct pair *p)
{
	struct error e;

	memset(p, 0, sizeof(*p));
	p->network = test_network();
	sim_program_open(&p->a, p->network, ROLE_GATEWAY, "a");
	sim_program_open(&p->b, p->network, ROLE_SERVER, "b");
	listen_to(&p->a, &p->told_a);
	listen_to(&p->b, &p->told_b);
	sim_program_listen(&p->b, "sim:1");
	p->inbox = (struct inbox){ .program = &p->b };
	node_handle(p->b.node, WIRE_OPENED, take_frame, &p->inbox);
	node_handle(p->b.node, WIRE_STEP, take_frame, &p->inbox);
	CHECK_OK(address_parse(&p->address, "sim:1", &e), &e);
	CHECK_OK(node_link(p->a.node, &p->address, &p->peer, &e), &e);
}

static void pair_close(struct pair *p)
{
	node_listener_remove(p->a.node, &p->told_a);
	node_listener_remove(p->b.node, &p->told_b);
	sim_program_close(&p->a);
	sim_program_close(&p->b);
	sim_network_close(p->network);
}

enum { LARGE_WIDTH = WIRE_SMALL_BYTES };        /* a payload of four times that */

/* A STEP of one f32 row of `width`, which needs credit. */
static int send_step(struct pair *p, uint64_t number, uint32_t width)
{
	static float row[LARGE_WIDTH];
	struct frame f = {
		.type = WIRE_STEP, .session = 1, .step = (uint32_t)number, .rows = 1,
		.width = width, .encoding = WIRE_F32, .payload_bytes = width * 4,
	};

	CHECK(width <= ARRAY_LENGTH(row));
	return node_send(p->a.node, p->peer, &f, row);
}

/* Goal: a link comes up on both sides, is shared by address, and counts its holders. */
TEST(node_link__is_shared)
{
	struct pair p;
	struct error e;
	uint32_t again;

	pair_open(&p);
	CHECK(!node_is_up(p.a.node, p.peer));
	CHECK_OK(node_link(p.a.node, &p.address, &again, &e), &e);
	CHECK_EQ(again, p.peer);
	run_for(p.network, NS_PER_S);
	CHECK(node_is_up(p.a.node, p.peer));
	CHECK_EQ(p.told_a.ups, 1);
	CHECK_EQ(p.told_a.last_up, p.peer);
	CHECK_EQ(p.told_b.ups, 1);
	node_unlink(p.a.node, p.peer);
	run_for(p.network, 2 * NODE_IDLE_NS);
	CHECK(node_is_up(p.a.node, p.peer));
	CHECK_EQ(p.told_a.losses, 0);
	pair_close(&p);
}

/* Goal: a link that nobody holds idles, is taken up again, and goes in the end. */
TEST(node_unlink__idles_then_goes)
{
	struct pair p;
	struct error e;
	uint32_t again;

	pair_open(&p);
	run_for(p.network, NS_PER_S);
	node_unlink(p.a.node, p.peer);
	run_for(p.network, NODE_IDLE_NS - NS_PER_MS);
	CHECK_OK(node_link(p.a.node, &p.address, &again, &e), &e);
	CHECK_EQ(again, p.peer);
	run_for(p.network, NS_PER_S);
	node_unlink(p.a.node, p.peer);
	CHECK(node_is_up(p.a.node, p.peer));
	run_for(p.network, NODE_IDLE_NS + NS_PER_S);
	CHECK(!node_is_up(p.a.node, p.peer));
	CHECK_EQ(p.told_a.losses, 1);
	CHECK_EQ(p.told_b.losses, 1);
	node_unlink(p.a.node, p.peer);
	CHECK_OK(node_link(p.a.node, &p.address, &again, &e), &e);
	CHECK(again != p.peer);
	pair_close(&p);
}

/* Goal: what is sent before the connection is up, or without credit, comes in order. */
TEST(node_send__queues_in_order)
{
	struct pair p;
	uint64_t number;

	pair_open(&p);
	for (number = 0; number < 100; number++)
		CHECK_EQ(send_step(&p, number, 16), 0);
	CHECK_EQ(node_queued(p.a.node, p.peer), 100);
	p.inbox.hold = true;
	run_for(p.network, NS_PER_S / 10);
	CHECK(node_queued(p.a.node, p.peer) > 0);
	CHECK(p.inbox.next < 100);
	for (; number < 200; number++)
		CHECK_EQ(send_step(&p, number, 16), 0);
	p.inbox.hold = false;
	while (p.inbox.held) {
		struct message *m = p.inbox.held;

		p.inbox.held = m->next;
		node_put(p.b.node, m);
	}
	run_for(p.network, NS_PER_S);
	CHECK_EQ(p.inbox.next, 200);
	CHECK_EQ(node_queued(p.a.node, p.peer), 0);
	CHECK(p.told_a.writables > 0);
	pair_close(&p);
}

/* Goal: a small frame, for which there is credit, does not pass a large one that waits. */
TEST(node_send__small_ones_wait_for_large_ones)
{
	struct pair p;
	uint64_t number;

	pair_open(&p);
	run_for(p.network, NS_PER_S);
	p.inbox.hold = true;
	for (number = 0; number < 10; number++)
		CHECK_EQ(send_step(&p, number, LARGE_WIDTH), 0);
	CHECK(node_queued(p.a.node, p.peer) > 0);
	run_for(p.network, NS_PER_S / 10);
	CHECK(p.inbox.next < 10);
	for (; number < 20; number++)
		CHECK_EQ(send_step(&p, number, 4), 0);
	run_for(p.network, NS_PER_S / 10);
	CHECK(p.inbox.next < 10);
	p.inbox.hold = false;
	while (p.inbox.held) {
		struct message *m = p.inbox.held;

		p.inbox.held = m->next;
		node_put(p.b.node, m);
	}
	run_for(p.network, NS_PER_S);
	CHECK_EQ(p.inbox.next, 20);
	pair_close(&p);
}

/* Goal: the queue has a bound in frames and in bytes; it goes with its peer. */
TEST(node_send__queue_is_bounded)
{
	struct pair p;
	struct frame f = { .type = WIRE_CALL, .payload_bytes = NODE_QUEUE_BYTES_MAX };
	void *payload = mem_calloc(1, NODE_QUEUE_BYTES_MAX);

	pair_open(&p);
	CHECK_EQ(node_send(p.a.node, p.peer, &f, payload), 0);
	CHECK_EQ(send_step(&p, 0, 1), -ENOBUFS);
	pair_close(&p);
	mem_free(payload);

	pair_open(&p);
	for (uint64_t number = 0; number < NODE_QUEUE_FRAMES_MAX; number++)
		CHECK_EQ(send_step(&p, number, 1), 0);
	CHECK_EQ(send_step(&p, 0, 1), -ENOBUFS);
	sim_kill(p.network, p.b.id);
	run_for(p.network, 5 * NS_PER_S);
	CHECK_EQ(p.told_a.losses, 1);
	CHECK_EQ(node_queued(p.a.node, p.peer), 0);
	CHECK_EQ(send_step(&p, 0, 1), -ENOTCONN);
	pair_close(&p);
}

/* Goal: a lost peer's link goes; the next who asks dials anew. */
TEST(node_link__dials_anew_after_a_loss)
{
	struct pair p;
	struct error e;
	uint32_t again;

	pair_open(&p);
	run_for(p.network, NS_PER_S);
	sim_kill(p.network, p.b.id);
	run_for(p.network, NS_PER_S);
	CHECK_EQ(p.told_a.losses, 1);
	CHECK_EQ(p.told_a.last_lost, p.peer);
	CHECK(p.told_a.code < 0 && p.told_a.reason[0]);
	CHECK(!node_is_up(p.a.node, p.peer));
	node_unlink(p.a.node, p.peer);
	node_listener_remove(p.b.node, &p.told_b);
	sim_program_close(&p.b);
	sim_program_open(&p.b, p.network, ROLE_SERVER, "b again");
	sim_program_listen(&p.b, "sim:1");
	listen_to(&p.b, &p.told_b);
	CHECK_OK(node_link(p.a.node, &p.address, &again, &e), &e);
	CHECK(again != p.peer);
	run_for(p.network, NS_PER_S);
	CHECK(node_is_up(p.a.node, again));
	pair_close(&p);
}

/* Goal: dialing an address where nobody listens ends in lost, with a reason. */
TEST(node_link__nobody_there)
{
	struct pair p;
	struct address nowhere;
	struct error e;
	uint32_t peer;

	pair_open(&p);
	CHECK_OK(address_parse(&nowhere, "sim:99", &e), &e);
	CHECK_OK(node_link(p.a.node, &nowhere, &peer, &e), &e);
	run_for(p.network, 10 * NS_PER_S);
	CHECK_EQ(p.told_a.losses, 1);
	CHECK_EQ(p.told_a.last_lost, peer);
	CHECK(p.told_a.reason[0]);
	pair_close(&p);
}

/* Goal: a message that nobody handles costs its sender the connection, with a word. */
TEST(node_handle__unexpected_messages_are_refused)
{
	struct frame f = { .type = WIRE_OPEN, .payload_bytes = sizeof(struct wire_open) };
	struct wire_open open = { 0 };
	struct pair p;

	pair_open(&p);
	run_for(p.network, NS_PER_S);
	CHECK_EQ(node_send(p.a.node, p.peer, &f, &open), 0);
	run_for(p.network, NS_PER_S);
	CHECK_EQ(p.told_b.losses, 1);
	CHECK_EQ(p.told_b.code, -EPROTO);
	CHECK(strstr(p.told_b.reason, "\"open\" messages are not served here"));
	CHECK_EQ(p.told_a.losses, 1);
	CHECK(strstr(p.told_a.reason, "\"open\" messages are not served here"));
	pair_close(&p);
}

/* Goal: only so many may listen, and those who stop are not told. */
TEST(node_listener_add__bounded)
{
	struct told extra[32];
	struct pair p;
	int added = 0;

	pair_open(&p);
	while (added < 32 && node_listener_add(p.a.node, &(struct node_listener){
			.ctx = &extra[added], .up = told_up }) == 0)
		added++;
	CHECK(added > 4 && added < 32);
	for (int i = 0; i < added; i++)
		node_listener_remove(p.a.node, &extra[i]);
	run_for(p.network, NS_PER_S);
	CHECK_EQ(p.told_a.ups, 1);
	pair_close(&p);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, opening, linking and queueing give all back. */
TEST(node_open__unwinds_every_failure)
{
	struct sim_network *network = test_network();
	struct transport_options o;
	struct address address;
	struct error e;
	uint64_t live;
	int nth, rc;

	transport_options_default(&o);
	o.engine = "sim";
	o.clock = sim_clock(network);
	o.network = network;
	o.name = "swept";
	o.peers_max = 4;
	CHECK_OK(address_parse(&address, "sim:5", &e), &e);
	for (nth = 1;; nth++) {
		struct frame f = { .type = WIRE_CLOSE };
		struct sim_network *own;
		struct sim_options so = { .seed = 1 };
		struct node *n;
		uint32_t peer;

		live = mem_live_blocks();
		CHECK_EQ(sim_network_open(&own, &so), 0);
		o.network = own;
		o.clock = sim_clock(own);
		fault_arm(nth);
		rc = node_open(&n, &o, &e);
		if (rc == 0)
			rc = node_link(n, &address, &peer, &e);
		if (rc == 0)
			rc = node_send(n, peer, &f, NULL);
		node_close(n);
		if (!fault_fired())
			break;
		fault_disarm();
		CHECK(rc < 0);
		sim_network_close(own);
		CHECK_EQ(mem_live_blocks(), live);
	}
	fault_disarm();
	CHECK_EQ(rc, 0);
	sim_network_close(o.network);
	sim_network_close(network);
	CHECK(nth > 5);
}
#endif
