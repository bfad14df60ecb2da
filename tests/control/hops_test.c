/* hops_test.c - a server's hops against a client that says anything: what is refused and
 * why, what is answered again, what is given back.  Covers hops.c, hop.c, hop_step.c.
 */
#include "control/hop.h"

#include <stdlib.h>

#include "control/simulation.h"
#include "control/view.h"
#include "dataplane/base/log.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

enum { HIDDEN = 32, TOKENS_MAX = 40 };

/* A raw client of the one server of a swarm. */
struct client {
	struct simulation *swarm;
	struct sim_program program;
	uint32_t peer;
	uint64_t identity, other_weights;
	uint32_t blocks;
	/* the last of each that came */
	uint32_t opened, results, refused, leaving;
	struct frame result;
	float row[HIDDEN];
	struct wire_refused refusal;
};

static void on_opened(void *ctx, struct message *m)
{
	struct client *c = ctx;

	c->opened++;
	node_put(c->program.node, m);
}

static void on_result(void *ctx, struct message *m)
{
	struct client *c = ctx;

	c->results++;
	c->result = m->frame;
	memcpy(c->row, m->payload + (m->frame.rows - 1) * sizeof(c->row), sizeof(c->row));
	node_put(c->program.node, m);
}

static void on_refused(void *ctx, struct message *m)
{
	struct client *c = ctx;

	c->refused++;
	memcpy(&c->refusal, m->payload, sizeof(c->refusal));
	node_put(c->program.node, m);
}

static void on_leaving(void *ctx, struct message *m)
{
	struct client *c = ctx;

	c->leaving++;
	node_put(c->program.node, m);
}

static void client_open(struct client *c, uint64_t kv_bytes)
{
	struct simulation_options o;
	struct address address = { "sim:100" };
	struct model *m;
	struct error e;

	*c = (struct client){ 0 };
	log_configure(getenv("PETALS_SIM_LOG") ? LOG_DEBUG : LOG_OFF, false);
	simulation_options_default(&o);
	o.seed = test_seed();
	o.model = test_data("llama-gqa-tied");
	o.spans = o.replicas = 1;
	o.kv_bytes = kv_bytes;
	CHECK_OK(simulation_open(&c->swarm, &o, &e), &e);
	CHECK(simulation_settle(c->swarm));
	CHECK_OK(model_open(&m, o.model, &e), &e);
	c->identity = view_identity(model_fingerprint(m), "cpu/f32/f32");
	c->other_weights = view_identity(model_fingerprint(m), "cpu/int4/f32/f32");
	c->blocks = model_config(m)->blocks;
	CHECK_EQ(model_config(m)->hidden, HIDDEN);
	model_close(m);
	sim_program_open(&c->program, simulation_network(c->swarm), ROLE_GATEWAY, "raw");
	node_handle(c->program.node, WIRE_OPENED, on_opened, c);
	node_handle(c->program.node, WIRE_RESULT, on_result, c);
	node_handle(c->program.node, WIRE_REFUSED, on_refused, c);
	node_handle(c->program.node, WIRE_LEAVING, on_leaving, c);
	CHECK_OK(node_link(c->program.node, &address, &c->peer, &e), &e);
	simulation_run(c->swarm, 100 * NS_PER_MS);
	CHECK(node_is_up(c->program.node, c->peer));
}

static void client_close(struct client *c)
{
	sim_program_close(&c->program);
	simulation_close(c->swarm);
}

static struct wire_open open_for(const struct client *c)
{
	return (struct wire_open){
		.identity = le64_of(c->identity), .end = le32_of(c->blocks),
		.tokens_max = le32_of(TOKENS_MAX), .next_epoch = le32_of(1), .hops = 1,
		.encoding = WIRE_F32,
	};
}

static void say_open(struct client *c, uint64_t session, uint32_t epoch,
		     const struct wire_open *open, uint32_t deadline_us)
{
	const struct frame f = {
		.type = WIRE_OPEN, .session = session, .epoch = epoch,
		.deadline_us = deadline_us, .payload_bytes = sizeof(*open),
	};

	CHECK_EQ(node_send(c->program.node, c->peer, &f, open), 0);
	simulation_run(c->swarm, 50 * NS_PER_MS);
}

