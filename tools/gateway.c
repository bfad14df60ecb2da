/* gateway.c - petals-gateway: the OpenAI API over a swarm of servers.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/gateway.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/options.h"
#include "tools/program.h"
#include "tools/progress.h"

enum {
	EDGE_ROWS_MAX = 32,             /* rows that share a pass over the LM head */
	SPARE_GENERATIONS = 8,          /* the canary, and those whose last job is not back */
};
#define BAN_NS (5 * NS_PER_S)
#define DIRECTORY_NS (3 * NS_PER_S)     /* what a lease's length would be, had we one */

struct gateway_flags {
	char *directory, *model, *listen, *device, *name;
	int64_t threads, sessions, queue, context, default_tokens, choices, chunk, connections;
	int compute, weights;
	uint64_t request_ns, drain_ns, body_bytes;
	struct security_flags security;
	struct network_flags network;
	bool no_chat, json;
};

#define AT(field) offsetof(struct gateway_flags, field)

static const struct option options[] = {
	{ .kind = OPTION_HEADING, .help = "What to serve" },
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH", .required = true,
	  .help = "Hugging Face directory or .gguf file; embedding, LM head and tokenizer are "
		  "read from it" },
	{ "served-name", OPTION_TEXT, AT(name), NULL, .metavar = "NAME",
	  .help = "what clients call the model; its own name unless given" },
	{ "no-chat", OPTION_FLAG, AT(no_chat), NULL,
	  .help = "do without the model's chat template" },
	{ .kind = OPTION_HEADING, .help = "Where" },
	{ "directory", OPTION_ADDRESS, AT(directory), "127.0.0.1:7700",
	  .help = "the directory that knows the servers" },
	{ "listen", OPTION_ADDRESS, AT(listen), "127.0.0.1:8080",
	  .help = "address for HTTP clients, port 0: any free one" },
	SECURITY_HEADING, CREDENTIALS_OPTION, JOIN_OPTION, INSECURE_OPTION,
	NETWORK_OPTIONS,
	{ .kind = OPTION_HEADING, .help = "The device for the edges" },
	{ "device", OPTION_TEXT, AT(device), "cpu", .metavar = "DEVICE", .help = "cpu, or cuda:N" },
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,
	  .help = "threads that compute (cpu) or lay weights out (cuda), 0: one per core this "
		  "process may use" },
	{ "compute", OPTION_CHOICE, AT(compute), "auto", .choices = "auto|f32|bf16|int8",
	  .help = "arithmetic of the LM head; f32 is the reference" },
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",
	  .help = "what the LM head is loaded as, and the embedding where it is the same matrix; "
		  "int8 costs next to nothing, int4 a lot; the blocks are the servers' to choose" },
	{ .kind = OPTION_HEADING, .help = "Room" },
	{ "sessions", OPTION_INTEGER, AT(sessions), "64", 1, 4096,
	  .help = "most choices generated at once" },
	{ "queue", OPTION_INTEGER, AT(queue), "256", 0, 65536,
	  .help = "most choices that wait their turn; more get status 429" },
	{ "choices", OPTION_INTEGER, AT(choices), "128", 1, 4096,
	  .help = "most choices (prompts times n) of one request" },
	{ "context", OPTION_INTEGER, AT(context), "0", 0, 1 << 20, .metavar = "TOKENS",
	  .help = "longest prompt and answer together, 0: what the model was made for" },
	{ "default-tokens", OPTION_INTEGER, AT(default_tokens), "2048", 1, 1 << 20,
	  .metavar = "TOKENS", .help = "longest answer when a request does not say" },
	{ "prompt-chunk", OPTION_INTEGER, AT(chunk), "64", 1, 8192, .metavar = "TOKENS",
	  .help = "rows of a prompt per step" },
	{ "body-bytes", OPTION_BYTES, AT(body_bytes), "4M", 1 << 10, 1 << 30,
	  .help = "largest request body" },
	{ "connections", OPTION_INTEGER, AT(connections), "512", 1, 65536,
	  .help = "most HTTP connections at once" },
	{ .kind = OPTION_HEADING, .help = "Time" },
	{ "request-timeout", OPTION_DURATION, AT(request_ns), "10m", 0.1, 86400,
	  .help = "from taking a request to its last token" },
	{ "drain", OPTION_DURATION, AT(drain_ns), "30s", 0, 86400,
	  .help = "how long SIGTERM waits for requests in progress" },
	{ "json", OPTION_FLAG, AT(json), NULL,
	  .help = "print one JSON object when listening" },
};

