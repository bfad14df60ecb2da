/* rpc.c - numbers the calls, matches the replies, ends what waits too long, and
 * hands requests and events to those who serve them.
 *
 * Owns pending calls and unanswered requests.  Leaves queueing to the node.
 *
 * Life of a call:
 *   from      to     by
 *   -         SENT   rpc_call()
 *   SENT      -      its REPLY, the deadline, the peer's loss, rpc_close(): done()
 *   SENT      -      rpc_cancel(): no done()
 * A reply to a call that is no more is ignored.
 */
#include "control/rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/json.h"
#include "control/permission.h"
#include "dataplane/base/log.h"
#include "dataplane/base/map.h"
#include "dataplane/base/memory.h"

enum {
	TABLES_MAX = 8, EVENTS_MAX = 8,
	NAME_BYTES = 64, MESSAGE_BYTES = 512,
};

enum { CALLS, REQUESTS, PENDING, UNANSWERED, IGNORED, FORBIDDEN };
static const struct counter_row rows[] = {
	[CALLS] = { COUNTER, "petals_rpc_calls_total",
		    "Calls made to other programs, by how they ended.", "outcome" },
	[REQUESTS] = { COUNTER, "petals_rpc_requests_total",
		       "Calls received from other programs.", "method" },
	[PENDING] = { GAUGE, "petals_rpc_pending_calls", "Calls that wait for a reply." },
	[UNANSWERED] = { GAUGE, "petals_rpc_unanswered_requests",
			 "Calls received and not yet answered." },
	[IGNORED] = { COUNTER, "petals_rpc_ignored_total",
		      "Replies nobody waits for and events nobody handles.", "kind" },
	[FORBIDDEN] = { COUNTER, "petals_rpc_forbidden_total",
			"Calls whose maker's certificate does not allow them.", "method" },
};

/* How an error's name crosses the wire; what is not here crosses as EIO. */
static const struct { int code; const char *name; } code_names[] = {
	{ -EINVAL, "EINVAL" },       { -ENOENT, "ENOENT" },       { -EBUSY, "EBUSY" },
	{ -EIO, "EIO" },             { -ENOMEM, "ENOMEM" },       { -ENOSPC, "ENOSPC" },
	{ -ENOTSUP, "ENOTSUP" },     { -ENOSYS, "ENOSYS" },       { -EPERM, "EPERM" },
	{ -ETIMEDOUT, "ETIMEDOUT" }, { -EMSGSIZE, "EMSGSIZE" },   { -EAGAIN, "EAGAIN" },
	{ -EEXIST, "EEXIST" },       { -ECANCELED, "ECANCELED" }, { -EPROTO, "EPROTO" },
};

struct call {
	uint64_t number;
	uint32_t peer;
	uint64_t deadline_ns;
	rpc_done *done;
	void *ctx;
};

struct rpc_request {
	struct rpc *rpc;
	struct rpc_request *next, **link;
	uint32_t peer;
	uint64_t number;
};

struct rpc {
	struct node *node;
	struct counters *counters;
	struct map *calls;                      /* struct call by number */
	uint64_t last_number;
	uint64_t next_deadline_ns;              /* no call ends before */
	struct rpc_request *requests;           /* unanswered */
	uint32_t request_count;
	struct {
		const struct rpc_method *methods;
		uint32_t count;
		void *ctx;
	} tables[TABLES_MAX];
	uint32_t table_count;
	struct {
		const char *event;
		void (*handler)(void *ctx, uint32_t peer, const json_t *data);
		void *ctx;
	} events[EVENTS_MAX];
	uint32_t event_count;
};

static const char *code_name(int code)
{
	size_t i;

	for (i = 0; i < ARRAY_LENGTH(code_names); i++)
		if (code_names[i].code == code)
			return code_names[i].name;
	return "EIO";
}

static int code_of(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LENGTH(code_names); i++)
		if (!strcmp(code_names[i].name, name))
			return code_names[i].code;
	return -EIO;
}

static void count(struct rpc *r, uint32_t row, const char *label)
{
	counters_add(r->counters, row, counters_series(r->counters, row, label), 1);
}

/* Consumes body. */
static int send_body(struct rpc *r, uint32_t peer, enum wire_type type, uint64_t number,
		     uint64_t timeout_ns, json_t *body)
{
	struct buffer text = { .bound = RPC_PAYLOAD_BYTES_MAX };
	struct frame f = { .type = type, .session = number };
	int rc = body ? json_write(body, &text) : -ENOMEM;

	json_decref(body);
	if (rc == 0) {
		f.payload_bytes = (uint32_t)text.length;
		f.deadline_us = (uint32_t)MIN(timeout_ns / NS_PER_US, UINT32_MAX);
		rc = node_send(r->node, peer, &f, text.data);
	}
	buffer_close(&text);
	return rc;
}

