/* watchers_test.c - a watcher hears of every change in the end, at its own pace. */
#include "control/watchers.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

/* A host with a view, and one who watches it. */
struct pair {
	struct sim_network *network;
	struct sim_program host, client;
	struct watchers *watchers;
	struct view *view, *seen;
	uint32_t peer, pushes;
	uint32_t accepted;              /* the client, as the host knows it */
};

static void on_view(void *ctx, uint32_t peer, const json_t *data)
{
	struct pair *p = ctx;
	struct error e;

	CHECK_OK(view_from_json(p->seen, data, &e), &e);
	p->pushes++;
}

static void on_up(void *ctx, const struct peer_info *info)
{
	((struct pair *)ctx)->accepted = info->peer;
}

static void pair_open(struct pair *p)
{
	struct address a;
	struct error e;

	*p = (struct pair){ .network = test_network() };
	CHECK_EQ(view_open(&p->view), 0);
	CHECK_EQ(view_open(&p->seen), 0);
	sim_program_open(&p->host, p->network, ROLE_DIRECTORY, "host");
	CHECK_OK(watchers_open(&p->watchers, p->host.node, p->host.rpc, p->view, &e), &e);
	CHECK_EQ(node_listener_add(p->host.node, &(struct node_listener){
		.ctx = p, .up = on_up }), 0);
	sim_program_listen(&p->host, "sim:1");
	sim_program_open(&p->client, p->network, ROLE_TOOL, "client");
	rpc_on_event(p->client.rpc, "view", on_view, p);
	CHECK_OK(address_parse(&a, "sim:1", &e), &e);
	CHECK_OK(node_link(p->client.node, &a, &p->peer, &e), &e);
	run_for(p->network, NS_PER_S);
	CHECK(p->accepted != 0);
	CHECK_EQ(watchers_add(p->watchers, p->accepted), 0);
}

static void pair_close(struct pair *p)
{
	sim_program_detach(&p->host);
	node_listener_remove(p->host.node, p);
	watchers_close(p->watchers);
	sim_program_close(&p->host);
	sim_program_close(&p->client);
	view_close(p->view);
	view_close(p->seen);
	sim_network_close(p->network);
}

static void change(struct pair *p, bool epoch)
{
	if (epoch) {
		p->view->epoch++;
		watchers_push(p->watchers);
	} else {
		watchers_later(p->watchers);
	}
}

/* Goal: epochs are pushed at once, loads together. */
TEST(watchers_push__at_once_and_together)
{
	struct pair p;

	pair_open(&p);
	CHECK(watchers_has(p.watchers, p.accepted));
	CHECK(!watchers_has(p.watchers, p.accepted + 1));
	for (int i = 0; i < 5; i++) {
		change(&p, true);
		run_for(p.network, NS_PER_MS);
		CHECK_EQ(p.seen->epoch, p.view->epoch);
	}
	CHECK_EQ(p.pushes, 5);
	for (int i = 0; i < 50; i++)
		change(&p, false);
	run_for(p.network, WATCHERS_LATER_NS / 2);
	CHECK_EQ(p.pushes, 5);
	run_for(p.network, WATCHERS_LATER_NS);
	CHECK_EQ(p.pushes, 6);
	run_for(p.network, 10 * NS_PER_S);
	CHECK_EQ(p.pushes, 6);
	pair_close(&p);
}

/* Goal: who does not take what was sent gets the newest view later, not all of them. */
TEST(watchers_push__slow_watchers_skip)
{
	struct pair p;
	struct member m = { .name = "h", .fingerprint = 1, .blocks = 8, .end = 8,
			    .address = { "sim:9" } };

	pair_open(&p);
	for (m.id = 1; m.id <= 300; m.id++)     /* larger than a small message */
		CHECK_EQ(view_put(p.view, &m), 0);
	sim_freeze(p.network, p.client.id, true);
	for (int i = 0; i < 400; i++) {
		change(&p, true);
		run_for(p.network, NS_PER_MS / 4);
	}
	CHECK(node_queued(p.host.node, p.accepted) <= 1);
	sim_freeze(p.network, p.client.id, false);
	run_for(p.network, 2 * NS_PER_S);
	CHECK_EQ(p.seen->epoch, p.view->epoch);
	CHECK_EQ(p.seen->count, 300);
	CHECK(p.pushes < 100);
	pair_close(&p);
}

/* Goal: a lost watcher is forgotten; the list is bounded. */
TEST(watchers_add__bounded_and_forgotten)
{
	struct pair p;
	uint32_t peer = 1000000, added = 0;

	pair_open(&p);
	sim_kill(p.network, p.client.id);
	run_for(p.network, NS_PER_S);
	CHECK(!watchers_has(p.watchers, p.accepted));
	while (watchers_add(p.watchers, peer++) == 0)
		added++;
	CHECK_EQ(added, WATCHERS_MAX);
	CHECK_EQ(watchers_add(p.watchers, peer), -ENOSPC);
	pair_close(&p);
}
