/* gateway.c - owns the requests in progress and in what order they run.
 *
 * Leaves one request to completion.c, HTTP to http.c, routes through the swarm to sessions.c.
 */
#include "control/gateway.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "control/canary.h"
#include "control/completion_prompt.h"
#include "control/model_list.h"
#include "control/tokenization.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/ring.h"

enum { ARRIVALS_MAX = 256 };            /* between two turns of the core */
#define CHECK_NS (1 * NS_PER_S)
#define HTTP_IDLE_NS (75 * NS_PER_S)

enum gateway_counter {
	GATEWAY_REQUESTS, GATEWAY_RUNNING, GATEWAY_QUEUED, GATEWAY_KV, GATEWAY_QUEUE_SECONDS,
	GATEWAY_SECONDS, GATEWAY_READY, GATEWAY_CANARIES, GATEWAY_CANARY_FAILURES,
	GATEWAY_COUNTERS
};

static const struct counter_row rows[GATEWAY_COUNTERS] = {
	[GATEWAY_REQUESTS] = { COUNTER, "petals_gateway_requests_total",
		"Completion requests ended, by the status they got.", "status", NULL },
	[GATEWAY_RUNNING] = { GAUGE, "petals_gateway_running",
		"Choices being generated.", NULL, NULL },
	[GATEWAY_QUEUED] = { GAUGE, "petals_gateway_queued",
		"Choices that wait for their turn.", NULL, NULL },
	[GATEWAY_KV] = { GAUGE, "petals_gateway_kv_utilization_ratio",
		"Reserved share of the KV cache pages of the fullest server.", NULL, NULL },
	[GATEWAY_QUEUE_SECONDS] = { HISTOGRAM, "petals_gateway_queue_seconds",
		"From taking a request to its first choice's start.", NULL, seconds_buckets },
	[GATEWAY_SECONDS] = { HISTOGRAM, "petals_gateway_request_seconds",
		"From taking a request to its answer's end.", NULL, seconds_buckets },
	[GATEWAY_READY] = { GAUGE, "petals_gateway_ready",
		"1 while every block has a server and the last canary went through.", NULL, NULL },
	[GATEWAY_CANARIES] = { COUNTER, "petals_gateway_canaries_total",
		"Canary generations tried.", NULL, NULL },
	[GATEWAY_CANARY_FAILURES] = { COUNTER, "petals_gateway_canary_failures_total",
		"Canary generations that failed.", NULL, NULL },
};

struct gateway {
	struct gateway_options options;
	struct completion_shared shared;
	struct http *http;
	struct counters *counters;
	struct ring *arrivals;
	uint64_t created;               /* seconds since 1970 */
	atomic_bool changed;            /* something of the list is to be looked at */
	atomic_bool draining;

	struct completion **list;       /* in order of arrival */
	uint32_t count, room;
	uint32_t running, waiting;      /* choices, as of the last sweep */
	struct canary canary;
	uint64_t check_ns;              /* when to look at coverage and deadlines again */
	uint64_t drain_ns;              /* what is left then is ended; 0: not draining */
	void (*drained)(void *ctx);
	void *drained_ctx;
};

static void on_changed(void *ctx)
{
	struct gateway *g = ctx;

	atomic_store_explicit(&g->changed, true, memory_order_release);
}

static void on_hung_up(void *ctx)
{
	struct gateway *g = ctx;

	on_changed(g);
	node_wake(g->options.node);
}

/* ---- in the HTTP thread ---- */

static void hand_over(struct gateway *g, struct completion *c)
{
	if (ring_push(g->arrivals, c)) {
		node_wake(g->options.node);
		return;
	}
	completion_fail(c, -EBUSY, "too many requests arrive at once; try again");
	completion_close(c);
}

