/* session_slow_test.c - what is told of slow hops, and how many sessions leave one at a time.
 * Whole swarms with slow servers are in tests/sim/slow_test.c.
 */
#include "control/session.h"

#include <stdlib.h>

#include "dataplane/base/log.h"
#include "tests/support/sim_swarm.h"
#include "tests/test.h"

enum { HIDDEN = 32, SESSIONS = 8 };

struct watched {
	struct session *session;
	uint32_t end;
};

static void on_opened(void *ctx)
{
}

static void on_result(void *ctx, uint32_t end, uint32_t rows, enum wire_encoding encoding,
		      const void *data)
{
	struct watched *w = ctx;

	w->end = end;
}

static void on_failed(void *ctx, int code, const char *reason)
{
	fail_msg("a session failed: %s", reason);
}

static struct simulation *swarm(void)
{
	struct simulation_options o;

	sim_swarm_options(&o, test_seed());
	o.spans = 2;
	o.batch_ns = 10 * NS_PER_MS;
	return sim_swarm_open(&o);
}

static void watch(struct watched *w, struct simulation *s)
{
	const struct session_options o = {
		.tokens_max = 60,
		.deadline_ns = clock_ns(sim_clock(simulation_network(s))) + 300 * NS_PER_S,
		.events = { on_opened, on_result, on_failed },
		.ctx = w,
	};
	struct error e;

	*w = (struct watched){ 0 };
	CHECK_OK(session_open(&w->session, simulation_sessions(s), &o, &e), &e);
	simulation_run(s, 50 * NS_PER_MS);
}

/* Gives a row to every session that has its answer. */
static void step(struct watched *w, uint32_t count)
{
	static const float row[HIDDEN] = { 1 };

	for (uint32_t i = 0; i < count; i++)
		if (w[i].end == session_position(w[i].session) && w[i].end < 60)
			CHECK_EQ(session_step(w[i].session, row, 1, false), 0);
}

/* Goal: a hop that is left because it is slow is counted by its address, apart from repairs. */
TEST(session_slow__is_told_by_address)
{
	struct simulation *s = swarm();
	struct counters *c = sessions_counters(simulation_sessions(s));
	struct watched w;
	struct route before, after;

	watch(&w, s);
	for (int i = 0; i < 20; i++) {
		step(&w, 1);
		simulation_run(s, 100 * NS_PER_MS);
	}
	session_route(w.session, &before);
	simulation_slow_device(s, (uint32_t)simulation_hop_server(s, session_id(w.session), 1),
			       300 * NS_PER_MS);
	for (int i = 0; i < 70; i++) {
		step(&w, 1);
		simulation_run(s, 100 * NS_PER_MS);
	}
	session_route(w.session, &after);
	CHECK_EQ(after.hops[0].server, before.hops[0].server);
	CHECK(after.hops[1].server != before.hops[1].server);
	CHECK_EQ(session_stats(w.session)->moves, 1);
	CHECK_EQ(session_stats(w.session)->repairs, 0);
	CHECK_EQ(sim_metric(c, "petals_session_hops_replaced_total{reason=\"slow\"}"), 1);
	CHECK_EQ(sim_metric(c, "petals_session_slow_hops_total{server=\"%s\"}",
			    before.hops[1].address.text), 1);
	session_close(w.session);
	simulation_close(s);
}

static bool is_int8(const struct simulation_options *o, int server)
{
	return o->weights[(uint32_t)server / o->spans % SIMULATION_WEIGHTS] == WEIGHTS_INT8;
}

/* Goal: how fast another kind is says nothing: where all servers of a session's kind are equally
 * slow it stays, though one of them has not computed yet.
 */
TEST(session_slow__kinds_are_not_compared)
{
	static const enum weight_format formats[SIMULATION_WEIGHTS] = { WEIGHTS_INT8,
									WEIGHTS_INT4 };
	struct simulation_options o;
	struct simulation *s;
	struct watched w[2];
	struct error e;

	sim_swarm_options(&o, test_seed());
	o.spans = 2;
	o.replicas = 4;                 /* two of each kind */
	o.batch_ns = NS_PER_MS;
	memcpy(o.weights, formats, sizeof(formats));
	s = sim_swarm_open(&o);
	for (uint32_t i = 0; i < o.spans * o.replicas; i++) {
		if (is_int8(&o, (int)i))
			simulation_kill(s, i);
		else
			simulation_slow_device(s, i, 100 * NS_PER_MS);
	}
	watch(&w[0], s);
	for (uint32_t i = 0; i < o.spans * o.replicas; i++)
		if (is_int8(&o, (int)i))
			CHECK_OK(simulation_start(s, i, &e), &e);
	simulation_run(s, NS_PER_S);
	watch(&w[1], s);
	CHECK(!is_int8(&o, simulation_hop_server(s, session_id(w[0].session), 1)));
	CHECK(is_int8(&o, simulation_hop_server(s, session_id(w[1].session), 1)));
	for (int i = 0; i < 40; i++) {
		step(w, 2);
		simulation_run(s, 250 * NS_PER_MS);
	}
	CHECK(w[0].end > 20);
	CHECK_EQ(session_stats(w[0].session)->moves, 0);
	session_close(w[0].session);
	session_close(w[1].session);
	simulation_close(s);
}

/* Goal: of many sessions on a slow hop a quarter leaves in a check, so that each check sees
 * what the last one changed.
 */
TEST(session_slow__few_leave_at_a_time)
{
	struct simulation *s = swarm();
	struct watched w[SESSIONS];
	uint32_t left = 0, slow_server;

	for (int i = 0; i < SESSIONS; i++)
		watch(&w[i], s);
	for (int i = 0; i < 20; i++) {
		step(w, SESSIONS);
		simulation_run(s, 100 * NS_PER_MS);
	}
	slow_server = (uint32_t)simulation_hop_server(s, session_id(w[0].session), 1);
	simulation_slow_device(s, slow_server, 200 * NS_PER_MS);
	for (int second = 0; second < 12; second++) {
		uint32_t now = 0;

		for (int i = 0; i < 10; i++) {
			step(w, SESSIONS);
			simulation_run(s, 100 * NS_PER_MS);
		}
		for (int i = 0; i < SESSIONS; i++)
			now += session_stats(w[i].session)->moves;
		CHECK(now - left <= 2 * (SESSIONS / 4));
		left = now;
	}
	CHECK(left > 0);
	for (int i = 0; i < SESSIONS; i++) {
		CHECK(simulation_hop_server(s, session_id(w[i].session), 1) != (int)slow_server);
		session_close(w[i].session);
	}
	simulation_close(s);
}
