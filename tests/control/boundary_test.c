/* boundary_test.c - a boundary's receiver gets every row once and in order, as steps or
 * replayed, from whichever receiver it had before.
 */
#include "control/boundary.h"

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

enum { WIDTH = 24, ROW_BYTES = WIDTH * 4, SESSION = 77, LOG_MAX = 512 };

/* Every row holds its own position, so that a misplaced one shows. */
static void fill_row(float *row, uint32_t position)
{
	for (int i = 0; i < WIDTH; i++)
		row[i] = (float)(position * 1000 + i);
}

struct received {
	struct sim_program *program;
	struct frame frames[LOG_MAX];
	uint32_t count;
	bool hold;                      /* keep messages and so their credit */
	struct message *held;
};

static void take(void *ctx, struct message *m)
{
	struct received *r = ctx;
	float row[WIDTH];

	CHECK(r->count < LOG_MAX);
	CHECK_EQ(m->frame.session, SESSION);
	CHECK_EQ(m->frame.payload_bytes, m->frame.rows * ROW_BYTES);
	for (uint32_t i = 0; i < m->frame.rows; i++) {
		fill_row(row, m->frame.position + i);
		CHECK_BYTES(m->payload + i * ROW_BYTES, row, ROW_BYTES);
	}
	r->frames[r->count++] = m->frame;
	if (r->hold) {
		m->next = r->held;
		r->held = m;
	} else {
		node_put(r->program->node, m);
	}
}

struct world {
	struct sim_network *network;
	struct sim_program a, b;
	struct received received;
	struct boundary *boundary;
	uint32_t peer;
	struct node_listener listener;
};

static void writable(void *ctx, uint32_t peer)
{
	struct world *w = ctx;

	if (w->boundary)
		boundary_pump(w->boundary);
}

static void world_open(struct world *w, bool answers)
{
	const struct boundary_options o = {
		.session = SESSION, .width = WIDTH, .encoding = WIRE_F32, .chunk_rows = 8,
		.answers = answers,
	};
	struct boundary_options mine = o;
	struct address address = { "sim:5" };
	struct error e;

	*w = (struct world){ .network = test_network() };
	sim_program_open(&w->a, w->network, ROLE_SERVER, "a");
	sim_program_open(&w->b, w->network, ROLE_SERVER, "b");
	sim_program_listen(&w->b, "sim:5");
	w->received.program = &w->b;
	node_handle(w->b.node, answers ? WIRE_RESULT : WIRE_STEP, take, &w->received);
	w->listener = (struct node_listener){ .ctx = w, .writable = writable };
	CHECK_EQ(node_listener_add(w->a.node, &w->listener), 0);
	CHECK_OK(node_link(w->a.node, &address, &w->peer, &e), &e);
	run_for(w->network, 50 * NS_PER_MS);
	CHECK(node_is_up(w->a.node, w->peer));
	mine.node = w->a.node;
	CHECK_EQ(boundary_open(&w->boundary, &mine), 0);
}

static void world_close(struct world *w)
{
	while (w->received.held) {
		struct message *m = w->received.held;

		w->received.held = m->next;
		node_put(w->b.node, m);
	}
	boundary_close(w->boundary);
	w->boundary = NULL;
	node_unlink(w->a.node, w->peer);
	sim_program_close(&w->a);
	sim_program_close(&w->b);
	sim_network_close(w->network);
}

static void add(struct world *w, uint32_t step, uint32_t rows, uint32_t kept, uint16_t flags)
{
	struct boundary_step s = {
		.step = step, .position = boundary_end(w->boundary), .rows = rows, .kept = kept,
		.flags = flags,
	};
	float *room = boundary_reserve(w->boundary, kept);

	CHECK(room);
	for (uint32_t i = 0; i < kept; i++)
		fill_row(room + i * WIDTH, s.position + rows - kept + i);
	CHECK_EQ(boundary_append(w->boundary, &s), 0);
}

