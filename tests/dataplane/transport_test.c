/* transport_test.c - the conformance suite: what transport.h promises, over
 * every engine.
 */
#include "dataplane/transport.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/transport_world.h"
#include "tests/test.h"

/* Goal: both sides come up and learn who the other is. */
OVER_ENGINES(transport__hello_introduces_both)
{
	struct transport_options o;
	struct world_node *a, *b;
	uint32_t peer;

	world_options(w, &o);
	o.role = ROLE_GATEWAY;
	o.name = "front";
	a = world_add(w, &o);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	CHECK_EQ(a->ups, 1);
	CHECK_EQ(a->up[0].peer, peer);
	CHECK_EQ(a->up[0].role, ROLE_SERVER);
	CHECK(a->up[0].dialed);
	CHECK_TEXT(a->up[0].address.text, b->address.text);
	CHECK_EQ(b->ups, 1);
	CHECK_EQ(b->up[0].role, ROLE_GATEWAY);
	CHECK_TEXT(b->up[0].name, "front");
	CHECK(!b->up[0].dialed);
	CHECK(a->up[0].node != b->up[0].node);
	CHECK_EQ((int)world_counter(a, "petals_transport_peers"), 1);
}

/* Goal: payloads of every size class arrive whole, in order, with their header,
 * both ways at once.
 */
OVER_ENGINES(transport__messages_arrive_whole_and_in_order)
{
	static const uint32_t sizes[] = { 0, 1, 63, 2304, 40000, 65536, 65537, 1 << 20, 4 << 20,
					  1, 28672, 0, 3000000, 5, 100000 };
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peers[2] = { world_join(a, b), world_peer(b) };
	struct world_node *nodes[2] = { a, b };

	for (int i = 0; i < (int)ARRAY_LENGTH(sizes); i++) {
		for (int n = 0; n < 2; n++)
			while (world_say(nodes[n], peers[n], sizes[i], (uint64_t)i) == -EAGAIN) {
				CHECK(world_wait_received(nodes[1 - n], i));
				world_put_all(nodes[1 - n]);
				world_pass(w, NS_PER_MS);
			}
		for (int n = 0; n < 2; n++) {
			const struct message *m;

			CHECK(world_wait_received(nodes[n], i + 1));
			m = nodes[n]->received[nodes[n]->kept - 1];
			CHECK_EQ(m->frame.payload_bytes, sizes[i]);
			CHECK(world_matches(m, (uint64_t)i));
			CHECK_EQ((uintptr_t)m->payload % 64, 0);
			world_put_all(nodes[n]);
		}
	}
}

/* Goal: many queued messages of mixed sizes keep their order and content. */
OVER_ENGINES(transport__queued_messages_keep_order)
{
	struct transport_options o;
	struct world_node *a, *b;
	uint32_t peer;

	world_options(w, &o);
	o.small_per_peer = 40;
	o.large_per_peer = 8;
	a = world_add(w, &o);
	b = world_add(w, &o);
	peer = world_join(a, b);
	for (uint64_t i = 0; i < 40; i++)
		CHECK_EQ(world_say(a, peer, i % 5 == 4 ? 200000 + 7 * i : 100 * i, i), 0);
	CHECK(world_wait_received(b, 40));
	for (int i = 0; i < 40; i++)
		CHECK(world_matches(b->received[i], (uint64_t)i));
}

