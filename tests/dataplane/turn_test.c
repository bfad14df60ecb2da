/* turn_test.c - what a transport does by itself as time passes: sleeps, wakes, measures, and
 * tells who may write again.
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/support/transport_world.h"
#include "tests/test.h"

struct both { struct world_node *a, *b; };

static bool both_measured(void *ctx)
{
	const struct both *both = ctx;

	return transport_rtt_ns(both->a->transport, world_peer(both->a)) > 0 &&
	       transport_rtt_ns(both->b->transport, world_peer(both->b)) > 0;
}

static void *wake_soon(void *ctx)
{
	usleep(2000);
	transport_wake(ctx);
	return NULL;
}

/* Goal: when the queue is full, reserve says so and writable() follows. */
OVER_ENGINES(turn__a_full_queue_waits)
{
	struct transport_options o;
	struct world_node *a, *b;
	struct message *held[4], *m;
	uint32_t peer;

	world_options(w, &o);
	o.send_queue_messages = 4;
	a = world_add(w, &o);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(transport_reserve(a->transport, peer, 1, &held[i]), 0);
	CHECK_EQ(transport_reserve(a->transport, peer, 1, &m), -EAGAIN);
	world_pass(w, 2 * NS_PER_MS);
	CHECK_EQ(a->writables, 0);
	message_put(a->transport, held[0]);
	CHECK(world_wait_writable(a, 1));
	CHECK_EQ(transport_reserve(a->transport, peer, 1, &held[0]), 0);
	for (int i = 0; i < 4; i++)
		message_put(a->transport, held[i]);
}

/* Goal: round trips are measured without anybody asking. */
OVER_ENGINES(turn__round_trip_is_measured)
{
	struct world_node *a = world_add(w, NULL), *b = world_add(w, NULL);
	uint32_t peer = world_join(a, b);

	CHECK(world_run(w, 10 * NS_PER_S, both_measured, &(struct both){ a, b }));
	CHECK_EQ(transport_rtt_ns(a->transport, 999), 0);
	if (w->network) {
		CHECK(transport_rtt_ns(a->transport, peer) >= 40 * NS_PER_US);
		CHECK(transport_rtt_ns(a->transport, peer) <= 170 * NS_PER_US);
	}
}

/* Goal: another thread ends a sleep without bound. */
TEST(turn__wake_ends_a_sleep)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a;
	pthread_t thread;

	world_open(w, "uring", NULL);
	a = world_add(w, NULL);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pthread_create(&thread, NULL, wake_soon, a->transport), 0);
		CHECK_EQ(transport_poll(a->transport, UINT64_MAX), 0);
		CHECK_EQ(pthread_join(thread, NULL), 0);
		transport_poll(a->transport, 0);
	}
	world_close(w);
	test_free(w);
}
