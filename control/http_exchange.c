/* http_exchange.c - owns one request and its answer, on both sides: the HTTP thread's, and
 * that of whoever answers.
 *
 *   from       to         by
 *   -          READING    the request's head came
 *   READING    SERVING    its body is whole: the handler has it
 *   SERVING    WAITING    the handler returned without an answer: connection suspended
 *   WAITING    ANSWERING  http_reply(), http_stream_begin(): resumed
 *   ANSWERING  WAITING    a stream has nothing to send: suspended
 *   any        -          the answer is out, or the client gone; the handler has let go
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/http_private.h"
#include "control/https.h"
#include "control/json_print.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"

enum { STREAM_BLOCK_BYTES = 16 << 10 };

static void exchange_free(struct http_exchange *x)
{
	buffer_close(&x->body);
	buffer_close(&x->out);
	pthread_mutex_destroy(&x->lock);
	mem_free(x->path);
	mem_free(x->why);
	mem_free(x);
}

static bool path_fits(const struct http_route *r, const char *path)
{
	size_t length = strlen(r->path);

	if (length && r->path[length - 1] == '*')
		return strncmp(r->path, path, length - 1) == 0;
	return strcmp(r->path, path) == 0;
}

static const struct http_route *find_route(const struct http *h, const char *method,
					   const char *path, char *allowed, size_t bytes)
{
	const struct http_options *o = &h->options;

	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	allowed[0] = '\0';
	for (uint32_t i = 0; i < o->route_count; i++) {
		size_t used = strlen(allowed);

		if (!path_fits(&o->routes[i], path))
			continue;
		if (strcmp(o->routes[i].method, method) == 0)
			return &o->routes[i];
		snprintf(allowed + used, bytes - used, "%s%s", used ? ", " : "",
			 o->routes[i].method);
	}
	return NULL;
}

static void add_default_headers(struct http_exchange *x)
{
	char id[20];

	snprintf(id, sizeof(id), "%016" PRIx64, random_entropy());
	http_add_header(x, "X-Request-Id", id);
}

/* Answers by ourselves; nobody else holds x. */
static void refuse(struct http_exchange *x, int status)
{
	const struct http_options *o = &x->http->options;

	x->held = true;
	if (status == 413)
		http_fail(x, status, "invalid_request_error", NULL, "request_too_large",
			  "the body is larger than %zu bytes, the most that is taken",
			  o->body_bytes_max);
	else if (status == 403)
		http_fail(x, status, "permission_error", NULL, "forbidden", "%s",
			  x->why ? x->why : "out of memory");
	else if (status == 404)
		http_fail(x, status, "invalid_request_error", NULL, "unknown_url",
			  "there is nothing at %.200s", x->path);
	else if (status == 405)
		http_fail(x, status, "invalid_request_error", NULL, "method_not_allowed",
			  "%.200s takes another method", x->path);
	else
		http_fail(x, status, "server_error", NULL, "overloaded",
			  "too many large requests are being read; try again");
}

/* A body announced as much too large is not even read. */
static bool announces_too_much(struct http_exchange *x)
{
	const char *length = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND,
							 "Content-Length");

	return length && strtoull(length, NULL, 10) / 4 > x->http->options.body_bytes_max;
}

static void find_series(struct http_exchange *x, const char *method)
{
	struct counters *c = x->http->counters;
	char label[96] = "unknown";

	if (x->route)
		snprintf(label, sizeof(label), "%s %s", method, x->route->path);
	x->series = counters_series(c, HTTP_REQUESTS, label);
	x->seconds_series = counters_series(c, HTTP_SECONDS, label);
}

struct http_exchange *exchange_open(struct http *h, struct MHD_Connection *c, const char *method,
				    const char *path)
{
	struct http_exchange *x = mem_calloc(1, sizeof(*x));
	char allowed[64];
	struct error e;

	if (!x)
		return NULL;
	x->http = h;
	x->connection = c;
	x->started_ns = clock_ns(clock_real());
	x->body.bound = h->options.body_bytes_max;
	pthread_mutex_init(&x->lock, NULL);
	x->path = mem_strdup(path);
	if (!x->path) {
		exchange_free(x);
		return NULL;
	}
	x->route = find_route(h, method, path, allowed, sizeof(allowed));
	find_series(x, method);
	add_default_headers(x);
	if (!x->route)
		x->refused = allowed[0] ? 405 : 404;
	else if (h->https && https_admit(h->https, c, method, path, &e) < 0) {
		x->refused = 403;
		x->why = mem_strdup(e.text);
	}
	if (allowed[0])
		http_add_header(x, "Allow", allowed);
	x->older = h->newest;
	if (h->newest)
		h->newest->newer = x;
	h->newest = x;
	if (announces_too_much(x))
		refuse(x, 413);
	return x;
}

