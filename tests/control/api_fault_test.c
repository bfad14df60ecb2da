/* api_fault_test.c - failures become the statuses and types that clients act upon. */
#include "control/api_fault.h"

#include <errno.h>

#include "tests/support/web.h"
#include "tests/test.h"

/* Goal: each kind of failure has its own status; what is unknown is ours. */
TEST(api_fault_of_failure__statuses)
{
	static const struct {
		int code, status;
		const char *type;
	} cases[] = {
		{ -EINVAL, 400, "invalid_request_error" },
		{ -EBUSY, 429, "rate_limit_error" },
		{ -ENOENT, 503, "server_error" },
		{ -ETIMEDOUT, 504, "server_error" },
		{ -ECANCELED, 503, "server_error" },
		{ -EPROTO, 502, "server_error" },
		{ -EIO, 500, "server_error" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct api_fault f = { 0 };

		api_fault_of_failure(&f, cases[i].code, "no server has blocks [8,16)");
		CHECK_EQ(f.status, cases[i].status);
		CHECK_TEXT(api_fault_type(&f), cases[i].type);
		CHECK_TEXT(f.message, "no server has blocks [8,16)");
	}
}

/* Goal: without a sentence the code's own words are said. */
TEST(api_fault_of_failure__words)
{
	struct api_fault f = { 0 };

	api_fault_of_failure(&f, -ENOMEM, NULL);
	CHECK_TEXT(f.message, "out of memory");
}

/* Goal: the first fault stays. */
TEST(api_fault_set__keeps_the_first)
{
	struct api_fault f = { 0 };
	struct buffer b = { 0 };

	CHECK_EQ(api_fault_set(&f, 400, "n", "out_of_range", "n must be %d", 1), -EINVAL);
	CHECK_EQ(api_fault_set(&f, 500, NULL, NULL, "later"), -EINVAL);
	api_fault_print(&f, &b);
	CHECK_TEXT(buffer_string(&b), "{\"error\":{\"message\":\"n must be 1\",\"type\":"
		   "\"invalid_request_error\",\"param\":\"n\",\"code\":\"out_of_range\"}}");
	buffer_close(&b);
}

static void serve_busy(void *ctx, struct http_exchange *x)
{
	struct api_fault f = { 0 };

	api_fault_of_failure(&f, -EBUSY, "try later");
	api_fault_reply(&f, x);
}

/* Goal: over HTTP it is the error envelope, with Retry-After where waiting helps. */
TEST(api_fault_reply__says_when_to_retry)
{
	static const struct http_route route = { "GET", "/busy", serve_busy };
	struct http_options o = {
		.routes = &route, .route_count = 1, .body_bytes_max = 10, .connections_max = 4,
		.idle_ns = NS_PER_S,
	};
	struct web_answer a;
	struct address at;
	struct http *h;
	struct error e;
	char text[64];

	CHECK_EQ(address_parse(&o.listen, "127.0.0.1:0", NULL), 0);
	CHECK_OK(http_open(&h, &o, &e), &e);
	http_bound(h, &at);
	web_get(&a, &at, "/busy");
	CHECK_EQ(a.status, 429);
	web_header(&a, "Retry-After", text, sizeof(text));
	CHECK_TEXT(text, "1");
	web_error(&a, "message", text, sizeof(text));
	CHECK_TEXT(text, "try later");
	web_close(&a);
	http_close(h);
}
