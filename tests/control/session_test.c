/* session_test.c - the client's sessions against a simulated swarm: rows in by position, wanted
 * rows out once and in order, and an error with its reason when there is no way on.
 * Covers session.c, session_repair.c, sessions.c; whole swarms with faults are in
 * tests/sim/repair_test.c.
 */
#include "control/session.h"

#include <errno.h>
#include <stdlib.h>

#include "compute/row.h"
#include "control/simulation.h"
#include "dataplane/base/log.h"
#include "tests/test.h"

enum { HIDDEN = 32, RESULTS_MAX = 64 };

struct watched {
	struct session *session;
	bool opened, close_on_open;
	uint32_t results, rows, last_end;
	float row[HIDDEN];
	int code;
	char reason[256];
};

static void on_opened(void *ctx)
{
	struct watched *w = ctx;

	w->opened = true;
	if (w->close_on_open)
		session_close(w->session);
}

static void on_result(void *ctx, uint32_t end, uint32_t rows, enum wire_encoding encoding,
		      const void *data)
{
	struct watched *w = ctx;

	CHECK(end > w->last_end);
	w->last_end = end;
	w->results++;
	w->rows += rows;
	row_decode((enum row_encoding)encoding,
		   (const uint8_t *)data + (rows - 1) * row_bytes(ROW_F32, HIDDEN), 1, HIDDEN,
		   w->row);
}

static void on_failed(void *ctx, int code, const char *reason)
{
	struct watched *w = ctx;

	CHECK_EQ(w->code, 0);                /* once */
	w->code = code;
	snprintf(w->reason, sizeof(w->reason), "%s", reason);
}

static struct simulation *swarm(uint32_t spans, uint32_t replicas)
{
	struct simulation_options o;
	struct simulation *s;
	struct error e;

	log_configure(getenv("PETALS_SIM_LOG") ? LOG_DEBUG : LOG_OFF, false);
	simulation_options_default(&o);
	o.seed = test_seed();
	o.model = test_data("llama-gqa-tied");
	o.spans = spans;
	o.replicas = replicas;
	o.rows_max = 8;
	CHECK_OK(simulation_open(&s, &o, &e), &e);
	CHECK(simulation_settle(s));
	return s;
}

static int watch(struct watched *w, struct simulation *s, uint32_t tokens_max, uint64_t within_ns,
		 struct error *e)
{
	const struct session_options o = {
		.tokens_max = tokens_max,
		.deadline_ns = clock_ns(sim_clock(simulation_network(s))) + within_ns,
		.events = { on_opened, on_result, on_failed },
		.ctx = w,
	};

	return session_open(&w->session, simulation_sessions(s), &o, e);
}

static void fill(float *rows, uint32_t count)
{
	for (uint32_t i = 0; i < count * HIDDEN; i++)
		rows[i] = (float)(i * 7919 % 101) / 50 - 1;
}

/* Goal: a long prompt goes out in chunks, one result comes back; want_all brings every row. */
TEST(session__results_come_once_and_in_order)
{
	struct simulation *s = swarm(3, 1);
	struct watched last = { 0 }, all = { 0 };
	float rows[30 * HIDDEN];
	struct error e;

	fill(rows, 30);
	CHECK_OK(watch(&last, s, 31, 10 * NS_PER_S, &e), &e);
	CHECK_OK(watch(&all, s, 31, 10 * NS_PER_S, &e), &e);
	simulation_run(s, 50 * NS_PER_MS);
	CHECK(last.opened && all.opened);
	CHECK_EQ(session_step(last.session, rows, 30, false), 0);
	CHECK_EQ(session_step(all.session, rows, 30, true), 0);
	CHECK_EQ(session_position(last.session), 30);
	simulation_run(s, 500 * NS_PER_MS);
	CHECK_EQ(last.results, 1);
	CHECK_EQ(last.rows, 1);
	CHECK_EQ(last.last_end, 30);
	CHECK_EQ(all.results, 4);            /* chunks of 8 */
	CHECK_EQ(all.rows, 30);
	CHECK_BYTES(last.row, all.row, sizeof(last.row));
	CHECK_EQ(session_step(last.session, rows, 1, false), 0);
	CHECK_EQ(session_step(last.session, rows, 1, false), -ENOSPC);
	simulation_run(s, 100 * NS_PER_MS);
	CHECK_EQ(last.last_end, 31);
	CHECK(session_stats(last.session)->step_ns > session_stats(last.session)->compute_ns);
	session_close(last.session);
	session_close(all.session);
	simulation_run(s, NS_PER_S);
	CHECK_EQ(sessions_count(simulation_sessions(s)), 0);
	simulation_close(s);
}