static void end_call(struct rpc *r, struct call *c, int code, const char *message,
		     const json_t *result)
{
	map_remove(r->calls, c->number);
	counters_set(r->counters, PENDING, 0, map_length(r->calls));
	count(r, CALLS, code == 0 ? "ok" : code == -ETIMEDOUT ? "timeout" :
			code == -ECONNRESET ? "lost" : code == -ECANCELED ? "cancelled" : "error");
	node_expect(r->node, c->peer, -1);
	c->done(c->ctx, code, message, result);
	mem_free(c);
}

/* One call that ended by time (peer 0) or with its peer, or NULL. */
static struct call *ended_call(struct rpc *r, uint32_t peer, uint64_t now_ns)
{
	struct call *c, *found = NULL;
	uint64_t next_ns = UINT64_MAX;
	uint32_t cursor = 0;

	while ((c = map_next(r->calls, &cursor))) {
		bool ended = peer ? c->peer == peer : now_ns >= c->deadline_ns;

		/* The oldest first, so that a run can be repeated. */
		if (ended && (!found || c->number < found->number))
			found = c;
		next_ns = MIN(next_ns, c->deadline_ns);
	}
	r->next_deadline_ns = next_ns;
	return found;
}

static int poll_deadlines(void *ctx, uint64_t now_ns)
{
	struct rpc *r = ctx;
	struct call *c;
	int work = 0;

	if (now_ns < r->next_deadline_ns)
		return 0;
	while ((c = ended_call(r, 0, now_ns))) {
		end_call(r, c, -ETIMEDOUT, "no answer in time", NULL);
		work++;
	}
	return work;
}

static uint64_t poll_deadline(void *ctx)
{
	return ((struct rpc *)ctx)->next_deadline_ns;
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct rpc *r = ctx;
	struct call *c;

	while ((c = ended_call(r, peer, 0)))
		end_call(r, c, -ECONNRESET, reason ? reason : error_describe(code), NULL);
}

static void drop_request(struct rpc_request *q)
{
	struct rpc *r = q->rpc;

	*q->link = q->next;
	if (q->next)
		q->next->link = q->link;
	r->request_count--;
	counters_set(r->counters, UNANSWERED, 0, r->request_count);
	mem_free(q);
}

uint32_t rpc_request_peer(const struct rpc_request *q)
{
	return q->peer;
}

const struct principal *rpc_request_principal(const struct rpc_request *q)
{
	return node_principal(q->rpc->node, q->peer);
}

static int send_error(struct rpc *r, uint32_t peer, uint64_t number, int code,
		      const char *message)
{
	json_t *text = json_string(message);

	/* A path in a sentence need not be UTF-8, or was cut within a character. */
	if (!text)
		text = json_string("the reason cannot be written as JSON; the log has it");
	return send_body(r, peer, WIRE_REPLY, number, 0,
			 json_pack("{s:{s:s, s:o}}", "error", "code", code_name(code),
				   "message", text));
}

void rpc_reply(struct rpc_request *q, json_t *result)
{
	struct rpc *r = q->rpc;
	json_t *body = result ? json_pack("{s:o}", "result", result) : NULL;
	int rc = send_body(r, q->peer, WIRE_REPLY, q->number, 0, body);

	/* A caller that is gone needs no answer; one that is there gets a shorter one. */
	if (rc == -EMSGSIZE)
		rc = send_error(r, q->peer, q->number, rc,
				"the answer is too large for one message");
	else if (rc == -ENOMEM)
		rc = send_error(r, q->peer, q->number, rc, "out of memory for the answer");
	if (rc < 0 && rc != -ENOTCONN)
		log_warn("rpc", "an answer could not be sent: %s", error_describe(rc));
	drop_request(q);
}

void rpc_fail(struct rpc_request *q, int code, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	va_list args;
	int rc;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	rc = send_error(q->rpc, q->peer, q->number, code, message);
	if (rc < 0 && rc != -ENOTCONN)
		log_warn("rpc", "a refusal could not be sent (%s): %s", error_describe(rc),
			 message);
	drop_request(q);
}

