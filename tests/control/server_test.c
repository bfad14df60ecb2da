/* server_test.c - a server's life as the directory and its own program see it: joining, serving,
 * draining, offline; and the ways it can fail to start, or later.
 */
#include "control/server.h"

#include <errno.h>

#include "control/directory.h"
#include "control/view.h"
#include "dataplane/base/log.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

/* A server, without a directory unless asked. */
struct host {
	struct sim_network *network;
	struct sim_program program;
	struct model *model;
	struct device *device;
	struct server *server;
	uint32_t serving, failed, offline;
	char reason[256];
};

static void on_serving(void *ctx, const struct span_info *info)
{
	((struct host *)ctx)->serving++;
}

static void on_failed(void *ctx, const char *reason)
{
	struct host *h = ctx;

	h->failed++;
	snprintf(h->reason, sizeof(h->reason), "%s", reason);
}

static void on_offline(void *ctx)
{
	((struct host *)ctx)->offline++;
}

struct host_options {
	const char *address;
	uint32_t first, end, capacity;
	uint64_t kv_bytes;
	enum weight_format weights;
	const struct address *directory;
	const struct backend *backend;  /* NULL: the CPU's */
};

static void host_open_as(struct host *h, struct sim_network *network,
			 const struct host_options *as)
{
	const struct device_options device = {
		.threads = 1, .compute = COMPUTE_F32, .weights = as->weights,
	};
	struct server_options o = {
		.backend = as->backend ? as->backend : &backend_cpu,
		.directory = as->directory, .lease_ttl_ns = NS_PER_S,
		.span = {
			.first = as->first, .end = as->end, .page_tokens = 16,
			.kv_bytes = as->kv_bytes, .rows_max = 8, .entries_max = 8,
			.tokens_max = 64, .round = ROW_F32,
		},
		.capacity = as->capacity,
		.hops = {
			.round = WIRE_F32, .sessions_max = 8, .works_max = 16,
			.history_bytes = MIB, .tokens_max = 64, .rows_max = 8,
			.entries_max = 8, .prefill_rows = 8,
		},
		.events = { on_serving, on_failed, on_offline },
		.ctx = h,
	};
	struct error e;

	log_configure(LOG_OFF, false);
	*h = (struct host){ .network = network };
	sim_program_open(&h->program, h->network, ROLE_SERVER, "server");
	sim_program_listen(&h->program, as->address);
	CHECK_OK(model_open(&h->model, test_data("llama-plain"), &e), &e);
	CHECK_OK(backend_cpu.device_open(&h->device, &device, &e), &e);
	o.node = h->program.node;
	o.rpc = h->program.rpc;
	o.device = h->device;
	o.span.model = h->model;
	o.member.id = (uint64_t)h->program.id + 1;
	CHECK_OK(address_parse(&o.member.address, as->address, &e), &e);
	snprintf(o.member.name, sizeof(o.member.name), "%s", as->address);
	CHECK_OK(server_open(&h->server, &o, &e), &e);
}

/* By itself. */
static void host_open(struct host *h, uint64_t kv_bytes, const struct address *directory)
{
	const struct host_options as = {
		.address = "sim:9", .first = 1, .end = 3, .kv_bytes = kv_bytes,
		.directory = directory,
	};

	host_open_as(h, test_network(), &as);
}

static void host_leave(struct host *h)
{
	sim_program_detach(&h->program);
	server_close(h->server);
	backend_cpu.device_close(h->device);
	model_close(h->model);
	rpc_close(h->program.rpc);
	node_close(h->program.node);
}

static void host_close(struct host *h)
{
	host_leave(h);
	sim_network_close(h->network);
}

