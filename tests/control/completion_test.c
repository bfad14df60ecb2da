/* completion_test.c - one request from its choices' first tokens to its answer's end, with
 * the test as the core, and tokens handed out by hand.
 */
#include "control/completion.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "control/completion_prompt.h"
#include "tests/control/fake_generations.h"
#include "tests/support/text_model.h"
#include "tests/support/web.h"

/* A server whose only route reads a request and leaves it to the test. */
struct world {
	struct text_model model;
	struct completion_shared shared;
	struct http *http;
	struct address at;
	_Atomic(struct completion *) arrived;
	atomic_int hung_up, changed;

	pthread_t asker;
	char body[512];
	struct web_answer answer;
};

static void on_changed(void *ctx)
{
	struct world *w = ctx;

	atomic_fetch_add(&w->changed, 1);
}

static void on_hung_up(void *ctx)
{
	struct world *w = ctx;

	atomic_fetch_add(&w->hung_up, 1);
}

static void serve(struct world *w, struct http_exchange *x, enum completion_kind kind)
{
	struct completion_request r = { 0 };
	struct api_fault f = { 0 };
	struct completion *c;
	size_t bytes;
	const char *body = http_body(x, &bytes);

	if (completion_request_read(&r, kind, body, bytes, &w->model.served, &f) < 0 ||
	    completion_encode(&r, &w->model.served, &f) < 0 ||
	    completion_fit(&r, &w->model.served, &f) < 0) {
		api_fault_reply(&f, x);
		completion_request_close(&r);
		return;
	}
	if (completion_open(&c, &w->shared, &r, x, "me", UINT64_MAX) == 0)
		atomic_store(&w->arrived, c);
}

static void serve_text(void *ctx, struct http_exchange *x)
{
	serve(ctx, x, COMPLETION_TEXT);
}

static void serve_chat(void *ctx, struct http_exchange *x)
{
	serve(ctx, x, COMPLETION_CHAT);
}

static const struct http_route routes[] = {
	{ "POST", "/v1/completions", serve_text },
	{ "POST", "/v1/chat/completions", serve_chat },
};

static void world_open(struct world *w)
{
	struct http_options o = {
		.routes = routes, .route_count = ARRAY_LENGTH(routes), .ctx = w,
		.body_bytes_max = 4096, .connections_max = 8, .idle_ns = 10 * NS_PER_S,
	};
	struct error e;

	*w = (struct world){ .hung_up = 0 };
	fake.opened = 0;
	text_model_open(&w->model);
	w->shared = (struct completion_shared){
		.model = &w->model.served, .clock = clock_real(), .fingerprint = 7,
		.changed = on_changed, .hung_up = on_hung_up, .ctx = w,
	};
	CHECK_EQ(address_parse(&o.listen, "127.0.0.1:0", NULL), 0);
	CHECK_OK(http_open(&w->http, &o, &e), &e);
	http_bound(w->http, &w->at);
}

static void world_close(struct world *w)
{
	http_close(w->http);
	text_model_close(&w->model);
	CHECK_EQ(fake.count, 0);
}

static struct completion *wait_arrived(struct world *w)
{
	struct completion *c;

	while (!(c = atomic_exchange(&w->arrived, NULL)))
		usleep(200);
	return c;
}

static void *ask(void *arg)
{
	struct world *w = arg;
	const char *path = strstr(w->body, "messages") ? "/v1/chat/completions" :
							 "/v1/completions";

	web_post(&w->answer, &w->at, path, w->body);
	return NULL;
}

/* Posts body from a thread; start: starts every choice. */
static struct completion *begin(struct world *w, const char *body)
{
	struct completion *c;

	snprintf(w->body, sizeof(w->body), "%s", body);
	CHECK_EQ(pthread_create(&w->asker, NULL, ask, w), 0);
	c = wait_arrived(w);
	while (completion_waiting(c))
		CHECK_EQ(completion_start(c), 0);
	return c;
}