/* NULL after the peer was refused. */
static json_t *parse(struct rpc *r, const struct message *m)
{
	const char *type = wire_types[m->frame.type].name;
	json_error_t fault;
	json_t *body;

	if (m->frame.payload_bytes > RPC_PAYLOAD_BYTES_MAX) {
		node_refuse(r->node, m->peer, "bad_json", "its %s has %u bytes, the most is %d",
			    type, m->frame.payload_bytes, RPC_PAYLOAD_BYTES_MAX);
		return NULL;
	}
	body = json_loadb((const char *)m->payload, m->frame.payload_bytes,
			  JSON_REJECT_DUPLICATES, &fault);
	if (json_is_object(body))
		return body;
	node_refuse(r->node, m->peer, "bad_json", "its %s is not a JSON object: %s", type,
		    body ? "it is another value" : fault.text);
	json_decref(body);
	return NULL;
}

static const struct rpc_method *find_method(struct rpc *r, const char *name, void **ctx)
{
	uint32_t t, i;

	for (t = 0; t < r->table_count; t++) {
		for (i = 0; i < r->tables[t].count; i++) {
			if (strcmp(r->tables[t].methods[i].name, name))
				continue;
			*ctx = r->tables[t].ctx;
			return &r->tables[t].methods[i];
		}
	}
	return NULL;
}

static struct rpc_request *new_request(struct rpc *r, const struct message *m)
{
	struct rpc_request *q = NULL;

	if (r->request_count < RPC_REQUESTS_MAX)
		q = mem_calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->rpc = r;
	q->peer = m->peer;
	q->number = m->frame.session;
	q->next = r->requests;
	q->link = &r->requests;
	if (q->next)
		q->next->link = &q->next;
	r->requests = q;
	counters_set(r->counters, UNANSWERED, 0, ++r->request_count);
	return q;
}

static void serve_call(struct rpc *r, const struct message *m, const json_t *body)
{
	const json_t *params = json_object_get(body, "params");
	const char *name = json_string_value(json_object_get(body, "method"));
	const struct rpc_method *method;
	struct rpc_request *q;
	struct error e;
	void *ctx = NULL;

	if (!name || strlen(name) >= NAME_BYTES || (params && !json_is_object(params))) {
		node_refuse(r->node, m->peer, "bad_call",
			    "its CALL has no method name, or params that are not an object");
		return;
	}
	q = new_request(r, m);
	if (!q) {
		send_error(r, m->peer, m->frame.session, -EBUSY,
			   "too many requests are being served");
		return;
	}
	method = find_method(r, name, &ctx);
	count(r, REQUESTS, method ? method->name : "unknown");
	if (!method) {
		rpc_fail(q, -ENOSYS, "there is no method \"%s\" here", name);
	} else if (permission_check(rpc_request_principal(q), permission_of_call(name), &e) < 0) {
		count(r, FORBIDDEN, method->name);
		log_warn("rpc", "\"%s\" is refused: %s", name, e.text);
		rpc_fail(q, -EPERM, "%s", e.text);
	} else {
		method->serve(ctx, q, params);
	}
}

static void on_call(void *ctx, struct message *m)
{
	struct rpc *r = ctx;
	json_t *body = parse(r, m);

	if (body)
		serve_call(r, m, body);
	json_decref(body);
	node_put(r->node, m);
}

static void take_reply(struct rpc *r, const struct message *m, const json_t *body)
{
	struct call *c = map_get(r->calls, m->frame.session);
	const json_t *result = json_object_get(body, "result");
	const json_t *error = json_object_get(body, "error");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *message = json_string_value(json_object_get(error, "message"));

	if (!c || c->peer != m->peer) {
		count(r, IGNORED, "reply");
		return;
	}
	if (result && !error)
		end_call(r, c, 0, "", result);
	else if (!result && code && message)
		end_call(r, c, code_of(code), message, NULL);
	else
		end_call(r, c, -EPROTO, "the answer has neither a result nor an error", NULL);
}

static void on_reply(void *ctx, struct message *m)
{
	struct rpc *r = ctx;
	json_t *body = parse(r, m);

	if (body)
		take_reply(r, m, body);
	json_decref(body);
	node_put(r->node, m);
}

static void take_event(struct rpc *r, const struct message *m, const json_t *body)
{
	const char *name = json_string_value(json_object_get(body, "event"));
	uint32_t i;

	for (i = 0; name && i < r->event_count; i++) {
		if (strcmp(r->events[i].event, name))
			continue;
		r->events[i].handler(r->events[i].ctx, m->peer, json_object_get(body, "data"));
		return;
	}
	count(r, IGNORED, "event");
}

