/* server.c - petals-server: hosts a span of a model's blocks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/server.h"
#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/options.h"
#include "dataplane/base/random.h"
#include "tools/program.h"
#include "tools/progress.h"

struct server_flags {
	char *directory, *model, *listen, *announce, *metrics, *device, *name, *tuning;
	struct option_span blocks;
	int64_t capacity, threads, sessions, page_tokens, rows, prefill_rows, tokens;
	int compute, weights, wire;
	uint64_t kv_bytes, history_bytes, lease_ns, drain_ns;
	struct security_flags security;
	struct network_flags network;
	bool fast, json;
};

#define AT(field) offsetof(struct server_flags, field)

static const struct option options[] = {
	{ .kind = OPTION_HEADING, .help = "What to host" },
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH", .required = true,
	  .help = "Hugging Face directory or .gguf file" },
	{ "blocks", OPTION_SPAN, AT(blocks), NULL,
	  .help = "blocks to host; without it the directory decides" },
	{ "capacity", OPTION_INTEGER, AT(capacity), "0", 0, 1024, .metavar = "BLOCKS",
	  .help = "most blocks to take when the directory decides, 0: all" },
	{ .kind = OPTION_HEADING, .help = "Where" },
	{ "directory", OPTION_ADDRESS, AT(directory), "127.0.0.1:7700",
	  .help = "the directory to join" },
	{ "listen", OPTION_ADDRESS, AT(listen), "127.0.0.1:0",
	  .help = "address for other hops and clients, port 0: any free one" },
	{ "metrics", OPTION_ADDRESS, AT(metrics), NULL,
	  .help = "address for /metrics, /live, /health, /ready, /version" },
	{ "name", OPTION_TEXT, AT(name), NULL, .metavar = "NAME",
	  .help = "what people call this server; its address unless given" },
	SECURITY_HEADING, CREDENTIALS_OPTION, JOIN_OPTION, INSECURE_OPTION,
	NETWORK_OPTIONS,
	{ .kind = OPTION_HEADING, .help = "The device" },
	{ "device", OPTION_TEXT, AT(device), "cpu", .metavar = "DEVICE",
	  .help = "cpu, or cuda:N" },
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,
	  .help = "threads that compute (cpu) or lay weights out (cuda), 0: one per core this "
		  "process may use" },
	{ "compute", OPTION_CHOICE, AT(compute), "auto", .choices = "auto|f32|bf16|int8",
	  .help = "arithmetic of the blocks; f32 is the reference, auto the fastest that "
		  "keeps the identity promise" },
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",
	  .help = "what the blocks' matrices are loaded as: keep is as they are stored, int8 has "
		  "a scale per row, int4 one per 32 weights; servers of unlike weights do not "
		  "share a session" },
	{ "fast", OPTION_FLAG, AT(fast), NULL,
	  .help = "cuda: faster prompts by cuBLASLt, which takes f16 weights as bf16; results then "
		  "depend on what shares a batch" },
	{ "tuning", OPTION_TEXT, AT(tuning), NULL, .metavar = "FILE",
	  .help = "cuda, fast: remembers which of cuBLASLt's ways were fastest; "
		  "petals/cuda-tuning in $XDG_CACHE_HOME or ~/.cache" },
	{ "wire", OPTION_CHOICE, AT(wire), "f32", .choices = "f32|f16|bf16|int8",
	  .help = "how hidden states travel; they are rounded to it after every block, so "
		  "that it does not matter where the model is cut" },
	{ .kind = OPTION_HEADING, .help = "Room" },
	{ "kv-bytes", OPTION_BYTES, AT(kv_bytes), "256M", 1 << 20, 1ull << 43,
	  .help = "memory for KV cache pages" },
	{ "kv-page-tokens", OPTION_INTEGER, AT(page_tokens), "16", 16, 1024,
	  .help = "tokens in a KV cache page, a multiple of 16" },
	{ "history-bytes", OPTION_BYTES, AT(history_bytes), "1G", 1 << 20, 1ull << 43,
	  .help = "host memory that sessions may reserve for replay" },
	{ "sessions", OPTION_INTEGER, AT(sessions), "256", 1, 65536,
	  .help = "most sessions at once" },
	{ "session-tokens", OPTION_INTEGER, AT(tokens), "0", 0, 1 << 20,
	  .help = "longest session, 0: what the model was made for" },
	{ "batch-rows", OPTION_INTEGER, AT(rows), "256", 1, 8192,
	  .help = "most rows (tokens) that step together" },
	{ "prefill-rows", OPTION_INTEGER, AT(prefill_rows), "64", 1, 8192,
	  .help = "prompt rows in a batch while others wait for tokens" },
	{ .kind = OPTION_HEADING, .help = "Coming and going" },
	{ "lease", OPTION_DURATION, AT(lease_ns), "3s", 0.2, 600,
	  .help = "silence after which the directory forgets this server" },
	{ "drain", OPTION_DURATION, AT(drain_ns), "30s", 0, 86400,
	  .help = "how long SIGTERM waits for sessions to end or move" },
	{ "json", OPTION_FLAG, AT(json), NULL,
	  .help = "print one JSON object when serving" },
};

static const char *const examples[] = {
	"petals-server --model SmolLM2.gguf --blocks 0:10 --listen 127.0.0.1:7701",
	"petals-server --join TOKEN --model SmolLM2.gguf --listen 10.0.0.17:7701",
	"petals-server --model llama-2-70b/ --device cpu --weights int8 --capacity 8 --kv-bytes 8G",
	"petals-server --model llama-2-70b/ --device cuda:0 --capacity 8 --kv-bytes 8G",
	NULL,
};

/* Everything main() opened, in order. */
struct serving {
	const struct server_flags *flags;
	struct running *running;
	struct model *model;
	const struct backend *backend;
	struct device *device;
	void *arena;
	struct server *server;
	struct progress progress;
	bool failed;
};