static void serve_completion(struct gateway *g, struct http_exchange *x, enum completion_kind kind)
{
	const struct served_model *m = &g->options.model;
	struct completion_request r = { 0 };
	struct api_fault fault = { 0 };
	struct completion *c = NULL;
	size_t bytes;
	const char *body = http_body(x, &bytes);
	int rc = completion_request_read(&r, kind, body, bytes, m, &fault);

	if (rc == 0)
		rc = completion_encode(&r, m, &fault);
	if (rc == 0)
		rc = completion_fit(&r, m, &fault);
	if (rc == 0 && atomic_load(&g->draining))
		rc = api_fault_set(&fault, 503, NULL, "shutting_down", "the gateway is stopping");
	if (rc == 0) {
		rc = completion_open(&c, &g->shared, &r, x, http_header(x, "X-Request-Id"),
				     node_now(g->options.node) + g->options.request_ns);
		if (rc < 0)
			api_fault_of_failure(&fault, rc, "out of memory for the request");
	}
	if (rc < 0)
		api_fault_reply(&fault, x);
	else
		hand_over(g, c);
	completion_request_close(&r);
}

static void serve_text(void *ctx, struct http_exchange *x)
{
	serve_completion(ctx, x, COMPLETION_TEXT);
}

static void serve_chat(void *ctx, struct http_exchange *x)
{
	serve_completion(ctx, x, COMPLETION_CHAT);
}

static void serve_models(void *ctx, struct http_exchange *x)
{
	struct gateway *g = ctx;

	model_list_all(&g->options.model, g->created, x);
}

static void serve_model(void *ctx, struct http_exchange *x)
{
	struct gateway *g = ctx;

	model_list_one(&g->options.model, g->created, http_path(x) + strlen("/v1/models/"), x);
}

static void serve_tokenize(void *ctx, struct http_exchange *x)
{
	struct gateway *g = ctx;

	tokenization_encode(&g->options.model, x);
}

static void serve_detokenize(void *ctx, struct http_exchange *x)
{
	struct gateway *g = ctx;

	tokenization_decode(&g->options.model, x);
}

static void serve_endpoint(void *ctx, struct http_exchange *x)
{
	struct gateway *g = ctx;

	endpoints_serve(g->options.endpoints, x);
}

static const struct http_route routes[] = {
	{ "POST", "/v1/completions", serve_text },
	{ "POST", "/v1/chat/completions", serve_chat },
	{ "GET", "/v1/models", serve_models },
	{ "GET", "/v1/models/*", serve_model },
	{ "POST", "/tokenize", serve_tokenize },
	{ "POST", "/detokenize", serve_detokenize },
	{ "GET", "/live", serve_endpoint },
	{ "GET", "/health", serve_endpoint },
	{ "GET", "/ready", serve_endpoint },
	{ "GET", "/version", serve_endpoint },
	{ "GET", "/metrics", serve_endpoint },
};

/* ---- in the core's ---- */

static void count_ended(struct gateway *g, const struct completion *c)
{
	struct completion_times t = completion_times(c);
	char status[16];

	snprintf(status, sizeof(status), "%d", completion_status(c));
	counters_add(g->counters, GATEWAY_REQUESTS,
		     counters_series(g->counters, GATEWAY_REQUESTS, status), 1);
	counters_observe(g->counters, GATEWAY_SECONDS, 0,
			 (double)(t.ended_ns - t.accepted_ns) / NS_PER_S);
	if (completion_status(c) >= 500)
		canary_doubt(&g->canary);
}

/* Closes what has ended, keeps the rest in order, counts its choices. */
static void sweep(struct gateway *g)
{
	uint32_t kept = 0;

	g->running = g->waiting = 0;
	for (uint32_t i = 0; i < g->count; i++) {
		struct completion *c = g->list[i];

		completion_reap(c);
		if (completion_ended(c)) {
			count_ended(g, c);
			completion_close(c);
			continue;
		}
		g->running += completion_running(c);
		g->waiting += completion_waiting(c);
		g->list[kept++] = c;
	}
	g->count = kept;
}

static void take_arrival(struct gateway *g, struct completion *c)
{
	const struct gateway_options *o = &g->options;
	uint32_t idle = g->running + g->waiting < o->running_max ?
			o->running_max - g->running - g->waiting : 0;

	if (g->count == g->room || g->waiting + completion_choices(c) > o->waiting_max + idle) {
		char reason[128];

		snprintf(reason, sizeof(reason), "%u choices are running and %u wait; try again "
			 "later", g->running, g->waiting);
		completion_fail(c, -EBUSY, reason);
		count_ended(g, c);
		completion_close(c);
		return;
	}
	g->list[g->count++] = c;
	g->waiting += completion_waiting(c);
}

