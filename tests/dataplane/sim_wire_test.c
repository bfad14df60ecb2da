/* sim_wire_test.c - wires between ends: order, pooling, cuts, and that nothing
 * is left when both ends are gone.
 */
#include "dataplane/sim_wire.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "tests/test.h"

enum { PAIRS = 20 };

struct yard {
	struct sim_network *network;
	struct engine a, b;
	struct end *ends[PAIRS];
	uint64_t live;
};

static void yard_open(struct yard *y, int pairs)
{
	struct sim_options o = { .seed = test_seed(), .delay_least_ns = 10, .delay_most_ns = 1000 };

	memset(y, 0, sizeof(*y));
	y->live = mem_live_blocks();
	CHECK_EQ(sim_network_open(&y->network, &o), 0);
	y->a = (struct engine){ .network = y->network, .serial = 0 };
	y->b = (struct engine){ .network = y->network, .serial = 1, .listeners = 1 };
	for (int i = 0; i < pairs; i++) {
		y->ends[i] = sim_connection_open(y->network, &y->a, &y->b);
		CHECK(y->ends[i] != NULL);
	}
}

static void yard_close(struct yard *y)
{
	while (y->a.ends)
		sim_disown(y->a.ends);
	while (y->b.ends)
		sim_disown(y->b.ends);
	sim_network_close(y->network);
	CHECK_EQ(mem_live_blocks(), y->live);
}

static void say(struct yard *y, struct end *from, uint32_t number, size_t bytes)
{
	struct chunk *c = sim_chunk_get(y->network, bytes);

	CHECK(c != NULL);
	memcpy(c->data, &number, sizeof(number));
	sim_transmit(y->network, from->other, c);
}

/* Moves time to the next arrival. */
static void step(struct yard *y)
{
	uint64_t next_ns = sim_next_arrival(y->network);

	CHECK(next_ns >= y->network->clock.now_ns);
	simulated_clock_advance_to(&y->network->clock, next_ns);
	sim_arrive(y->network);
}

/* Goal: whatever the delays, a wire keeps its order, time never goes back, and
 * everything arrives once.
 */
TEST(sim_wire__order_is_kept)
{
	uint32_t next[PAIRS] = { 0 }, number, seen = 0;
	struct chunk *c;
	struct end *end;
	struct yard y;

	yard_open(&y, PAIRS);
	for (uint32_t n = 0; n < 50; n++)
		for (int i = 0; i < PAIRS; i++)
			say(&y, y.ends[i], n, 4 + n * 40);
	while (sim_next_arrival(y.network) != UINT64_MAX) {
		step(&y);
		while ((end = sim_next_ready(&y.b))) {
			int i = 0;

			while (y.ends[i]->other != end)
				i++;
			while ((c = sim_inbox_pop(end))) {
				memcpy(&number, c->data, sizeof(number));
				CHECK_EQ(number, next[i]++);
				CHECK(c->due_ns <= y.network->clock.now_ns);
				sim_chunk_put(y.network, c);
				seen++;
			}
		}
	}
	CHECK_EQ(seen, 50 * PAIRS);
	yard_close(&y);
}

/* Goal: memory of messages is used again, large ones excepted. */
TEST(sim_wire__chunks_are_pooled)
{
	static const size_t sizes[] = { 1, 256, 257, 1024, 16384, 65536 };
	struct chunk *c, *again;
	struct yard y;

	yard_open(&y, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		c = sim_chunk_get(y.network, sizes[i]);
		memset(c->data, 1, sizes[i]);
		sim_chunk_put(y.network, c);
		again = sim_chunk_get(y.network, sizes[i]);
		CHECK(again == c);
		CHECK_EQ(again->bytes, sizes[i]);
		sim_chunk_put(y.network, again);
	}
	c = sim_chunk_get(y.network, 1 << 20);
	memset(c->data, 1, 1 << 20);
	sim_chunk_put(y.network, c);
	yard_close(&y);
}

/* Goal: nothing follows an end; a second end changes nothing. */
TEST(sim_wire__an_end_is_the_last)
{
	struct chunk *c;
	struct yard y;

	yard_open(&y, 1);
	say(&y, y.ends[0], 7, 100);
	sim_transmit_end(y.network, y.ends[0]->other, -ECONNRESET, "one");
	sim_transmit_end(y.network, y.ends[0]->other, -EPIPE, "two");
	while (sim_next_arrival(y.network) != UINT64_MAX)
		step(&y);
	c = sim_inbox_pop(y.ends[0]->other);
	CHECK_EQ(c->kind, CHUNK_DATA);
	sim_chunk_put(y.network, c);
	c = sim_inbox_pop(y.ends[0]->other);
	CHECK_EQ(c->kind, CHUNK_END);
	CHECK_TEXT(c->reason, "one");
	CHECK(sim_inbox_pop(y.ends[0]->other) == NULL);
	yard_close(&y);
}

/* Goal: a cut holds back, a join releases; ends that go meanwhile leave nothing. */
TEST(sim_wire__cut_holds_back)
{
	struct chunk *c;
	struct yard y;

	yard_open(&y, 2);
	y.network->cut[0][0] |= 2;
	y.network->cut[1][0] |= 1;
	CHECK(sim_is_cut(y.network, 0, 1) && sim_is_cut(y.network, 1, 0));
	CHECK(!sim_is_cut(y.network, 0, 2));
	say(&y, y.ends[0], 1, 10);
	say(&y, y.ends[1], 2, 10);
	while (sim_next_arrival(y.network) != UINT64_MAX)
		step(&y);
	CHECK(sim_inbox_pop(y.ends[0]->other) == NULL);
	sim_disown(y.ends[1]->other);                   /* what was held for it goes */
	y.network->cut[0][0] = y.network->cut[1][0] = 0;
	sim_release_held(y.network, &y.b);
	while (sim_next_arrival(y.network) != UINT64_MAX)
		step(&y);
	c = sim_inbox_pop(y.ends[0]->other);
	CHECK(c != NULL);
	sim_chunk_put(y.network, c);
	yard_close(&y);
}
