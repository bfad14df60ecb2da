/* http_test.c - the server listens, routes, refuses and goes away as it says. */
#include "control/http.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/web.h"
#include "tests/test.h"

enum { BODY_MAX = 1000 };

static void serve_hello(void *ctx, struct http_exchange *x)
{
	http_add_header(x, "X-Extra", "yes");
	http_reply(x, 200, "text/plain", "hello", 5);
}

static void serve_echo(void *ctx, struct http_exchange *x)
{
	size_t bytes;
	const char *body = http_body(x, &bytes);

	CHECK_EQ(body[bytes], '\0');
	http_reply(x, 200, "text/plain", body, bytes);
}

static void serve_path(void *ctx, struct http_exchange *x)
{
	const char *query = http_query(x, "q"), *header = http_header(x, "X-Mine");
	char text[256];
	int length = snprintf(text, sizeof(text), "%s|%s|%s", http_path(x), query ? query : "-",
			      header ? header : "-");

	http_reply(x, 200, "text/plain", text, (size_t)length);
}

static const struct http_route routes[] = {
	{ "GET", "/hello", serve_hello },
	{ "POST", "/echo", serve_echo },
	{ "GET", "/files/*", serve_path },
};

static struct http_options options_at(const char *listen)
{
	struct http_options o = {
		.routes = routes, .route_count = ARRAY_LENGTH(routes),
		.body_bytes_max = BODY_MAX, .connections_max = 8, .idle_ns = 10 * NS_PER_S,
	};

	CHECK_EQ(address_parse(&o.listen, listen, NULL), 0);
	return o;
}

static struct http *open_at(const char *listen, struct address *at)
{
	const struct http_options o = options_at(listen);
	struct http *h;
	struct error e;

	CHECK_OK(http_open(&h, &o, &e), &e);
	http_bound(h, at);
	return h;
}

static void check_answer(const struct address *at, const char *method, const char *path,
			 const char *body, long status, const char *expected)
{
	struct web_answer a;

	web_ask(&a, at, method, path, body, NULL);
	if (a.status != status)
		fail_msg("%s %s: %ld, expected %ld (%s)", method ? method : "", path, a.status,
			 status, a.why);
	if (expected)
		CHECK_TEXT(buffer_string(&a.body), expected);
	web_close(&a);
}

/* Goal: routes are found by path and method; a prefix takes what is below it. */
TEST(http__routes)
{
	struct address at;
	struct http *h = open_at("127.0.0.1:0", &at);
	struct web_answer a;
	char value[64];

	check_answer(&at, NULL, "/hello", NULL, 200, "hello");
	check_answer(&at, NULL, "/hello?x=1", NULL, 200, "hello");
	check_answer(&at, "HEAD", "/hello", NULL, 200, "");
	check_answer(&at, NULL, "/echo", "some text", 200, "some text");
	check_answer(&at, NULL, "/echo", "", 200, "");
	web_ask(&a, &at, NULL, "/files/a/b?q=1%2B1", NULL, "X-Mine: me");
	CHECK_TEXT(buffer_string(&a.body), "/files/a/b|1+1|me");
	web_close(&a);
	web_get(&a, &at, "/hello");
	web_header(&a, "X-Extra", value, sizeof(value));
	CHECK_TEXT(value, "yes");
	web_header(&a, "Content-Type", value, sizeof(value));
	CHECK_TEXT(value, "text/plain");
	web_header(&a, "X-Request-Id", value, sizeof(value));
	CHECK_EQ(strlen(value), 16);
	web_close(&a);
	http_close(h);
}

/* Goal: what is not there, or asked the wrong way, is a JSON error that says so. */
TEST(http__refuses_with_json)
{
	struct address at;
	struct http *h = open_at("127.0.0.1:0", &at);
	struct web_answer a;
	char text[256];

	web_get(&a, &at, "/nothing");
	CHECK_EQ(a.status, 404);
	web_error(&a, "message", text, sizeof(text));
	CHECK_TEXT(text, "there is nothing at /nothing");
	web_error(&a, "code", text, sizeof(text));
	CHECK_TEXT(text, "unknown_url");
	web_close(&a);
	web_get(&a, &at, "/echo");
	CHECK_EQ(a.status, 405);
	web_header(&a, "Allow", text, sizeof(text));
	CHECK_TEXT(text, "POST");
	web_close(&a);
	check_answer(&at, NULL, "/hello", "body", 405, NULL);
	check_answer(&at, "DELETE", "/hello", NULL, 405, NULL);
	http_close(h);
}

/* Goal: a body up to the limit is taken, one past it refused and swallowed, an absurd
 * one not even read; the connection's next request is unharmed.
 */