static const char *const examples[] = {
	"petals-gateway --model SmolLM2.gguf --directory 127.0.0.1:7700",
	"petals-gateway --model llama-2-70b/ --listen 127.0.0.1:8000 --served-name llama",
	NULL,
};

/* Everything main() opened, in order. */
struct serving {
	const struct gateway_flags *flags;
	struct model *model;
	struct tokenizer *tokenizer;
	struct chat_template *chat_template;
	struct running *running;
	const struct backend *backend;
	struct device *device;
	struct edge *edge;
	struct directory_client *directory;
	struct sessions *sessions;
	struct generations *generations;
	struct gateway *gateway;
	struct progress progress;
};

static void on_view(void *ctx, const struct view *v)
{
	struct serving *s = ctx;

	if (s->sessions)
		sessions_view_changed(s->sessions);
	if (s->gateway)
		gateway_view_changed(s->gateway);
}

static void on_drained(void *ctx)
{
	struct serving *s = ctx;

	running_stop(s->running);
}

static void on_stopping(void *ctx)
{
	struct serving *s = ctx;

	gateway_drain(s->gateway, s->flags->drain_ns, on_drained, s);
}

static int open_text(struct serving *s, struct error *e)
{
	const struct gguf *gguf = model_gguf(s->model);
	const char *text;
	int rc = gguf ? tokenizer_open_gguf(&s->tokenizer, gguf, e) :
			tokenizer_open_hf(&s->tokenizer, s->flags->model, e);

	if (rc < 0)
		return rc;
	text = tokenizer_chat_template(s->tokenizer);
	if (!text || s->flags->no_chat)
		return 0;
	rc = chat_template_open(&s->chat_template, text, strlen(text), e);
	return rc < 0 ? error_wrap(e, "the chat template of %s (--no-chat does without)",
				   s->flags->model) : 0;
}

static int open_edge(struct serving *s, struct error *e)
{
	struct device_options o = {
		.threads = (uint32_t)s->flags->threads, .compute = s->flags->compute,
		.weights = (enum weight_format)s->flags->weights,
	};
	int rc = backend_find(s->flags->device, &s->backend, &o.index, e);

	if (rc == 0)
		rc = s->backend->device_open(&s->device, &o, e);
	if (rc < 0)
		return rc;
	progress_begin(&s->progress, "laying out the embedding", NULL);
	rc = s->backend->edge_open(&s->edge, s->device, s->model, EDGE_ROWS_MAX,
				   progress_reporter(&s->progress), e);
	progress_end(&s->progress);
	return rc;
}

static int open_swarm(struct serving *s, struct error *e)
{
	const struct gateway_flags *f = s->flags;
	const struct model_config *config = model_config(s->model);
	struct directory_client_options directory = {
		.node = running_node(s->running), .rpc = running_rpc(s->running),
		.ttl_ns = DIRECTORY_NS, .watch = true, .changed = on_view, .ctx = s,
	};
	struct sessions_options sessions = {
		.node = running_node(s->running), .fingerprint = model_fingerprint(s->model),
		.blocks = config->blocks, .hidden = config->hidden,
		.sessions_max = (uint32_t)f->sessions + SPARE_GENERATIONS,
		.chunk_rows = (uint32_t)f->chunk, .ban_ns = BAN_NS,
	};
	struct generations_options generations = {
		.node = running_node(s->running), .config = config, .tokenizer = s->tokenizer,
		.backend = s->backend, .edge = s->edge,
		.generations_max = (uint32_t)f->sessions + SPARE_GENERATIONS,
		.logit_rows_max = EDGE_ROWS_MAX, .threaded = true,
	};
	int rc = address_parse(&directory.directory, f->directory, e);

	if (rc == 0)
		rc = directory_client_open(&s->directory, &directory, e);
	sessions.directory = s->directory;
	if (rc == 0)
		rc = sessions_open(&s->sessions, &sessions, e);
	generations.sessions = s->sessions;
	return rc < 0 ? rc : generations_open(&s->generations, &generations, e);
}