/* Goal: every field of the frame survives the trip. */
OVER_ENGINES(transport__frame_fields_survive)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);
	struct message *m;
	struct frame *f;

	CHECK_EQ(transport_reserve(a->transport, peer, 2 * 3 * 4, &m), 0);
	m->frame = (struct frame){ .type = WIRE_STEP, .flags = WIRE_WANT_ALL, .payload_bytes = 24,
				   .session = 0x1122334455667788, .step = 9, .epoch = 4,
				   .position = 77, .rows = 2, .width = 3, .encoding = WIRE_F32,
				   .hop = 3, .deadline_us = 1000000, .queue_us = 5,
				   .compute_us = 6 };
	memset(m->payload, 0x5a, 24);
	transport_send(a->transport, m);
	CHECK(world_wait_received(b, 1));
	f = &b->received[0]->frame;
	CHECK_EQ(f->type, WIRE_STEP);
	CHECK_EQ(f->flags, WIRE_WANT_ALL);
	CHECK(f->session == 0x1122334455667788);
	CHECK_EQ(f->step, 9);
	CHECK_EQ(f->epoch, 4);
	CHECK_EQ(f->position, 77);
	CHECK_EQ(f->rows, 2);
	CHECK_EQ(f->width, 3);
	CHECK_EQ(f->encoding, WIRE_F32);
	CHECK_EQ(f->hop, 3);
	CHECK_EQ(f->deadline_us, 1000000);
	CHECK_EQ(f->queue_us, 5);
	CHECK_EQ(f->compute_us, 6);
	CHECK_EQ(b->received[0]->peer, world_peer(b));
	CHECK(b->received[0]->arrived_ns > 0);
}

/* Goal: a sender stops at what was granted and goes on when slots come back. */
OVER_ENGINES(transport__credit_bounds_a_sender)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);
	struct message *m;

	for (int i = 0; i < 8; i++)
		CHECK_EQ(world_say(a, peer, 10, (uint64_t)i), 0);
	CHECK_EQ(world_say(a, peer, 10, 8), -EAGAIN);
	CHECK_EQ(world_say(a, peer, 100000, 8), 0);
	CHECK_EQ(transport_reserve(a->transport, peer, 100000, &m), 0);
	CHECK_EQ(world_say(a, peer, 100000, 10), -EAGAIN);
	message_put(a->transport, m);
	CHECK_EQ(world_say(a, peer, 100000, 9), 0);
	CHECK(world_wait_received(b, 10));
	world_pass(w, 5 * NS_PER_MS);
	CHECK_EQ(b->receipts, 10);
	a->writables = 0;
	CHECK_EQ(world_say(a, peer, 10, 10), -EAGAIN);
	world_put_all(b);
	CHECK(world_wait_writable(a, 1));
	world_pass(w, 5 * NS_PER_MS);
	CHECK_EQ(a->writables, 1);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(world_say(a, peer, 10, (uint64_t)i), 0);
	CHECK_EQ(world_say(a, peer, 10, 8), -EAGAIN);
	CHECK(world_wait_received(b, 18));
}

/* Goal: credit travels home on answers; a message of its own is the exception. */
OVER_ENGINES(transport__answers_carry_credit)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t to_b = world_join(a, b), to_a = world_peer(b);

	for (int i = 0; i < 100; i++) {
		CHECK_EQ(world_say(a, to_b, 100, 1), 0);
		CHECK(world_wait_received(b, i + 1));
		world_put_all(b);
		CHECK_EQ(world_say(b, to_a, 100, 2), 0);
		CHECK(world_wait_received(a, i + 1));
		world_put_all(a);
	}
	CHECK_EQ((int)world_counter(b, "petals_transport_sent_messages_total{type=\"credit\"}"), 0);
	CHECK_EQ((int)world_counter(b, "petals_transport_sent_messages_total{type=\"call\"}"), 100);
}

/* Goal: what cannot be sent is refused with the code that transport.h names. */
OVER_ENGINES(transport__reserve_says_why_not)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	struct message *m;
	struct error e;
	uint32_t peer;

	CHECK_EQ(transport_reserve(a->transport, 999, 1, &m), -ENOTCONN);
	CHECK_OK(transport_connect(a->transport, &b->address, &peer, &e), &e);
	CHECK_EQ(transport_reserve(a->transport, peer, 1, &m), -EAGAIN);
	CHECK(world_wait_writable(a, 1));
	CHECK(transport_is_up(a->transport, peer));
	CHECK_EQ(transport_reserve(a->transport, peer, (4 << 20) + 1, &m), -EMSGSIZE);
	CHECK_EQ(transport_reserve_free(a->transport, peer, 513, &m), -EMSGSIZE);
	transport_disconnect(a->transport, peer, "");
	CHECK_EQ(transport_reserve(a->transport, peer, 1, &m), -ENOTCONN);
	CHECK(!transport_is_up(a->transport, peer));
}

