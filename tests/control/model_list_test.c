/* model_list_test.c - the one model is listed and found by its name alone. */
#include "control/model_list.h"

#include <jansson.h>

#include "tests/support/web.h"
#include "tests/test.h"

static const struct served_model model = { .name = "org/small \"1\"", .context = 4096 };

static void serve_all(void *ctx, struct http_exchange *x)
{
	model_list_all(&model, 17, x);
}

static void serve_one(void *ctx, struct http_exchange *x)
{
	model_list_one(&model, 17, http_path(x) + strlen("/v1/models/"), x);
}

static const struct http_route routes[] = {
	{ "GET", "/v1/models", serve_all },
	{ "GET", "/v1/models/*", serve_one },
};

static struct http *open_server(struct address *at)
{
	struct http_options o = {
		.routes = routes, .route_count = ARRAY_LENGTH(routes), .body_bytes_max = 10,
		.connections_max = 4, .idle_ns = NS_PER_S,
	};
	struct http *h;
	struct error e;

	CHECK_EQ(address_parse(&o.listen, "127.0.0.1:0", NULL), 0);
	CHECK_OK(http_open(&h, &o, &e), &e);
	http_bound(h, at);
	return h;
}

/* Goal: the list has one model object. */
TEST(model_list_all__has_one)
{
	struct address at;
	struct http *h = open_server(&at);
	struct web_answer a;
	const json_t *one;
	json_t *j;

	web_get(&a, &at, "/v1/models");
	j = web_json(&a);
	CHECK_TEXT(json_string_value(json_object_get(j, "object")), "list");
	one = json_array_get(json_object_get(j, "data"), 0);
	CHECK_TEXT(json_string_value(json_object_get(one, "id")), model.name);
	CHECK_TEXT(json_string_value(json_object_get(one, "object")), "model");
	CHECK_EQ(json_integer_value(json_object_get(one, "created")), 17);
	CHECK_EQ(json_integer_value(json_object_get(one, "max_model_len")), 4096);
	json_decref(j);
	web_close(&a);
	http_close(h);
}

/* Goal: the model is found under its (escaped) name; others are 404 model_not_found. */
TEST(model_list_one__by_name)
{
	struct address at;
	struct http *h = open_server(&at);
	struct web_answer a;
	char text[128];
	json_t *j;

	web_get(&a, &at, "/v1/models/org/small%20%221%22");
	CHECK_EQ(a.status, 200);
	j = web_json(&a);
	CHECK_TEXT(json_string_value(json_object_get(j, "id")), model.name);
	json_decref(j);
	web_close(&a);
	web_get(&a, &at, "/v1/models/other");
	CHECK_EQ(a.status, 404);
	web_error(&a, "code", text, sizeof(text));
	CHECK_TEXT(text, "model_not_found");
	web_error(&a, "param", text, sizeof(text));
	CHECK_TEXT(text, "model");
	web_close(&a);
	http_close(h);
}
