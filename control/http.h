/* http.h - an HTTP/1.1 server for a table of routes (libmicrohttpd), with bodies read whole
 * and answers given at once, later, or piece by piece.
 *
 * On loopback it speaks plain HTTP.  Anywhere else HTTPS, with the program's identity, and
 * only with clients whose certificate has the verb of the page (permission.h).
 *
 * Threads    Handlers run in the server's own thread.  http_reply() and http_stream_*()
 *            may be called from any thread, one at a time per exchange.
 * Ownership  http_open() / http_close().  An exchange is the handler's until its reply:
 *            exactly one http_reply(), or http_stream_begin() .. http_stream_end(), also
 *            after the client hung up, and after http_close().
 * Units      Bytes.
 * Errors     http_open(): -EADDRINUSE and the like with a sentence.  Oversized bodies,
 *            unknown paths, wrong methods are answered here, as JSON errors.
 */
#ifndef PETALS_CONTROL_HTTP_H
#define PETALS_CONTROL_HTTP_H

#include "dataplane/base/address.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/error.h"

struct http;
struct http_exchange;
struct identity;                        /* identity.h */

struct http_route {
	const char *method;             /* "GET" (HEAD is answered by it too), "POST" */
	const char *path;               /* exact, or a prefix when it ends in a star */
	void (*serve)(void *ctx, struct http_exchange *x);
};

struct http_options {
	struct address listen;
	struct identity *identity;      /* NULL: loopback alone */
	const struct http_route *routes; uint32_t route_count;
	void *ctx;
	size_t body_bytes_max;
	uint32_t connections_max;
	uint64_t idle_ns;               /* a connection that says nothing is closed */
};

int http_open(struct http **out, const struct http_options *o, struct error *e);
/* Stops listening, lets replies in progress end for at most a second. */
void http_close(struct http *h);                         /* NULL is fine */
void http_bound(const struct http *h, struct address *out);
const char *http_scheme(const struct http *h);           /* "http", "https" */
struct counters *http_counters(struct http *h);          /* petals_http_* by route and status */

/* The request.  Headers and query are there inside serve() only. */
const char *http_path(const struct http_exchange *x);
const char *http_header(const struct http_exchange *x, const char *name);    /* or NULL */
const char *http_query(const struct http_exchange *x, const char *name);     /* or NULL */
const char *http_body(const struct http_exchange *x, size_t *bytes);         /* NUL-terminated */

/* The answer.  Headers may be added before the reply begins; one that is there is replaced.
 * Every answer carries X-Request-Id, a random one unless it was added.
 */
void http_add_header(struct http_exchange *x, const char *name, const char *value);
void http_reply(struct http_exchange *x, int status, const char *content_type,
		const void *body, size_t bytes);
/* {"error": {"message", "type", "param", "code"}} as OpenAI's clients expect. */
void http_fail(struct http_exchange *x, int status, const char *type, const char *param,
	       const char *code, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

void http_stream_begin(struct http_exchange *x, int status, const char *content_type);
/* -EPIPE once the client is gone; -ENOMEM; -EMSGSIZE when it reads too slowly. */
int http_stream_write(struct http_exchange *x, const void *data, size_t bytes);
void http_stream_end(struct http_exchange *x);
/* Whether the client hung up; on_gone fires at most once, from the server's thread, and
 * not after the reply.  It must not call back into the exchange.
 */
bool http_gone(const struct http_exchange *x);
void http_on_gone(struct http_exchange *x, void (*gone)(void *ctx), void *ctx);

#endif
