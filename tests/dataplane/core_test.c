/* core_test.c - turns, pollers, deadlines and stopping. */
#include "dataplane/core.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "tests/support/transport_world.h"
#include "tests/test.h"

struct tick {
	const struct clock *clock;
	uint64_t due_ns, every_ns;
	int polls, works;
	struct core *stop_after_three;
};

static int tick_poll(void *ctx, uint64_t now_ns)
{
	struct tick *k = ctx;

	k->polls++;
	if (now_ns < k->due_ns)
		return 0;
	k->works++;
	k->due_ns = now_ns + k->every_ns;
	if (k->works == 3 && k->stop_after_three)
		core_stop(k->stop_after_three);
	return 1;
}

static uint64_t tick_deadline(void *ctx)
{
	return ((struct tick *)ctx)->due_ns;
}

static struct poller poller_of(struct tick *k)
{
	return (struct poller){ "tick", k, tick_poll, tick_deadline };
}

/* Goal: a core sleeps until its nearest deadline and stops when told by a poller. */
TEST(core_run__follows_deadlines)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct tick fast = { .every_ns = 2 * NS_PER_MS }, never = { .due_ns = UINT64_MAX };
	struct world_node *n;
	uint64_t before_ns;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	before_ns = clock_ns(w->clock);
	fast.due_ns = before_ns + 2 * NS_PER_MS;
	fast.stop_after_three = n->core;
	core_add(n->core, &(struct poller){ "tick", &never, tick_poll, tick_deadline });
	core_add(n->core, &(struct poller){ "tick", &fast, tick_poll, tick_deadline });
	CHECK(core_deadline(n->core) == fast.due_ns);
	core_run(n->core);
	CHECK_EQ(fast.works, 3);
	CHECK_EQ(never.works, 0);
	CHECK(clock_ns(w->clock) - before_ns >= 6 * NS_PER_MS);
	CHECK(fast.polls < 100);                /* it slept, it did not spin */
	world_close(w);
	test_free(w);
}

static void *run(void *ctx)
{
	core_run(ctx);
	return NULL;
}

/* Goal: another thread, or a signal, ends a core that sleeps without bound; its
 * transport may be closed by the thread that opened it.
 */
TEST(core_stop__from_elsewhere)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *n;
	pthread_t thread;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	CHECK_EQ(pthread_create(&thread, NULL, run, n->core), 0);
	usleep(3000);
	core_stop(n->core);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	world_close(w);
	test_free(w);
}

/* Goal: the goodbye of a transport whose thread has ended still leaves. */
TEST(core_stop__goodbye_from_another_thread)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct world_node *a, *b;
	pthread_t thread;
	uint32_t peer;
	struct error e;

	world_open(w, "uring", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	CHECK_OK(transport_connect(b->transport, &a->address, &peer, &e), &e);
	a->still = true;
	CHECK_EQ(pthread_create(&thread, NULL, run, a->core), 0);
	while (!transport_is_up(b->transport, peer))
		core_turn(b->core, NS_PER_MS);
	core_stop(a->core);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	world_remove(a);
	CHECK(world_wait_lost(b, 1));
	CHECK_EQ(b->lost[0].code, -EPIPE);
	world_close(w);
	test_free(w);
}

/* Goal: a turn without time does not sleep, and still polls. */
TEST(core_turn__zero_does_not_sleep)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct tick k = { .due_ns = UINT64_MAX };
	struct world_node *n;
	struct poller p = poller_of(&k);

	world_open(w, "sim", NULL);
	n = world_add(w, NULL);
	CHECK(core_deadline(n->core) == UINT64_MAX);
	core_add(n->core, &p);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(core_turn(n->core, 0), 0);
	CHECK_EQ(k.polls, 5);
	world_close(w);
	test_free(w);
}

#ifdef PETALS_FAULTS
/* Goal: no memory, no core. */
TEST(core_open__out_of_memory)
{
	struct core *c;

	fault_arm(1);
	CHECK_EQ(core_open(&c, NULL, clock_real()), -ENOMEM);
	fault_disarm();
	CHECK(c == NULL);
	core_close(NULL);
}
#endif
