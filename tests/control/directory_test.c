/* directory_test.c - leases, spans, watchers and restarts, over the simulated network. */
#include "control/directory.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/json.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

#define TTL_NS   (3 * NS_PER_S)
#define GRACE_NS (10 * NS_PER_S)

/* A directory at sim:1 and a program that talks to it. */
struct region {
	struct sim_network *network;
	struct sim_program host, client;
	struct directory *directory;
	uint32_t peer;
	struct view *seen;              /* by the client's watch */
	uint32_t pushes;
};

static void on_view(void *ctx, uint32_t peer, const json_t *data)
{
	struct region *r = ctx;
	struct error e;

	CHECK_OK(view_from_json(r->seen, data, &e), &e);
	r->pushes++;
}

static void host_open(struct region *r, const char *store)
{
	struct directory_options o = { .store = store, .ttl_ns = TTL_NS, .grace_ns = GRACE_NS };
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
}

static void link_client(struct region *r)
{
	struct address a;
	struct error e;

	CHECK_OK(address_parse(&a, "sim:1", &e), &e);
	CHECK_OK(node_link(r->client.node, &a, &r->peer, &e), &e);
}

static void region_open(struct region *r, const char *store)
{
	*r = (struct region){ .network = test_network() };
	CHECK_EQ(view_open(&r->seen), 0);
	host_open(r, store);
	sim_program_open(&r->client, r->network, ROLE_TOOL, "client");
	rpc_on_event(r->client.rpc, "view", on_view, r);
	link_client(r);
}

static void region_close(struct region *r)
{
	host_close(r);
	sim_program_close(&r->client);
	view_close(r->seen);
	sim_network_close(r->network);
}

static struct member member(uint64_t id, uint32_t first, uint32_t end)
{
	struct member m = {
		.id = id, .kind = "cpu-f32", .model = "tiny", .fingerprint = 0xf1, .blocks = 24,
		.first = first, .end = end, .state = MEMBER_SERVING,
	};

	snprintf(m.name, sizeof(m.name), "host-%u", (unsigned int)id);
	snprintf(m.address.text, sizeof(m.address.text), "sim:%u", 100 + (unsigned int)id);
	return m;
}

static struct call_answer join(struct region *r, const struct member *m, uint32_t capacity)
{
	return call(&r->client, r->peer, "join",
		    json_pack("{s:o, s:i}", "member", member_to_json(m), "capacity", capacity));
}

static void join_ok(struct region *r, const struct member *m)
{
	struct call_answer a = join(r, m, 0);

	if (a.code)
		fail_msg("join: %s", a.message);
	json_decref(a.result);
}

static json_t *renewal(uint64_t id, enum member_state state, uint32_t sessions)
{
	struct member_load load = { .sessions = sessions, .pages = 4, .pages_free = 4 };

	return json_pack("{s:o, s:s, s:o}", "id", json_id(id), "state", member_state_name(state),
			 "load", member_load_to_json(&load));
}

static int renew(struct region *r, uint64_t id, enum member_state state, uint32_t sessions)
{
	struct call_answer a = call(&r->client, r->peer, "renew", renewal(id, state, sessions));

	json_decref(a.result);
	return a.code;
}

static const struct member *known(struct region *r, uint64_t id)
{
	return view_find(directory_view(r->directory), id);
}

/* Goal: a member that joins stands in the view with its span, until its lease ends. */
TEST(directory__join_renew_expire)
{
	struct member m = member(7, 0, 8);
	struct region r;
	struct call_answer a;
	uint64_t epoch;

	region_open(&r, ":memory:");
	a = join(&r, &m, 0);
	CHECK_EQ(a.code, 0);
	CHECK_EQ(json_integer_value(json_object_get(a.result, "ttl_ms")), 3000);
	CHECK_EQ(json_integer_value(json_object_get(a.result, "first")), 0);
	CHECK_EQ(json_integer_value(json_object_get(a.result, "end")), 8);
	epoch = (uint64_t)json_integer_value(json_object_get(a.result, "epoch"));
	CHECK_EQ(epoch, directory_view(r.directory)->epoch);
	json_decref(a.result);
	for (int i = 0; i < 10; i++) {
		run_for(r.network, TTL_NS - NS_PER_S / 10);
		CHECK_EQ(renew(&r, 7, MEMBER_SERVING, 1), 0);
	}
	CHECK_EQ(directory_view(r.directory)->epoch, epoch);
	CHECK_EQ(known(&r, 7)->load.sessions, 1);
	run_for(r.network, TTL_NS + NS_PER_S);
	CHECK_EQ(known(&r, 7)->state, MEMBER_OFFLINE);
	CHECK_EQ(directory_view(r.directory)->epoch, epoch + 1);
	CHECK_EQ(renew(&r, 7, MEMBER_SERVING, 1), -ENOENT);
	run_for(r.network, DIRECTORY_OFFLINE_NS);
	CHECK(known(&r, 7) == NULL);
	join_ok(&r, &m);
	CHECK_EQ(known(&r, 7)->state, MEMBER_SERVING);
	region_close(&r);
}

