/* endpoints.c - owns what a program says about itself: its counters, its heartbeat, and the
 * sentences that say why it is not ready or not well.
 */
#include "control/endpoints.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "control/json_print.h"
#include "control/process.h"
#include "dataplane/base/memory.h"

#define BEAT_NS (1 * NS_PER_S)
#define BEAT_LATE_NS (5 * NS_PER_S)

struct endpoints {
	char program[64];
	const struct clock *clock;
	bool has_core;
	_Atomic uint64_t beat_ns;

	pthread_mutex_t lock;           /* the rest */
	char why_not[ERROR_TEXT_BYTES], problem[ERROR_TEXT_BYTES];
	struct counters *counters[ENDPOINTS_COUNTERS_MAX];
	uint32_t count;
};

static int beat(void *ctx, uint64_t now_ns)
{
	struct endpoints *p = ctx;

	if (now_ns < atomic_load_explicit(&p->beat_ns, memory_order_relaxed) + BEAT_NS)
		return 0;
	atomic_store_explicit(&p->beat_ns, now_ns, memory_order_relaxed);
	return 1;
}

static uint64_t next_beat(void *ctx)
{
	const struct endpoints *p = ctx;

	return atomic_load_explicit(&p->beat_ns, memory_order_relaxed) + BEAT_NS;
}

int endpoints_open(struct endpoints **out, const char *program, struct core *core,
		   const struct clock *clock)
{
	struct endpoints *p = mem_calloc(1, sizeof(*p));
	const struct poller poller = { "endpoints", p, beat, next_beat };

	*out = NULL;
	if (!p)
		return -ENOMEM;
	snprintf(p->program, sizeof(p->program), "%s", program);
	p->clock = clock;
	atomic_init(&p->beat_ns, clock_ns(clock));
	pthread_mutex_init(&p->lock, NULL);
	p->has_core = core != NULL;
	if (core)
		core_add(core, &poller);
	*out = p;
	return 0;
}

void endpoints_close(struct endpoints *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	mem_free(p);
}

void endpoints_add_counters(struct endpoints *p, struct counters *c)
{
	pthread_mutex_lock(&p->lock);
	assert(p->count < ENDPOINTS_COUNTERS_MAX);
	p->counters[p->count++] = c;
	pthread_mutex_unlock(&p->lock);
}

void endpoints_remove_counters(struct endpoints *p, struct counters *c)
{
	uint32_t kept = 0;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->count; i++)
		if (p->counters[i] != c)
			p->counters[kept++] = p->counters[i];
	p->count = kept;
	pthread_mutex_unlock(&p->lock);
}

static void say(struct endpoints *p, char *where, const char *sentence)
{
	pthread_mutex_lock(&p->lock);
	snprintf(where, ERROR_TEXT_BYTES, "%s", sentence ? sentence : "");
	pthread_mutex_unlock(&p->lock);
}

void endpoints_set_ready(struct endpoints *p, const char *why_not)
{
	say(p, p->why_not, why_not);
}

void endpoints_set_health(struct endpoints *p, const char *problem)
{
	say(p, p->problem, problem);
}

/* {"status": "ok"}, or 503 with {"status": ..., "reason": ...}. */
static void answer(struct http_exchange *x, const char *good, const char *bad, const char *reason)
{
	struct buffer body = { 0 };

	buffer_text(&body, "{\"status\":");
	json_print_string(&body, reason[0] ? bad : good);
	if (reason[0]) {
		buffer_text(&body, ",\"reason\":");
		json_print_string(&body, reason);
	}
	buffer_text(&body, "}\n");
	http_reply(x, reason[0] ? 503 : 200, "application/json", buffer_string(&body),
		   body.length);
	buffer_close(&body);
}

/* How long the core has not turned, in a sentence; "" while it does. */
static void describe_silence(const struct endpoints *p, char *out, size_t bytes)
{
	uint64_t now_ns = clock_ns(p->clock), beat_ns = atomic_load(&p->beat_ns);

	out[0] = '\0';
	if (p->has_core && now_ns > beat_ns + BEAT_LATE_NS)
		snprintf(out, bytes, "the core has not turned for %llu s",
			 (unsigned long long)((now_ns - beat_ns) / NS_PER_S));
}