static const char *finish(struct world *w, struct completion *c)
{
	CHECK(completion_ended(c));
	completion_reap(c);
	CHECK_EQ(completion_running(c), 0);
	completion_close(c);
	pthread_join(w->asker, NULL);
	return buffer_string(&w->answer.body);
}

static const json_t *choice_at(const json_t *j, size_t i)
{
	return json_array_get(json_object_get(j, "choices"), i);
}

static const char *text_at(const json_t *j, size_t i)
{
	return json_string_value(json_object_get(choice_at(j, i), "text"));
}

/* Goal: choices are collected in their order, whatever order they end in. */
TEST(completion__collects_choices)
{
	struct world w;
	struct completion *c;
	const json_t *usage;
	char id[32];
	json_t *j;

	world_open(&w);
	c = begin(&w, "{\"prompt\": [[5, 6], [7]], \"n\": 2, \"max_tokens\": 3, \"seed\": 9}");
	CHECK_EQ(fake.count, 4);
	CHECK_EQ(fake.open[1]->o.prompt_count, 2);
	CHECK_EQ(fake.open[2]->o.prompt[0], 7);
	CHECK_EQ(fake.open[2]->o.sampler.seed, 9);
	CHECK_EQ(fake.open[3]->o.sampler.seed, 10);
	for (int i = 3; i >= 0; i--) {
		fake_token(fake.open[i], 40, "a", false);
		fake_token(fake.open[i], 41, i % 2 ? "b" : "c", false);
		fake_finish(fake.open[i], i == 2 ? FINISH_LENGTH : FINISH_STOP, "", NULL, 0, NULL);
	}
	finish(&w, c);
	CHECK_EQ(w.answer.status, 200);
	web_header(&w.answer, "X-Request-Id", id, sizeof(id));
	CHECK_TEXT(id, "0000000000001000");
	j = web_json(&w.answer);
	CHECK_TEXT(json_string_value(json_object_get(j, "id")), "cmpl-0000000000001000");
	CHECK_TEXT(text_at(j, 0), "ac");
	CHECK_TEXT(text_at(j, 1), "ab");
	CHECK_TEXT(json_string_value(json_object_get(choice_at(j, 2), "finish_reason")), "length");
	CHECK_EQ(json_integer_value(json_object_get(choice_at(j, 3), "index")), 3);
	usage = json_object_get(j, "usage");
	CHECK_EQ(json_integer_value(json_object_get(usage, "prompt_tokens")), 3);
	CHECK_EQ(json_integer_value(json_object_get(usage, "completion_tokens")), 8);
	json_decref(j);
	web_close(&w.answer);
	world_close(&w);
}

static void check_in_order(const char *text, const char *const *parts, size_t count)
{
	const char *at = text;

	for (size_t i = 0; i < count; i++) {
		at = strstr(at, parts[i]);
		if (!at)
			fail_msg("'%s' is missing, or too early, in %s", parts[i], text);
		at += strlen(parts[i]);
	}
}

/* Goal: a stream has a chunk per token that says something, then the finish, the usage
 * that was asked for, and [DONE].
 */
TEST(completion__streams)
{
	static const char *const parts[] = {
		"data: {\"id\":\"chatcmpl-", "{\"role\":\"assistant\",\"content\":\"He\"}",
		"\"usage\":null}\n\n", "{\"content\":\"llo\"}", "{\"content\":\"!\"}",
		"\"finish_reason\":\"stop\",\"stop_reason\":\"X\"", "\"choices\":[],\"usage\":"
		"{\"prompt_tokens\":", "\"completion_tokens\":3,", "data: [DONE]\n\n",
	};
	struct world w;
	struct completion *c;
	const char *text;
	char type[64];

	world_open(&w);
	c = begin(&w, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"stream\": "
		      "true, \"stream_options\": {\"include_usage\": true}, \"stop\": \"X\"}");
	fake_token(fake.open[0], 40, "He", false);
	fake_token(fake.open[0], 41, "", false);
	fake_token(fake.open[0], 42, "llo", false);
	fake_finish(fake.open[0], FINISH_STOP, "!", "X", 0, NULL);
	text = finish(&w, c);
	CHECK_EQ(w.answer.status, 200);
	web_header(&w.answer, "Content-Type", type, sizeof(type));
	CHECK_TEXT(type, "text/event-stream; charset=utf-8");
	check_in_order(text, parts, ARRAY_LENGTH(parts));
	web_close(&w.answer);
	world_close(&w);
}