/* Goal: a changed state raises the epoch, a changed load does not. */
TEST(directory__renew_changes_state)
{
	struct member m = member(7, 0, 8);
	struct region r;
	uint64_t epoch;

	region_open(&r, ":memory:");
	m.state = MEMBER_JOINING;
	join_ok(&r, &m);
	epoch = directory_view(r.directory)->epoch;
	CHECK_EQ(renew(&r, 7, MEMBER_JOINING, 5), 0);
	CHECK_EQ(directory_view(r.directory)->epoch, epoch);
	CHECK_EQ(renew(&r, 7, MEMBER_SERVING, 5), 0);
	CHECK_EQ(directory_view(r.directory)->epoch, epoch + 1);
	CHECK_EQ(renew(&r, 7, MEMBER_DRAINING, 5), 0);
	CHECK_EQ(directory_view(r.directory)->epoch, epoch + 2);
	CHECK_EQ(renew(&r, 7, MEMBER_OFFLINE, 5), -EINVAL);
	CHECK_EQ(renew(&r, 8, MEMBER_SERVING, 5), -ENOENT);
	region_close(&r);
}

/* Goal: leaving is known at once, and may be repeated. */
TEST(directory__leave)
{
	struct member m = member(7, 0, 8);
	struct region r;
	struct call_answer a;

	region_open(&r, ":memory:");
	join_ok(&r, &m);
	for (int i = 0; i < 2; i++) {
		a = call(&r.client, r.peer, "leave", json_pack("{s:o}", "id", json_id(7)));
		CHECK_EQ(a.code, 0);
		json_decref(a.result);
		CHECK_EQ(known(&r, 7)->state, MEMBER_OFFLINE);
		CHECK_EQ(directory_view(r.directory)->epoch, 2);
	}
	region_close(&r);
}

/* Goal: members without blocks are told what to host, and the same when they repeat. */
TEST(directory__places)
{
	struct region r;

	region_open(&r, ":memory:");
	for (uint64_t id = 1; id <= 4; id++) {
		struct member m = member(id, 0, 0);

		m.state = MEMBER_JOINING;
		for (int twice = 0; twice < 2; twice++) {
			struct call_answer a = join(&r, &m, 8);

			CHECK_EQ(a.code, 0);
			CHECK_EQ(json_integer_value(json_object_get(a.result, "first")),
				 (id - 1) * 8 % 24);
			CHECK_EQ(json_integer_value(json_object_get(a.result, "end")),
				 (id - 1) * 8 % 24 + 8);
			json_decref(a.result);
		}
	}
	CHECK_EQ(directory_view(r.directory)->count, 4);
	region_close(&r);
}

/* Goal: a new process at an address replaces the old one at once; other models coexist. */
TEST(directory__replaces_by_address)
{
	struct member m = member(7, 0, 8), other = member(9, 0, 40);
	struct region r;
	uint64_t epoch;

	region_open(&r, ":memory:");
	join_ok(&r, &m);
	other.fingerprint = 0xf2;
	other.blocks = 40;
	join_ok(&r, &other);
	CHECK_EQ(directory_view(r.directory)->count, 2);
	epoch = directory_view(r.directory)->epoch;
	m.id = 8;
	join_ok(&r, &m);
	CHECK_EQ(directory_view(r.directory)->count, 2);
	CHECK_EQ(directory_view(r.directory)->epoch, epoch + 1);
	CHECK(known(&r, 7) == NULL);
	CHECK(known(&r, 8) != NULL);
	CHECK_EQ(renew(&r, 7, MEMBER_SERVING, 0), -ENOENT);
	CHECK_EQ(renew(&r, 8, MEMBER_SERVING, 0), 0);
	region_close(&r);
}