static int open_gateway(struct serving *s, struct error *e)
{
	const struct gateway_flags *f = s->flags;
	const struct model_config *config = model_config(s->model);
	struct gateway_options o = {
		.node = running_node(s->running), .sessions = s->sessions,
		.directory = s->directory, .generations = s->generations,
		.endpoints = running_endpoints(s->running),
		.identity = running_identity(s->running),
		.model = {
			.name = f->name ? f->name : config->name,
			.tokenizer = s->tokenizer, .chat_template = s->chat_template,
			.vocabulary = config->vocabulary,
			.context = f->context ? (uint32_t)f->context : config->positions,
			.default_tokens = (uint32_t)f->default_tokens,
			.choices_max = (uint32_t)f->choices,
		},
		.fingerprint = model_fingerprint(s->model),
		.canary_token = config->bos >= 0 ? (uint32_t)config->bos : 0,
		.running_max = (uint32_t)f->sessions, .waiting_max = (uint32_t)f->queue,
		.request_ns = f->request_ns, .body_bytes_max = f->body_bytes,
		.connections_max = (uint32_t)f->connections,
	};
	int rc = address_parse(&o.listen, f->listen, e);

	if (rc == 0)
		rc = gateway_open(&s->gateway, &o, e);
	return rc < 0 ? error_wrap(e, "--listen %s", f->listen) : 0;
}

static void share_counters(struct serving *s)
{
	struct endpoints *p = running_endpoints(s->running);

	endpoints_add_counters(p, generations_counters(s->generations));
	endpoints_add_counters(p, sessions_counters(s->sessions));
	endpoints_add_counters(p, directory_client_counters(s->directory));
	endpoints_add_counters(p, node_counters(running_node(s->running)));
	endpoints_add_counters(p, rpc_counters(running_rpc(s->running)));
}

static void announce(struct serving *s)
{
	const char *name = s->flags->name ? s->flags->name : model_config(s->model)->name;
	const char *scheme = gateway_scheme(s->gateway);
	struct address at;

	gateway_bound(s->gateway, &at);
	if (s->flags->json)
		printf("{\"gateway\": \"%s://%s\", \"model\": \"%s\"}\n", scheme, at.text, name);
	else
		printf("serving %s at %s://%s/v1\n", name, scheme, at.text);
	fflush(stdout);
}

static int serve(struct serving *s, struct error *e)
{
	const struct gateway_flags *f = s->flags;
	struct running_options running = {
		.name = "petals-gateway", .role = ROLE_GATEWAY, .stopping = on_stopping, .ctx = s,
		.network = &f->network, .security = &f->security, .directory = f->directory,
	};
	int rc = model_open(&s->model, f->model, e);

	if (rc == 0)
		rc = model_check(s->model, 0, 0, true, e);
	if (rc == 0)
		rc = open_text(s, e);
	if (rc < 0)
		return rc;
	running.large_bytes = (uint32_t)(f->chunk * model_config(s->model)->hidden * 4);
	rc = running_open(&s->running, &running, e);
	if (rc == 0)
		rc = open_edge(s, e);
	if (rc == 0)
		rc = open_swarm(s, e);
	if (rc == 0)
		rc = open_gateway(s, e);
	if (rc < 0)
		return rc;
	share_counters(s);
	announce(s);
	running_loop(s->running);
	return 0;
}

static void close_all(struct serving *s)
{
	gateway_close(s->gateway);
	generations_close(s->generations);
	sessions_close(s->sessions);
	directory_client_close(s->directory);
	if (s->edge)
		s->backend->edge_close(s->edge);
	if (s->device)
		s->backend->device_close(s->device);
	running_close(s->running);
	chat_template_close(s->chat_template);
	tokenizer_close(s->tokenizer);
	model_close(s->model);
}

static int run(void *target, int operand_count, char **operands)
{
	struct gateway_flags *f = target;
	struct serving s = { .flags = f };
	struct error e = { 0 };
	int rc = security_join(&f->security, PRINCIPAL_GATEWAY, NULL, &f->directory, &e);

	if (rc == 0)
		rc = serve(&s, &e);

	if (rc < 0)
		fprintf(stderr, "petals-gateway: %s\n", e.text);
	close_all(&s);
	return rc < 0 ? 1 : 0;
}

static const struct program program = {
	.name = "petals-gateway",
	.summary = "serves the OpenAI API over a swarm of servers",
	.description =
		"Embeds prompts, sends hidden states along a route of servers that together hold "
		"every block, samples, streams text, and repairs routes when a server is lost.\n\n"
		"Endpoints: /v1/models, /v1/completions, /v1/chat/completions, /tokenize, "
		"/detokenize, /live, /health, /ready, /version, /metrics.\n\n"
		"On SIGTERM or SIGINT it takes no new requests, finishes those in progress and "
		"exits 0; a second signal exits at once.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct gateway_flags),
	.examples = examples, .run = run,
};

int main(int argc, char **argv)
{
	return options_main(&program, argc, argv);
}