/* Rows whose numbers depend on their position alone. */
static void say_step(struct client *c, uint64_t session, uint32_t epoch, uint32_t step,
		     uint32_t position, uint32_t rows, uint16_t flags)
{
	struct message *m;

	CHECK_EQ(transport_reserve(node_transport(c->program.node), c->peer,
				   rows * HIDDEN * 4, &m), 0);
	m->frame.type = WIRE_STEP;
	m->frame.session = session;
	m->frame.epoch = epoch;
	m->frame.step = step;
	m->frame.position = position;
	m->frame.rows = rows;
	m->frame.width = HIDDEN;
	m->frame.encoding = WIRE_F32;
	m->frame.flags = flags;
	for (uint32_t i = 0; i < rows * HIDDEN; i++)
		((float *)m->payload)[i] = (float)((position * HIDDEN + i) * 7919 % 97) / 50 - 1;
	transport_send(node_transport(c->program.node), m);
	simulation_run(c->swarm, 50 * NS_PER_MS);
}

static void say_close(struct client *c, uint64_t session)
{
	const struct frame f = { .type = WIRE_CLOSE, .session = session, .epoch = 99 };

	CHECK_EQ(node_send(c->program.node, c->peer, &f, NULL), 0);
	simulation_run(c->swarm, 50 * NS_PER_MS);
}

static void check_refused(const struct client *c, uint32_t times, enum wire_refusal refusal,
			  const char *word)
{
	CHECK_EQ(c->refused, times);
	CHECK_EQ(le32_get(c->refusal.refusal), refusal);
	if (!strstr(c->refusal.reason, word))
		fail_msg("no '%s' in: %s", word, c->refusal.reason);
}

/* Goal: an OPEN that cannot be served is refused with the figures. */
TEST(hops__open_is_checked)
{
	struct client c;
	struct wire_open open;

	client_open(&c, 2 * MIB);
	open = open_for(&c);
	open.identity = le64_of(1);
	say_open(&c, 1, 1, &open, 0);
	check_refused(&c, 1, REFUSED_MODEL, "weights");
	/* The same model, but rows of int4 weights. */
	open.identity = le64_of(c.other_weights);
	say_open(&c, 1, 1, &open, 0);
	check_refused(&c, 2, REFUSED_MODEL, "cpu/f32/f32");
	open = open_for(&c);
	open.end = le32_of(c.blocks + 1);
	say_open(&c, 1, 1, &open, 0);
	check_refused(&c, 3, REFUSED_MODEL, "blocks [0,6)");
	open = open_for(&c);
	open.first = open.end;
	say_open(&c, 1, 1, &open, 0);
	check_refused(&c, 4, REFUSED_MODEL, "blocks [5,5)");
	open = open_for(&c);
	open.encoding = WIRE_BF16;
	say_open(&c, 1, 1, &open, 0);
	check_refused(&c, 5, REFUSED_MODEL, "bf16");
	open = open_for(&c);
	open.tokens_max = le32_of(0);
	say_open(&c, 1, 1, &open, 0);
	check_refused(&c, 6, REFUSED_INVALID, "0 tokens");
	open = open_for(&c);
	memset(open.next, 'x', sizeof(open.next));
	say_open(&c, 1, 1, &open, 0);
	check_refused(&c, 7, REFUSED_INVALID, "no end");
	open = open_for(&c);
	say_open(&c, 1, 1, &open, 0);
	CHECK_EQ(c.opened, 1);
	CHECK_EQ(simulation_server_sessions(c.swarm, 0), 1);
	client_close(&c);
}

/* Goal: steps are taken in by position: gaps, stale epochs and nonsense are refused,
 * repeats are answered again without running, overlaps are trimmed.
 */
TEST(hops__steps_go_by_position)
{
	struct client c;
	struct wire_open open;
	float first[HIDDEN];

	client_open(&c, 2 * MIB);
	open = open_for(&c);
	say_step(&c, 5, 1, 1, 0, 3, WIRE_WANT_LAST);
	check_refused(&c, 1, REFUSED_UNKNOWN, "no such session");
	say_open(&c, 5, 2, &open, 0);
	say_step(&c, 5, 1, 1, 0, 3, WIRE_WANT_LAST);
	check_refused(&c, 2, REFUSED_STALE, "epoch 1");
	say_step(&c, 5, 2, 1, 4, 3, WIRE_WANT_LAST);
	check_refused(&c, 3, REFUSED_GAP, "position 4");
	say_step(&c, 5, 2, 1, 0, 3, WIRE_WANT_LAST);
	CHECK_EQ(c.results, 1);
	CHECK_EQ(c.result.position + c.result.rows, 3);
	memcpy(first, c.row, sizeof(first));
	memset(c.row, 0, sizeof(c.row));
	say_step(&c, 5, 2, 1, 0, 3, WIRE_WANT_LAST);
	CHECK_EQ(c.results, 2);
	CHECK_BYTES(c.row, first, sizeof(first));
	say_step(&c, 5, 2, 2, 1, 4, WIRE_WANT_LAST);       /* rows 1, 2 are there already */
	CHECK_EQ(c.results, 3);
	CHECK_EQ(c.result.position + c.result.rows, 5);
	say_step(&c, 5, 2, 3, 5, 16, 0);
	CHECK_EQ(c.results, 3);
	say_step(&c, 5, 2, 4, 30, 11, 0);
	check_refused(&c, 4, REFUSED_GAP, "position 30");
	say_step(&c, 5, 2, 4, 21, 16, 0);
	say_step(&c, 5, 2, 5, 37, 4, 0);
	check_refused(&c, 5, REFUSED_INVALID, "41");
	client_close(&c);
}