static void on_serving(void *ctx, const struct span_info *info)
{
	struct serving *s = ctx;
	const char *address = running_address(s->running)->text;

	progress_end(&s->progress);
	endpoints_add_counters(running_endpoints(s->running),
			       hops_counters(server_hops(s->server)));
	endpoints_set_ready(running_endpoints(s->running), NULL);
	if (s->flags->json)
		printf("{\"address\": \"%s\", \"first\": %u, \"end\": %u, \"kind\": \"%s\", "
		       "\"metrics\": \"%s\"}\n", address, info->first, info->end, info->kind,
		       running_metrics_url(s->running));
	else
		printf("serving blocks [%u,%u) of %s on %s as %s\n", info->first, info->end,
		       model_config(s->model)->name, address, info->kind);
	fflush(stdout);
	/* The weights were copied into their layout: let go of the mapped file. */
	model_close(s->model);
	s->model = NULL;
}

static void on_failed(void *ctx, const char *reason)
{
	struct serving *s = ctx;

	progress_end(&s->progress);
	fprintf(stderr, "petals-server: %s\n", reason);
	s->failed = true;
	running_stop(s->running);
}

static void on_offline(void *ctx)
{
	struct serving *s = ctx;

	running_stop(s->running);
}

static void on_stopping(void *ctx)
{
	struct serving *s = ctx;

	if (!s->server) {
		running_stop(s->running);
		return;
	}
	endpoints_set_ready(running_endpoints(s->running), "draining");
	server_drain(s->server, s->flags->drain_ns);
}

static int open_device(struct serving *s, struct error *e)
{
	struct device_options o = {
		.threads = (uint32_t)s->flags->threads, .compute = s->flags->compute,
		.weights = (enum weight_format)s->flags->weights, .fast = s->flags->fast,
		.tuning = s->flags->tuning,
	};
	size_t bytes;
	int rc = backend_find(s->flags->device, &s->backend, &o.index, e);

	if (rc == 0)
		rc = s->backend->device_open(&s->device, &o, e);
	if (rc < 0)
		return rc;
	transport_arena(node_transport(running_node(s->running)), &s->arena, &bytes);
	return s->backend->host_register(s->device, s->arena, bytes, e);
}

static int check_flags(const struct server_flags *f, const struct model *m, struct error *e)
{
	const struct model_config *config = model_config(m);
	uint32_t end = f->blocks.given ? f->blocks.end : config->blocks;

	if (f->blocks.given && f->blocks.end > config->blocks)
		return error_set(e, -EINVAL, "--blocks %u:%u: %s has blocks 0:%u",
				 f->blocks.first, f->blocks.end, config->name, config->blocks);
	if (f->page_tokens % 16)
		return error_set(e, -EINVAL, "--kv-page-tokens %lld is not a multiple of 16",
				 (long long)f->page_tokens);
	return model_check(m, f->blocks.first, end, false, e);
}