/* Goal: with return_token_ids every chunk has the ids it carries, the last token's too. */
TEST(completion__streams_token_ids)
{
	static const char *const parts[] = {
		"\"prompt_token_ids\":[5,6],\"token_ids\":[40]}", "\"prompt_token_ids\":[5,6],"
		"\"token_ids\":[41]}", "\"finish_reason\":\"stop\",\"stop_reason\":99,"
		"\"prompt_token_ids\":[5,6],\"token_ids\":[99]}",
	};
	struct world w;
	struct completion *c;

	world_open(&w);
	c = begin(&w, "{\"prompt\": [5, 6], \"stream\": true, \"return_token_ids\": true, "
		      "\"stop_token_ids\": [99]}");
	fake_token(fake.open[0], 40, "a", false);
	fake_token(fake.open[0], 41, "", false);
	fake_token(fake.open[0], 99, "", true);
	fake_finish(fake.open[0], FINISH_STOP, "", NULL, 0, NULL);
	check_in_order(finish(&w, c), parts, ARRAY_LENGTH(parts));
	web_close(&w.answer);
	world_close(&w);
}

/* Goal: continuous_usage_stats puts the usage so far into every chunk. */
TEST(completion__streams_usage)
{
	static const char *const parts[] = {
		"\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1,\"total_tokens\":3}}\n\n",
		"\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":2,\"total_tokens\":4}}\n\n",
	};
	struct world w;
	struct completion *c;

	world_open(&w);
	c = begin(&w, "{\"prompt\": [5, 6], \"stream\": true, \"stream_options\": "
		      "{\"continuous_usage_stats\": true}}");
	fake_token(fake.open[0], 40, "a", false);
	fake_token(fake.open[0], 41, "", false);
	fake_finish(fake.open[0], FINISH_LENGTH, "", NULL, 0, NULL);
	check_in_order(finish(&w, c), parts, ARRAY_LENGTH(parts));
	web_close(&w.answer);
	world_close(&w);
}

/* Goal: echo puts the prompt before the text, with its scores when asked for. */
TEST(completion__echoes)
{
	struct world w;
	struct completion *c;
	const json_t *scores;
	json_t *j;

	world_open(&w);
	c = begin(&w, "{\"prompt\": \"The\", \"echo\": true, \"logprobs\": 0, \"max_tokens\": 1}");
	fake_prompt(fake.open[0]);
	fake_token(fake.open[0], 40, "!", false);
	fake_finish(fake.open[0], FINISH_LENGTH, "", NULL, 0, NULL);
	finish(&w, c);
	j = web_json(&w.answer);
	CHECK_TEXT(text_at(j, 0), "The!");
	scores = json_object_get(json_object_get(choice_at(j, 0), "logprobs"), "token_logprobs");
	CHECK(json_array_size(scores) >= 2);
	CHECK(json_is_null(json_array_get(scores, 0)));
	json_decref(j);
	web_close(&w.answer);

	c = begin(&w, "{\"prompt\": \"The\", \"echo\": true, \"max_tokens\": 1, \"stream\": true}");
	CHECK(!fake.open[0]->o.score_prompt);
	fake_token(fake.open[0], 40, "!", false);
	fake_finish(fake.open[0], FINISH_LENGTH, "", NULL, 0, NULL);
	CHECK(strstr(finish(&w, c), "\"text\":\"The!\""));
	web_close(&w.answer);
	world_close(&w);
}

