/* flow_test.c - flows between a few nodes, one behaviour at a time.
 * Covers flow.c, flow_ack.c, flow_grant.c, flow_receive.c, flow_send.c, flows.c.
 * Random worlds are tests/sim/flow_test.c's.
 */
#include "dataplane/flow.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/flow_state.h"
#include "tests/support/flow_world.h"
#include "tests/test.h"

static const struct port_network_options quiet = {
	.delay_ns = 10000, .mtu_bytes = 1472, .datagrams = 8192,
};

static const struct flow_events no_events;

static struct flow_world *pair(const struct impair_options *bad)
{
	struct flow_world *w = flow_world_open(test_seed(), 2, &quiet, bad);

	flow_world_connect(w, 0, 1);
	return w;
}

/* Datagrams that a node took for lost. */
static int losses(struct flow_world *w, uint32_t node)
{
	double lost = 0;

	flow_world_pass(w, 10 * NS_PER_MS);
	for (uint32_t series = 0; series < AGAIN_CAUSES; series++)
		lost += counters_value(flows_counters(w->nodes[node].flows), AGAIN, series);
	return (int)lost;
}

/* Node 0 with other options than the rest. */
static void replace_flows(struct flow_world *w, uint64_t grant_bytes, uint64_t give_up_ns)
{
	struct flows_options o = w->options;

	o.grant_bytes = grant_bytes;
	o.give_up_ns = give_up_ns;
	flows_close(w->nodes[0].flows);
	CHECK_EQ(flows_open(&w->nodes[0].flows, w->nodes[0].port, &o), 0);
}

static uint64_t in(const struct flow_world *w, uint64_t ns)
{
	return w->clock.now_ns + ns;
}

/* Goal: a path opens in both directions with the largest segments it takes. */
TEST(flow_open__probes_the_path)
{
	struct flow_world *w = pair(NULL);
	struct flow_info info;

	CHECK(!flow_may_send(w->lanes[0][1].flow, 10));
	flow_world_pass(w, NS_PER_MS);
	CHECK(w->lanes[0][1].opened && w->lanes[1][0].opened);
	flow_inform(w->lanes[0][1].flow, &info);
	CHECK(info.open);
	CHECK_EQ(info.segment_bytes, 1408);
	CHECK(info.rtt_ns >= 20000 && info.rtt_ns < 30000);
	flow_world_close(w);
}

/* Goal: a path that nobody answers is given up; one that is too narrow refused. */
TEST(flow_open__unreachable)
{
	struct port_network_options narrow = quiet;
	struct flow_world *w = pair(NULL);
	struct flow_options o = { .to = { "sim:1" }, .connection_in = 7 };
	struct error e = { 0 };
	struct flow *f;

	port_network_cut(w->network, 0, 1, true);
	flow_world_pass(w, w->options.give_up_ns + NS_PER_MS);
	CHECK(w->lanes[0][1].broken);
	CHECK_EQ(w->lanes[0][1].why, FLOW_UNREACHABLE);
	CHECK_TEXT(flow_end_name(w->lanes[0][1].why), "unreachable");
	flow_world_close(w);

	narrow.mtu_bytes = 1000;
	w = flow_world_open(test_seed(), 2, &narrow, NULL);
	seal_policy_default(&o.seal);
	CHECK_EQ(flow_open(&f, w->nodes[0].flows, &o, &no_events, NULL, 0, &e), -EMSGSIZE);
	CHECK(strstr(e.text, "sim:1"));
	flow_world_close(w);
}

/* Goal: messages of every kind of size arrive, also those that just fit. */
TEST(flow_send__sizes)
{
	static const uint32_t sizes[] = {
		0, 1, 63, 64, 1343, 1344, 1345, 1408, 2751, 2752, 2753, 28672, 65535, 65536,
		65537, 300000, 1 << 20,
	};
	struct flow_world *w = pair(NULL);

	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		flow_world_post(w, 0, 1, 0, sizes[i], FLOW_BATCH);
		flow_world_post(w, 1, 0, 0, sizes[i], FLOW_BATCH);
	}
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	flow_world_close(w);
}