static void on_event(void *ctx, struct message *m)
{
	struct rpc *r = ctx;
	json_t *body = parse(r, m);

	if (body)
		take_event(r, m, body);
	json_decref(body);
	node_put(r->node, m);
}

int rpc_open(struct rpc **out, struct node *n)
{
	struct rpc *r = mem_calloc(1, sizeof(*r));
	int rc;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->node = n;
	r->next_deadline_ns = UINT64_MAX;
	rc = counters_open(&r->counters, rows, ARRAY_LENGTH(rows));
	if (rc < 0)
		goto err_rpc;
	rc = map_open(&r->calls, RPC_CALLS_MAX);
	if (rc < 0)
		goto err_counters;
	rc = node_listener_add(n, &(struct node_listener){ .ctx = r, .lost = on_lost });
	if (rc < 0)
		goto err_map;
	node_handle(n, WIRE_CALL, on_call, r);
	node_handle(n, WIRE_REPLY, on_reply, r);
	node_handle(n, WIRE_EVENT, on_event, r);
	core_add(node_core(n), &(struct poller){ "rpc", r, poll_deadlines, poll_deadline });
	*out = r;
	return 0;

err_map:
	map_close(r->calls);
err_counters:
	counters_close(r->counters);
err_rpc:
	mem_free(r);
	return rc;
}

void rpc_close(struct rpc *r)
{
	struct call *c;
	uint32_t cursor;

	if (!r)
		return;
	while (cursor = 0, (c = map_next(r->calls, &cursor)))
		end_call(r, c, -ECANCELED, "the program is closing", NULL);
	while (r->requests)
		drop_request(r->requests);
	node_handle(r->node, WIRE_CALL, NULL, NULL);
	node_handle(r->node, WIRE_REPLY, NULL, NULL);
	node_handle(r->node, WIRE_EVENT, NULL, NULL);
	node_listener_remove(r->node, r);
	map_close(r->calls);
	counters_close(r->counters);
	mem_free(r);
}

struct counters *rpc_counters(struct rpc *r)
{
	return r->counters;
}

int64_t rpc_call(struct rpc *r, uint32_t peer, const char *method, json_t *params,
		 uint64_t timeout_ns, rpc_done *done, void *ctx)
{
	json_t *body = params ? json_pack("{s:s, s:o}", "method", method, "params", params) : NULL;
	struct call *c = body ? mem_calloc(1, sizeof(*c)) : NULL;
	int rc = -ENOMEM;

	if (!c)
		goto err_body;
	*c = (struct call){ .number = ++r->last_number, .peer = peer, .done = done, .ctx = ctx,
			    .deadline_ns = node_now(r->node) + timeout_ns };
	rc = map_put(r->calls, c->number, c);
	if (rc < 0)
		goto err_call;
	rc = send_body(r, peer, WIRE_CALL, c->number, timeout_ns, body);
	if (rc < 0) {
		map_remove(r->calls, c->number);
		mem_free(c);
		return rc;
	}
	node_expect(r->node, peer, 1);
	r->next_deadline_ns = MIN(r->next_deadline_ns, c->deadline_ns);
	counters_set(r->counters, PENDING, 0, map_length(r->calls));
	return (int64_t)c->number;

err_call:
	mem_free(c);
err_body:
	json_decref(body);
	return rc;
}

void rpc_cancel(struct rpc *r, int64_t number)
{
	struct call *c = number > 0 ? map_remove(r->calls, (uint64_t)number) : NULL;

	if (!c)
		return;
	counters_set(r->counters, PENDING, 0, map_length(r->calls));
	count(r, CALLS, "cancelled");
	node_expect(r->node, c->peer, -1);
	mem_free(c);
}

void rpc_serve(struct rpc *r, const struct rpc_method *methods, uint32_t method_count,
	       void *ctx)
{
	assert(r->table_count < TABLES_MAX);
	r->tables[r->table_count].methods = methods;
	r->tables[r->table_count].count = method_count;
	r->tables[r->table_count++].ctx = ctx;
}

int rpc_event(struct rpc *r, uint32_t peer, const char *event, json_t *data)
{
	json_t *body = data ? json_pack("{s:s, s:o}", "event", event, "data", data) : NULL;

	return send_body(r, peer, WIRE_EVENT, 0, 0, body);
}

void rpc_on_event(struct rpc *r, const char *event,
		  void (*handler)(void *ctx, uint32_t peer, const json_t *data), void *ctx)
{
	assert(r->event_count < EVENTS_MAX);
	r->events[r->event_count].event = event;
	r->events[r->event_count].handler = handler;
	r->events[r->event_count++].ctx = ctx;
}