/* Goal: weights, canary, serving; then a drain without sessions is over at once. */
TEST(server__serves_and_leaves)
{
	struct host h;

	host_open(&h, MIB, NULL);
	CHECK_EQ(server_state(h.server), SERVER_JOINING);
	run_for(h.network, 100 * NS_PER_MS);
	CHECK_EQ(server_state(h.server), SERVER_SERVING);
	CHECK_EQ(h.serving, 1);
	CHECK_EQ(server_span(h.server)->first, 1);
	CHECK_EQ(server_span(h.server)->end, 3);
	server_drain(h.server, 10 * NS_PER_S);
	CHECK_EQ(server_state(h.server), SERVER_DRAINING);
	run_for(h.network, 100 * NS_PER_MS);
	CHECK_EQ(server_state(h.server), SERVER_OFFLINE);
	CHECK_EQ(h.offline, 1);
	host_close(&h);
}

/* Goal: a KV arena that holds no page is an error with figures, not a server that cannot serve. */
TEST(server__too_little_memory_for_a_page_is_told)
{
	struct host h;

	host_open(&h, 1024, NULL);
	run_for(h.network, 100 * NS_PER_MS);
	CHECK_EQ(server_state(h.server), SERVER_FAILED);
	CHECK_EQ(h.failed, 1);
	CHECK_EQ(h.serving, 0);
	CHECK(h.reason[0] != '\0');
	host_close(&h);
}

/* Goal: a directory that is not there keeps nobody from loading and serving. */
TEST(server__serves_without_its_directory)
{
	const struct address nowhere = { "sim:404" };
	struct host h;

	host_open(&h, MIB, &nowhere);
	run_for(h.network, 2 * NS_PER_S);
	CHECK_EQ(server_state(h.server), SERVER_SERVING);
	server_drain(h.server, 5 * NS_PER_S);
	run_for(h.network, 3 * NS_PER_S);
	CHECK_EQ(server_state(h.server), SERVER_OFFLINE);
	host_close(&h);
}

/* Goal: who asks the directory what to host is given what its own kind lacks: others' weights
 * cover nothing for it.
 */
TEST(server__is_placed_among_its_own_kind)
{
	const struct address at = { "sim:1" };
	const struct host_options as[] = {
		{ "sim:11", 0, 2, 0, MIB, WEIGHTS_KEEP, &at, NULL },
		{ "sim:12", 1, 3, 0, MIB, WEIGHTS_INT4, &at, NULL },
		{ "sim:13", 0, 0, 2, MIB, WEIGHTS_KEEP, &at, NULL },
		{ "sim:14", 0, 0, 2, MIB, WEIGHTS_INT4, &at, NULL },
	};
	static const uint32_t first[] = { 0, 1, 1, 0 };
	struct directory_options o = {
		.store = ":memory:", .ttl_ns = NS_PER_S, .grace_ns = NS_PER_S,
	};
	struct sim_network *network = test_network();
	struct host hosts[ARRAY_LENGTH(as)];
	struct directory *directory;
	struct sim_program program;
	struct error e;

	sim_program_open(&program, network, ROLE_DIRECTORY, "directory");
	o.node = program.node;
	o.rpc = program.rpc;
	CHECK_OK(directory_open(&directory, &o, &e), &e);
	sim_program_listen(&program, at.text);
	for (size_t i = 0; i < ARRAY_LENGTH(as); i++) {
		host_open_as(&hosts[i], network, &as[i]);
		run_for(network, 500 * NS_PER_MS);
		CHECK_EQ(server_state(hosts[i].server), SERVER_SERVING);
		CHECK_EQ(server_span(hosts[i].server)->first, first[i]);
		CHECK_EQ(server_span(hosts[i].server)->end, first[i] + 2);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(as); i++)
		host_leave(&hosts[i]);
	sim_program_detach(&program);
	directory_close(directory);
	sim_program_close(&program);
	sim_network_close(network);
}

/* A device that can be lost. */
static bool device_lost;

static int wait_unless_lost(struct span *s)
{
	int rc = backend_cpu.span_wait(s);

	return device_lost ? -EIO : rc;
}

