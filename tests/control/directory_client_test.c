/* directory_client_test.c - views arrive, leases are kept, and a directory that comes
 * and goes is no news to those who only look at the view.
 */
#include "control/directory_client.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/directory.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

#define TTL_NS   (3 * NS_PER_S)
#define GRACE_NS (10 * NS_PER_S)

struct user {
	struct sim_program program;
	struct directory_client *client;
	struct member member;
	uint32_t changes, joins, refusals, leaves;
	uint32_t first, end;            /* as granted */
	char reason[512];
};

/* A directory at sim:1 and those who use it. */
struct region {
	struct sim_network *network;
	struct sim_program host;
	struct directory *directory;
	char dir[64], file[96];
	struct user server, gateway;
};

static void on_changed(void *ctx, const struct view *v)
{
	((struct user *)ctx)->changes++;
}

static void on_joined(void *ctx, uint32_t first, uint32_t end)
{
	struct user *u = ctx;

	u->joins++;
	u->first = first;
	u->end = end;
}

static void on_refused(void *ctx, const char *reason)
{
	struct user *u = ctx;

	u->refusals++;
	snprintf(u->reason, sizeof(u->reason), "%s", reason);
}

static void on_left(void *ctx)
{
	((struct user *)ctx)->leaves++;
}

static void host_open(struct region *r)
{
	struct directory_options o = { .store = r->file, .ttl_ns = TTL_NS, .grace_ns = GRACE_NS };
	struct error e;

	sim_program_open(&r->host, r->network, ROLE_DIRECTORY, "directory");
	o.node = r->host.node;
	o.rpc = r->host.rpc;
	CHECK_OK(directory_open(&r->directory, &o, &e), &e);
	sim_program_listen(&r->host, "sim:1");
}

static void host_close(struct region *r)
{
	sim_program_detach(&r->host);
	directory_close(r->directory);
	sim_program_close(&r->host);
	r->directory = NULL;
}

static void user_open(struct user *u, struct region *r, const char *name, bool watch)
{
	struct directory_client_options o = {
		.ttl_ns = TTL_NS, .seed = test_seed(), .watch = watch, .changed = on_changed,
		.joined = on_joined, .refused = on_refused, .ctx = u,
	};
	struct error e;

	*u = (struct user){ 0 };
	sim_program_open(&u->program, r->network, ROLE_SERVER, name);
	o.node = u->program.node;
	o.rpc = u->program.rpc;
	CHECK_OK(address_parse(&o.directory, "sim:1", &e), &e);
	CHECK_OK(directory_client_open(&u->client, &o, &e), &e);
}

static void user_close(struct user *u)
{
	sim_program_detach(&u->program);
	directory_client_close(u->client);
	sim_program_close(&u->program);
}

static void forget_store(struct region *r)
{
	char path[128];

	unlink(r->file);
	snprintf(path, sizeof(path), "%s-wal", r->file);
	unlink(path);
}

static void region_open(struct region *r)
{
	*r = (struct region){ .network = test_network(), .dir = "/tmp/petals-client-XXXXXX" };
	assert(mkdtemp(r->dir));
	snprintf(r->file, sizeof(r->file), "%s/directory.db", r->dir);
	host_open(r);
	user_open(&r->server, r, "server", false);
	user_open(&r->gateway, r, "gateway", true);
}

static void region_close(struct region *r)
{
	user_close(&r->server);
	user_close(&r->gateway);
	if (r->directory)
		host_close(r);
	forget_store(r);
	rmdir(r->dir);
	sim_network_close(r->network);
}

static void fill_member(struct user *u, uint32_t first, uint32_t end)
{
	u->member = (struct member){
		.id = 7, .name = "host-7", .kind = "cpu-f32", .model = "tiny", .fingerprint = 0xf1,
		.blocks = 24, .first = first, .end = end, .state = MEMBER_JOINING,
		.address = { "sim:107" },
	};
}

static void user_join(struct user *u, uint32_t first, uint32_t end, uint32_t capacity)
{
	fill_member(u, first, end);
	directory_client_join(u->client, &u->member, capacity);
}

static const struct member *seen(struct region *r)
{
	return view_find(directory_client_view(r->gateway.client), 7);
}

static double calls(struct region *r)
{
	struct counters *c = rpc_counters(r->host.rpc);
	static const char *const names[] = { "join", "renew", "leave", "view", "watch" };
	double sum = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
		sum += counters_value(c, 1, counters_series(c, 1, names[i]));
	return sum;
}

