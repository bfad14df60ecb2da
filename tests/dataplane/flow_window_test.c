/* flow_window_test.c - the window follows delay, loss, marks and timeouts. */
#include "dataplane/flow_window.h"

#include "tests/test.h"

enum { TARGET_NS = 50000, RTT_NS = 20000 };

static void measured(struct flow_window *w, uint32_t packets, uint64_t rtt_ns, uint64_t now_ns)
{
	flow_window_rtt(w, rtt_ns, rtt_ns, now_ns);
	flow_window_acked(w, packets, rtt_ns, 0, now_ns);
}

/* Goal: it doubles at first, then adds about a packet per round trip. */
TEST(flow_window__grows)
{
	struct flow_window w;
	double before;

	flow_window_start(&w, TARGET_NS, 1000);
	before = w.packets;
	measured(&w, 16, RTT_NS, 1000);
	CHECK_NEAR(w.packets, before + 16, 0.01);
	flow_window_lost(&w, 2000);
	before = w.packets;
	for (int i = 0; i < (int)before; i++)
		measured(&w, 1, RTT_NS, 3000);
	CHECK(w.packets > before + 0.8 && w.packets < before + 1.2);
	for (int i = 0; i < 100000; i++)
		measured(&w, 16, RTT_NS, 3000);
	CHECK_NEAR(w.packets, 1000, 0.01);
}

/* Goal: a round whose every round trip is above the target cuts, by half at most; one
 * with a single short round trip does not; delay alone leaves a few packets.
 */
TEST(flow_window__delay_cuts)
{
	struct flow_window w;
	uint64_t now_ns = NS_PER_S;
	double before;

	flow_window_start(&w, TARGET_NS, 1000);
	measured(&w, 100, RTT_NS, now_ns);
	before = w.packets;
	for (int i = 0; i < 3; i++)
		measured(&w, 1, 10 * NS_PER_MS, now_ns += NS_PER_US);
	CHECK_NEAR(w.packets, before, 0.01);
	measured(&w, 1, 10 * NS_PER_MS, now_ns += 20 * NS_PER_MS);
	CHECK_NEAR(w.packets, before / 2, 0.01);
	measured(&w, 1, 10 * NS_PER_MS, now_ns += NS_PER_US);
	measured(&w, 1, RTT_NS, now_ns += NS_PER_US);
	before = w.packets;
	measured(&w, 1, 10 * NS_PER_MS, now_ns += 20 * NS_PER_MS);
	CHECK_NEAR(w.packets, before, 0.01);
	for (int i = 0; i < 50; i++)
		measured(&w, 1, 10 * NS_PER_MS, now_ns += 20 * NS_PER_MS);
	CHECK_NEAR(w.packets, 8, 0.01);
}

/* Goal: what losses left grows again up to a few packets though every delay is long, as on a
 * host whose cores are taken; beyond them delay has its say.
 */
TEST(flow_window__delay_does_not_starve)
{
	struct flow_window w;
	uint64_t now_ns = NS_PER_S;

	flow_window_start(&w, TARGET_NS, 1000);
	measured(&w, 100, RTT_NS, now_ns);
	for (int i = 0; i < 50; i++) {
		now_ns += 20 * NS_PER_MS;
		flow_window_rtt(&w, 10 * NS_PER_MS, 10 * NS_PER_MS, now_ns);
		flow_window_lost(&w, now_ns);
	}
	CHECK(w.packets < 1);
	for (int i = 0; i < 60; i++)
		measured(&w, 1, 10 * NS_PER_MS, now_ns += 2 * NS_PER_MS);
	CHECK(w.packets >= 8 && w.packets < 9);
}

/* Goal: marks of switches cut by their share. */
TEST(flow_window__marks_cut)
{
	struct flow_window w;
	double before;

	flow_window_start(&w, TARGET_NS, 1000);
	measured(&w, 100, RTT_NS, 1);
	before = w.packets;
	flow_window_acked(&w, 10, RTT_NS, 0.5, 1000000);
	CHECK_NEAR(w.packets, before * 0.75, 0.01);
}

/* Goal: a timeout leaves one packet; if it was spurious all is as before. */
TEST(flow_window__timeout_and_undo)
{
	struct flow_window w;
	double before;

	flow_window_start(&w, TARGET_NS, 1000);
	measured(&w, 100, RTT_NS, 1);
	before = w.packets;
	flow_window_timeout(&w, 1000);
	flow_window_timeout(&w, 2000);
	CHECK_NEAR(w.packets, 1, 0.01);
	flow_window_undo(&w);
	CHECK_NEAR(w.packets, before, 0.01);
	flow_window_timeout(&w, 3000);
	measured(&w, 1, RTT_NS, 4000);
	flow_window_undo(&w);
	CHECK(w.packets < 3);
}

/* Goal: packets are spread over the round trip, beyond a burst; below one packet
 * there are pauses.
 */
TEST(flow_window__paces)
{
	struct flow_window w;
	uint64_t now_ns = NS_PER_S, when_ns;
	uint32_t sent = 0;

	flow_window_start(&w, TARGET_NS, 1000);
	measured(&w, 84, RTT_NS, now_ns);
	CHECK_NEAR(w.packets, 100, 0.01);
	while (flow_window_when(&w, sent) <= now_ns) {
		flow_window_sent(&w, now_ns);
		sent++;
	}
	CHECK(sent > 10 && sent < 25);
	when_ns = flow_window_when(&w, sent);
	CHECK(when_ns > now_ns && when_ns < now_ns + RTT_NS / 50);
	CHECK_EQ(flow_window_when(&w, 100), UINT64_MAX);
	for (int i = 1; i < 40; i++)
		flow_window_lost(&w, now_ns + (uint64_t)i * 100 * NS_PER_MS);
	CHECK(w.packets < 0.2);
	now_ns += 10 * NS_PER_S;
	CHECK(flow_window_when(&w, 0) <= now_ns);
	CHECK_EQ(flow_window_when(&w, 1), UINT64_MAX);
	flow_window_sent(&w, now_ns);
	CHECK(flow_window_when(&w, 0) > now_ns + 4 * w.srtt_ns);
}

/* Goal: the least round trip is forgotten when the path has become longer. */
TEST(flow_window__least_round_trip_ages)
{
	struct flow_window w;

	flow_window_start(&w, TARGET_NS, 1000);
	measured(&w, 1, RTT_NS, 0);
	for (uint64_t s = 1; s < 20; s++)
		measured(&w, 1, 10 * RTT_NS, s * NS_PER_S);
	CHECK_EQ(w.least_ns, 10 * RTT_NS);
	CHECK_EQ(w.least_before_ns, 10 * RTT_NS);
	CHECK_EQ(flow_window_rto(&w, 5 * NS_PER_MS), 5 * NS_PER_MS);
	CHECK(flow_window_rto(&w, 0) >= 10 * RTT_NS / 2);
}