/* Goal: what makes no sense is refused with its path, and changes nothing. */
TEST(directory__refuses_bad_requests)
{
	static const struct { const char *method, *params, *sentence; } bad[] = {
		{ "join", "{}", "member must be an object" },
		{ "join", "{\"member\": {}}", "member.id is missing" },
		{ "join", "{\"ttl_ms\": 1}",
		  "params.ttl_ms must be a whole number from 200 to 600000" },
		{ "join", "{\"capacity\": \"all\"}", "params.capacity must be a whole number" },
		{ "renew", "{}", "params.id is missing" },
		{ "renew", "{\"id\": \"0000000000000007\", \"state\": \"gone\"}",
		  "params.state must be one of" },
		{ "renew", "{\"id\": \"0000000000000007\", \"state\": \"serving\"}",
		  "params.load must be an object" },
		{ "leave", "{\"id\": 7}", "params.id must be an id" },
		{ "watch", "{}", "params.epoch is missing" },
		{ "watch", "{\"epoch\": -1}", "params.epoch must be a whole number" },
	};
	struct member m = member(7, 0, 0), other = member(8, 0, 8);
	struct region r;
	struct call_answer a;

	region_open(&r, ":memory:");
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		a = call(&r.client, r.peer, bad[i].method, json_loads(bad[i].params, 0, NULL));
		CHECK_EQ(a.code, -EINVAL);
		if (strncmp(a.message, bad[i].sentence, strlen(bad[i].sentence)))
			fail_msg("\"%s\" is not \"%s\"", a.message, bad[i].sentence);
	}
	a = join(&r, &m, 0);
	CHECK_EQ(a.code, -EINVAL);
	CHECK(strstr(a.message, "params.capacity must say how many blocks"));
	m.state = MEMBER_OFFLINE;
	CHECK_EQ(join(&r, &m, 8).code, -EINVAL);
	CHECK_EQ(directory_view(r.directory)->epoch, 0);
	join_ok(&r, &other);
	m = member(7, 0, 8);
	m.blocks = 30;
	a = join(&r, &m, 0);
	CHECK_EQ(a.code, -EINVAL);
	CHECK(strstr(a.message, "params.member.blocks is 30, but host-8"));
	CHECK_EQ(directory_view(r.directory)->count, 1);
	region_close(&r);
}

static uint64_t watch(struct region *r, uint64_t epoch)
{
	struct call_answer a = call(&r->client, r->peer, "watch",
			       json_pack("{s:I}", "epoch", (json_int_t)epoch));
	struct error e;

	CHECK_EQ(a.code, 0);
	if (json_object_get(a.result, "members"))
		CHECK_OK(view_from_json(r->seen, a.result, &e), &e);
	epoch = (uint64_t)json_integer_value(json_object_get(a.result, "epoch"));
	json_decref(a.result);
	return epoch;
}

/* Goal: watchers hear of membership at once, of load at most twice a second. */
TEST(directory__watch)
{
	struct member m = member(7, 0, 8), other = member(8, 8, 16);
	struct region r;
	uint32_t before;

	region_open(&r, ":memory:");
	join_ok(&r, &m);
	CHECK_EQ(watch(&r, 0), 1);
	CHECK_EQ(r.seen->count, 1);
	r.seen->count = 0;
	CHECK_EQ(watch(&r, 1), 1);
	CHECK_EQ(r.seen->count, 0);     /* known, unchanged: only the epoch is said */
	join_ok(&r, &other);
	run_for(r.network, NS_PER_MS);
	CHECK_EQ(r.pushes, 1);
	CHECK_EQ(r.seen->count, 2);
	CHECK_EQ(r.seen->epoch, 2);
	run_for(r.network, NS_PER_S);
	before = r.pushes;
	for (uint32_t i = 1; i <= 200; i++) {
		CHECK_EQ(renew(&r, 7, MEMBER_SERVING, i), 0);
		run_for(r.network, 10 * NS_PER_MS);
	}
	run_for(r.network, NS_PER_S);
	CHECK(r.pushes - before >= 3 && r.pushes - before <= 7);
	CHECK_EQ(view_find(r.seen, 7)->load.sessions, 200);
	run_for(r.network, TTL_NS);
	CHECK_EQ(view_find(r.seen, 8)->state, MEMBER_OFFLINE);
	region_close(&r);
}

