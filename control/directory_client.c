/* directory_client.c - dials, watches, and keeps a lease alive.
 *
 * Owns the copy of the view and what is announced of this program's member.
 * Everything happens from one poller with four times: to dial, to watch, to talk of
 * the lease, to give up leaving.
 *
 * Life of the lease:
 *   from      to        by                                  then
 *   NONE      JOINING   directory_client_join()             join, again with backoff
 *   JOINING   HELD      granted: joined()                   renew each third
 *   JOINING   NONE      refused for good: refused()
 *   HELD      JOINING   the directory has forgotten it, or the span has changed
 *   any       LEAVING   directory_client_leave()            leave, again with backoff
 *   LEAVING   NONE      the directory knows, or the time is up: done()
 *
 * Life of the link:
 *   from      to        by
 *   AWAY      DIALING   backoff has passed
 *   DIALING   THERE     the node says up
 *   any       AWAY      the node says lost
 */
#include "control/directory_client.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "control/json.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"

#define BACKOFF_LEAST_NS (50 * NS_PER_MS)
#define BACKOFF_MOST_NS  (2 * NS_PER_S)
#define CALL_TIMEOUT_NS  (2 * NS_PER_S)
#define WATCH_AGAIN_NS   (5 * NS_PER_S)
#define NEVER            UINT64_MAX

enum { CONNECTED, LOST, EPOCH, VIEWS, JOINS, RENEWALS, BAD_VIEWS };
static const struct counter_row rows[] = {
	[CONNECTED] = { GAUGE, "petals_directory_client_connected",
			"1 while the directory is reached." },
	[LOST] = { COUNTER, "petals_directory_client_lost_total",
		   "Times the directory was lost, or could not be dialed." },
	[EPOCH] = { GAUGE, "petals_directory_client_epoch", "Epoch of the view in use." },
	[VIEWS] = { COUNTER, "petals_directory_client_views_total", "Views received." },
	[JOINS] = { COUNTER, "petals_directory_client_joins_total", "Joins, by outcome.",
		    "outcome" },
	[RENEWALS] = { COUNTER, "petals_directory_client_renewals_total",
		       "Renewals, by outcome.", "outcome" },
	[BAD_VIEWS] = { COUNTER, "petals_directory_client_bad_views_total",
			"Views that could not be read." },
};

enum lease_state { LEASE_NONE, LEASE_JOINING, LEASE_HELD, LEASE_LEAVING };

struct directory_client {
	/* Configuration. */
	struct directory_client_options o;
	struct counters *counters;
	struct view *view;

	/* The link. */
	struct random random;
	uint32_t peer;                  /* 0: away */
	bool there;
	uint32_t failures;              /* in a row, of dialing */
	uint64_t dial_ns;               /* when to dial */

	/* The watch. */
	int64_t watch_call;             /* 0: none */
	uint64_t watch_ns;              /* when to ask (again) */
	uint64_t seen_epoch;            /* of the last view that this link brought; 0: none yet */

	/* The lease. */
	enum lease_state lease;
	struct member member;           /* as announced */
	enum member_state told;         /* as the directory knows it */
	bool wants_span;                /* asks the directory for one */
	uint32_t capacity;
	int64_t lease_call;             /* join, renew or leave; 0: none */
	uint32_t lease_failures;        /* in a row */
	uint64_t lease_ns;              /* when to talk of it next */
	uint64_t leave_by_ns;
	void (*left)(void *ctx);
	void *left_ctx;
};

static uint64_t backoff_ns(struct directory_client *c, uint32_t failures)
{
	uint64_t most = BACKOFF_LEAST_NS << MIN(failures, 16u);

	/* Half of it is chance, so that many clients do not come back as one. */
	most = MIN(most, BACKOFF_MOST_NS);
	return most / 2 + random_below(&c->random, most / 2 + 1);
}

static void count(struct directory_client *c, uint32_t row, const char *outcome)
{
	counters_add(c->counters, row, counters_series(c->counters, row, outcome), 1);
}

/* ---- the view ---- */

static void take_view(struct directory_client *c, const json_t *j)
{
	struct error e;

	/* Asked again and unchanged: only the epoch is said. */
	if (json_is_object(j) && !json_object_get(j, "members"))
		return;
	/* The answer to a call may come after events that were sent after it. */
	if ((uint64_t)json_integer_value(json_object_get(j, "epoch")) < c->seen_epoch)
		return;
	if (view_from_json(c->view, j, &e) < 0) {
		counters_add(c->counters, BAD_VIEWS, 0, 1);
		log_warn("directory", "a view of the directory %s is ignored: %s",
			 c->o.directory.text, e.text);
		return;
	}
	c->seen_epoch = c->view->epoch;
	counters_add(c->counters, VIEWS, 0, 1);
	counters_set(c->counters, EPOCH, 0, (double)c->view->epoch);
	if (c->o.changed)
		c->o.changed(c->o.ctx, c->view);
}

