/* server.c - owns a server's life cycle: lease, loading, canary, drain.  What sessions do
 * here is hops.c's.
 */
#include "control/server.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { LOAD_REPORT_NS = 500 * 1000 * 1000 };

static_assert((int)KIND_BYTES <= (int)MEMBER_KIND_BYTES,
	      "a member's kind is its span's");

struct server {
	struct server_options options;
	enum server_state state;
	struct member member;
	struct directory_client *directory;

	struct span *span;
	struct hops *hops;
	pthread_t loader;
	bool loading;                   /* the loader thread exists */
	atomic_int loaded;              /* 0: not yet, 1: span is there, < 0: failed */
	struct span *loaded_span;       /* the loader's until `loaded` says so */
	struct error load_error;

	uint64_t drain_deadline_ns;
	uint64_t next_report_ns;
};

const char *server_state_name(enum server_state state)
{
	static const char *const names[] = {
		[SERVER_JOINING] = "joining", [SERVER_SERVING] = "serving",
		[SERVER_DRAINING] = "draining", [SERVER_OFFLINE] = "offline",
		[SERVER_FAILED] = "failed",
	};

	return names[state];
}

/* Nothing is told of it any more. */
static bool is_over(const struct server *s)
{
	return s->state == SERVER_OFFLINE || s->state == SERVER_FAILED;
}

/* A step told that the device is lost, and nobody has done anything about it yet. */
static bool is_broken(const struct server *s)
{
	return s->hops && hops_lost(s->hops) &&
	       (s->state == SERVER_SERVING || s->state == SERVER_DRAINING);
}

static void server_announce(struct server *s)
{
	if (s->hops)
		hops_load(s->hops, &s->member.load);
	if (s->directory)
		directory_client_update(s->directory, &s->member);
}

static void server_fail(struct server *s, const char *reason)
{
	s->state = SERVER_FAILED;
	log_error("server", "%s", reason);
	if (s->options.events.failed)
		s->options.events.failed(s->options.ctx, reason);
}

static void *load(void *ctx)
{
	struct server *s = ctx;
	int rc = s->options.backend->span_open(&s->loaded_span, s->options.device,
					       &s->options.span, &s->load_error);

	atomic_store(&s->loaded, rc < 0 ? rc : 1);
	node_wake(s->options.node);
	return NULL;
}

static void server_load(struct server *s, uint32_t first, uint32_t end)
{
	s->options.span.first = s->member.first = first;
	s->options.span.end = s->member.end = end;
	log_info("server", "loading blocks [%u,%u)", first, end);
	if (!s->options.hops.threaded) {
		load(s);
		return;
	}
	if (pthread_create(&s->loader, NULL, load, s) != 0) {
		server_fail(s, "no thread to load the weights in");
		return;
	}
	s->loading = true;
}

static void canary_done(void *ctx, int status)
{
	struct server *s = ctx;

	if (s->state != SERVER_JOINING)
		return;
	if (status < 0) {
		server_fail(s, "the first step through these blocks failed");
		return;
	}
	s->state = SERVER_SERVING;
	s->member.state = MEMBER_SERVING;
	server_announce(s);
	log_info("server", "serving blocks [%u,%u) as %s, %u KV pages of %u tokens",
		 s->member.first, s->member.end, s->member.kind,
		 s->options.backend->span_info(s->span)->pages,
		 s->options.backend->span_info(s->span)->page_tokens);
	if (s->options.events.serving)
		s->options.events.serving(s->options.ctx,
					  s->options.backend->span_info(s->span));
}

static void server_loaded(struct server *s, int outcome)
{
	struct hops_options hops = s->options.hops;
	struct error e = { 0 };

	atomic_store(&s->loaded, 0);
	if (s->loading)
		pthread_join(s->loader, NULL);
	s->loading = false;
	if (outcome < 0) {
		server_fail(s, s->load_error.text);
		return;
	}
	s->span = s->loaded_span;
	hops.node = s->options.node;
	hops.backend = s->options.backend;
	hops.span = s->span;
	hops.fingerprint = s->member.fingerprint;
	if (hops_open(&s->hops, &hops, &e) < 0) {
		server_fail(s, e.text);
		return;
	}
	if (hops_canary(s->hops, canary_done, s) < 0)
		server_fail(s, "no room for a single step: --kv-bytes is too small");
}

static void joined(void *ctx, uint32_t first, uint32_t end)
{
	struct server *s = ctx;

	if (s->span || s->loading)
		return;                     /* joined again: the span stays */
	server_load(s, first, end);
}

static void refused(void *ctx, const char *reason)
{
	server_fail(ctx, reason);
}

static void left(void *ctx)
{
	struct server *s = ctx;

	s->state = SERVER_OFFLINE;
	if (s->options.events.offline)
		s->options.events.offline(s->options.ctx);
}