/* Goal: a server joins, is seen, tells its state at once and its load in time. */
TEST(directory_client__joins_and_is_seen)
{
	struct region r;

	region_open(&r);
	run_for(r.network, NS_PER_S);
	CHECK(directory_client_connected(r.gateway.client));
	CHECK(r.gateway.changes >= 1);
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, NS_PER_S / 10);
	CHECK_EQ(r.server.joins, 1);
	CHECK_EQ(r.server.end, 8);
	CHECK_EQ(seen(&r)->state, MEMBER_JOINING);
	r.server.member.state = MEMBER_SERVING;
	directory_client_update(r.server.client, &r.server.member);
	run_for(r.network, NS_PER_S / 10);
	CHECK_EQ(seen(&r)->state, MEMBER_SERVING);
	r.server.member.load.sessions = 3;
	directory_client_update(r.server.client, &r.server.member);
	run_for(r.network, 2 * NS_PER_S);
	CHECK_EQ(seen(&r)->load.sessions, 3);
	region_close(&r);
}

/* Goal: a state that changes while a call is on its way is told right after it. */
TEST(directory_client__tells_the_last_state)
{
	struct region r;

	region_open(&r);
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, NS_PER_S);
	r.server.member.state = MEMBER_SERVING;
	directory_client_update(r.server.client, &r.server.member);
	run_for(r.network, 10 * NS_PER_US);     /* shorter than any way to the directory */
	r.server.member.state = MEMBER_DRAINING;
	directory_client_update(r.server.client, &r.server.member);
	run_for(r.network, NS_PER_S / 100);
	CHECK_EQ(seen(&r)->state, MEMBER_DRAINING);
	region_close(&r);
}

/* Goal: leases are kept for hours at three calls a lease length, no tight polling. */
TEST(directory_client__keeps_its_lease)
{
	struct region r;
	double before;

	region_open(&r);
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, 10 * NS_PER_S);
	before = calls(&r);
	run_for(r.network, 600 * NS_PER_S);
	CHECK_EQ(seen(&r)->state, MEMBER_JOINING);
	CHECK_EQ(r.server.joins, 1);
	CHECK(calls(&r) - before <= 600 + 600 / 5 + 5);
	CHECK(calls(&r) - before >= 500);
	region_close(&r);
}

/* Goal: a server without blocks is told what to host, and keeps that. */
TEST(directory_client__is_placed)
{
	struct region r;

	region_open(&r);
	user_join(&r.server, 0, 0, 9);
	directory_client_update(r.server.client, &r.server.member);
	run_for(r.network, NS_PER_S);
	CHECK_EQ(r.server.joins, 1);
	CHECK_EQ(r.server.first, 0);
	CHECK_EQ(r.server.end, 9);
	r.server.member.end = 9;
	r.server.member.state = MEMBER_SERVING;
	directory_client_update(r.server.client, &r.server.member);
	run_for(r.network, NS_PER_S);
	CHECK_EQ(seen(&r)->state, MEMBER_SERVING);
	CHECK_EQ(seen(&r)->end, 9);
	/* A span that changes is told at once. */
	r.server.member.first = 4;
	directory_client_update(r.server.client, &r.server.member);
	run_for(r.network, NS_PER_S / 10);
	CHECK_EQ(seen(&r)->first, 4);
	CHECK_EQ(r.server.joins, 2);
	region_close(&r);
}

/* Goal: a directory that restarts finds everyone back, without a new join. */
TEST(directory_client__survives_a_restart)
{
	struct region r;
	uint64_t epoch;

	region_open(&r);
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, NS_PER_S);
	epoch = directory_client_view(r.gateway.client)->epoch;
	host_close(&r);
	run_for(r.network, 60 * NS_PER_S);
	CHECK(!directory_client_connected(r.gateway.client));
	CHECK_EQ(seen(&r)->state, MEMBER_JOINING);     /* the last view stays */
	host_open(&r);
	run_for(r.network, 2 * NS_PER_S + NS_PER_S / 2);
	CHECK(directory_client_connected(r.gateway.client));
	CHECK(directory_client_connected(r.server.client));
	CHECK_EQ(r.server.joins, 1);
	r.server.member.state = MEMBER_SERVING;
	directory_client_update(r.server.client, &r.server.member);
	run_for(r.network, NS_PER_S);
	CHECK_EQ(seen(&r)->state, MEMBER_SERVING);
	CHECK_EQ(directory_client_view(r.gateway.client)->epoch, epoch + 1);
	run_for(r.network, 60 * NS_PER_S);
	CHECK_EQ(seen(&r)->state, MEMBER_SERVING);
	region_close(&r);
}