/* Goal: a watcher that is gone is forgotten; one that comes again is told anew. */
TEST(directory__watchers_come_and_go)
{
	struct counters *c;
	struct member m = member(7, 0, 8);
	struct region r;

	region_open(&r, ":memory:");
	c = directory_watch_counters(r.directory);
	watch(&r, 0);
	watch(&r, 0);
	CHECK_EQ(counters_value(c, 0, 0), 1);
	node_unlink(r.client.node, r.peer);
	run_for(r.network, 2 * NODE_IDLE_NS);
	CHECK_EQ(counters_value(c, 0, 0), 0);
	link_client(&r);
	join_ok(&r, &m);
	CHECK_EQ(watch(&r, 1), 1);
	CHECK_EQ(r.seen->count, 1);
	CHECK_EQ(counters_value(c, 0, 0), 1);
	region_close(&r);
}

struct store_file {
	char dir[64], file[96];
};

static struct store_file store_file_open(void)
{
	struct store_file f = { .dir = "/tmp/petals-directory-XXXXXX" };

	assert(mkdtemp(f.dir));
	snprintf(f.file, sizeof(f.file), "%s/directory.db", f.dir);
	return f;
}

static void store_file_close(struct store_file *f)
{
	char path[128];

	unlink(f->file);
	snprintf(path, sizeof(path), "%s-wal", f->file);
	unlink(path);
	rmdir(f->dir);
}

/* Goal: after a restart the members are there for the grace, the epoch goes on, and a
 * renewal is all that a member needs.
 */
TEST(directory__restarts)
{
	struct store_file f = store_file_open();
	struct member m = member(7, 0, 8), other = member(8, 8, 16);
	struct region r;
	uint64_t epoch;

	region_open(&r, f.file);
	join_ok(&r, &m);
	join_ok(&r, &other);
	epoch = directory_view(r.directory)->epoch;
	host_close(&r);
	run_for(r.network, 60 * NS_PER_S);
	host_open(&r, f.file);
	CHECK_EQ(directory_view(r.directory)->epoch, epoch);
	CHECK_EQ(directory_view(r.directory)->count, 2);
	CHECK_EQ(known(&r, 7)->state, MEMBER_SERVING);
	link_client(&r);
	CHECK_EQ(watch(&r, epoch), epoch);
	CHECK_EQ(r.seen->count, 2);
	run_for(r.network, GRACE_NS - NS_PER_S);
	CHECK_EQ(renew(&r, 7, MEMBER_SERVING, 0), 0);
	run_for(r.network, 2 * NS_PER_S);
	CHECK_EQ(known(&r, 7)->state, MEMBER_SERVING);
	CHECK_EQ(known(&r, 8)->state, MEMBER_OFFLINE);
	CHECK_EQ(directory_view(r.directory)->epoch, epoch + 1);
	host_close(&r);
	host_open(&r, f.file);
	CHECK_EQ(directory_view(r.directory)->epoch, epoch + 1);
	CHECK_EQ(known(&r, 8)->state, MEMBER_OFFLINE);
	region_close(&r);
	store_file_close(&f);
}

/* Goal: a directory that was stopped for a while does not blame its members for it. */
TEST(directory__stalls)
{
	struct member m = member(7, 0, 8);
	struct region r;

	region_open(&r, ":memory:");
	join_ok(&r, &m);
	sim_freeze(r.network, r.host.id, true);
	run_for(r.network, 20 * NS_PER_S);
	sim_freeze(r.network, r.host.id, false);
	run_for(r.network, GRACE_NS - NS_PER_S);
	CHECK_EQ(known(&r, 7)->state, MEMBER_SERVING);
	run_for(r.network, 2 * NS_PER_S);
	CHECK_EQ(known(&r, 7)->state, MEMBER_OFFLINE);
	region_close(&r);
}