static int say_free(struct world_node *n, uint32_t peer)
{
	struct message *m;
	int rc = transport_reserve_free(n->transport, peer, 0, &m);

	if (rc == 0) {
		m->frame.type = WIRE_CLOSE;
		m->frame.session = 7;
		transport_send(n->transport, m);
	}
	return rc;
}

/* Goal: free messages pass when credit is spent, and cost none. */
OVER_ENGINES(transport__free_messages_need_no_credit)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);
	struct message *m;

	for (int i = 0; i < 7; i++)
		CHECK_EQ(world_say(a, peer, 10, (uint64_t)i), 0);
	CHECK_EQ(transport_reserve(a->transport, peer, 0, &m), 0);
	m->frame.type = WIRE_CLOSE;
	m->frame.session = 7;
	CHECK_EQ(world_say(a, peer, 10, 8), -EAGAIN);
	transport_send(a->transport, m);
	CHECK_EQ(world_say(a, peer, 10, 8), 0);
	CHECK_EQ(world_say(a, peer, 10, 9), -EAGAIN);
	CHECK_EQ(say_free(a, peer), 0);
	CHECK(world_wait_received(b, 10));
	CHECK_EQ(b->received[7]->frame.type, WIRE_CLOSE);
	CHECK_EQ(b->received[9]->frame.type, WIRE_CLOSE);
}

/* Goal: a peer that floods with free messages is cut off with a reason; the
 * others do not notice.
 */
OVER_ENGINES(transport__a_flood_ends_the_peer_alone)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	struct world_node *c = world_add(w, NULL);
	uint32_t peer = world_join(a, b), bystander = world_join(c, b);

	for (int i = 0; i < 300 && !a->losses; i++)
		while (say_free(a, peer) == -EAGAIN)
			world_pass(w, NS_PER_MS);
	CHECK(world_wait_lost(b, 1));
	CHECK_EQ(b->lost[0].code, -EPROTO);
	CHECK(strstr(b->lost[0].reason, "flood of messages"));
	CHECK(world_wait_lost(a, 1));
	CHECK_EQ(a->lost[0].code, -EPIPE);
	CHECK(strstr(a->lost[0].reason, "flood"));
	CHECK_EQ((int)world_errors(b, "flood"), 1);
	world_put_all(b);
	CHECK_EQ(world_say(c, bystander, 10, 1), 0);
	CHECK(world_wait_received(b, b->receipts + 1));
}

/* Goal: a goodbye reaches the other side after what was sent before it. */
OVER_ENGINES(transport__disconnect_says_goodbye_last)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);

	CHECK_EQ(world_say(a, peer, 1 << 20, 1), 0);
	CHECK_EQ(world_say(a, peer, 100, 2), 0);
	transport_disconnect(a->transport, peer, "moving house\n");
	CHECK(world_wait_lost(b, 1));
	CHECK_TEXT(b->lost[0].reason, "moving house?");
	CHECK_EQ(b->receipts, 2);
	CHECK(world_matches(b->received[0], 1));
	CHECK(world_matches(b->received[1], 2));
	world_pass(w, 20 * NS_PER_MS);
	CHECK_EQ(a->losses, 0);
}

/* Goal: closing a transport tells every peer. */
OVER_ENGINES(transport__close_says_goodbye)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	struct world_node *c = world_add(w, NULL);

	world_join(a, b);
	world_join(c, a);
	world_remove(a);
	CHECK(world_wait_lost(b, 1));
	CHECK_EQ(b->lost[0].code, -EPIPE);
	CHECK(world_wait_lost(c, 1));
	CHECK_EQ(c->lost[0].code, -EPIPE);
	CHECK_TEXT(c->lost[0].reason, "it is closing");
}