static void fill_options(struct serving *s, struct server_options *o,
			 const struct address *directory)
{
	const struct server_flags *f = s->flags;
	const struct model_config *config = model_config(s->model);
	uint32_t tokens = f->tokens ? (uint32_t)f->tokens : config->positions;

	*o = (struct server_options){
		.node = running_node(s->running), .rpc = running_rpc(s->running),
		.directory = directory, .lease_ttl_ns = f->lease_ns,
		.backend = s->backend, .device = s->device,
		.span = {
			.model = s->model,
			.first = f->blocks.first, .end = f->blocks.given ? f->blocks.end : 0,
			.page_tokens = (uint32_t)f->page_tokens, .kv_bytes = f->kv_bytes,
			.rows_max = (uint32_t)f->rows,
			.entries_max = (uint32_t)MIN(f->sessions, f->rows),
			.tokens_max = tokens, .round = (enum row_encoding)(f->wire + ROW_F32),
			.progress = progress_reporter(&s->progress),
		},
		.capacity = f->capacity ? (uint32_t)f->capacity : config->blocks,
		.hops = {
			.round = (enum wire_encoding)(f->wire + WIRE_F32),
			.sessions_max = (uint32_t)f->sessions, .works_max = 1024,
			.history_bytes = f->history_bytes, .tokens_max = tokens,
			.rows_max = (uint32_t)f->rows,
			.entries_max = (uint32_t)MIN(f->sessions, f->rows),
			.prefill_rows = (uint32_t)f->prefill_rows, .threaded = true,
		},
		.events = { on_serving, on_failed, on_offline },
		.ctx = s,
	};
	o->member.id = random_entropy();
	o->member.address = *running_address(s->running);
	snprintf(o->member.name, sizeof(o->member.name), "%.63s",
		 f->name ? f->name : o->member.address.text);
	snprintf(o->member.metrics, sizeof(o->member.metrics), "%s",
		 running_metrics_url(s->running));
}

static int serve(struct serving *s, struct error *e)
{
	const struct server_flags *f = s->flags;
	struct running_options running = {
		.name = "petals-server", .role = ROLE_SERVER, .listen = f->listen,
		.metrics = f->metrics, .stopping = on_stopping, .ctx = s,
		.network = &f->network, .security = &f->security, .directory = f->directory,
	};
	struct server_options o;
	struct address directory;
	int rc = model_open(&s->model, f->model, e);

	if (rc == 0)
		rc = check_flags(f, s->model, e);
	if (rc < 0)
		return rc;
	running.large_bytes = (uint32_t)(f->rows * model_config(s->model)->hidden * 4);
	rc = running_open(&s->running, &running, e);
	if (rc == 0)
		rc = open_device(s, e);
	if (rc == 0)
		rc = address_parse(&directory, f->directory, e);
	if (rc < 0)
		return rc;
	endpoints_set_ready(running_endpoints(s->running), "weights are being laid out");
	progress_begin(&s->progress, "laying out weights", NULL);
	fill_options(s, &o, &directory);
	rc = server_open(&s->server, &o, e);
	if (rc == 0)
		running_loop(s->running);
	return rc;
}

static int run(void *target, int operand_count, char **operands)
{
	struct server_flags *f = target;
	struct serving s = { .flags = f };
	struct error e = { 0 };
	int rc = security_join(&f->security, PRINCIPAL_SERVER, f->name, &f->directory, &e);

	if (rc == 0)
		rc = serve(&s, &e);

	if (rc < 0)
		fprintf(stderr, "petals-server: %s\n", e.text);
	if (s.running)
		endpoints_set_ready(running_endpoints(s.running), "stopped");
	if (s.server && server_hops(s.server))
		endpoints_remove_counters(running_endpoints(s.running),
					  hops_counters(server_hops(s.server)));
	server_close(s.server);
	if (s.device) {
		if (s.arena)
			s.backend->host_unregister(s.device, s.arena);
		s.backend->device_close(s.device);
	}
	running_close(s.running);
	model_close(s.model);
	return rc < 0 || s.failed ? 1 : 0;
}

static const struct program program = {
	.name = "petals-server",
	.summary = "hosts a span of a model's transformer blocks",
	.description =
		"Lays out the weights of consecutive blocks once, joins a directory, and runs "
		"steps of many sessions at once, passing hidden states on to the next hop.\n\n"
		"On SIGTERM or SIGINT it takes no new sessions, asks clients to move theirs to "
		"other servers, leaves the directory and exits 0; a second signal exits at "
		"once.  When its GPU is lost it leaves the directory and exits 1: its sessions "
		"go on elsewhere.\n\n"
		"A cuda device needs the module petals-cuda.so (PETALS_CUDA_MODULE names another "
		"one) and NVIDIA's driver; PETALS_CUDA_LIBRARIES names a folder where "
		"libcuda.so.1 and libcublasLt.so.13 are looked for first.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct server_flags),
	.examples = examples, .run = run,
};

int main(int argc, char **argv)
{
	return options_main(&program, argc, argv);
}