/* Goal: a full directory says so, and makes room from those who are offline. */
TEST(directory__full)
{
	struct call_answer *answers = mem_calloc(VIEW_MEMBERS_MAX, sizeof(*answers));
	struct member m;
	struct region r;
	struct call_answer a;

	log_configure(LOG_WARN, false);         /* a thousand joins are no news here */
	region_open(&r, ":memory:");
	for (uint64_t id = 1; id <= VIEW_MEMBERS_MAX; id++) {
		m = member(id, 0, 8);
		call_start(&r.client, r.peer, "join",
			   json_pack("{s:o, s:i}", "member", member_to_json(&m), "ttl_ms", 600000),
			   &answers[id - 1]);
		if (id % 256 == 0)
			run_for(r.network, NS_PER_S);
	}
	for (int i = 0; i < VIEW_MEMBERS_MAX; i++) {
		CHECK_EQ(answers[i].code, 0);
		json_decref(answers[i].result);
	}
	CHECK_EQ(directory_view(r.directory)->count, VIEW_MEMBERS_MAX);
	m = member(5000, 0, 8);
	a = join(&r, &m, 0);
	CHECK_EQ(a.code, -ENOSPC);
	CHECK_TEXT(a.message, "the directory is full: it holds 1024 members");
	CHECK_EQ(directory_view(r.directory)->count, VIEW_MEMBERS_MAX);
	watch(&r, 0);
	CHECK_EQ(r.seen->count, VIEW_MEMBERS_MAX);
	a = call(&r.client, r.peer, "leave", json_pack("{s:o}", "id", json_id(3)));
	json_decref(a.result);
	join_ok(&r, &m);
	CHECK(known(&r, 3) == NULL);
	CHECK(known(&r, 5000) != NULL);
	region_close(&r);
	mem_free(answers);
	log_configure(LOG_INFO, false);
}

#ifdef PETALS_FAULTS
/* Goal: when the store fails, that one request is refused and nothing else changes. */
TEST(directory__store_fails)
{
	struct member m = member(7, 0, 8), other = member(8, 8, 16);
	struct region r;
	struct call_answer a;
	int failures = 0;

	region_open(&r, ":memory:");
	join_ok(&r, &m);
	watch(&r, 0);
	for (int nth = 1; nth < 60; nth++) {
		uint64_t epoch = directory_view(r.directory)->epoch;

		call_start(&r.client, r.peer, "join",
			   json_pack("{s:o}", "member", member_to_json(&other)), &a);
		fault_arm(nth);
		run_for(r.network, NS_PER_S);
		fault_disarm();
		json_decref(a.done ? a.result : NULL);
		if (a.done && a.code == -EIO) {
			failures++;
			CHECK(strstr(a.message, "store :memory:"));
			CHECK_EQ(directory_view(r.directory)->epoch, epoch);
			CHECK(known(&r, 8) == NULL);
		}
		/* Whatever failed, the next requests are served. */
		if (!node_is_up(r.client.node, r.peer))
			link_client(&r);
		while (renew(&r, 7, MEMBER_SERVING, 1) == -ECONNRESET)
			link_client(&r);
		a = call(&r.client, r.peer, "leave", json_pack("{s:o}", "id", json_id(8)));
		CHECK_EQ(a.code, 0);
		json_decref(a.result);
		CHECK_EQ(known(&r, 7)->state, MEMBER_SERVING);
		if (known(&r, 8))       /* it joined, whatever else failed */
			break;
	}
	CHECK(failures >= 2);
	region_close(&r);
}

/* Goal: whichever call fails, directory_open() gives everything back. */
TEST(directory_open__unwinds_every_failure)
{
	struct sim_network *network = test_network();
	struct directory_options o = { .store = ":memory:", .ttl_ns = 1, .grace_ns = 1 };
	struct directory *d;
	struct sim_program p;
	struct error e;
	int nth, rc;

	for (nth = 1;; nth++) {
		uint64_t live;

		sim_program_open(&p, network, ROLE_DIRECTORY, "swept");
		o.node = p.node;
		o.rpc = p.rpc;
		live = mem_live_blocks();
		fault_arm(nth);
		rc = directory_open(&d, &o, &e);
		sim_program_detach(&p);
		directory_close(d);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		fault_disarm();
		sim_program_close(&p);
		CHECK(rc < 0);
		CHECK(e.text[0]);
	}
	fault_disarm();
	sim_program_close(&p);
	sim_network_close(network);
	CHECK_EQ(rc, 0);
	CHECK(nth > 5);
}
#endif