static void on_view(void *ctx, uint32_t peer, const json_t *data)
{
	struct directory_client *c = ctx;

	if (peer != c->peer || !c->o.watch)
		return;
	c->watch_ns = MAX(c->watch_ns, node_now(c->o.node) + WATCH_AGAIN_NS);
	take_view(c, data);
}

static void on_watched(void *ctx, int code, const char *message, const json_t *result)
{
	struct directory_client *c = ctx;
	uint64_t now_ns = node_now(c->o.node);

	c->watch_call = 0;
	c->watch_ns = now_ns + WATCH_AGAIN_NS;
	if (code == 0) {
		take_view(c, result);
		return;
	}
	c->watch_ns = now_ns + backoff_ns(c, BACKOFF_MOST_NS / BACKOFF_LEAST_NS);
	if (code != -ECONNRESET && code != -ECANCELED)
		log_warn("directory", "watching %s: %s", c->o.directory.text, message);
}

static void start_watch(struct directory_client *c)
{
	int64_t call = rpc_call(c->o.rpc, c->peer, "watch",
				json_pack("{s:I}", "epoch", (json_int_t)c->view->epoch),
				CALL_TIMEOUT_NS, on_watched, c);

	if (call > 0)
		c->watch_call = call;
	else
		c->watch_ns = node_now(c->o.node) + backoff_ns(c, 2);
}

/* ---- the lease ---- */

static void retry_lease(struct directory_client *c)
{
	uint64_t wait_ns = backoff_ns(c, c->lease_failures++);

	/* A held lease must not end while we wait. */
	if (c->lease == LEASE_HELD)
		wait_ns = MIN(wait_ns, c->o.ttl_ns / 6);
	c->lease_ns = node_now(c->o.node) + wait_ns;
}

/* What a repeated join would not change. */
static bool for_good(int code)
{
	return code == -EINVAL || code == -ENOTSUP || code == -ENOSYS || code == -EPERM ||
	       code == -EPROTO;
}

/* True when the granted span could be read. */
static bool read_grant(struct directory_client *c, const json_t *result, struct error *e)
{
	struct json_reader r;
	uint32_t first, end;

	json_read_open(&r, result, "result", e);
	end = (uint32_t)json_read_u64(&r, "end", 1, c->member.blocks);
	first = (uint32_t)json_read_u64(&r, "first", 0, end ? end - 1 : 0);
	if (json_read_result(&r) < 0)
		return false;
	c->member.first = first;
	c->member.end = end;
	return true;
}

static void refuse(struct directory_client *c, const char *reason)
{
	c->lease = LEASE_NONE;
	c->lease_ns = NEVER;
	count(c, JOINS, "refused");
	log_error("directory", "%s refuses to let %s join: %s", c->o.directory.text,
		  c->member.name, reason);
	if (c->o.refused)
		c->o.refused(c->o.ctx, reason);
}

static void on_joined(void *ctx, int code, const char *message, const json_t *result)
{
	struct directory_client *c = ctx;
	struct error e;

	c->lease_call = 0;
	if (code == 0 && !read_grant(c, result, &e)) {
		code = -EPROTO;
		message = e.text;
	}
	if (code < 0 && for_good(code)) {
		refuse(c, message);
		return;
	}
	if (code < 0) {
		count(c, JOINS, "failed");
		log_warn("directory", "joining %s: %s; trying again", c->o.directory.text,
			 message);
		retry_lease(c);
		return;
	}
	count(c, JOINS, "ok");
	c->lease = LEASE_HELD;
	c->lease_failures = 0;
	c->wants_span = false;
	c->lease_ns = c->told == c->member.state ? node_now(c->o.node) + c->o.ttl_ns / 3 : 0;
	if (c->o.joined)
		c->o.joined(c->o.ctx, c->member.first, c->member.end);
}

static int64_t call_join(struct directory_client *c)
{
	struct member m = c->member;

	if (c->wants_span)
		m.first = m.end = 0;
	c->told = m.state;
	return rpc_call(c->o.rpc, c->peer, "join",
			json_pack("{s:o, s:I, s:b, s:I}", "member", member_to_json(&m),
				  "ttl_ms", (json_int_t)(c->o.ttl_ns / NS_PER_MS),
				  "want_blocks", (int)c->wants_span,
				  "capacity", (json_int_t)c->capacity),
			CALL_TIMEOUT_NS, on_joined, c);
}