static void aim(struct world *w, uint32_t epoch, uint32_t replay_end, bool pass)
{
	boundary_target(w->boundary, &(struct boundary_target){
		.peer = w->peer, .hop = 1, .epoch = epoch, .replay_end = replay_end,
		.pass_replay = pass });
	CHECK_EQ(boundary_pump(w->boundary), 0);
	run_for(w->network, 200 * NS_PER_MS);
}

/* Goal: steps go out as they came, with their numbers, flags and epoch. */
TEST(boundary__sends_steps_as_they_came)
{
	struct world w;

	world_open(&w, false);
	add(&w, 1, 5, 5, 0);
	add(&w, 2, 3, 3, WIRE_WANT_LAST);
	CHECK(!boundary_idle(w.boundary));
	aim(&w, 4, 0, false);
	CHECK(boundary_idle(w.boundary));
	CHECK_EQ(w.received.count, 2);
	CHECK_EQ(w.received.frames[0].step, 1);
	CHECK_EQ(w.received.frames[0].position, 0);
	CHECK_EQ(w.received.frames[1].step, 2);
	CHECK_EQ(w.received.frames[1].position, 5);
	CHECK_EQ(w.received.frames[1].rows, 3);
	CHECK_EQ(w.received.frames[1].flags, WIRE_WANT_LAST);
	CHECK_EQ(w.received.frames[1].epoch, 4);
	world_close(&w);
}

/* Goal: a new receiver gets what lies before replay_end in large REPLAYED messages, the
 * rest step by step, also when the limit falls inside a step.
 */
TEST(boundary__replays_to_a_new_receiver)
{
	struct world w;
	uint32_t position = 0;

	world_open(&w, false);
	for (uint32_t step = 1; step <= 20; step++)
		add(&w, step, 1, 1, WIRE_WANT_LAST);
	add(&w, 21, 4, 4, WIRE_WANT_LAST);
	aim(&w, 2, 22, false);
	for (uint32_t i = 0; i < w.received.count; i++) {
		const struct frame *f = &w.received.frames[i];

		CHECK_EQ(f->position, position);
		CHECK_EQ(!!(f->flags & WIRE_REPLAYED), f->position < 22);
		position += f->rows;
	}
	CHECK_EQ(position, 24);
	CHECK_EQ(w.received.count, 4);       /* 8 + 8 + 6 replayed, then the step's tail */
	CHECK_EQ(w.received.frames[3].step, 21);
	CHECK_EQ(w.received.frames[3].rows, 2);
	world_close(&w);
}

/* Goal: rows that were replayed to us go on only to a receiver as new as we are. */
TEST(boundary__passes_replayed_rows_only_when_told)
{
	for (int pass = 0; pass < 2; pass++) {
		struct world w;

		world_open(&w, false);
		add(&w, 0, 6, 6, WIRE_REPLAYED);
		add(&w, 7, 1, 1, WIRE_WANT_LAST);
		aim(&w, 3, 0, pass);
		CHECK_EQ(w.received.count, 1 + pass);
		if (pass)
			CHECK_EQ(w.received.frames[0].flags, WIRE_REPLAYED);
		CHECK_EQ(w.received.frames[pass].step, 7);
		world_close(&w);
	}
}

/* Goal: replay waits for rows that are still being computed, and goes on with them. */
TEST(boundary__replay_goes_on_as_rows_appear)
{
	struct world w;

	world_open(&w, false);
	add(&w, 0, 4, 4, WIRE_REPLAYED);
	aim(&w, 2, 10, false);
	CHECK_EQ(w.received.count, 1);
	add(&w, 0, 6, 6, WIRE_REPLAYED);
	add(&w, 9, 1, 1, WIRE_WANT_LAST);
	CHECK_EQ(boundary_pump(w.boundary), 0);
	run_for(w.network, 100 * NS_PER_MS);
	CHECK_EQ(w.received.count, 3);
	CHECK_EQ(w.received.frames[1].position, 4);
	CHECK_EQ(w.received.frames[1].flags, WIRE_REPLAYED);
	CHECK_EQ(w.received.frames[2].step, 9);
	world_close(&w);
}

