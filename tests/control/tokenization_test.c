/* tokenization_test.c - texts to ids and back over HTTP, and what is refused. */
#include "control/tokenization.h"

#include <jansson.h>

#include "tests/support/text_model.h"
#include "tests/support/web.h"
#include "tests/test.h"

static void serve_encode(void *ctx, struct http_exchange *x)
{
	struct text_model *m = ctx;

	tokenization_encode(&m->served, x);
}

static void serve_decode(void *ctx, struct http_exchange *x)
{
	struct text_model *m = ctx;

	tokenization_decode(&m->served, x);
}

static const struct http_route routes[] = {
	{ "POST", "/tokenize", serve_encode },
	{ "POST", "/detokenize", serve_decode },
};

struct world {
	struct text_model model;
	struct http *http;
	struct address at;
};

static void world_open(struct world *w)
{
	struct http_options o = {
		.routes = routes, .route_count = ARRAY_LENGTH(routes), .ctx = &w->model,
		.body_bytes_max = 4096, .connections_max = 4, .idle_ns = NS_PER_S,
	};
	struct error e;

	text_model_open(&w->model);
	CHECK_EQ(address_parse(&o.listen, "127.0.0.1:0", NULL), 0);
	CHECK_OK(http_open(&w->http, &o, &e), &e);
	http_bound(w->http, &w->at);
}

static void world_close(struct world *w)
{
	http_close(w->http);
	text_model_close(&w->model);
}

static json_t *post(const struct world *w, const char *path, const char *body)
{
	struct web_answer a;
	json_t *j;

	web_post(&a, &w->at, path, body);
	if (a.status != 200)
		fail_msg("%s %s: %ld %s", path, body, a.status, buffer_string(&a.body));
	j = web_json(&a);
	web_close(&a);
	return j;
}

/* Goal: what /tokenize gives, /detokenize takes back. */
TEST(tokenization__round_trip)
{
	static const char text[] = "The server holds 12 blocks.";
	struct world w;
	char *body;
	json_t *j, *back, *ask;

	world_open(&w);
	j = post(&w, "/tokenize", "{\"prompt\": \"The server holds 12 blocks.\", "
		 "\"return_token_strs\": true}");
	CHECK_EQ(json_integer_value(json_object_get(j, "count")),
		 json_array_size(json_object_get(j, "tokens")));
	CHECK_EQ(json_array_size(json_object_get(j, "token_strs")),
		 json_array_size(json_object_get(j, "tokens")));
	CHECK_EQ(json_integer_value(json_object_get(j, "max_model_len")), 100);
	ask = json_pack("{s:O}", "tokens", json_object_get(j, "tokens"));
	body = json_dumps(ask, 0);
	back = post(&w, "/detokenize", body);
	CHECK_TEXT(json_string_value(json_object_get(back, "prompt")), text);
	json_decref(back);
	json_decref(ask);
	json_decref(j);
	(free)(body);
	world_close(&w);
}

/* Goal: messages are counted as the chat would be. */
TEST(tokenization_encode__messages)
{
	struct world w;
	json_t *j, *same;

	world_open(&w);
	j = post(&w, "/tokenize", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}");
	same = post(&w, "/tokenize", "{\"prompt\": \"<|im_start|>user\\na<|im_end|>\\n"
		    "<|im_start|>assistant\\n\", \"add_special_tokens\": false}");
	CHECK(json_equal(json_object_get(j, "tokens"), json_object_get(same, "tokens")));
	CHECK(json_is_null(json_object_get(j, "token_strs")));
	json_decref(j);
	json_decref(same);
	world_close(&w);
}

/* Goal: bad requests name what is wrong. */
TEST(tokenization__refuses)
{
	static const struct {
		const char *path, *body, *param;
		long status;
	} bad[] = {
		{ "/tokenize", "{", "", 400 },
		{ "/tokenize", "{}", "prompt", 400 },
		{ "/tokenize", "{\"prompt\": [\"a\", \"b\"]}", "prompt", 400 },
		{ "/tokenize", "{\"prompt\": \"a\", \"model\": \"x\"}", "model", 404 },
		{ "/detokenize", "[]", "", 400 },
		{ "/detokenize", "{}", "tokens", 400 },
		{ "/detokenize", "{\"tokens\": [\"a\"]}", "tokens", 400 },
		{ "/detokenize", "{\"tokens\": [-1]}", "tokens", 400 },
		{ "/detokenize", "{\"tokens\": [99999999]}", "tokens", 400 },
		{ "/detokenize", "{\"tokens\": [1], \"model\": \"x\"}", "model", 404 },
	};
	struct world w;

	world_open(&w);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		struct web_answer a;
		char param[64];

		web_post(&a, &w.at, bad[i].path, bad[i].body);
		web_error(&a, "param", param, sizeof(param));
		if (a.status != bad[i].status || strcmp(param, bad[i].param) != 0)
			fail_msg("%s: %ld '%s'", bad[i].body, a.status, param);
		web_close(&a);
	}
	world_close(&w);
}