static void on_renewed(void *ctx, int code, const char *message, const json_t *result)
{
	struct directory_client *c = ctx;

	c->lease_call = 0;
	if (code == 0) {
		count(c, RENEWALS, "ok");
		c->lease_failures = 0;
		c->lease_ns = c->told == c->member.state ?
			      node_now(c->o.node) + c->o.ttl_ns / 3 : 0;
	} else if (code == -ENOENT) {
		count(c, RENEWALS, "forgotten");
		log_warn("directory", "%s: %s", c->o.directory.text, message);
		c->lease = LEASE_JOINING;
		c->lease_ns = 0;
	} else {
		count(c, RENEWALS, "failed");
		log_warn("directory", "renewing the lease at %s: %s; trying again",
			 c->o.directory.text, message);
		retry_lease(c);
	}
}

static int64_t call_renew(struct directory_client *c)
{
	c->told = c->member.state;
	return rpc_call(c->o.rpc, c->peer, "renew",
			json_pack("{s:o, s:s, s:o, s:I}", "id", json_id(c->member.id),
				  "state", member_state_name(c->told),
				  "load", member_load_to_json(&c->member.load),
				  "ttl_ms", (json_int_t)(c->o.ttl_ns / NS_PER_MS)),
			CALL_TIMEOUT_NS, on_renewed, c);
}

static void finish_leaving(struct directory_client *c)
{
	void (*left)(void *ctx) = c->left;

	if (c->lease_call)
		rpc_cancel(c->o.rpc, c->lease_call);
	c->lease_call = 0;
	c->lease = LEASE_NONE;
	c->lease_ns = c->leave_by_ns = NEVER;
	c->left = NULL;
	if (left)
		left(c->left_ctx);
}

static void on_left(void *ctx, int code, const char *message, const json_t *result)
{
	struct directory_client *c = ctx;

	c->lease_call = 0;
	if (code == 0 || for_good(code))
		finish_leaving(c);
	else
		retry_lease(c);
}

static int64_t call_leave(struct directory_client *c)
{
	return rpc_call(c->o.rpc, c->peer, "leave",
			json_pack("{s:o}", "id", json_id(c->member.id)), CALL_TIMEOUT_NS,
			on_left, c);
}

static void talk_of_lease(struct directory_client *c)
{
	int64_t call;

	if (c->lease == LEASE_JOINING)
		call = call_join(c);
	else if (c->lease == LEASE_HELD)
		call = call_renew(c);
	else
		call = call_leave(c);
	if (call > 0)
		c->lease_call = call;
	else
		retry_lease(c);
}

/* ---- the link ---- */

static void dial_later(struct directory_client *c)
{
	counters_add(c->counters, LOST, 0, 1);
	c->dial_ns = node_now(c->o.node) + backoff_ns(c, c->failures++);
}

static void arrive(struct directory_client *c)
{
	if (c->failures)
		log_info("directory", "%s is back", c->o.directory.text);
	c->there = true;
	c->failures = 0;
	c->lease_failures = 0;
	/* A directory that has just started may know nothing: say everything again. */
	c->watch_ns = c->o.watch ? 0 : NEVER;
	c->seen_epoch = 0;
	if (c->lease != LEASE_NONE)
		c->lease_ns = 0;
	counters_set(c->counters, CONNECTED, 0, 1);
}

static void dial(struct directory_client *c)
{
	struct error e;
	int rc = node_link(c->o.node, &c->o.directory, &c->peer, &e);

	c->dial_ns = NEVER;
	if (rc < 0) {
		c->peer = 0;
		log_warn("directory", "%s cannot be dialed: %s", c->o.directory.text, e.text);
		dial_later(c);
		return;
	}
	if (node_is_up(c->o.node, c->peer))     /* someone else's link */
		arrive(c);
}

static void on_up(void *ctx, const struct peer_info *info)
{
	struct directory_client *c = ctx;

	if (c->peer && info->peer == c->peer)
		arrive(c);
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct directory_client *c = ctx;

	if (!c->peer || peer != c->peer)
		return;
	if (!c->failures)
		log_warn("directory", "%s is away (%s); the last view stays in use",
			 c->o.directory.text, reason);
	c->peer = 0;
	c->there = false;
	counters_set(c->counters, CONNECTED, 0, 0);
	dial_later(c);
}

/* ---- the poller ---- */

static int poll_client(void *ctx, uint64_t now_ns)
{
	struct directory_client *c = ctx;
	int work = 0;

	if (!c->peer && now_ns >= c->dial_ns) {
		dial(c);
		work++;
	}
	if (c->there && c->o.watch && !c->watch_call && now_ns >= c->watch_ns) {
		start_watch(c);
		work++;
	}
	if (c->there && c->lease != LEASE_NONE && !c->lease_call && now_ns >= c->lease_ns) {
		talk_of_lease(c);
		work++;
	}
	if (now_ns >= c->leave_by_ns) {
		finish_leaving(c);
		work++;
	}
	return work;
}