static void serve_live(struct endpoints *p, struct http_exchange *x)
{
	char silence[96];

	describe_silence(p, silence, sizeof(silence));
	answer(x, "live", "stuck", silence);
}

static void serve_health(struct endpoints *p, struct http_exchange *x)
{
	char reason[ERROR_TEXT_BYTES];

	describe_silence(p, reason, sizeof(reason));
	pthread_mutex_lock(&p->lock);
	if (!reason[0])
		memcpy(reason, p->problem, sizeof(reason));
	pthread_mutex_unlock(&p->lock);
	answer(x, "ok", "unhealthy", reason);
}

static void serve_ready(struct endpoints *p, struct http_exchange *x)
{
	char reason[ERROR_TEXT_BYTES];

	describe_silence(p, reason, sizeof(reason));
	pthread_mutex_lock(&p->lock);
	if (!reason[0])
		memcpy(reason, p->why_not, sizeof(reason));
	pthread_mutex_unlock(&p->lock);
	answer(x, "ready", "not ready", reason);
}

static void serve_version(struct endpoints *p, struct http_exchange *x)
{
	char body[160];
	int length = snprintf(body, sizeof(body), "{\"version\":\"%s\",\"program\":\"%s\"}\n",
			      PETALS_VERSION, p->program);

	http_reply(x, 200, "application/json", body, (size_t)length);
}

static void serve_metrics(struct endpoints *p, struct http_exchange *x)
{
	struct buffer body = { 0 };

	/* Under the lock: who removes its counters may free them next. */
	pthread_mutex_lock(&p->lock);
	counters_render(p->counters, p->count, &body);
	pthread_mutex_unlock(&p->lock);
	process_print(p->program, &body);
	if (buffer_failed(&body))
		http_fail(x, 503, "server_error", NULL, NULL, "out of memory for the metrics");
	else
		http_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8",
			   buffer_string(&body), body.length);
	buffer_close(&body);
}

static const struct {
	const char *path;
	void (*serve)(struct endpoints *p, struct http_exchange *x);
} pages[] = {
	{ "/live", serve_live },
	{ "/health", serve_health },
	{ "/ready", serve_ready },
	{ "/version", serve_version },
	{ "/metrics", serve_metrics },
};

static void serve_alone(void *ctx, struct http_exchange *x)
{
	endpoints_serve(ctx, x);
}

const struct http_route endpoints_routes[] = {
	{ "GET", "/live", serve_alone },
	{ "GET", "/health", serve_alone },
	{ "GET", "/ready", serve_alone },
	{ "GET", "/version", serve_alone },
	{ "GET", "/metrics", serve_alone },
};
const uint32_t endpoints_route_count = ARRAY_LENGTH(endpoints_routes);
static_assert(ARRAY_LENGTH(endpoints_routes) == ARRAY_LENGTH(pages), "one route per page");

bool endpoints_serve(struct endpoints *p, struct http_exchange *x)
{
	for (size_t i = 0; i < ARRAY_LENGTH(pages); i++) {
		if (strcmp(http_path(x), pages[i].path) == 0) {
			pages[i].serve(p, x);
			return true;
		}
	}
	return false;
}

int endpoints_listen(struct endpoints *p, const struct address *a, struct identity *id,
		     struct http **out, struct error *e)
{
	const struct http_options o = {
		.listen = *a,
		.identity = id,
		.routes = endpoints_routes,
		.route_count = endpoints_route_count,
		.ctx = p,
		.body_bytes_max = 4096,
		.connections_max = 64,
		.idle_ns = 60 * NS_PER_S,
	};
	int rc = http_open(out, &o, e);

	if (rc == 0)
		endpoints_add_counters(p, http_counters(*out));
	return rc;
}