void exchange_body(struct http_exchange *x, const char *data, size_t bytes)
{
	size_t room = HTTP_BODIES_MAX * x->http->options.body_bytes_max;

	if (x->refused)
		return;
	x->counted_bytes += bytes;
	if (atomic_fetch_add(&x->http->body_bytes, bytes) + bytes > room)
		x->refused = 503;
	else if (x->body.length + bytes > x->http->options.body_bytes_max)
		x->refused = 413;
	else
		buffer_append(&x->body, data, bytes);
	if (buffer_failed(&x->body))
		x->refused = 503;
	if (x->refused)
		buffer_close(&x->body);
}

/* With x->lock. */
static void suspend(struct http_exchange *x)
{
	http_watch(x->http, x);
	x->suspended = true;
	MHD_suspend_connection(x->connection);
}

static ssize_t read_stream(void *ctx, uint64_t position, char *to, size_t room)
{
	struct http_exchange *x = ctx;
	ssize_t count = 0;

	pthread_mutex_lock(&x->lock);
	if (x->taken < x->out.length) {
		count = (ssize_t)MIN(room, x->out.length - x->taken);
		memcpy(to, x->out.data + x->taken, (size_t)count);
		x->taken += (size_t)count;
		if (x->taken == x->out.length) {
			buffer_clear(&x->out);
			x->taken = 0;
		}
	} else if (x->failed || (x->gone && x->held)) {
		count = MHD_CONTENT_READER_END_WITH_ERROR;
	} else if (x->ended) {
		count = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		suspend(x);
	}
	pthread_mutex_unlock(&x->lock);
	return count;
}

/* The answer begins; nothing changes it any more but a stream's bytes. */
static enum MHD_Result queue_answer(struct http_exchange *x)
{
	struct MHD_Response *response;
	enum MHD_Result rc;

	if (x->answer == ANSWER_STREAM)
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
							     read_stream, x, NULL);
	else if (x->failed)
		return MHD_NO;
	else
		response = MHD_create_response_from_buffer(x->out.length, x->out.data,
							   MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", x->content_type);
	for (uint32_t i = 0; i < x->header_count; i++)
		MHD_add_response_header(response, x->headers[i].name, x->headers[i].value);
	rc = MHD_queue_response(x->connection, (unsigned)x->status, response);
	MHD_destroy_response(response);
	if (x->answer == ANSWER_WHOLE)
		buffer_close(&x->out);
	return rc;
}

enum MHD_Result exchange_turn(struct http_exchange *x)
{
	enum http_answer answer;
	bool gone;

	if (!x->served && x->answer == ANSWER_NONE) {
		x->served = true;
		if (x->refused) {
			refuse(x, x->refused);
		} else {
			x->held = true;
			x->route->serve(x->http->options.ctx, x);
		}
	}
	pthread_mutex_lock(&x->lock);
	answer = x->answer;
	gone = x->gone;
	if (answer == ANSWER_NONE && !gone)
		suspend(x);
	pthread_mutex_unlock(&x->lock);
	if (gone)
		return MHD_NO;
	return answer == ANSWER_NONE ? MHD_YES : queue_answer(x);
}

/* With x->lock. */
static void resume(struct http_exchange *x)
{
	if (!x->suspended || !x->connection)
		return;
	x->suspended = false;
	MHD_resume_connection(x->connection);
}

void exchange_resume(struct http_exchange *x)
{
	pthread_mutex_lock(&x->lock);
	x->posted = false;
	if (x->gone && x->held && x->on_gone && !x->gone_told) {
		x->gone_told = true;
		x->on_gone(x->gone_ctx);
	}
	resume(x);
	pthread_mutex_unlock(&x->lock);
}

/* With x->lock. */
static void mark_gone(struct http_exchange *x)
{
	if (!x->held || x->gone)
		return;
	x->gone = true;
	if (x->on_gone && !x->gone_told) {
		x->gone_told = true;
		x->on_gone(x->gone_ctx);
	}
}

void exchange_hung_up(struct http_exchange *x)
{
	http_unwatch(x->http, x);
	pthread_mutex_lock(&x->lock);
	mark_gone(x);
	resume(x);
	pthread_mutex_unlock(&x->lock);
}

void exchange_let_go(struct http_exchange *x)
{
	bool held;

	atomic_fetch_sub(&x->http->body_bytes, x->counted_bytes);
	pthread_mutex_lock(&x->lock);
	mark_gone(x);
	x->connection = NULL;
	held = x->held;
	pthread_mutex_unlock(&x->lock);
	if (!held)
		exchange_free(x);
}