static uint64_t client_deadline(void *ctx)
{
	const struct directory_client *c = ctx;
	uint64_t at_ns = c->leave_by_ns;

	if (!c->peer)
		at_ns = MIN(at_ns, c->dial_ns);
	if (c->there && c->o.watch && !c->watch_call)
		at_ns = MIN(at_ns, c->watch_ns);
	if (c->there && c->lease != LEASE_NONE && !c->lease_call)
		at_ns = MIN(at_ns, c->lease_ns);
	return at_ns;
}

/* A simulated run is the same each time, also for those who chose no seed. */
static uint64_t first_seed(const struct directory_client_options *o)
{
	if (o->seed)
		return o->seed;
	return node_clock(o->node) == clock_real() ? random_entropy() : 1;
}

int directory_client_open(struct directory_client **out,
			  const struct directory_client_options *o, struct error *e)
{
	struct directory_client *c = mem_calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	*out = NULL;
	if (!c)
		goto err_none;
	assert(o->ttl_ns);
	c->o = *o;
	c->lease_ns = c->leave_by_ns = NEVER;
	random_seed(&c->random, first_seed(o));
	rc = counters_open(&c->counters, rows, ARRAY_LENGTH(rows));
	if (rc < 0)
		goto err_client;
	rc = view_open(&c->view);
	if (rc < 0)
		goto err_counters;
	rc = node_listener_add(o->node, &(struct node_listener){
		.ctx = c, .up = on_up, .lost = on_lost });
	if (rc < 0)
		goto err_view;
	rpc_on_event(o->rpc, "view", on_view, c);
	core_add(node_core(o->node),
		 &(struct poller){ "directory client", c, poll_client, client_deadline });
	*out = c;
	return 0;

err_view:
	view_close(c->view);
err_counters:
	counters_close(c->counters);
err_client:
	mem_free(c);
err_none:
	return error_errno(e, rc, "opening the directory's client");
}

void directory_client_close(struct directory_client *c)
{
	if (!c)
		return;
	if (c->watch_call)
		rpc_cancel(c->o.rpc, c->watch_call);
	if (c->lease_call)
		rpc_cancel(c->o.rpc, c->lease_call);
	node_listener_remove(c->o.node, c);
	if (c->peer)
		node_unlink(c->o.node, c->peer);
	view_close(c->view);
	counters_close(c->counters);
	mem_free(c);
}

const struct view *directory_client_view(const struct directory_client *c)
{
	return c->view;
}

bool directory_client_connected(const struct directory_client *c)
{
	return c->there;
}

struct counters *directory_client_counters(struct directory_client *c)
{
	return c->counters;
}

/* Talks of the lease as soon as the directory is there and no call is pending. */
static void lease_now(struct directory_client *c)
{
	c->lease_ns = 0;
	node_wake(c->o.node);
}

void directory_client_join(struct directory_client *c, const struct member *m,
			   uint32_t capacity)
{
	assert(c->lease == LEASE_NONE && m->id);
	c->member = *m;
	c->capacity = capacity;
	c->wants_span = m->first == m->end;
	c->lease = LEASE_JOINING;
	c->lease_failures = 0;
	lease_now(c);
}

void directory_client_update(struct directory_client *c, const struct member *m)
{
	/* What only a join can tell. */
	bool moved = m->first != c->member.first || m->end != c->member.end ||
		     strcmp(m->kind, c->member.kind) != 0;

	if (c->lease != LEASE_JOINING && c->lease != LEASE_HELD)
		return;
	assert(m->id == c->member.id);
	if (c->wants_span) {
		/* Not granted yet: there is no span to compare with. */
		struct member asked = *m;

		asked.first = c->member.first;
		asked.end = c->member.end;
		c->member = asked;
		return;
	}
	c->member = *m;
	if (moved) {
		/* An answer to an older join would bring the older span back. */
		if (c->lease_call)
			rpc_cancel(c->o.rpc, c->lease_call);
		c->lease_call = 0;
		c->lease = LEASE_JOINING;
		lease_now(c);
	} else if (c->lease == LEASE_HELD && m->state != c->told) {
		lease_now(c);
	}
}

void directory_client_leave(struct directory_client *c, uint64_t timeout_ns,
			    void (*done)(void *ctx), void *ctx)
{
	bool known = c->lease == LEASE_HELD || c->lease == LEASE_JOINING;
	uint64_t now_ns = node_now(c->o.node);

	if (c->lease_call)
		rpc_cancel(c->o.rpc, c->lease_call);
	c->lease_call = 0;
	c->left = done;
	c->left_ctx = ctx;
	c->lease = LEASE_LEAVING;
	c->lease_failures = 0;
	c->lease_ns = known ? now_ns : NEVER;
	c->leave_by_ns = known ? now_ns + MIN(timeout_ns, NEVER - now_ns) : now_ns;
	node_wake(c->o.node);
}