/* Goal: connecting where nobody listens is a loss, once. */
OVER_ENGINES(transport__connect_refused)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	struct address gone = b->address;
	struct error e;
	uint32_t peer;

	world_remove(b);
	CHECK_OK(transport_connect(a->transport, &gone, &peer, &e), &e);
	CHECK(world_wait_lost(a, 1));
	CHECK_EQ(a->lost[0].peer, peer);
	CHECK_EQ(a->lost[0].code, -ECONNREFUSED);
	world_pass(w, 10 * NS_PER_MS);
	CHECK_EQ(a->losses, 1);
}

/* Goal: a full house turns newcomers away and serves those inside; a place
 * that becomes free is taken again.
 */
OVER_ENGINES(transport__peers_max_is_kept)
{
	struct transport_options o;
	struct world_node *a = world_add(w, NULL), *b;
	uint32_t peers[3];
	struct error e;

	world_options(w, &o);
	o.peers_max = 2;
	b = world_add(w, &o);
	for (int i = 0; i < 2; i++)
		peers[i] = world_join(a, b);
	CHECK_OK(transport_connect(a->transport, &b->address, &peers[2], &e), &e);
	CHECK(world_wait_lost(a, 1));
	CHECK_EQ(a->lost[0].peer, peers[2]);
	CHECK(world_errors(b, "peers_full") >= 1);      /* once a connection */
	for (int i = 0; i < 40; i++) {
		transport_disconnect(a->transport, peers[0], "making room");
		CHECK(world_wait_lost(b, i + 1));
		peers[0] = world_join(a, b);
	}
	CHECK_EQ(world_say(a, peers[0], 10, 1), 0);
	CHECK(world_wait_received(b, 1));
}

/* Goal: a message outlives its peer, and its slot is not given away. */
OVER_ENGINES(transport__messages_outlive_their_peer)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);
	struct message *reserved;

	CHECK_EQ(world_say(a, peer, 5000, 1), 0);
	CHECK(world_wait_received(b, 1));
	CHECK_EQ(transport_reserve(b->transport, world_peer(b), 10, &reserved), 0);
	world_remove(a);
	CHECK(world_wait_lost(b, 1));
	world_pass(w, 20 * NS_PER_MS);
	CHECK(world_matches(b->received[0], 1));
	world_put_all(b);
	reserved->frame.type = WIRE_CALL;
	transport_send(b->transport, reserved);         /* dropped */
	CHECK_EQ((int)world_counter(b, "petals_transport_peers"), 0);
}

/* Goal: an address that cannot be used is refused with a sentence. */
OVER_ENGINES(transport__bad_addresses_are_named)
{
	struct world_node *a = world_add(w, NULL);
	struct address bound;
	struct error e;
	uint32_t peer;

	CHECK_EQ(transport_listen(a->transport, &a->address, &bound, &e), -EADDRINUSE);
	CHECK(strstr(e.text, a->address.text));
	if (w->network) {
		CHECK_EQ(transport_connect(a->transport, &(struct address){ "127.0.0.1:7" },
					   &peer, &e), -EINVAL);
		CHECK(strstr(e.text, "127.0.0.1:7"));
		return;
	}
	if (w->identity)
		return;                 /* may go anywhere */
	CHECK_EQ(transport_listen(a->transport, &(struct address){ "0.0.0.0:0" }, &bound, &e),
		 -EPERM);
	CHECK(strstr(e.text, "loopback"));
	CHECK_EQ(transport_connect(a->transport, &(struct address){ "192.0.2.1:7700" }, &peer, &e),
		 -EPERM);
	CHECK(strstr(e.text, "192.0.2.1:7700"));
	CHECK_OK(transport_connect(a->transport, &a->address, &peer, &e), &e);
}

