/* server_test.c - a server's life as the directory and its own program see it: joining, serving,
 * draining, offline; and the ways it can fail to start.
 */
#include "control/server.h"

#include "dataplane/base/log.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

/* One server by itself, without a directory unless asked. */
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

static void host_open(struct host *h, uint64_t kv_bytes, const struct address *directory)
{
	const struct device_options device = { .threads = 1, .compute = COMPUTE_F32 };
	struct server_options o = {
		.backend = &backend_cpu, .directory = directory, .lease_ttl_ns = NS_PER_S,
		.span = {
			.first = 1, .end = 3, .page_tokens = 16, .kv_bytes = kv_bytes,
			.rows_max = 8, .entries_max = 8, .tokens_max = 64, .round = ROW_F32,
		},
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
	*h = (struct host){ .network = test_network() };
	sim_program_open(&h->program, h->network, ROLE_SERVER, "server");
	sim_program_listen(&h->program, "sim:9");
	CHECK_OK(model_open(&h->model, test_data("llama-plain"), &e), &e);
	CHECK_OK(backend_cpu.device_open(&h->device, &device, &e), &e);
	o.node = h->program.node;
	o.rpc = h->program.rpc;
	o.device = h->device;
	o.span.model = h->model;
	o.member.id = 1;
	o.member.address = (struct address){ "sim:9" };
	snprintf(o.member.name, sizeof(o.member.name), "nine");
	CHECK_OK(server_open(&h->server, &o, &e), &e);
}

static void host_close(struct host *h)
{
	sim_program_detach(&h->program);
	server_close(h->server);
	backend_cpu.device_close(h->device);
	model_close(h->model);
	rpc_close(h->program.rpc);
	node_close(h->program.node);
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