/* Goal: the same rows in other chunks, in another session, give the same bits. */
TEST(hops__chunking_changes_no_bit)
{
	struct client c;
	struct wire_open open;
	float whole[HIDDEN];

	client_open(&c, 2 * MIB);
	open = open_for(&c);
	say_open(&c, 1, 1, &open, 0);
	say_step(&c, 1, 1, 1, 0, 15, WIRE_WANT_LAST);
	memcpy(whole, c.row, sizeof(whole));
	say_open(&c, 2, 1, &open, 0);
	for (uint32_t i = 0; i < 15; i++)
		say_step(&c, 2, 1, i + 1, i, 1, WIRE_WANT_LAST);
	CHECK_EQ(c.results, 16);
	CHECK_BYTES(c.row, whole, sizeof(whole));
	client_close(&c);
}

/* Goal: when pages run out a session waits until its deadline, gets them if they come free,
 * and is refused with the figures if not; closing gives everything back.
 */
TEST(hops__pages_are_waited_for)
{
	struct client c;
	struct wire_open open;
	uint64_t session = 1;

	client_open(&c, 128 * KIB);
	open = open_for(&c);
	while (c.refused == 0) {
		say_open(&c, session++, 1, &open, 0);
		CHECK(session < 500);
	}
	check_refused(&c, 1, REFUSED_BUSY, "pages");
	c.opened = 0;
	say_open(&c, 1000, 1, &open, 200 * 1000);
	CHECK_EQ(c.opened, 0);
	simulation_run(c.swarm, 300 * NS_PER_MS);
	check_refused(&c, 2, REFUSED_BUSY, "waited until the deadline");
	say_open(&c, 1001, 1, &open, 5 * 1000 * 1000);
	CHECK_EQ(c.opened, 0);
	say_close(&c, 1);
	CHECK_EQ(c.opened, 1);
	for (uint64_t s = 2; s < session; s++)
		say_close(&c, s);
	say_close(&c, 1001);
	CHECK_EQ(simulation_server_sessions(c.swarm, 0), 0);
	CHECK_EQ(simulation_server_pages_held(c.swarm, 0), 0);
	client_close(&c);
}

/* Goal: a client that vanishes takes its sessions with it. */
TEST(hops__a_lost_client_frees_its_sessions)
{
	struct client c;
	struct wire_open open;

	client_open(&c, 2 * MIB);
	open = open_for(&c);
	for (uint64_t s = 1; s <= 5; s++)
		say_open(&c, s, 1, &open, 0);
	CHECK_EQ(simulation_server_sessions(c.swarm, 0), 5);
	node_unlink(c.program.node, c.peer);
	transport_disconnect(node_transport(c.program.node), c.peer, "gone");
	simulation_run(c.swarm, 500 * NS_PER_MS);
	CHECK_EQ(simulation_server_sessions(c.swarm, 0), 0);
	CHECK_EQ(simulation_server_pages_held(c.swarm, 0), 0);
	client_close(&c);
}

/* Goal: a draining server tells its clients, takes nobody new, and goes on with the old. */
TEST(hops__draining_serves_the_old_and_refuses_the_new)
{
	struct client c;
	struct wire_open open;

	client_open(&c, 2 * MIB);
	open = open_for(&c);
	say_open(&c, 1, 1, &open, 0);
	simulation_drain(c.swarm, 0, 60 * NS_PER_S);
	simulation_run(c.swarm, 100 * NS_PER_MS);
	CHECK_EQ(c.leaving, 1);
	say_open(&c, 2, 1, &open, 0);
	check_refused(&c, 1, REFUSED_DRAINING, "draining");
	say_step(&c, 1, 1, 1, 0, 3, WIRE_WANT_LAST);
	CHECK_EQ(c.results, 1);
	client_close(&c);
}