TEST(http__bounds_bodies)
{
	struct address at;
	struct http *h = open_at("127.0.0.1:0", &at);
	char *body = mem_calloc(1, 8 * BODY_MAX + 1), text[256];
	struct buffer raw = { 0 };
	struct web_answer a;
	int fd;

	memset(body, 'x', BODY_MAX);
	check_answer(&at, NULL, "/echo", body, 200, body);
	body[BODY_MAX] = 'y';
	web_post(&a, &at, "/echo", body);
	CHECK_EQ(a.status, 413);
	web_error(&a, "message", text, sizeof(text));
	CHECK_TEXT(text, "the body is larger than 1000 bytes, the most that is taken");
	web_close(&a);

	fd = web_connect(&at);
	CHECK(fd >= 0);
	CHECK_EQ(web_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\n"
			      "Content-Length: 99999999999\r\n\r\n"), 0);
	web_receive(fd, "}}", &raw);
	CHECK(strstr(buffer_string(&raw), "413"));
	close(fd);
	buffer_close(&raw);
	check_answer(&at, NULL, "/echo", "again", 200, "again");
	mem_free(body);
	http_close(h);
}

/* Goal: garbage on the port harms nobody. */
TEST(http__survives_garbage)
{
	static const char *const garbage[] = {
		"\r\n\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01",
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
		"GET /hello%zz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /hello HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n: \r\n\r\n",
	};
	struct address at;
	struct http *h = open_at("127.0.0.1:0", &at);

	for (size_t i = 0; i < ARRAY_LENGTH(garbage); i++) {
		int fd = web_connect(&at);

		CHECK(fd >= 0);
		CHECK_EQ(web_send(fd, garbage[i]), 0);
		close(fd);
		check_answer(&at, NULL, "/hello", NULL, 200, "hello");
	}
	http_close(h);
}

/* Goal: two requests on one connection are answered in order. */
TEST(http__keeps_connections)
{
	struct address at;
	struct http *h = open_at("127.0.0.1:0", &at);
	struct buffer raw = { 0 };
	int fd = web_connect(&at);

	CHECK(fd >= 0);
	CHECK_EQ(web_send(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
			      "GET /files/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 0);
	web_receive(fd, NULL, &raw);
	CHECK(strstr(buffer_string(&raw), "hello"));
	CHECK(strstr(buffer_string(&raw), "/files/2|-|-"));
	CHECK(strstr(buffer_string(&raw), "hello") < strstr(buffer_string(&raw), "/files/2"));
	close(fd);
	buffer_close(&raw);
	http_close(h);
}

/* Goal: a port that is taken, and an address that is not loopback, are refused by name. */
TEST(http_open__says_why_not)
{
	struct http_options o;
	struct address at;
	struct http *h = open_at("127.0.0.1:0", &at), *second = NULL;
	struct error e;

	o = options_at(at.text);
	CHECK_EQ(http_open(&second, &o, &e), -EADDRINUSE);
	CHECK(strstr(e.text, at.text));
	o = options_at("192.0.2.1:0");
	CHECK_EQ(http_open(&second, &o, &e), -EPERM);
	CHECK(strstr(e.text, "192.0.2.1:0"));
	CHECK(!second);
	http_close(h);
	http_close(NULL);
}

/* Goal: every request is counted by route and by status. */
TEST(http_counters__count)
{
	struct address at;
	struct http *h = open_at("127.0.0.1:0", &at);
	struct counters *set = http_counters(h);
	struct buffer text = { 0 };

	check_answer(&at, NULL, "/hello", NULL, 200, "hello");
	check_answer(&at, NULL, "/hello", NULL, 200, "hello");
	check_answer(&at, NULL, "/missing", NULL, 404, NULL);
	/* The count is taken after the answer's last byte left. */
	for (int i = 0; i < 1000 && !strstr(buffer_string(&text), "\"unknown\"} 1"); i++) {
		usleep(1000);
		buffer_clear(&text);
		counters_render(&set, 1, &text);
	}
	CHECK(strstr(buffer_string(&text), "petals_http_requests_total{route=\"GET /hello\"} 2"));
	CHECK(strstr(buffer_string(&text), "petals_http_requests_total{route=\"unknown\"} 1"));
	CHECK(strstr(buffer_string(&text), "petals_http_responses_total{status=\"404\"} 1"));
	buffer_close(&text);
	http_close(h);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, http_open() gives everything back. */
TEST(http_open__unwinds_every_failure)
{
	const struct http_options o = options_at("127.0.0.1:0");
	uint64_t live = mem_live_blocks();
	struct http *h = NULL;
	struct error e;
	int nth, rc;

	for (nth = 1;; nth++) {
		fault_arm(nth);
		rc = http_open(&h, &o, &e);
		if (!fault_fired())
			break;
		CHECK(rc < 0);
		CHECK(!h);
		CHECK_EQ(mem_live_blocks(), live);
	}
	fault_disarm();
	CHECK(nth > 3);
	CHECK_OK(rc, &e);
	http_close(h);
	CHECK_EQ(mem_live_blocks(), live);
}
#endif