/* Goal: scoring alone (max_tokens 0) asks for the prompt's scores and nothing more. */
TEST(completion__scores_alone)
{
	struct world w;
	struct completion *c;
	json_t *j;

	world_open(&w);
	c = begin(&w, "{\"prompt\": [5, 6], \"echo\": true, \"max_tokens\": 0}");
	CHECK(fake.open[0]->o.score_prompt);
	CHECK_EQ(fake.open[0]->o.max_tokens, 0);
	fake_prompt(fake.open[0]);
	fake_finish(fake.open[0], FINISH_LENGTH, "", NULL, 0, NULL);
	finish(&w, c);
	j = web_json(&w.answer);
	CHECK_EQ(json_integer_value(json_object_get(json_object_get(j, "usage"),
						    "completion_tokens")), 0);
	json_decref(j);
	web_close(&w.answer);
	world_close(&w);
}

/* Goal: a failure before the first token has its own status, and ends the other choices. */
TEST(completion__fails_with_a_status)
{
	struct world w;
	struct completion *c;
	char message[128];

	world_open(&w);
	c = begin(&w, "{\"prompt\": \"The\", \"n\": 3, \"stream\": true}");
	fake_finish(fake.open[1], FINISH_ERROR, "", NULL, -ENOENT, "no server has blocks [8,16)");
	finish(&w, c);
	CHECK_EQ(w.answer.status, 503);
	web_error(&w.answer, "message", message, sizeof(message));
	CHECK_TEXT(message, "no server has blocks [8,16)");
	web_error(&w.answer, "code", message, sizeof(message));
	CHECK_TEXT(message, "blocks_missing");
	web_close(&w.answer);
	world_close(&w);
}

/* Goal: a failure in mid-stream is an event in it, and then it ends. */
TEST(completion__fails_within_a_stream)
{
	static const char *const parts[] = {
		"\"text\":\"a\"", "data: {\"error\":{\"message\":\"the deadline passed\",\"type\":"
		"\"server_error\",\"param\":null,\"code\":\"deadline_exceeded\"}}\n\n",
		"data: [DONE]\n\n",
	};
	struct world w;
	struct completion *c;

	world_open(&w);
	c = begin(&w, "{\"prompt\": \"The\", \"stream\": true}");
	fake_token(fake.open[0], 40, "a", false);
	fake_finish(fake.open[0], FINISH_ERROR, "", NULL, -ETIMEDOUT, "the deadline passed");
	check_in_order(finish(&w, c), parts, ARRAY_LENGTH(parts));
	CHECK_EQ(w.answer.status, 200);
	web_close(&w.answer);
	world_close(&w);
}

/* Goal: a generation that cannot even start is a failure, unless all are just busy. */
TEST(completion_start__fails_or_waits)
{
	struct world w;
	struct completion *c;

	world_open(&w);
	snprintf(w.body, sizeof(w.body), "{\"prompt\": \"The\"}");
	CHECK_EQ(pthread_create(&w.asker, NULL, ask, &w), 0);
	c = wait_arrived(&w);
	fake.most = 0;
	CHECK_EQ(completion_start(c), -EBUSY);
	CHECK(!completion_ended(c));
	fake.most = FAKE_MAX;
	fake.refuse = -ENOMEM;
	CHECK_EQ(completion_start(c), -ENOMEM);
	fake.refuse = 0;
	finish(&w, c);
	CHECK_EQ(w.answer.status, 503);
	web_close(&w.answer);
	world_close(&w);
}

/* Goal: when the client hangs up, reaping ends the completion and its generations. */
TEST(completion_reap__after_hanging_up)
{
	struct world w;
	struct completion *c;

	for (int started = 0; started < 3; started++) {
		int fd;

		world_open(&w);
		fd = web_connect(&w.at);
		CHECK(fd >= 0);
		CHECK_EQ(web_send_post(fd, "/v1/completions",
				       "{\"prompt\": \"The\", \"stream\": true}"), 0);
		c = wait_arrived(&w);
		if (started)
			CHECK_EQ(completion_start(c), 0);
		if (started == 2)
			fake_token(fake.open[0], 40, "a", false);
		close(fd);
		while (!atomic_load(&w.hung_up))
			usleep(200);
		completion_reap(c);
		CHECK(completion_ended(c));
		CHECK_EQ(completion_status(c), 499);
		completion_close(c);
		world_close(&w);
	}
}