/* First come, first served; a choice is started only where a generation is free. */
static void start_waiting(struct gateway *g)
{
	for (uint32_t i = 0; i < g->count && g->waiting; i++) {
		struct completion *c = g->list[i];
		bool fresh = completion_times(c).started_ns == 0;

		while (completion_waiting(c)) {
			int rc;

			if (g->running >= g->options.running_max)
				return;
			rc = completion_start(c);
			if (rc == -EBUSY)
				return;
			if (rc < 0)
				break;
			g->running++;
			g->waiting--;
			if (fresh)
				counters_observe(g->counters, GATEWAY_QUEUE_SECONDS, 0,
						 (double)(completion_times(c).started_ns -
							  completion_times(c).accepted_ns) /
						 NS_PER_S);
			fresh = false;
		}
	}
}

/* Those that never started; what runs has the same deadline in its session. */
static void end_overdue(struct gateway *g, uint64_t now_ns)
{
	for (uint32_t i = 0; i < g->count; i++)
		if (completion_running(g->list[i]) == 0 && !completion_ended(g->list[i]) &&
		    completion_deadline(g->list[i]) <= now_ns)
			completion_fail(g->list[i], -ETIMEDOUT,
					"the deadline passed while the request waited its turn");
}

static void end_all(struct gateway *g, const char *reason)
{
	for (uint32_t i = 0; i < g->count; i++)
		completion_fail(g->list[i], -ECANCELED, reason);
	sweep(g);
}

static void measure_kv(struct gateway *g)
{
	const struct view *v = g->options.directory ?
			       directory_client_view(g->options.directory) : NULL;
	double fullest = 0;

	for (uint32_t i = 0; v && i < v->count; i++) {
		const struct member *m = &v->members[i];

		if (m->fingerprint == g->options.fingerprint && m->load.pages)
			fullest = MAX(fullest, 1 - (double)m->load.pages_free / m->load.pages);
	}
	counters_set(g->counters, GATEWAY_KV, 0, fullest);
}

static void turn_canary(struct gateway *g, uint64_t now_ns)
{
	uint64_t tried = g->canary.tried, failed = g->canary.failed;

	canary_turn(&g->canary, now_ns);
	endpoints_set_ready(g->options.endpoints, atomic_load(&g->draining) ? "draining" :
			    canary_why_not(&g->canary));
	counters_set(g->counters, GATEWAY_READY, 0, gateway_ready(g));
	counters_add(g->counters, GATEWAY_CANARIES, 0, g->canary.tried - tried);
	counters_add(g->counters, GATEWAY_CANARY_FAILURES, 0, g->canary.failed - failed);
}

static void check(struct gateway *g, uint64_t now_ns)
{
	g->check_ns = now_ns + CHECK_NS;
	measure_kv(g);
	end_overdue(g, now_ns);
	turn_canary(g, now_ns);
}

static void check_drained(struct gateway *g, uint64_t now_ns)
{
	if (!g->drain_ns)
		return;
	if (now_ns >= g->drain_ns)
		end_all(g, "the gateway is stopping");
	if (g->count || ring_length(g->arrivals))
		return;
	g->drain_ns = 0;
	g->drained(g->drained_ctx);
}

static int poll(void *ctx, uint64_t now_ns)
{
	struct gateway *g = ctx;
	bool passed = g->canary.passed, canary_done = g->canary.generation && g->canary.finished;
	struct completion *c;
	int work = 0;

	if (canary_done || now_ns >= g->check_ns) {
		check(g, now_ns);
		work++;
	}
	if (atomic_exchange_explicit(&g->changed, false, memory_order_acquire)) {
		sweep(g);
		work++;
	}
	for (; (c = ring_pop(g->arrivals)); work++)
		take_arrival(g, c);
	if (work) {
		start_waiting(g);
		counters_set(g->counters, GATEWAY_RUNNING, 0, g->running);
		counters_set(g->counters, GATEWAY_QUEUED, 0, g->waiting);
	}
	/* A failure seen in the sweep wants a new canary now. */
	if (passed && !g->canary.passed)
		g->check_ns = 0;
	check_drained(g, now_ns);
	return work;
}