/* Goal: each row of the segment table works, the widest over a jumbo path. */
TEST(flow_send__segment_sizes)
{
	static const struct { uint32_t mtu, segment; } rows[] = {
		{ 1200, 1152 }, { 1452, 1344 }, { 1472, 1408 }, { 8972, 8192 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct port_network_options o = quiet;
		struct flow_world *w;
		struct flow_info info;

		o.mtu_bytes = rows[i].mtu;
		w = flow_world_open(test_seed(), 2, &o, NULL);
		flow_world_connect(w, 0, 1);
		for (uint32_t bytes = 0; bytes < 70000; bytes += 3333)
			flow_world_post(w, 0, 1, 1, bytes, FLOW_BATCH);
		CHECK(flow_world_run(w, in(w, NS_PER_S)));
		flow_inform(w->lanes[0][1].flow, &info);
		CHECK_EQ(info.segment_bytes, rows[i].segment);
		flow_world_close(w);
	}
}

/* Goal: where large datagrams vanish, smaller segments are used. */
TEST(flow_open__black_hole)
{
	struct port_network_options o = quiet;
	struct flow_world *w;
	struct flow_info info;

	o.mtu_bytes = 8972;
	o.vanish_bytes = 1450;
	w = flow_world_open(test_seed(), 2, &o, NULL);
	flow_world_connect(w, 0, 1);
	flow_world_post(w, 0, 1, 0, 200000, FLOW_BATCH);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	flow_inform(w->lanes[0][1].flow, &info);
	CHECK_EQ(info.segment_bytes, 1344);
	flow_world_close(w);
}

/* Goal: a decode step overtakes a large batch that is on its way; messages of one
 * key do not overtake each other.
 */
TEST(flow_send__decode_overtakes)
{
	struct port_network_options slow = quiet;
	struct flow_world *w;
	uint32_t large, first, second, step;

	slow.bytes_per_ns = 0.1;
	slow.queue_bytes = 1 << 20;
	w = flow_world_open(test_seed(), 2, &slow, NULL);
	flow_world_connect(w, 0, 1);
	large = flow_world_post(w, 0, 1, 1, 900000, FLOW_BATCH);
	first = flow_world_post(w, 0, 1, 2, 60000, FLOW_BATCH);
	second = flow_world_post(w, 0, 1, 2, 100, FLOW_DECODE);
	flow_world_run(w, in(w, 2 * NS_PER_MS));
	step = flow_world_post(w, 0, 1, 3, 1152, FLOW_DECODE);
	/* Its sender is told, too, while the large one is on its way. */
	flow_world_run(w, in(w, 2 * NS_PER_MS));
	CHECK_EQ(w->posts[step].state, POST_ACKED);
	CHECK_EQ(w->posts[large].state, POST_SENT);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	CHECK_EQ(w->arrivals[3], large);
	CHECK(w->posts[step].arrived_ns < w->posts[large].arrived_ns);
	CHECK(w->posts[first].arrived_ns <= w->posts[second].arrived_ns);
	CHECK(w->posts[step].arrived_ns - w->posts[step].posted_ns < 2 * NS_PER_MS);
	flow_world_close(w);
}

/* Goal: more messages than may be on the way wait, and all arrive. */
TEST(flow_send__many_small)
{
	struct flow_world *w = pair(NULL);

	for (uint32_t i = 0; i < 1500; i++)
		flow_world_post(w, 0, 1, i % FLOW_WORLD_KEYS, i % 200, FLOW_DECODE);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	CHECK_EQ(w->arrival_count, 1500);
	flow_world_close(w);
}

/* Goal: without impairment nothing is sent twice. */
TEST(flow__quiet_path_repeats_nothing)
{
	struct flow_world *w = pair(NULL);
	for (uint32_t i = 0; i < 100; i++)
		flow_world_post(w, 0, 1, i % 3, 30000, FLOW_BATCH);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	CHECK_EQ(losses(w, 0), 0);
	flow_world_close(w);
}

/* Goal: a lost last packet is noticed in a few round trips, not after the timeout. */
TEST(flow__tail_loss_is_cheap)
{
	struct flow_world *w = pair(NULL);
	struct flow_info before, after;
	uint32_t post;

	flow_world_pass(w, NS_PER_MS);
	flow_inform(w->lanes[0][1].flow, &before);
	port_network_cut(w->network, 0, 1, true);
	post = flow_world_post(w, 0, 1, 0, 1000, FLOW_DECODE);
	CHECK(!flow_world_run(w, in(w, 100 * NS_PER_US)));
	port_network_cut(w->network, 0, 1, false);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	CHECK(w->posts[post].arrived_ns - w->posts[post].posted_ns < NS_PER_MS);
	flow_inform(w->lanes[0][1].flow, &after);
	CHECK(after.window >= before.window);    /* nor taken for congestion */
	flow_world_close(w);
}

/* Goal: when nothing follows, the answer does not wait for more. */
TEST(flow__last_packet_is_acknowledged_at_once)
{
	struct flow_world *w = pair(NULL);
	uint64_t start_ns;

	flow_world_pass(w, NS_PER_MS);
	start_ns = w->clock.now_ns;
	flow_world_post(w, 0, 1, 0, 20000, FLOW_DECODE);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	CHECK(w->clock.now_ns - start_ns < 2 * quiet.delay_ns + 5 * NS_PER_US);
	flow_world_close(w);
}

/* Goal: a path that goes dead is told within give_up_ns and a little, busy or idle. */
TEST(flow__silence_breaks)
{
	for (int busy = 0; busy < 2; busy++) {
		struct flow_world *w = pair(NULL);

		flow_world_pass(w, NS_PER_MS);
		port_network_cut(w->network, 0, 1, true);
		if (busy)
			flow_world_post(w, 0, 1, 0, 1000, FLOW_DECODE);
		flow_world_run(w, in(w, NS_PER_MS));
		flow_world_pass(w, w->options.give_up_ns + 200 * NS_PER_MS +
				   (busy ? 0 : w->options.keepalive_ns));
		CHECK(w->lanes[0][1].broken);
		CHECK_EQ(w->lanes[0][1].why, FLOW_SILENT);
		flow_world_close(w);
	}
}

/* Goal: that nothing was to be said for long is no silence of the other side. */
TEST(flow__idle_then_busy)
{
	struct flow_world *w = flow_world_open(test_seed(), 2, &quiet, NULL);

	w->options.keepalive_ns = 30 * NS_PER_S;
	replace_flows(w, w->options.grant_bytes, 20 * NS_PER_MS);
	flow_world_connect(w, 0, 1);
	for (int i = 0; i < 4; i++) {
		flow_world_pass(w, 5 * NS_PER_S);
		flow_world_post(w, 0, 1, 0, i % 2 ? 100 : 100000, FLOW_DECODE);
		CHECK(flow_world_run(w, in(w, NS_PER_MS)));
	}
	CHECK(!w->lanes[0][1].broken && !w->lanes[1][0].broken);
	flow_world_close(w);
}

/* Goal: time in which we could not look does not count as silence. */
TEST(flow__being_descheduled_is_not_silence)
{
	struct flow_world *w = flow_world_open(test_seed(), 2, &quiet, NULL);

	replace_flows(w, w->options.grant_bytes, 20 * NS_PER_MS);
	flow_world_connect(w, 0, 1);
	flow_world_pass(w, NS_PER_MS);
	for (uint32_t i = 0; i < 50; i++)
		flow_world_post(w, 0, 1, 0, 30000, FLOW_BATCH);
	for (int i = 0; i < 3; i++) {
		flow_world_run(w, in(w, 50 * NS_PER_US));
		/* And what was answered meanwhile is lost. */
		flow_world_freeze(w, 0, 500 * NS_PER_MS);
		port_network_cut(w->network, 1, 0, true);
		port_network_cut(w->network, 0, 1, true);
		flow_world_pass(w, 500 * NS_PER_MS - NS_PER_US);
		port_network_cut(w->network, 1, 0, false);
		port_network_cut(w->network, 0, 1, false);
		flow_world_pass(w, NS_PER_US);
	}
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	CHECK(!w->lanes[0][1].broken && !w->lanes[1][0].broken);
	flow_world_close(w);
}

/* Goal: nor does a gap that is told only after a turn in the middle of it, which took the
 * time for attentive.
 */
TEST(flow__a_gap_told_late_is_not_silence)
{
	struct flow_world *w = flow_world_open(test_seed(), 2, &quiet, NULL);
	struct flow_node *n = &w->nodes[0];

	flow_world_connect(w, 0, 1);
	flow_world_pass(w, 50 * NS_PER_MS);
	for (uint32_t i = 0; i < 50; i++)
		flow_world_post(w, 0, 1, 0, 30000, FLOW_BATCH);
	flow_world_run(w, in(w, 50 * NS_PER_US));
	n->gap_ns += 20 * NS_PER_MS;
	flows_poll(n->flows, w->clock.now_ns, n->gap_ns);
	CHECK(!w->lanes[0][1].broken);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	CHECK(!w->lanes[0][1].broken && !w->lanes[1][0].broken);
	flow_world_close(w);
}

/* Goal: a timeout that was none leaves the window as it was. */
TEST(flow__spurious_timeout_is_undone)
{
	struct flow_world *w = pair(NULL);
	struct flow_info before, after;

	for (uint32_t i = 0; i < 60; i++)
		flow_world_post(w, 0, 1, 0, 60000, FLOW_BATCH);
	flow_world_run(w, in(w, 110 * NS_PER_US));
	flow_inform(w->lanes[0][1].flow, &before);
	CHECK(before.in_flight > 20);
	flow_world_freeze(w, 1, 30 * NS_PER_MS);         /* the other side stands still */
	flow_world_pass(w, 29 * NS_PER_MS);
	flow_inform(w->lanes[0][1].flow, &after);
	CHECK(after.window <= 1);
	flow_world_run(w, in(w, NS_PER_MS + 200 * NS_PER_US));
	flow_inform(w->lanes[0][1].flow, &after);
	CHECK(after.window >= before.window / 2);
	CHECK(counters_value(flows_counters(w->nodes[0].flows), TIMEOUTS, 0) > 0);
	CHECK(counters_value(flows_counters(w->nodes[0].flows), SPURIOUS, 0) > 0);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	flow_world_close(w);
}

/* Goal: a path that loses too much is given up while it still works; another is not. */
TEST(flow__lossy_breaks)
{
	for (int much = 0; much < 2; much++) {
		const struct impair_options bad = { .drop = much ? 0.35 : 0.05 };
		struct flow_world *w = flow_world_open(test_seed(), 2, &quiet, &bad);

		w->options.lossy = 0.2;
		replace_flows(w, w->options.grant_bytes, 10 * NS_PER_S);
		flow_world_connect(w, 0, 1);
		for (uint32_t i = 0; i < 200; i++)
			flow_world_post(w, 0, 1, 0, 30000, FLOW_BATCH);
		CHECK_EQ(flow_world_run(w, in(w, 20 * NS_PER_S)), !much);
		CHECK_EQ(w->lanes[0][1].broken, much);
		if (much)
			CHECK_EQ(w->lanes[0][1].why, FLOW_LOSSY);
		flow_world_close(w);
	}
}

/* Goal: closing one end is told to the other. */
TEST(flow_close__is_told)
{
	struct flow_world *w = pair(NULL);

	flow_world_pass(w, NS_PER_MS);
	flow_close(w->lanes[0][1].flow);
	w->lanes[0][1].flow = NULL;
	flow_world_pass(w, NS_PER_MS);
	CHECK(w->lanes[1][0].broken);
	CHECK_EQ(w->lanes[1][0].why, FLOW_CLOSED);
	flow_world_close(w);
}

/* Goal: a sender that breaks its word about room is cut off, and nothing leaks. */
TEST(flow_receive__no_place_to_land)
{
	for (uint32_t bytes = 100; bytes < 200000; bytes += 99999) {
		struct flow_world *w = pair(NULL);

		flow_world_pass(w, NS_PER_MS);
		w->lanes[1][0].refuse = 1;
		flow_world_post(w, 0, 1, 0, bytes, FLOW_BATCH);
		flow_world_run(w, in(w, 20 * NS_PER_MS));
		CHECK(w->lanes[1][0].broken);
		CHECK_EQ(w->lanes[1][0].why, FLOW_FAULTY);
		flow_world_close(w);
	}
}

/* Goal: a flow that stops in mid-message settles: what was handed on is told apart
 * from what was not, and the rest goes over the next one.
 */
TEST(flow_settle__nothing_twice_nothing_lost)
{
	struct impair_options bad = { .drop = 0.1, .jitter_ns = 30000 };
	struct flow_world *w = pair(&bad);

	for (uint32_t i = 0; i < 120; i++) {
		flow_world_post(w, 0, 1, i % 4, i % 7 ? 5000 * (i % 7) : 200000, FLOW_BATCH);
		flow_world_post(w, 1, 0, i % 4, 5000 * (i % 7), FLOW_DECODE);
	}
	for (int i = 0; i < 20; i++) {
		flow_world_run(w, in(w, 300 * NS_PER_US));
		flow_world_settle(w, 0, 1);
	}
	CHECK(flow_world_run(w, in(w, 10 * NS_PER_S)));
	CHECK_EQ(w->arrival_count, 240);
	flow_world_close(w);
}

/* Goal: a state that cannot be is refused. */
TEST(flow_settle__nonsense)
{
	struct wire_completed theirs = { .done = le32_of(5) };
	struct flow_world *w = pair(NULL);

	flow_stop(w->lanes[0][1].flow);
	CHECK_EQ(flow_settle(w->lanes[0][1].flow, &theirs, NULL), -EPROTO);
	flow_world_close(w);
}

/* Goal: many senders of large messages to one receiver share its budget: its queue
 * never holds more, nothing is dropped, the link stays busy.
 */
TEST(flow_grant__incast)
{
	enum { SENDERS = 8, BYTES = 600000, EACH = 3 };
	struct port_network_options o = quiet;
	struct flow_world *w;
	uint64_t start_ns, took_ns;

	o.bytes_per_ns = 1.25;
	o.queue_bytes = 256 << 10;
	w = flow_world_open(test_seed(), SENDERS + 1, &o, NULL);
	replace_flows(w, 200 << 10, w->options.give_up_ns);
	for (uint32_t i = 1; i <= SENDERS; i++)
		flow_world_connect(w, i, 0);
	flow_world_pass(w, NS_PER_MS);
	start_ns = w->clock.now_ns;
	for (uint32_t i = 1; i <= SENDERS; i++)
		for (int k = 0; k < EACH; k++)
			flow_world_post(w, i, 0, 0, BYTES, FLOW_BATCH);
	CHECK(flow_world_run(w, in(w, NS_PER_S)));
	took_ns = w->clock.now_ns - start_ns;
	for (uint32_t i = 1; i <= SENDERS; i++)
		CHECK_EQ(losses(w, i), 0);
	CHECK(took_ns < 1.6 * SENDERS * EACH * BYTES / 1.25);
	flow_world_close(w);
}

/* Goal: keys are replaced on the way, again and again, unnoticed. */
TEST(flow__rekeys_under_load)
{
	struct impair_options bad = { .drop = 0.02, .jitter_ns = 100000 };
	struct flow_world *w = flow_world_open(test_seed(), 2, &quiet, &bad);
	double rekeys;

	w->seal.rekey_bytes = 400000;
	flow_world_connect(w, 0, 1);
	for (uint32_t i = 0; i < 200; i++)
		flow_world_post(w, 0, 1, i % 5, 30000, FLOW_BATCH);
	CHECK(flow_world_run(w, in(w, 10 * NS_PER_S)));
	rekeys = counters_value(flows_counters(w->nodes[0].flows), REKEYS, 0);
	CHECK(rekeys >= 10);
	flow_world_close(w);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, opening gives everything back. */
TEST(flow_open__unwinds_every_failure)
{
	struct flow_world *w = flow_world_open(test_seed(), 1, &quiet, NULL);
	struct flow_options o = { .to = { "sim:0" }, .connection_in = 7, .large_in = { 1 << 20, 2 },
				  .large_out = { 1 << 20, 2 } };
	uint64_t before = mem_live_blocks();
	int rc = -ENOMEM;

	w->connections = o.connection_out = 1;          /* what its CLOSE will name */
	seal_policy_default(&o.seal);
	for (int nth = 1; rc < 0; nth++) {
		struct flows *fs = NULL;
		struct flow *f = NULL;
		struct error e = { 0 };

		fault_arm(nth);
		rc = flows_open(&fs, w->nodes[0].port, &w->options);
		if (rc == 0)
			rc = flow_open(&f, fs, &o, &no_events, NULL, 0, &e);
		fault_disarm();
		/* Keys that could not be made in advance are made later. */
		CHECK(rc == 0 || rc == -ENOMEM);
		CHECK(fault_fired() || rc == 0);
		flow_close(f);
		flows_close(fs);
		CHECK_EQ(mem_live_blocks(), before);
	}
	flow_world_close(w);
}
#endif
