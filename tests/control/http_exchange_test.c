/* http_exchange_test.c - answers given later, in pieces, to clients that stay or go. */
#include "control/http.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/memory.h"
#include "tests/support/web.h"
#include "tests/test.h"

enum { PIECES = 50 };

/* The one exchange that a test holds, and what happened to it. */
struct held {
	_Atomic(struct http_exchange *) x;
	atomic_int gone;
};

static void on_gone(void *ctx)
{
	struct held *held = ctx;

	atomic_fetch_add(&held->gone, 1);
}

/* Leaves the answer to the test. */
static void serve_hold(void *ctx, struct http_exchange *x)
{
	struct held *held = ctx;

	http_on_gone(x, on_gone, held);
	atomic_store(&held->x, x);
}

static void *reply_later(void *arg)
{
	struct http_exchange *x = arg;

	usleep(1000);
	http_add_header(x, "X-Request-Id", "mine");
	http_reply(x, 201, "text/plain", "later", 5);
	return NULL;
}

static void *stream_pieces(void *arg)
{
	struct http_exchange *x = arg;
	char piece[32];

	http_stream_begin(x, 200, "text/event-stream");
	for (int i = 0; i < PIECES; i++) {
		int length = snprintf(piece, sizeof(piece), "data: %d\n\n", i);

		if (i % 7 == 0)
			usleep(500);
		CHECK_EQ(http_stream_write(x, piece, (size_t)length), 0);
	}
	http_stream_end(x);
	return NULL;
}

static void in_thread(void *(*run)(void *), struct http_exchange *x)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, run, x), 0);
	pthread_detach(thread);
}

static void serve_later(void *ctx, struct http_exchange *x)
{
	in_thread(reply_later, x);
}

static void serve_stream(void *ctx, struct http_exchange *x)
{
	in_thread(stream_pieces, x);
}

static void serve_stream_at_once(void *ctx, struct http_exchange *x)
{
	stream_pieces(x);
}

static const struct http_route routes[] = {
	{ "GET", "/later", serve_later },
	{ "GET", "/stream", serve_stream },
	{ "GET", "/stream-at-once", serve_stream_at_once },
	{ "GET", "/hold", serve_hold },
};

static struct http *open_server(struct held *held, struct address *at)
{
	struct http_options o = {
		.routes = routes, .route_count = ARRAY_LENGTH(routes), .ctx = held,
		.body_bytes_max = 1000, .connections_max = 64, .idle_ns = 10 * NS_PER_S,
	};
	struct http *h;
	struct error e;

	*held = (struct held){ 0 };
	CHECK_EQ(address_parse(&o.listen, "127.0.0.1:0", NULL), 0);
	CHECK_OK(http_open(&h, &o, &e), &e);
	http_bound(h, at);
	return h;
}

static struct http_exchange *wait_held(struct held *held)
{
	struct http_exchange *x;

	while (!(x = atomic_load(&held->x)))
		usleep(200);
	return x;
}

static int ask_for(const struct address *at, const char *path)
{
	char request[128];
	int fd = web_connect(at);

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
	CHECK(fd >= 0);
	CHECK_EQ(web_send(fd, request), 0);
	return fd;
}

/* Goal: an answer may come later, from another thread, many at once. */
TEST(http_reply__from_another_thread)
{
	struct held held;
	struct address at;
	struct http *h = open_server(&held, &at);
	struct web_answer a;
	char id[32];

	for (int i = 0; i < 20; i++) {
		web_get(&a, &at, "/later");
		CHECK_EQ(a.status, 201);
		CHECK_TEXT(buffer_string(&a.body), "later");
		web_header(&a, "X-Request-Id", id, sizeof(id));
		CHECK_TEXT(id, "mine");
		web_close(&a);
	}
	http_close(h);
}

static void check_pieces(const char *body)
{
	char expected[32];

	for (int i = 0; i < PIECES; i++) {
		snprintf(expected, sizeof(expected), "data: %d\n\n", i);
		CHECK_EQ(strncmp(body, expected, strlen(expected)), 0);
		body += strlen(expected);
	}
	CHECK_TEXT(body, "");
}

/* Goal: a stream's pieces arrive whole and in order, whoever writes them. */
TEST(http_stream__arrives_in_order)
{
	static const char *const paths[] = { "/stream", "/stream-at-once" };
	struct held held;
	struct address at;
	struct http *h = open_server(&held, &at);
	struct web_answer a;

	for (size_t i = 0; i < 10; i++) {
		web_get(&a, &at, paths[i % 2]);
		CHECK_EQ(a.status, 200);
		check_pieces(buffer_string(&a.body));
		web_close(&a);
	}
	http_close(h);
}

/* Goal: a piece leaves when it is written, not when the stream ends. */
TEST(http_stream_write__leaves_at_once)
{
	struct held held;
	struct address at;
	struct http *h = open_server(&held, &at);
	struct buffer raw = { 0 };
	int fd = ask_for(&at, "/hold");
	struct http_exchange *x = wait_held(&held);

	http_stream_begin(x, 200, "text/plain");
	web_receive(fd, "\r\n\r\n", &raw);
	CHECK_EQ(http_stream_write(x, "first", 5), 0);
	web_receive(fd, "first", &raw);
	CHECK_EQ(http_stream_write(x, "second", 6), 0);
	web_receive(fd, "second", &raw);
	CHECK(!http_gone(x));
	http_stream_end(x);
	web_receive(fd, "0\r\n\r\n", &raw);
	CHECK_EQ(atomic_load(&held.gone), 0);
	close(fd);
	buffer_close(&raw);
	http_close(h);
}

