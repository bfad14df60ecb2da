/* canary_test.c - readiness follows coverage and the one token that nobody asked for. */
#include "control/canary.h"

#include "control/directory_client.h"
#include "tests/control/fake_generations.h"
#include "tests/support/sim_program.h"

enum { BLOCKS = 4, FINGERPRINT = 77 };

struct world {
	struct sim_network *network;
	struct sim_program program;
	struct directory_client *directory;
	struct sessions *sessions;
	struct canary canary;
};

static void world_open(struct world *w)
{
	struct directory_client_options d = { .ttl_ns = 3 * NS_PER_S, .watch = true };
	struct sessions_options s = {
		.fingerprint = FINGERPRINT, .blocks = BLOCKS, .hidden = 8, .sessions_max = 4,
		.chunk_rows = 4, .ban_ns = NS_PER_S, .seed = 1,
	};
	struct error e;

	w->network = test_network();
	sim_program_open(&w->program, w->network, ROLE_GATEWAY, "gateway");
	d.node = s.node = w->program.node;
	d.rpc = w->program.rpc;
	CHECK_OK(address_parse(&d.directory, "sim:7700", &e), &e);
	CHECK_OK(directory_client_open(&w->directory, &d, &e), &e);
	s.directory = w->directory;
	CHECK_OK(sessions_open(&w->sessions, &s, &e), &e);
	canary_open(&w->canary, NULL, w->sessions, 5);
}

static void world_close(struct world *w)
{
	canary_close(&w->canary);
	CHECK_EQ(fake.count, 0);
	sim_program_detach(&w->program);
	sessions_close(w->sessions);
	directory_client_close(w->directory);
	rpc_close(w->program.rpc);
	node_close(w->program.node);
	sim_network_close(w->network);
}

/* The test plays the directory: one server of [0, end), or none. */
static void serve_blocks(struct world *w, uint32_t end)
{
	struct view *v = (struct view *)directory_client_view(w->directory);
	struct member m = {
		.id = 9, .fingerprint = FINGERPRINT, .blocks = BLOCKS, .end = end,
		.state = MEMBER_SERVING, .kind = "cpu/f32/f32", .name = "s", .model = "m",
	};

	if (end)
		CHECK_EQ(view_put(v, &m), 0);
	else
		view_remove(v, 9);
}

/* Goal: nothing is tried while blocks are missing, and the missing ones are named. */
TEST(canary_turn__names_missing_blocks)
{
	struct world w;

	world_open(&w);
	CHECK(!canary_passed(&w.canary));
	canary_turn(&w.canary, 1);
	CHECK_TEXT(canary_why_not(&w.canary), "no server has blocks [0,4)");
	serve_blocks(&w, 3);
	CHECK(canary_turn(&w.canary, 2));
	CHECK_TEXT(canary_why_not(&w.canary), "no server has blocks [3,4)");
	CHECK(!canary_turn(&w.canary, 3));
	CHECK_EQ(fake.count, 0);
	world_close(&w);
}

/* Goal: covered, one token is tried; once it is back we are ready, until coverage goes. */
TEST(canary_turn__passes)
{
	struct world w;

	world_open(&w);
	serve_blocks(&w, 4);
	canary_turn(&w.canary, 1);
	CHECK_EQ(fake.count, 1);
	CHECK_EQ(fake.open[0]->o.max_tokens, 1);
	CHECK_EQ(fake.open[0]->o.prompt[0], 5);
	CHECK(!canary_passed(&w.canary));
	canary_turn(&w.canary, 2);
	CHECK_EQ(fake.count, 1);
	fake_token(fake.open[0], 1, "a", false);
	fake_finish(fake.open[0], FINISH_LENGTH, "", NULL, 0, NULL);
	canary_turn(&w.canary, 3);
	CHECK(canary_passed(&w.canary));
	CHECK_TEXT(canary_why_not(&w.canary), "");
	CHECK_EQ(fake.count, 0);
	canary_turn(&w.canary, 10 * NS_PER_S);
	CHECK_EQ(fake.count, 0);
	serve_blocks(&w, 0);
	CHECK(canary_turn(&w.canary, 11 * NS_PER_S));
	CHECK(!canary_passed(&w.canary));
	serve_blocks(&w, 4);
	canary_turn(&w.canary, 11 * NS_PER_S + 1);
	CHECK_EQ(fake.count, 1);
	world_close(&w);
}

/* Goal: a canary that fails says why, and is tried again a second later. */
TEST(canary_turn__tries_again)
{
	struct world w;

	world_open(&w);
	serve_blocks(&w, 4);
	canary_turn(&w.canary, 1);
	fake_finish(fake.open[0], FINISH_ERROR, "", NULL, -ETIMEDOUT, "hop 1 is silent");
	canary_turn(&w.canary, 2);
	CHECK_TEXT(canary_why_not(&w.canary), "a canary of one token failed: hop 1 is silent");
	CHECK_EQ(fake.count, 0);
	canary_turn(&w.canary, 1 + NS_PER_S);
	CHECK_EQ(fake.count, 1);
	fake_finish(fake.open[0], FINISH_STOP, "", NULL, 0, NULL);
	canary_turn(&w.canary, 2 + NS_PER_S);
	CHECK(canary_passed(&w.canary));
	canary_doubt(&w.canary);
	CHECK(!canary_passed(&w.canary));
	canary_turn(&w.canary, 3 + 2 * NS_PER_S);
	CHECK_EQ(fake.count, 1);
	CHECK_EQ(w.canary.tried, 3);
	CHECK_EQ(w.canary.failed, 1);
	world_close(&w);
}

/* Goal: so is one that cannot even start. */
TEST(canary_turn__cannot_start)
{
	struct world w;

	world_open(&w);
	serve_blocks(&w, 4);
	fake.refuse = -ENOMEM;
	canary_turn(&w.canary, 1);
	fake.refuse = 0;
	CHECK_TEXT(canary_why_not(&w.canary), "a canary of one token failed: the fake refuses");
	canary_turn(&w.canary, 1 + NS_PER_S);
	CHECK_EQ(fake.count, 1);
	world_close(&w);
}