static uint64_t deadline(void *ctx)
{
	struct gateway *g = ctx;
	uint64_t next_ns = g->check_ns;

	if (atomic_load_explicit(&g->changed, memory_order_acquire) ||
	    (g->canary.generation && g->canary.finished))
		return 0;
	return g->drain_ns ? MIN(next_ns, g->drain_ns) : next_ns;
}

static int open_parts(struct gateway *g, struct error *e)
{
	const struct gateway_options *o = &g->options;
	const struct poller poller = { "gateway", g, poll, deadline };
	const struct http_options http = {
		.listen = o->listen,
		.identity = o->identity,
		.routes = routes,
		.route_count = ARRAY_LENGTH(routes),
		.ctx = g,
		.body_bytes_max = o->body_bytes_max,
		.connections_max = o->connections_max,
		.idle_ns = HTTP_IDLE_NS,
	};
	int rc;

	g->room = o->running_max + o->waiting_max;
	g->list = mem_calloc(g->room, sizeof(struct completion *));
	rc = g->list ? ring_open(&g->arrivals, ARRIVALS_MAX) : -ENOMEM;
	if (rc == 0)
		rc = counters_open(&g->counters, rows, GATEWAY_COUNTERS);
	if (rc < 0)
		return error_errno(e, rc, "a gateway for %u requests", g->room);
	rc = http_open(&g->http, &http, e);
	if (rc == 0)
		core_add(node_core(o->node), &poller);
	return rc;
}

int gateway_open(struct gateway **out, const struct gateway_options *o, struct error *e)
{
	struct gateway *g = mem_calloc(1, sizeof(*g));
	int rc;

	*out = NULL;
	if (!g)
		return error_errno(e, -ENOMEM, "the gateway");
	g->options = *o;
	g->shared = (struct completion_shared){
		.generations = o->generations, .model = &g->options.model,
		.clock = node_clock(o->node), .fingerprint = o->fingerprint,
		.changed = on_changed, .hung_up = on_hung_up, .ctx = g,
	};
	g->created = clock_unix_ms(node_clock(o->node)) / 1000;
	canary_open(&g->canary, o->generations, o->sessions, o->canary_token);
	endpoints_set_ready(o->endpoints, canary_why_not(&g->canary));
	rc = open_parts(g, e);
	if (rc < 0) {
		gateway_close(g);
		return rc;
	}
	endpoints_add_counters(o->endpoints, http_counters(g->http));
	endpoints_add_counters(o->endpoints, g->counters);
	*out = g;
	return 0;
}

void gateway_close(struct gateway *g)
{
	struct completion *c;

	if (!g)
		return;
	atomic_store(&g->draining, true);
	canary_close(&g->canary);
	end_all(g, "the gateway is stopping");
	if (g->http) {
		endpoints_remove_counters(g->options.endpoints, http_counters(g->http));
		endpoints_remove_counters(g->options.endpoints, g->counters);
	}
	http_close(g->http);
	while (g->arrivals && (c = ring_pop(g->arrivals))) {
		completion_fail(c, -ECANCELED, "the gateway is stopping");
		completion_close(c);
	}
	ring_close(g->arrivals);
	counters_close(g->counters);
	mem_free(g->list);
	mem_free(g);
}

void gateway_bound(const struct gateway *g, struct address *out)
{
	http_bound(g->http, out);
}

const char *gateway_scheme(const struct gateway *g)
{
	return http_scheme(g->http);
}

struct counters *gateway_counters(struct gateway *g)
{
	return g->counters;
}

void gateway_view_changed(struct gateway *g)
{
	g->check_ns = 0;
}

bool gateway_ready(const struct gateway *g)
{
	return canary_passed(&g->canary) && !atomic_load(&g->draining);
}

void gateway_drain(struct gateway *g, uint64_t within_ns, void (*done)(void *ctx), void *ctx)
{
	atomic_store(&g->draining, true);
	g->drain_ns = node_now(g->options.node) + within_ns;
	g->drained = done;
	g->drained_ctx = ctx;
	g->check_ns = 0;
}