/* Goal: without servers for some blocks a session waits, then fails naming them. */
TEST(session__names_missing_blocks_at_its_deadline)
{
	struct simulation *s = swarm(2, 1);
	struct watched w = { 0 };
	char missing[64];
	struct error e;

	CHECK(sessions_covered(simulation_sessions(s), missing, sizeof(missing)));
	simulation_kill(s, 0);
	simulation_run(s, 5 * NS_PER_S);     /* its lease ends */
	CHECK(!sessions_covered(simulation_sessions(s), missing, sizeof(missing)));
	CHECK_TEXT(missing, "[0,2)");
	CHECK_OK(watch(&w, s, 10, NS_PER_S, &e), &e);
	simulation_run(s, 900 * NS_PER_MS);
	CHECK_EQ(w.code, 0);
	simulation_run(s, 200 * NS_PER_MS);
	CHECK_EQ(w.code, -ENOENT);
	if (!strstr(w.reason, "[0,2)"))
		fail_msg("blocks not named: %s", w.reason);
	session_close(w.session);
	simulation_close(s);
}

/* Goal: a request no server can serve fails at once with the server's own words. */
TEST(session__a_request_that_makes_no_sense_fails_at_once)
{
	struct simulation *s = swarm(2, 1);
	struct watched w = { 0 };
	struct error e;

	CHECK_OK(watch(&w, s, 1 << 20, 10 * NS_PER_S, &e), &e);
	simulation_run(s, 100 * NS_PER_MS);
	CHECK_EQ(w.code, -EINVAL);
	if (!strstr(w.reason, "1048576 tokens"))
		fail_msg("the figure is not named: %s", w.reason);
	session_close(w.session);
	simulation_close(s);
}

/* Goal: a session may be closed from its own event, and table room is bounded. */
TEST(session__may_close_itself_and_room_is_bounded)
{
	struct simulation *s = swarm(1, 1);
	struct watched w = { .close_on_open = true }, many[64] = { 0 }, more = { 0 };
	struct error e;

	CHECK_OK(watch(&w, s, 10, NS_PER_S, &e), &e);
	simulation_run(s, 100 * NS_PER_MS);
	CHECK(w.opened);
	CHECK_EQ(sessions_count(simulation_sessions(s)), 0);
	for (int i = 0; i < 64; i++)
		CHECK_OK(watch(&many[i], s, 1, 60 * NS_PER_S, &e), &e);
	CHECK_EQ(watch(&more, s, 1, NS_PER_S, &e), -EBUSY);
	for (int i = 0; i < 64; i++)
		session_close(many[i].session);
	simulation_run(s, 100 * NS_PER_MS);
	CHECK_OK(watch(&more, s, 1, NS_PER_S, &e), &e);
	session_close(more.session);
	simulation_close(s);
}

/* Goal: a repair is counted and timed, and the route shows who replaced whom. */
TEST(session__a_repair_is_told)
{
	struct simulation *s = swarm(3, 2);
	struct watched w = { 0 };
	struct route before, after;
	float rows[4 * HIDDEN];
	struct error e;

	fill(rows, 4);
	CHECK_OK(watch(&w, s, 10, 30 * NS_PER_S, &e), &e);
	simulation_run(s, 50 * NS_PER_MS);
	CHECK_EQ(session_step(w.session, rows, 4, false), 0);
	simulation_run(s, 100 * NS_PER_MS);
	session_route(w.session, &before);
	CHECK_EQ(before.count, 3);
	simulation_kill(s, (uint32_t)simulation_hop_server(s, session_id(w.session), 1));
	simulation_run(s, 500 * NS_PER_MS);
	session_route(w.session, &after);
	CHECK_EQ(session_stats(w.session)->repairs, 1);
	CHECK(session_stats(w.session)->repair_ns > 0);
	CHECK_EQ(after.hops[0].server, before.hops[0].server);
	CHECK(after.hops[1].server != before.hops[1].server);
	CHECK_EQ(after.hops[2].server, before.hops[2].server);
	CHECK_EQ(session_step(w.session, rows, 1, false), 0);
	simulation_run(s, 100 * NS_PER_MS);
	CHECK_EQ(w.last_end, 5);
	session_close(w.session);
	simulation_close(s);
}

/* Goal: servers tell the directory how far those are that come after them in routes. */
TEST(session__its_servers_report_their_links)
{
	struct simulation *s = swarm(3, 1);
	const struct view *v = simulation_view(s);
	struct watched w = { 0 };
	float rows[HIDDEN];
	uint32_t links = 0;
	struct error e;

	fill(rows, 1);
	CHECK_OK(watch(&w, s, 10, 30 * NS_PER_S, &e), &e);
	simulation_run(s, 50 * NS_PER_MS);
	CHECK_EQ(session_step(w.session, rows, 1, false), 0);
	simulation_run(s, 3 * NS_PER_S);
	for (uint32_t i = 0; i < v->count; i++) {
		const struct member_load *l = &v->members[i].load;

		links += l->link_count;
		CHECK_EQ(l->link_count, v->members[i].end < v->members[i].blocks);
		for (uint32_t k = 0; k < l->link_count; k++)
			CHECK(l->links[k].rtt_us >= 40 && l->links[k].rtt_us <= 400);
	}
	CHECK_EQ(links, 2);
	session_close(w.session);
	simulation_close(s);
}