/* Goal: a client that hangs up while it waits is noticed; the late reply harms nobody. */
TEST(http_on_gone__while_waiting)
{
	struct held held;
	struct address at;
	struct http *h = open_server(&held, &at);
	int fd = ask_for(&at, "/hold");
	struct http_exchange *x = wait_held(&held);

	close(fd);
	while (!atomic_load(&held.gone))
		usleep(200);
	CHECK(http_gone(x));
	http_reply(x, 200, "text/plain", "too late", 8);
	CHECK_EQ(atomic_load(&held.gone), 1);
	http_close(h);
}

/* Goal: so is one that hangs up in mid-stream; writing then says so. */
TEST(http_on_gone__while_streaming)
{
	struct held held;
	struct address at;
	struct http *h = open_server(&held, &at);
	struct buffer raw = { 0 };
	int fd = ask_for(&at, "/hold");
	struct http_exchange *x = wait_held(&held);

	http_stream_begin(x, 200, "text/plain");
	CHECK_EQ(http_stream_write(x, "first", 5), 0);
	web_receive(fd, "first", &raw);
	close(fd);
	while (!atomic_load(&held.gone))
		usleep(200);
	CHECK_EQ(http_stream_write(x, "second", 6), -EPIPE);
	http_stream_end(x);
	CHECK_EQ(atomic_load(&held.gone), 1);
	buffer_close(&raw);
	http_close(h);
}

/* Goal: a client that reads too slowly is refused more, and its stream does not end as
 * if it were whole.
 */
TEST(http_stream_write__bounds_a_slow_reader)
{
	struct held held;
	struct address at;
	struct http *h = open_server(&held, &at);
	struct buffer raw = { 0 };
	int fd = ask_for(&at, "/hold"), rc;
	struct http_exchange *x = wait_held(&held);
	char *piece = mem_calloc(1, 1 << 16);
	uint64_t written = 0;

	http_stream_begin(x, 200, "text/plain");
	while ((rc = http_stream_write(x, piece, 1 << 16)) == 0)
		written += 1 << 16;
	CHECK_EQ(rc, -EMSGSIZE);
	CHECK(written < 64 << 20);
	http_stream_end(x);
	web_receive(fd, NULL, &raw);
	CHECK(raw.length > 1 << 20);
	CHECK(memcmp(raw.data + raw.length - 5, "0\r\n\r\n", 5) != 0);
	close(fd);
	buffer_close(&raw);
	mem_free(piece);
	http_close(h);
}

/* Goal: closing with an answer outstanding is fine: its holder is told, and may answer. */
TEST(http_close__while_held)
{
	struct held held;
	struct address at;
	struct http *h = open_server(&held, &at);
	uint64_t live;
	int fd = ask_for(&at, "/hold");
	struct http_exchange *x = wait_held(&held);

	live = mem_live_blocks();
	http_close(h);
	CHECK(mem_live_blocks() < live);
	CHECK_EQ(atomic_load(&held.gone), 1);
	CHECK(http_gone(x));
	live = mem_live_blocks();
	http_reply(x, 200, "text/plain", "too late", 8);
	CHECK(mem_live_blocks() < live);
	close(fd);
}

/* Goal: an answer in progress when the server closes still gets out. */
TEST(http_close__lets_answers_end)
{
	struct held held;
	struct address at;
	struct http *h = open_server(&held, &at);
	struct buffer raw = { 0 };
	int fd = ask_for(&at, "/hold");
	struct http_exchange *x = wait_held(&held);

	http_reply(x, 200, "text/plain", "just in time", 12);
	http_close(h);
	web_receive(fd, NULL, &raw);
	CHECK(strstr(buffer_string(&raw), "just in time"));
	close(fd);
	buffer_close(&raw);
}

static void *ask_many(void *arg)
{
	const struct address *at = arg;
	struct web_answer a;

	for (int i = 0; i < 20; i++) {
		/* Every third client goes away at a moment of its own. */
		if (i % 3 == 0) {
			int fd = ask_for(at, i % 2 ? "/stream" : "/later");

			usleep((useconds_t)(i * 100));
			close(fd);
			continue;
		}
		web_get(&a, at, "/stream");
		CHECK_EQ(a.status, 200);
		check_pieces(buffer_string(&a.body));
		web_close(&a);
	}
	return NULL;
}

static void *stream_to_whom_it_may(void *arg)
{
	struct http_exchange *x = arg;

	http_stream_begin(x, 200, "text/event-stream");
	for (int i = 0; i < PIECES; i++) {
		char piece[32];
		int length = snprintf(piece, sizeof(piece), "data: %d\n\n", i);

		if (http_stream_write(x, piece, (size_t)length) < 0)
			break;
	}
	http_stream_end(x);
	return NULL;
}

static void serve_any(void *ctx, struct http_exchange *x)
{
	in_thread(stream_to_whom_it_may, x);
}

/* Goal: many clients at once, some of whom leave, all get their own whole answers. */
TEST(http__many_clients)
{
	static const struct http_route mixed[] = {
		{ "GET", "/later", serve_later }, { "GET", "/stream", serve_any },
	};
	struct http_options o = {
		.routes = mixed, .route_count = ARRAY_LENGTH(mixed),
		.body_bytes_max = 1000, .connections_max = 64, .idle_ns = 10 * NS_PER_S,
	};
	pthread_t threads[4];
	struct address at;
	struct http *h;
	struct error e;

	CHECK_EQ(address_parse(&o.listen, "127.0.0.1:0", NULL), 0);
	CHECK_OK(http_open(&h, &o, &e), &e);
	http_bound(h, &at);
	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, ask_many, &at), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		pthread_join(threads[i], NULL);
	usleep(20000);          /* the last clients' writers */
	http_close(h);
}