/* A client that opens a session of two steps, and counts what it is told. */
struct client {
	struct sim_program program;
	uint32_t peer, opened, results, refused, leaving;
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
	node_put(c->program.node, m);
}

static void on_refused(void *ctx, struct message *m)
{
	struct client *c = ctx;

	c->refused++;
	node_put(c->program.node, m);
}

static void on_leaving(void *ctx, struct message *m)
{
	struct client *c = ctx;

	c->leaving++;
	node_put(c->program.node, m);
}

static void client_open(struct client *c, const struct host *h)
{
	const struct wire_open open = {
		.identity = le64_of(view_identity(model_fingerprint(h->model),
						  server_span(h->server)->kind)),
		.first = le32_of(1), .end = le32_of(3), .tokens_max = le32_of(16),
		.next_epoch = le32_of(1), .hops = 1, .encoding = WIRE_F32,
	};
	const struct frame f = {
		.type = WIRE_OPEN, .session = 7, .epoch = 1, .payload_bytes = sizeof(open),
	};
	struct address address = { "sim:9" };
	struct error e;

	*c = (struct client){ 0 };
	sim_program_open(&c->program, h->network, ROLE_GATEWAY, "raw");
	node_handle(c->program.node, WIRE_OPENED, on_opened, c);
	node_handle(c->program.node, WIRE_RESULT, on_result, c);
	node_handle(c->program.node, WIRE_REFUSED, on_refused, c);
	node_handle(c->program.node, WIRE_LEAVING, on_leaving, c);
	CHECK_OK(node_link(c->program.node, &address, &c->peer, &e), &e);
	run_for(h->network, 50 * NS_PER_MS);
	CHECK_EQ(node_send(c->program.node, c->peer, &f, &open), 0);
	run_for(h->network, 50 * NS_PER_MS);
	CHECK_EQ(c->opened, 1);
}

static void say_step(struct client *c, const struct host *h, uint32_t position)
{
	uint32_t hidden = model_config(h->model)->hidden;
	struct message *m;

	CHECK_EQ(transport_reserve(node_transport(c->program.node), c->peer, hidden * 4, &m), 0);
	m->frame.type = WIRE_STEP;
	m->frame.session = 7;
	m->frame.epoch = 1;
	m->frame.step = m->frame.position = position;
	m->frame.rows = 1;
	m->frame.width = hidden;
	m->frame.encoding = WIRE_F32;
	m->frame.flags = WIRE_WANT_LAST;
	memset(m->payload, 0, hidden * 4);
	transport_send(node_transport(c->program.node), m);
	run_for(h->network, 50 * NS_PER_MS);
}

/* Goal: a server whose device is lost refuses the step, asks sessions to move, and leaves. */
TEST(server__leaves_when_its_device_is_lost)
{
	struct backend backend = backend_cpu;
	const struct host_options as = {
		.address = "sim:9", .first = 1, .end = 3, .kv_bytes = MIB, .backend = &backend,
	};
	struct client c;
	struct host h;

	device_lost = false;
	backend.span_wait = wait_unless_lost;
	host_open_as(&h, test_network(), &as);
	run_for(h.network, 100 * NS_PER_MS);
	CHECK_EQ(server_state(h.server), SERVER_SERVING);
	client_open(&c, &h);
	say_step(&c, &h, 0);
	CHECK(c.results == 1 && c.refused == 0);
	device_lost = true;
	say_step(&c, &h, 1);
	CHECK(c.results == 1 && c.refused == 1);
	CHECK_EQ(server_state(h.server), SERVER_FAILED);
	CHECK_EQ(h.failed, 1);
	CHECK(strstr(h.reason, "the device is lost"));
	/* And stays so. */
	server_drain(h.server, NS_PER_S);
	run_for(h.network, 2 * NS_PER_S);
	CHECK_EQ(server_state(h.server), SERVER_FAILED);
	CHECK(h.failed == 1 && h.offline == 0);
	sim_program_close(&c.program);
	host_close(&h);
}