/* Goal: the last hop's boundary answers wanted rows only, and answers again when asked. */
TEST(boundary__answers_wanted_rows)
{
	struct world w;

	world_open(&w, true);
	add(&w, 1, 5, 0, 0);
	add(&w, 2, 4, 1, WIRE_WANT_LAST);
	add(&w, 3, 2, 2, WIRE_WANT_ALL);
	aim(&w, 1, 0, false);
	CHECK_EQ(w.received.count, 2);
	CHECK_EQ(w.received.frames[0].position, 8);
	CHECK_EQ(w.received.frames[0].rows, 1);
	CHECK_EQ(w.received.frames[1].position, 9);
	CHECK_EQ(w.received.frames[1].rows, 2);
	boundary_repeat(w.boundary, 3);
	CHECK_EQ(boundary_pump(w.boundary), 0);
	run_for(w.network, 100 * NS_PER_MS);
	CHECK_EQ(w.received.count, 3);
	CHECK_EQ(w.received.frames[2].step, 3);
	boundary_repeat(w.boundary, 99);     /* unknown: nothing */
	CHECK(boundary_idle(w.boundary));
	world_close(&w);
}

/* Goal: without credit it stops, and goes on by itself when credit comes back. */
TEST(boundary__waits_for_credit)
{
	struct world w;
	uint32_t position = 0;

	world_open(&w, false);
	w.received.hold = true;
	for (uint32_t step = 1; step <= 200; step++)
		add(&w, step, 1, 1, 0);
	aim(&w, 1, 0, false);
	CHECK(!boundary_idle(w.boundary));
	CHECK(w.received.count < 200);
	w.received.hold = false;
	while (w.received.held) {
		struct message *m = w.received.held;

		w.received.held = m->next;
		node_put(w.b.node, m);
	}
	run_for(w.network, NS_PER_S);
	CHECK(boundary_idle(w.boundary));
	CHECK_EQ(w.received.count, 200);
	for (uint32_t i = 0; i < 200; i++)
		position += w.received.frames[i].position == i;
	CHECK_EQ(position, 200);
	world_close(&w);
}

/* Goal: rows that span segments and came in many sizes arrive as they were written. */
TEST(boundary__long_histories_keep_every_row)
{
	struct world w;
	struct random r;
	uint32_t end = 0;

	world_open(&w, false);
	random_seed(&r, test_seed());
	for (uint32_t step = 1; end < 3000; step++) {
		uint32_t rows = 1 + (uint32_t)random_below(&r, 8);

		add(&w, step, rows, rows, 0);
		end += rows;
	}
	CHECK_EQ(boundary_end(w.boundary), end);
	CHECK(boundary_bytes(w.boundary) >= (uint64_t)end * ROW_BYTES);
	aim(&w, 1, end, false);
	run_for(w.network, 2 * NS_PER_S);
	CHECK_EQ(w.received.frames[w.received.count - 1].position +
		 w.received.frames[w.received.count - 1].rows, end);
	boundary_untarget(w.boundary);
	CHECK_EQ(boundary_peer(w.boundary), 0);
	world_close(&w);
}

#ifdef PETALS_FAULTS
/* Goal: running out of memory is told, and nothing is lost or leaked. */
TEST(boundary__survives_every_failed_allocation)
{
	struct world w;

	world_open(&w, false);
	for (int nth = 1; nth < 100; nth++) {
		struct boundary *b = NULL;
		const struct boundary_options o = { .node = w.a.node, .session = 1,
			.width = WIDTH, .encoding = WIRE_F32, .chunk_rows = 8 };
		const struct boundary_step s = { .step = 1, .rows = 2, .kept = 2 };
		uint64_t live = mem_live_blocks();

		fault_arm(nth);
		if (boundary_open(&b, &o) == 0 && boundary_reserve(b, 2))
			boundary_append(b, &s);
		boundary_close(b);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
	}
	fault_disarm();
	world_close(&w);
}
#endif