/* Goal: a directory that has lost its store is joined again, with the same span. */
TEST(directory_client__joins_a_forgetful_directory)
{
	struct region r;

	region_open(&r);
	user_join(&r.server, 0, 0, 9);
	run_for(r.network, NS_PER_S);
	CHECK_EQ(r.server.joins, 1);
	r.server.member.end = 9;
	r.server.member.state = MEMBER_SERVING;
	directory_client_update(r.server.client, &r.server.member);
	host_close(&r);
	forget_store(&r);
	host_open(&r);
	run_for(r.network, 3 * NS_PER_S);
	CHECK_EQ(r.server.joins, 2);
	CHECK_EQ(seen(&r)->end, 9);
	CHECK_EQ(seen(&r)->state, MEMBER_SERVING);
	region_close(&r);
}

static void keep_request(void *ctx, struct rpc_request *q, const json_t *params)
{
	*(struct rpc_request **)ctx = q;
}

static json_t *view_of(const struct region *r, uint64_t epoch, enum member_state state)
{
	struct view *v;
	json_t *json;

	CHECK_EQ(view_open(&v), 0);
	v->epoch = epoch;
	view_put(v, &r->server.member);
	v->members[0].state = state;
	json = view_to_json(v);
	view_close(v);
	return json;
}

/* Goal: an answer that events have overtaken does not bring an old view back; a directory that
 * is dialed anew may count from the start.
 */
TEST(directory_client__never_goes_back_to_an_older_view)
{
	static const struct rpc_method watch = { "watch", keep_request };
	struct region r;
	struct rpc_request *kept = NULL;

	region_open(&r);
	host_close(&r);
	run_for(r.network, NS_PER_S);
	sim_program_open(&r.host, r.network, ROLE_DIRECTORY, "directory");
	rpc_serve(r.host.rpc, &watch, 1, &kept);
	sim_program_listen(&r.host, "sim:1");
	fill_member(&r.server, 0, 8);
	while (!kept)
		run_for(r.network, 100 * NS_PER_MS);
	rpc_event(r.host.rpc, rpc_request_peer(kept), "view",
		  view_of(&r, 6, MEMBER_SERVING));
	run_for(r.network, 100 * NS_PER_MS);
	rpc_reply(kept, view_of(&r, 5, MEMBER_JOINING));
	run_for(r.network, 100 * NS_PER_MS);
	CHECK_EQ(directory_client_view(r.gateway.client)->epoch, 6);
	CHECK_EQ(seen(&r)->state, MEMBER_SERVING);
	host_close(&r);
	forget_store(&r);
	host_open(&r);
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, 4 * NS_PER_S);
	CHECK_EQ(directory_client_view(r.gateway.client)->epoch, 1);
	CHECK_EQ(seen(&r)->state, MEMBER_JOINING);
	region_close(&r);
}

/* Goal: a frozen directory loses nobody; a cut one is dialed again without hurry. */
TEST(directory_client__survives_freeze_and_cut)
{
	struct region r;
	double before;

	region_open(&r);
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, NS_PER_S);
	sim_freeze(r.network, r.host.id, true);
	run_for(r.network, 20 * NS_PER_S);
	CHECK(!directory_client_connected(r.server.client));
	CHECK_EQ(seen(&r)->state, MEMBER_JOINING);
	sim_freeze(r.network, r.host.id, false);
	run_for(r.network, 5 * NS_PER_S);
	CHECK(directory_client_connected(r.server.client));
	CHECK(directory_client_connected(r.gateway.client));
	CHECK_EQ(seen(&r)->state, MEMBER_JOINING);
	CHECK_EQ(r.server.joins, 1);

	sim_cut(r.network, r.host.id, r.server.program.id, true);
	before = counters_value(directory_client_counters(r.server.client), 1, 0);
	run_for(r.network, 60 * NS_PER_S);
	CHECK(counters_value(directory_client_counters(r.server.client), 1, 0) - before < 40);
	CHECK_EQ(seen(&r)->state, MEMBER_OFFLINE);
	sim_cut(r.network, r.host.id, r.server.program.id, false);
	run_for(r.network, 10 * NS_PER_S);
	CHECK_EQ(seen(&r)->state, MEMBER_JOINING);
	CHECK_EQ(r.server.joins, 2);
	region_close(&r);
}

