/* port_test.c - what every port promises, and what the simulated network and the
 * impairing shim do beyond.  Covers port_sim.c, port_impaired.c.
 */
#include "dataplane/port.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/port_impaired.h"
#include "dataplane/port_sim.h"
#include "tests/test.h"

enum { MTU = 1500 };

struct net {
	struct simulated_clock clock;
	struct port_network *network;
	struct port *a, *b;
	uint32_t to_b;
};

static void net_open(struct net *n, const struct port_network_options *o,
		     const struct impair_options *bad)
{
	const struct address address = { "sim:1" };
	struct port *inner;
	struct error e;

	simulated_clock_init(&n->clock, 1000);
	CHECK_EQ(port_network_open(&n->network, o, &n->clock.clock), 0);
	CHECK_EQ(port_sim_open(&inner, n->network, 0), 0);
	CHECK_EQ(port_sim_open(&n->b, n->network, 1), 0);
	n->a = inner;
	if (bad)
		CHECK_EQ(port_impaired_open(&n->a, inner, bad, &n->clock.clock, 64), 0);
	CHECK_OK(n->a->ops->path(n->a, &address, &n->to_b, &e), &e);
}

static void net_close(struct net *n)
{
	port_close(n->a);
	port_close(n->b);
	port_network_close(n->network);
}

static bool say(struct net *n, uint8_t value, uint32_t bytes)
{
	struct port_datagram d;

	if (!n->a->ops->lend(n->a, n->to_b, bytes, &d))
		return false;
	CHECK_EQ(d.length, bytes);
	memset(d.bytes, value, bytes);
	n->a->ops->send(n->a, &d, 1);
	return true;
}

/* The value of the next datagram at b, -1: none; checks that it is whole. */
static int hear(struct net *n, uint64_t at_ns)
{
	struct port_datagram d;
	int value = -1;

	simulated_clock_advance_to(&n->clock, at_ns);
	if (n->a->ops->receive(n->a, &d, 1) > 0)
		n->a->ops->release(n->a, &d, 1);
	if (n->b->ops->receive(n->b, &d, 1) == 0)
		return -1;
	value = d.bytes[0];
	for (uint32_t i = 0; i < d.length; i++)
		CHECK_EQ(d.bytes[i], value);
	n->b->ops->release(n->b, &d, 1);
	return value;
}

static const struct port_network_options plain = {
	.delay_ns = 500, .mtu_bytes = MTU, .datagrams = 16,
};

/* Goal: what is sent arrives once, whole, after the delay, in order. */
TEST(port_sim__delivers)
{
	struct net n;
	int descriptor = 0;

	net_open(&n, &plain, NULL);
	CHECK_EQ(n.a->ops->mtu_bytes(n.a, n.to_b), MTU);
	CHECK_EQ(n.b->ops->rest(n.b, &descriptor), UINT64_MAX);
	CHECK(say(&n, 1, 10));
	CHECK(say(&n, 2, MTU));
	CHECK_EQ(port_sim_next(n.b), 1500);
	CHECK_EQ(n.b->ops->rest(n.b, &descriptor), 500);
	CHECK_EQ(descriptor, -1);
	CHECK_EQ(hear(&n, 1499), -1);
	CHECK_EQ(hear(&n, 1500), 1);
	CHECK_EQ(hear(&n, 1500), 2);
	CHECK_EQ(hear(&n, 9999), -1);
	CHECK_EQ(n.b->statistics.received, 2);
	CHECK_EQ(n.a->statistics.sent_bytes, 10 + MTU);
	net_close(&n);
}

/* Goal: memory is bounded: lending ends when all is in flight and goes on after. */
TEST(port_sim__lends_what_it_has)
{
	struct net n;

	net_open(&n, &plain, NULL);
	for (int i = 0; i < 16; i++)
		CHECK(say(&n, 1, 10));
	CHECK(!say(&n, 1, 10));
	CHECK_EQ(hear(&n, 1500), 1);
	CHECK(say(&n, 1, 10));
	net_close(&n);
}

/* Goal: a link passes its rate, marks a long queue, drops beyond it; a cut one
 * passes nothing.
 */