const char *http_path(const struct http_exchange *x)
{
	return x->path;
}

const char *http_header(const struct http_exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *http_query(const struct http_exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_body(const struct http_exchange *x, size_t *bytes)
{
	*bytes = x->body.length;
	return buffer_string(&x->body);
}

/* What cannot stand in a header becomes a question mark. */
static void copy_header_text(char *to, size_t room, const char *from)
{
	snprintf(to, room, "%s", from);
	for (; *to; to++)
		if ((unsigned char)*to < 0x20 || (unsigned char)*to >= 0x7f)
			*to = '?';
}

void http_add_header(struct http_exchange *x, const char *name, const char *value)
{
	uint32_t i;

	for (i = 0; i < x->header_count && strcmp(x->headers[i].name, name) != 0; i++)
		;
	assert(i < HTTP_HEADERS_MAX);
	x->header_count = MAX(x->header_count, i + 1);
	copy_header_text(x->headers[i].name, sizeof(x->headers[i].name), name);
	copy_header_text(x->headers[i].value, sizeof(x->headers[i].value), value);
}

/* The handler lets go.  Takes x->lock away. */
static void end_answer(struct http_exchange *x)
{
	bool last = !x->connection;

	assert(x->held);
	x->held = false;
	if (!last && x->suspended)
		http_post(x->http, x);
	pthread_mutex_unlock(&x->lock);
	if (last)
		exchange_free(x);
}

void http_reply(struct http_exchange *x, int status, const char *content_type,
		const void *body, size_t bytes)
{
	pthread_mutex_lock(&x->lock);
	assert(x->answer == ANSWER_NONE);
	x->answer = ANSWER_WHOLE;
	x->status = status;
	snprintf(x->content_type, sizeof(x->content_type), "%s", content_type);
	buffer_append(&x->out, body, bytes);
	x->failed = buffer_failed(&x->out) != 0;
	end_answer(x);
}

void http_fail(struct http_exchange *x, int status, const char *type, const char *param,
	       const char *code, const char *format, ...)
{
	char message[ERROR_TEXT_BYTES];
	struct buffer body = { 0 };
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	json_print_error(&body, message, type, param, code);
	http_reply(x, status, "application/json", buffer_string(&body), body.length);
	buffer_close(&body);
}

void http_stream_begin(struct http_exchange *x, int status, const char *content_type)
{
	pthread_mutex_lock(&x->lock);
	assert(x->answer == ANSWER_NONE);
	x->answer = ANSWER_STREAM;
	x->status = status;
	snprintf(x->content_type, sizeof(x->content_type), "%s", content_type);
	if (x->connection && x->suspended)
		http_post(x->http, x);
	pthread_mutex_unlock(&x->lock);
}

/* Forgets what has left, once that is most of it. */
static void compact(struct http_exchange *x)
{
	if (x->taken < x->out.length / 2)
		return;
	memmove(x->out.data, x->out.data + x->taken, x->out.length - x->taken);
	x->out.length -= x->taken;
	x->taken = 0;
}

int http_stream_write(struct http_exchange *x, const void *data, size_t bytes)
{
	int rc = 0;

	pthread_mutex_lock(&x->lock);
	assert(x->answer == ANSWER_STREAM && x->held);
	if (x->taken)
		compact(x);
	if (x->gone || !x->connection) {
		rc = -EPIPE;
	} else if (x->failed || x->out.length - x->taken + bytes > HTTP_STREAM_BYTES_MAX) {
		rc = -EMSGSIZE;
	} else {
		buffer_append(&x->out, data, bytes);
		rc = buffer_failed(&x->out);
		if (x->suspended)
			http_post(x->http, x);
	}
	/* What is missing from its middle must not pass for a whole stream. */
	x->failed |= rc < 0;
	pthread_mutex_unlock(&x->lock);
	return rc;
}

void http_stream_end(struct http_exchange *x)
{
	pthread_mutex_lock(&x->lock);
	assert(x->answer == ANSWER_STREAM);
	x->ended = true;
	end_answer(x);
}

bool http_gone(const struct http_exchange *x)
{
	struct http_exchange *mine = (struct http_exchange *)x;
	bool gone;

	pthread_mutex_lock(&mine->lock);
	gone = mine->gone;
	pthread_mutex_unlock(&mine->lock);
	return gone;
}

void http_on_gone(struct http_exchange *x, void (*gone)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&x->lock);
	x->on_gone = gone;
	x->gone_ctx = ctx;
	if (x->gone && x->connection)
		http_post(x->http, x);
	pthread_mutex_unlock(&x->lock);
}