static void leave_at_once(struct world_node *n, struct message *m)
{
	uint32_t peer = m->peer;

	message_put(n->transport, m);
	transport_disconnect(n->transport, peer, "enough");
}

/* Goal: ending a peer from inside its own event is safe: what else it sent is not
 * heard, and it hears why.
 */
OVER_ENGINES(transport__disconnect_inside_an_event)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);

	b->on_received = leave_at_once;
	for (uint64_t i = 0; i < 6; i++)
		CHECK_EQ(world_say(a, peer, 900, i), 0);
	CHECK_EQ(world_say(a, peer, 300000, 6), 0);
	CHECK(world_wait_lost(a, 1));
	CHECK_TEXT(a->lost[0].reason, "enough");
	CHECK_EQ(b->receipts, 1);
	CHECK_EQ(b->losses, 0);
	b->on_received = NULL;
	CHECK_EQ(world_say(a, world_join(a, b), 10, 1), 0);
	CHECK(world_wait_received(b, 2));
}

/* Answers what it can; the rest waits for credit, which may come on another lane. */
static void echo_kept(struct world_node *n)
{
	int left = 0;

	for (int i = 0; i < n->kept; i++) {
		struct message *m = n->received[i];

		if (left == 0 && world_say_in(n, m->peer, m->frame.session,
					      m->frame.payload_bytes, world_key(m)) == 0)
			message_put(n->transport, m);
		else
			n->received[left++] = m;
	}
	n->kept = left;
}

static void echo(struct world_node *n, struct message *m)
{
	CHECK(world_matches(m, world_key(m)));
	n->received[n->kept++] = m;
	if (n->index == 1)
		echo_kept(n);
	else
		world_put_all(n);
}

/* Goal: thousands of messages of random sizes, both ways, in several sessions, never
 * stall and never change.
 */
OVER_ENGINES(transport__endurance)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);
	struct random r;
	int sent = 0;

	random_seed(&r, test_seed());
	a->on_received = b->on_received = echo;
	while (a->receipts < 1500) {
		uint64_t most = random_chance(&r, 0.02) ? 300000 : 5000;
		uint32_t bytes = (uint32_t)random_below(&r, most);

		if (sent < 1500 && a->receipts + 6 > sent &&
		    world_say_in(a, peer, random_below(&r, 5), bytes, (uint64_t)sent) == 0)
			sent++;
		else
			world_pass(w, 20 * NS_PER_US);
		echo_kept(b);
	}
	CHECK_EQ(a->receipts, sent);
	CHECK_EQ(a->losses + b->losses, 0);
}

/* Goal: an unknown engine is named, with those that exist. */
TEST(transport__unknown_engine_is_named)
{
	struct transport_options o;
	struct transport_events none = { 0 };
	struct transport *t;
	struct error e;

	transport_options_default(&o);
	o.engine = "pigeon";
	o.clock = clock_real();
	CHECK_EQ(transport_open(&t, &o, &none, NULL, &e), -EINVAL);
	CHECK(strstr(e.text, "pigeon"));
	CHECK(t == NULL);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, transport_open() gives everything back and says
 * something.
 */
OVER_ENGINES(transport__open_unwinds_every_failure)
{
	struct transport_events none = { 0 };
	struct transport_options o;
	uint64_t live = mem_live_blocks();
	struct transport *t;
	struct error e;
	int rc, nth;

	world_options(w, &o);
	for (nth = 1;; nth++) {
		e.text[0] = '\0';
		fault_arm(nth);
		rc = transport_open(&t, &o, &none, NULL, &e);
		if (!fault_fired())
			break;
		CHECK(rc < 0);
		CHECK(t == NULL);
		CHECK(e.text[0] != '\0');
		CHECK_EQ(mem_live_blocks(), live);
	}
	fault_disarm();
	CHECK_OK(rc, &e);
	CHECK(nth > 5);
	transport_close(t);
	CHECK_EQ(mem_live_blocks(), live);
}
#endif