/* Goal: a join that can never succeed is refused once, with the directory's words. */
TEST(directory_client__is_refused_for_good)
{
	struct region r;

	region_open(&r);
	user_join(&r.server, 0, 0, 0);
	run_for(r.network, 20 * NS_PER_S);
	CHECK_EQ(r.server.refusals, 1);
	CHECK(strstr(r.server.reason, "params.capacity"));
	CHECK_EQ(r.server.joins, 0);
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, NS_PER_S);
	CHECK_EQ(r.server.joins, 1);
	region_close(&r);
}

/* Goal: leaving is known to the directory, or given up in time, and told once. */
TEST(directory_client__leaves)
{
	struct region r;

	region_open(&r);
	directory_client_leave(r.server.client, NS_PER_S, on_left, &r.server);
	CHECK_EQ(r.server.leaves, 0);
	run_for(r.network, NS_PER_MS);
	CHECK_EQ(r.server.leaves, 1);          /* never joined */
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, NS_PER_S);
	directory_client_leave(r.server.client, NS_PER_S, on_left, &r.server);
	run_for(r.network, NS_PER_S / 10);
	CHECK_EQ(r.server.leaves, 2);
	CHECK_EQ(seen(&r)->state, MEMBER_OFFLINE);

	user_join(&r.server, 0, 8, 0);
	run_for(r.network, NS_PER_S);
	host_close(&r);
	run_for(r.network, NS_PER_S);
	directory_client_leave(r.server.client, 5 * NS_PER_S, on_left, &r.server);
	run_for(r.network, 5 * NS_PER_S - NS_PER_MS);
	CHECK_EQ(r.server.leaves, 2);
	run_for(r.network, 2 * NS_PER_MS);
	CHECK_EQ(r.server.leaves, 3);
	run_for(r.network, 20 * NS_PER_S);
	CHECK_EQ(r.server.leaves, 3);
	region_close(&r);
}

/* Goal: the directory comes back while someone wants to leave: it is told. */
TEST(directory_client__leaves_late)
{
	struct region r;

	region_open(&r);
	user_join(&r.server, 0, 8, 0);
	run_for(r.network, NS_PER_S);
	host_close(&r);
	run_for(r.network, NS_PER_S);
	directory_client_leave(r.server.client, 30 * NS_PER_S, on_left, &r.server);
	run_for(r.network, NS_PER_S);
	host_open(&r);
	run_for(r.network, 5 * NS_PER_S);
	CHECK_EQ(r.server.leaves, 1);
	CHECK_EQ(seen(&r)->state, MEMBER_OFFLINE);
	region_close(&r);
}

/* Goal: whatever the directory suffers, in the end everyone agrees again. */
TEST(directory_client__seeded_trouble)
{
	struct region r;

	log_configure(LOG_OFF, false);
	region_open(&r);
	user_join(&r.server, 0, 8, 0);
	r.server.member.state = MEMBER_SERVING;
	directory_client_update(r.server.client, &r.server.member);
	for (int i = 0; i < 60; i++) {
		switch (random_below(sim_random(r.network), 5)) {
		case 0:
			host_close(&r);
			run_for(r.network, random_below(sim_random(r.network), 5 * NS_PER_S));
			if (random_chance(sim_random(r.network), 0.3))
				forget_store(&r);
			host_open(&r);
			break;
		case 1:
			sim_freeze(r.network, r.host.id, true);
			run_for(r.network, random_below(sim_random(r.network), 5 * NS_PER_S));
			sim_freeze(r.network, r.host.id, false);
			break;
		case 2:
			sim_cut(r.network, r.host.id, r.gateway.program.id, true);
			run_for(r.network, random_below(sim_random(r.network), 5 * NS_PER_S));
			sim_cut(r.network, r.host.id, r.gateway.program.id, false);
			break;
		case 3:
			r.server.member.load.sessions++;
			r.server.member.state = r.server.member.state == MEMBER_SERVING ?
						MEMBER_DRAINING : MEMBER_SERVING;
			directory_client_update(r.server.client, &r.server.member);
			break;
		default:
			run_for(r.network, random_below(sim_random(r.network), NS_PER_S));
		}
		if (i % 10 != 9)
			continue;
		run_for(r.network, 20 * NS_PER_S);
		CHECK(directory_client_connected(r.server.client));
		CHECK(directory_client_connected(r.gateway.client));
		CHECK(seen(&r) != NULL);
		CHECK_EQ(seen(&r)->state, r.server.member.state);
		CHECK_EQ(seen(&r)->load.sessions, r.server.member.load.sessions);
		CHECK_EQ(directory_client_view(r.gateway.client)->epoch,
			 directory_view(r.directory)->epoch);
	}
	region_close(&r);
	log_configure(LOG_INFO, false);
}
