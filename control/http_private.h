/* http_private.h - what http.c (the daemon and its thread) and http_exchange.c (one request
 * and its answer) share; nobody else includes it.
 *
 * Threads    x->lock guards what is marked so.  Order: x->lock, then h->lock.
 * Ownership  An exchange has two holders, the library's connection (`connection`) and the
 *            handler (`held`); whoever lets go last frees it.
 * Units      Bytes, _ns.
 * Errors     As http.h.
 */
#ifndef PETALS_CONTROL_HTTP_PRIVATE_H
#define PETALS_CONTROL_HTTP_PRIVATE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "control/http.h"

struct https;                                   /* https.h */

enum {
	/* A client that is this far behind its stream reads too slowly. */
	HTTP_STREAM_BYTES_MAX = 4 << 20,
	HTTP_HEADERS_MAX = 8,
	HTTP_HEADER_NAME_BYTES = 32,
	HTTP_HEADER_VALUE_BYTES = 128,
	/* Bodies in memory at once, in units of the largest. */
	HTTP_BODIES_MAX = 16,
};

enum http_answer { ANSWER_NONE, ANSWER_WHOLE, ANSWER_STREAM };

struct http_response_header {
	char name[HTTP_HEADER_NAME_BYTES], value[HTTP_HEADER_VALUE_BYTES];
};

struct http_exchange {
	struct http *http;
	struct http_exchange *older, *newer;    /* http's list; its thread's */
	const struct http_route *route;         /* NULL: answered by us */
	char *path;
	struct buffer body;
	int refused;                            /* a status: the body is swallowed, not kept */
	char *why;                              /* of status 403 */
	bool served;                            /* the handler has seen it */
	bool watched;                           /* its socket, for the client's hanging up */
	size_t counted_bytes;                   /* of http's body_bytes */
	uint64_t started_ns;
	uint32_t series, seconds_series;        /* of the route */

	pthread_mutex_t lock;                   /* the rest */
	struct MHD_Connection *connection;      /* NULL: the library let go */
	bool held;                              /* the handler has not ended its answer */
	bool suspended, posted;
	struct http_exchange *next_posted;      /* under http's lock */
	bool gone, gone_told;
	void (*on_gone)(void *ctx);
	void *gone_ctx;

	enum http_answer answer;
	int status;
	char content_type[64];
	struct http_response_header headers[HTTP_HEADERS_MAX];
	uint32_t header_count;
	struct buffer out;                      /* the answer, or what of a stream has not left */
	size_t taken;                           /* bytes of it that left */
	bool ended, failed;                     /* of a stream */
};

struct http {
	struct http_options options;
	struct address bound;
	struct MHD_Daemon *daemon;
	struct https *https;                    /* NULL: plain */
	struct counters *counters;
	pthread_t thread;
	bool started;
	int listen_fd, epoll_fd, wake_fd;
	struct http_exchange *newest;
	atomic_size_t body_bytes;               /* of all exchanges */
	int clients;                            /* connections; the thread's */
	atomic_bool stopping;

	pthread_mutex_t lock;
	struct http_exchange *posted;           /* to be looked at by the thread */
};

enum http_counter {
	HTTP_REQUESTS, HTTP_RESPONSES, HTTP_SECONDS, HTTP_CONNECTIONS, HTTP_GONE, HTTP_COUNTERS
};

/* http.c */
void http_post(struct http *h, struct http_exchange *x);        /* with x->lock */
void http_watch(struct http *h, struct http_exchange *x);
void http_unwatch(struct http *h, struct http_exchange *x);

/* http_exchange.c: the thread's side. */
struct http_exchange *exchange_open(struct http *h, struct MHD_Connection *c, const char *method,
				    const char *path);
void exchange_body(struct http_exchange *x, const char *data, size_t bytes);
/* The request is whole, or the connection was resumed. */
enum MHD_Result exchange_turn(struct http_exchange *x);
void exchange_resume(struct http_exchange *x);
void exchange_hung_up(struct http_exchange *x);
/* The library lets go of the connection. */
void exchange_let_go(struct http_exchange *x);

#endif