static void drain_poll(struct server *s, uint64_t now_ns)
{
	struct member_load load = { 0 };

	if (s->hops)
		hops_load(s->hops, &load);
	if (s->drain_deadline_ns == 0 || (load.sessions && now_ns < s->drain_deadline_ns))
		return;
	if (load.sessions)
		log_warn("server", "leaving with %u sessions: nobody took them in time",
			 load.sessions);
	s->drain_deadline_ns = 0;
	if (s->directory)
		directory_client_leave(s->directory, NS_PER_S, left, s);
	else
		left(s);
}

static void left_broken(void *ctx)
{
	struct server *s = ctx;

	if (s->options.events.failed)
		s->options.events.failed(s->options.ctx, "the device is lost: see the log; start "
				 "the server again once it answers");
}

/* Nothing will run here again.  Who stays would be given sessions only to fail them. */
static void server_break(struct server *s)
{
	s->state = SERVER_FAILED;
	log_error("server", "the device is lost: leaving");
	hops_drain(s->hops);
	if (s->directory)
		directory_client_leave(s->directory, NS_PER_S, left_broken, s);
	else
		left_broken(s);
}

static int server_poll(void *ctx, uint64_t now_ns)
{
	struct server *s = ctx;
	int outcome = atomic_load(&s->loaded);

	if (outcome != 0)
		server_loaded(s, outcome);
	if (s->state == SERVER_DRAINING)
		drain_poll(s, now_ns);
	if (is_broken(s))
		server_break(s);
	if (now_ns >= s->next_report_ns && !is_over(s)) {
		server_announce(s);
		s->next_report_ns = now_ns + LOAD_REPORT_NS;
	}
	return outcome != 0;
}

static uint64_t server_deadline(void *ctx)
{
	const struct server *s = ctx;

	if (is_over(s))
		return UINT64_MAX;          /* nothing is reported any more */
	if (is_broken(s))
		return 0;
	if (s->state == SERVER_DRAINING && s->drain_deadline_ns)
		return MIN(s->next_report_ns, s->drain_deadline_ns);
	return s->next_report_ns;
}

static int server_join(struct server *s, struct error *e)
{
	const struct directory_client_options o = {
		.node = s->options.node, .rpc = s->options.rpc,
		.directory = *s->options.directory, .ttl_ns = s->options.lease_ttl_ns,
		.joined = joined, .refused = refused, .ctx = s,
	};
	int rc = directory_client_open(&s->directory, &o, e);

	if (rc == 0)
		directory_client_join(s->directory, &s->member, s->options.capacity);
	return rc;
}

int server_open(struct server **out, const struct server_options *o, struct error *e)
{
	struct server *s = mem_calloc(1, sizeof(*s));
	const struct poller poller = { "server", s, server_poll, server_deadline };
	const struct model_config *config = model_config(o->span.model);
	int rc;

	if (!s)
		return error_errno(e, -ENOMEM, "server");
	s->options = *o;
	s->member = o->member;
	s->member.state = MEMBER_JOINING;
	s->member.fingerprint = model_fingerprint(o->span.model);
	s->member.blocks = config->blocks;
	s->member.first = o->span.first;
	s->member.end = o->span.end;
	snprintf(s->member.model, sizeof(s->member.model), "%s", config->name);
	snprintf(s->member.version, sizeof(s->member.version), "%s", PETALS_VERSION);
	/* Known before the weights are: the directory counts replicas of a kind. */
	rc = o->backend->kind(o->device, &o->span, s->member.kind, e);
	if (rc == 0 && o->directory)
		rc = server_join(s, e);
	if (rc < 0) {
		mem_free(s);
		return rc;
	}
	core_add(node_core(o->node), &poller);
	if (o->span.first < o->span.end)
		server_load(s, o->span.first, o->span.end);
	*out = s;
	return 0;
}

void server_close(struct server *s)
{
	if (!s)
		return;
	if (s->loading)
		pthread_join(s->loader, NULL);
	if (atomic_load(&s->loaded) > 0)
		s->span = s->loaded_span;
	hops_close(s->hops);
	directory_client_close(s->directory);
	if (s->span)
		s->options.backend->span_close(s->span);
	mem_free(s);
}

enum server_state server_state(const struct server *s)
{
	return s->state;
}

const struct span_info *server_span(const struct server *s)
{
	return s->span ? s->options.backend->span_info(s->span) : NULL;
}

struct hops *server_hops(struct server *s)
{
	return s->hops;
}

struct directory_client *server_directory(struct server *s)
{
	return s->directory;
}

void server_drain(struct server *s, uint64_t within_ns)
{
	if (s->state == SERVER_DRAINING || is_over(s))
		return;
	s->state = SERVER_DRAINING;
	s->member.state = MEMBER_DRAINING;
	s->drain_deadline_ns = node_now(s->options.node) + within_ns;
	if (s->hops)
		hops_drain(s->hops);
	server_announce(s);
	node_wake(s->options.node);
}
