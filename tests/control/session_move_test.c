/* session_move_test.c - planned moves of one session: what is told, what is kept how long, and
 * what happens when nobody can take a hop's blocks.  Swarms that leave and fail at once are in
 * tests/sim/move_test.c.
 */
#include "control/session.h"

#include <stdlib.h>

#include "dataplane/base/log.h"
#include "tests/support/sim_swarm.h"
#include "tests/test.h"

enum { HIDDEN = 32, TOKENS = 40 };

struct watched {
	struct session *session;
	bool opened;
	uint32_t last_end;
	int code;
};

static void on_opened(void *ctx)
{
	struct watched *w = ctx;

	w->opened = true;
}

static void on_result(void *ctx, uint32_t end, uint32_t rows, enum wire_encoding encoding,
		      const void *data)
{
	struct watched *w = ctx;

	CHECK(end > w->last_end);
	w->last_end = end;
}

static void on_failed(void *ctx, int code, const char *reason)
{
	struct watched *w = ctx;

	w->code = code;
}

static struct simulation *swarm(uint64_t kv_bytes)
{
	struct simulation_options o;
	struct simulation *s;
	struct error e;

	log_configure(getenv("PETALS_SIM_LOG") ? LOG_DEBUG : LOG_OFF, false);
	simulation_options_default(&o);
	o.seed = test_seed();
	o.model = test_data("llama-gqa-tied");
	o.spans = 2;
	o.rows_max = 8;
	if (kv_bytes)
		o.kv_bytes = kv_bytes;
	CHECK_OK(simulation_open(&s, &o, &e), &e);
	CHECK(simulation_settle(s));
	return s;
}

static void watch(struct watched *w, struct simulation *s)
{
	const struct session_options o = {
		.tokens_max = TOKENS,
		.deadline_ns = clock_ns(sim_clock(simulation_network(s))) + 300 * NS_PER_S,
		.events = { on_opened, on_result, on_failed },
		.ctx = w,
	};
	struct error e;

	*w = (struct watched){ 0 };
	CHECK_OK(session_open(&w->session, simulation_sessions(s), &o, &e), &e);
	simulation_run(s, 50 * NS_PER_MS);
}

static void step(struct watched *w, struct simulation *s, uint32_t rows)
{
	float row[4 * HIDDEN];

	for (uint32_t i = 0; i < rows * HIDDEN; i++)
		row[i] = (float)(i * 7919 % 101) / 50 - 1;
	CHECK_EQ(session_step(w->session, row, rows, false), 0);
	simulation_run(s, 50 * NS_PER_MS);
	CHECK_EQ(w->last_end, session_position(w->session));
}

/* Goal: a hop that leaves is replaced without a repair, kept until the next answer, then let
 * go; what is told counts it.
 */
TEST(session_move__a_leaving_hop_is_left)
{
	struct simulation *s = swarm(0);
	struct watched w;
	int from, to;

	watch(&w, s);
	step(&w, s, 4);
	from = simulation_hop_server(s, session_id(w.session), 1);
	CHECK_EQ(simulation_move_server(s, session_id(w.session)), -1);
	simulation_drain(s, (uint32_t)from, 60 * NS_PER_S);
	simulation_run(s, 50 * NS_PER_MS);
	to = simulation_hop_server(s, session_id(w.session), 1);
	CHECK(to >= 0 && to != from);
	CHECK_EQ(simulation_move_server(s, session_id(w.session)), from);
	CHECK_EQ(simulation_server_sessions(s, (uint32_t)from), 1);
	step(&w, s, 1);
	CHECK_EQ(simulation_move_server(s, session_id(w.session)), -1);
	CHECK_EQ(simulation_server_sessions(s, (uint32_t)from), 0);
	CHECK_EQ(session_stats(w.session)->moves, 1);
	CHECK_EQ(session_stats(w.session)->repairs, 0);
	CHECK_EQ(sim_metric(sessions_counters(simulation_sessions(s)),
			    "petals_session_hops_replaced_total{reason=\"leaving\"}"), 1);
	session_close(w.session);
	simulation_close(s);
}

/* Goal: a replacement without room is given up, the session goes on where it is, and moves
 * when there is room.
 */
TEST(session_move__waits_for_room)
{
	struct simulation *s = swarm(96 << 10);
	struct watched w, other[16];
	uint32_t others = 0, moved_to, from;

	watch(&w, s);
	step(&w, s, 1);
	from = (uint32_t)simulation_hop_server(s, session_id(w.session), 1);
	moved_to = from == 1 ? 3 : 1;
	/* Until every server is full. */
	for (; others < ARRAY_LENGTH(other); others++) {
		watch(&other[others], s);
		if (!other[others].opened)
			break;
	}
	CHECK(others > 0 && others < ARRAY_LENGTH(other));
	session_close(other[others].session);
	simulation_run(s, 50 * NS_PER_MS);
	simulation_drain(s, from, 200 * NS_PER_S);
	simulation_run(s, 5 * NS_PER_S);
	CHECK_EQ(simulation_hop_server(s, session_id(w.session), 1), (int)from);
	CHECK(sim_metric(sessions_counters(simulation_sessions(s)),
			    "petals_session_moves_abandoned_total") > 0);
	step(&w, s, 1);
	while (others--)
		session_close(other[others].session);
	simulation_run(s, 10 * NS_PER_S);
	CHECK_EQ(simulation_hop_server(s, session_id(w.session), 1), (int)moved_to);
	step(&w, s, 1);
	CHECK_EQ(simulation_server_sessions(s, from), 0);
	CHECK_EQ(w.code, 0);
	session_close(w.session);
	simulation_close(s);
}

/* Goal: the hop that was left takes its place again when the new one is lost before it has
 * answered; then that is a repair, and costs no row.
 */
TEST(session_move__goes_back)
{
	struct simulation *s = swarm(0);
	struct watched w;
	int from, to;

	watch(&w, s);
	step(&w, s, 4);
	from = simulation_hop_server(s, session_id(w.session), 0);
	simulation_drain(s, (uint32_t)from, 60 * NS_PER_S);
	simulation_run(s, 50 * NS_PER_MS);
	to = simulation_hop_server(s, session_id(w.session), 0);
	CHECK(to >= 0 && to != from);
	simulation_kill(s, (uint32_t)to);
	simulation_run(s, 500 * NS_PER_MS);
	CHECK_EQ(simulation_hop_server(s, session_id(w.session), 0), from);
	step(&w, s, 1);
	CHECK_EQ(session_stats(w.session)->repairs, 1);
	CHECK_EQ(session_stats(w.session)->moves, 1);
	CHECK_EQ(w.code, 0);
	session_close(w.session);
	simulation_close(s);
}