TEST(port_sim__link_has_a_rate_and_a_queue)
{
	struct port_network_options o = plain;
	struct port_datagram d;
	struct net n;

	o.bytes_per_ns = 1;
	o.queue_bytes = 300;
	o.mark_bytes = 150;
	net_open(&n, &o, NULL);
	for (uint8_t i = 0; i < 5; i++)
		CHECK(say(&n, i, 100));
	CHECK_EQ(port_network_in_flight(n.network), 3);
	CHECK_EQ(hear(&n, 1599), -1);
	CHECK_EQ(hear(&n, 1600), 0);
	CHECK_EQ(hear(&n, 1700), 1);
	simulated_clock_advance_to(&n.clock, 1800);
	CHECK_EQ(n.b->ops->receive(n.b, &d, 1), 1);
	CHECK(d.marked);
	n.b->ops->release(n.b, &d, 1);
	port_network_cut(n.network, 0, 1, true);
	CHECK(say(&n, 9, 10));
	CHECK_EQ(hear(&n, 99999), -1);
	port_network_cut(n.network, 0, 1, false);
	CHECK(say(&n, 9, 10));
	CHECK_EQ(hear(&n, 199999), 9);
	net_close(&n);
}

/* Goal: a closed port's parcels come back; addresses are checked. */
TEST(port_sim__close_and_bad_addresses)
{
	struct net n;
	const struct address bad = { "10.0.0.1:7" }, far = { "sim:99" };
	struct error e = { 0 };
	struct port *again;
	uint32_t path;

	net_open(&n, &plain, NULL);
	CHECK_EQ(n.a->ops->path(n.a, &bad, &path, &e), -EINVAL);
	CHECK_EQ(n.a->ops->path(n.a, &far, &path, &e), -EINVAL);
	CHECK_EQ(port_sim_open(&again, n.network, 1), -EEXIST);
	for (int i = 0; i < 16; i++)
		CHECK(say(&n, 1, 10));
	port_close(n.b);
	CHECK_EQ(port_network_in_flight(n.network), 0);
	CHECK(say(&n, 1, 10));
	CHECK_EQ(port_sim_open(&n.b, n.network, 1), 0);
	for (int i = 0; i < 16; i++)
		CHECK(say(&n, 1, 10));
	net_close(&n);
}

/* Goal: the shim delays, loses, doubles and spoils, and gives its memory back. */
TEST(port_impaired__does_what_it_says)
{
	struct impair_options o = { .drop = 0.3, .duplicate = 0.3, .delay_ns = 1000,
				    .jitter_ns = 2000, .seed = test_seed() };
	struct net n;
	uint32_t heard[256] = { 0 }, lost = 0, doubled = 0, out_of_order = 0;
	int value, last = -1, descriptor;

	net_open(&n, &plain, &o);
	CHECK_EQ(n.a->ops->mtu_bytes(n.a, n.to_b), MTU);
	for (int round = 0; round < 250; round += 5) {
		for (int i = 0; i < 5; i++)
			CHECK(say(&n, (uint8_t)(round + i), 64));
		CHECK(n.a->ops->rest(n.a, &descriptor) <= 3000);
		for (uint64_t ns = 0; ns < 4000; ns += 10)
			while ((value = hear(&n, n.clock.now_ns + (ns ? 10 : 0))) >= 0) {
				out_of_order += value < last;
				last = value;
				heard[value]++;
			}
	}
	CHECK_EQ(port_impaired_next(n.a), UINT64_MAX);
	for (int i = 0; i < 250; i++) {
		lost += heard[i] == 0;
		doubled += heard[i] == 2;
		CHECK(heard[i] <= 2);
	}
	CHECK(lost > 40 && lost < 120);
	CHECK(doubled > 20 && doubled < 100);
	CHECK(out_of_order > 0);
	net_close(&n);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, opening gives everything back. */
TEST(port__opening_unwinds)
{
	uint64_t before = mem_live_blocks();
	struct simulated_clock clock;

	simulated_clock_init(&clock, 0);
	for (int nth = 1; ; nth++) {
		const struct impair_options bad = { .drop = 0.1 };
		struct port_network *network;
		struct port *inner = NULL, *port = NULL;
		int rc;

		fault_arm(nth);
		rc = port_network_open(&network, &plain, &clock.clock);
		if (rc == 0)
			rc = port_sim_open(&inner, network, 0);
		if (rc == 0)
			rc = port_impaired_open(&port, inner, &bad, &clock.clock, 4);
		fault_disarm();
		port_close(port ? port : inner);
		port_network_close(network);
		CHECK_EQ(mem_live_blocks(), before);
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -ENOMEM);
	}
}
#endif
