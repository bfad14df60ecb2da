/* bench_serve.c - owns the streaming clients of petals-bench, and its verb serve.
 */
#include "tools/bench_serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "tools/bench.h"
#include "tools/stats.h"

#define ANSWER_NS (300 * NS_PER_S)

struct client {
	const struct serve_options *options;
	uint32_t number;
	CURL *curl;
	char *body;
	struct buffer line, raw;
	uint32_t *ids, count;
	uint64_t *when_ns;              /* tokens: when each came */
	uint64_t started_ns;
	bool done;                      /* [DONE] came */
	char problem[256];
};

/* The same number, the same prompt; different from its first token on. */
static json_t *make_prompt(const struct serve_options *o, uint32_t number)
{
	uint64_t least = o->ids_below / 64, room = MAX(o->ids_below - least, 1);
	json_t *ids = json_array();

	for (uint32_t i = 0; i < o->prompt_tokens; i++)
		json_array_append_new(ids, json_integer((json_int_t)(
			least + (1009ull * (number + 1) + 7919ull * i) % room)));
	return ids;
}

static char *make_body(const struct serve_options *o, uint32_t number)
{
	json_t *body = json_pack("{s:o,s:i,s:b,s:{s:b},s:b,s:b,s:i}",
				 "prompt", make_prompt(o, number), "max_tokens", (int)o->tokens,
				 "stream", 1, "stream_options", "include_usage", 1,
				 "ignore_eos", 1, "return_token_ids", 1, "temperature", 0);
	char *text = json_dumps(body, JSON_COMPACT);

	json_decref(body);
	return text;
}

/* Of several clients, two ask each prompt. */
static uint32_t prompt_of(const struct serve_options *o, uint32_t client)
{
	return o->first_prompt + client % ((o->clients + 1) / 2);
}

static void take_event(struct client *c, const char *data)
{
	uint64_t now_ns = clock_ns(clock_real());
	json_t *event, *ids, *id;
	const char *error;
	size_t i;

	if (strcmp(data, "[DONE]") == 0) {
		c->done = true;
		return;
	}
	event = json_loads(data, 0, NULL);
	error = json_string_value(json_object_get(json_object_get(event, "error"), "message"));
	if (error)
		snprintf(c->problem, sizeof(c->problem), "%s", error);
	ids = json_object_get(json_array_get(json_object_get(event, "choices"), 0), "token_ids");
	json_array_foreach(ids, i, id) {
		if (c->count >= c->options->tokens)
			break;
		c->when_ns[c->count] = now_ns;
		c->ids[c->count++] = (uint32_t)json_integer_value(id);
		if (c->options->on_token)
			c->options->on_token(c->options->ctx, c->number, c->count);
	}
	json_decref(event);
}

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
	struct client *c = ctx;

	for (size_t i = 0; i < size * count; i++) {
		if (c->raw.length < 1024)
			buffer_char(&c->raw, data[i]);
		if (data[i] != '\n') {
			if (data[i] != '\r')
				buffer_char(&c->line, data[i]);
			continue;
		}
		if (strncmp(buffer_string(&c->line), "data: ", 6) == 0)
			take_event(c, c->line.data + 6);
		buffer_clear(&c->line);
	}
	return buffer_failed(&c->line) ? 0 : size * count;
}

static int client_open(struct client *c, const struct serve_options *o, uint32_t number,
		       struct curl_slist *headers, struct error *e)
{
	char url[512];

	*c = (struct client){
		.options = o, .number = number, .curl = curl_easy_init(),
		.body = make_body(o, prompt_of(o, number)), .line = { .bound = 4 << 20 },
		.ids = mem_calloc(o->tokens, sizeof(*c->ids)),
		.when_ns = mem_calloc(o->tokens, sizeof(*c->when_ns)),
	};
	if (!c->curl || !c->body || !c->ids || !c->when_ns)
		return error_errno(e, -ENOMEM, "client %u", number);
	snprintf(url, sizeof(url), "%s/v1/completions", o->gateway);
	curl_easy_setopt(c->curl, CURLOPT_URL, url);
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, c->body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(c->curl, CURLOPT_PRIVATE, c);
	curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c->curl, CURLOPT_TCP_NODELAY, 1L);
	return 0;
}

static void client_close(struct client *c)
{
	if (c->curl)
		curl_easy_cleanup(c->curl);
	free(c->body);
	buffer_close(&c->line);
	buffer_close(&c->raw);
	mem_free(c->ids);
	mem_free(c->when_ns);
}

/* Why a client that is through did not get what it asked for; 0 when it did. */
static int check_client(const struct client *c, CURLcode code, struct error *e)
{
	long status = 0;

	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		return error_set(e, -EIO, "client %u: %s: %s", c->number, c->options->gateway,
				 curl_easy_strerror(code));
	if (status != 200)
		return error_set(e, -EIO, "client %u: the gateway answered %ld: %.200s", c->number,
				 status, buffer_string(&c->raw));
	if (c->problem[0])
		return error_set(e, -EIO, "client %u: %s", c->number, c->problem);
	if (!c->done || c->count != c->options->tokens)
		return error_set(e, -EIO, "client %u: the answer broke off after %u of %u tokens",
				 c->number, c->count, c->options->tokens);
	return 0;
}

static int run_clients(CURLM *multi, struct client *clients, uint32_t count, struct error *e)
{
	uint64_t start_ns = clock_ns(clock_real());
	int running = 1, left, rc = 0;

	for (uint32_t i = 0; i < count; i++) {
		clients[i].started_ns = start_ns;
		curl_multi_add_handle(multi, clients[i].curl);
	}
	while (running && rc == 0) {
		const CURLMsg *message;

		if (curl_multi_perform(multi, &running) != CURLM_OK ||
		    (running && curl_multi_poll(multi, NULL, 0, 1000, NULL) != CURLM_OK))
			rc = error_set(e, -EIO, "curl cannot drive %u clients", count);
		while (rc == 0 && (message = curl_multi_info_read(multi, &left))) {
			struct client *c = NULL;

			if (message->msg != CURLMSG_DONE)
				continue;
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &c);
			rc = check_client(c, message->data.result, e);
		}
		if (rc == 0 && clock_ns(clock_real()) - start_ns > ANSWER_NS)
			rc = error_set(e, -ETIMEDOUT, "no answer in %llu s",
				       (unsigned long long)(ANSWER_NS / NS_PER_S));
	}
	for (uint32_t i = 0; i < count; i++)
		curl_multi_remove_handle(multi, clients[i].curl);
	return rc;
}

static int check_equal(const struct client *clients, const struct serve_options *o,
		       struct error *e)
{
	uint32_t distinct = (o->clients + 1) / 2;

	for (uint32_t i = distinct; i < o->clients; i++)
		if (memcmp(clients[i].ids, clients[i - distinct].ids,
			   o->tokens * sizeof(uint32_t)) != 0)
			return error_set(e, -EBADMSG, "clients %u and %u asked the same and got "
					 "different tokens", i - distinct, i);
	return 0;
}

static int summarise(const struct client *clients, const struct serve_options *o,
		     struct serve_result *r, struct error *e)
{
	uint32_t n = o->clients, gaps = 0;
	double *first = mem_calloc(n, sizeof(*first)), *rate = mem_calloc(n, sizeof(*rate));
	double *gap = mem_calloc((size_t)n * o->tokens, sizeof(*gap));
	uint64_t last_ns = 0, last_first_ns = 0, start_ns = clients[0].started_ns;

	r->ids = mem_calloc((size_t)n * o->tokens, sizeof(*r->ids));
	for (uint32_t i = 0; first && rate && gap && r->ids && i < n; i++) {
		const struct client *c = &clients[i];
		uint64_t end_ns = c->when_ns[o->tokens - 1];

		memcpy(r->ids + (size_t)i * o->tokens, c->ids, o->tokens * sizeof(*c->ids));
		first[i] = (double)(c->when_ns[0] - c->started_ns) / NS_PER_S;
		rate[i] = end_ns > c->when_ns[0] ? (double)(o->tokens - 1) * NS_PER_S /
						   (double)(end_ns - c->when_ns[0]) : 0;
		for (uint32_t t = 1; t < o->tokens; t++)
			gap[gaps++] = (double)(c->when_ns[t] - c->when_ns[t - 1]) / NS_PER_S;
		last_ns = MAX(last_ns, end_ns);
		last_first_ns = MAX(last_first_ns, c->when_ns[0]);
	}
	if (last_ns) {
		r->clients = n;
		r->tokens = o->tokens;
		r->prompt_tokens = o->prompt_tokens;
		r->seconds = (double)(last_ns - start_ns) / NS_PER_S;
		r->tokens_per_second = (double)n * o->tokens / r->seconds;
		r->prefill_per_second = (double)n * o->prompt_tokens * NS_PER_S /
					(double)(last_first_ns - start_ns);
		r->decode_per_second = stats_median(rate, n);
		stats_sort(first, n);
		stats_sort(gap, gaps);
		r->ttft_p50 = stats_quantile(first, n, 0.5);
		r->ttft_p99 = stats_quantile(first, n, 0.99);
		r->itl_p50 = stats_quantile(gap, gaps, 0.5);
		r->itl_p99 = stats_quantile(gap, gaps, 0.99);
		r->itl_most = stats_quantile(gap, gaps, 1);
	}
	mem_free(first);
	mem_free(rate);
	mem_free(gap);
	return last_ns ? 0 : error_errno(e, -ENOMEM, "figures of %u clients", n);
}

int serve_measure(const struct serve_options *o, struct serve_result *out, struct error *e)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	struct client *clients = mem_calloc(o->clients, sizeof(*clients));
	CURLM *multi = curl_multi_init();
	int rc = clients && multi && headers ? 0 : error_errno(e, -ENOMEM, "clients");

	*out = (struct serve_result){ 0 };
	for (uint32_t i = 0; rc == 0 && i < o->clients; i++)
		rc = client_open(&clients[i], o, i, headers, e);
	if (rc == 0)
		rc = run_clients(multi, clients, o->clients, e);
	if (rc == 0)
		rc = check_equal(clients, o, e);
	if (rc == 0)
		rc = summarise(clients, o, out, e);
	for (uint32_t i = 0; clients && i < o->clients; i++)
		client_close(&clients[i]);
	mem_free(clients);
	curl_multi_cleanup(multi);
	curl_slist_free_all(headers);
	if (rc < 0)
		serve_result_close(out);
	return rc;
}

void serve_result_close(struct serve_result *r)
{
	mem_free(r->ids);
	r->ids = NULL;
}

bool serve_same(const struct serve_result *a, uint32_t client_a, const struct serve_result *b,
		uint32_t client_b)
{
	uint32_t tokens = MIN(a->tokens, b->tokens);

	return memcmp(a->ids + (size_t)client_a * a->tokens, b->ids + (size_t)client_b * b->tokens,
		      tokens * sizeof(uint32_t)) == 0;
}

json_t *serve_describe(const struct serve_result *r)
{
	return json_pack("{s:i,s:i,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f}",
			 "clients", (int)r->clients, "tokens", (int)r->tokens,
			 "prompt_tokens", (int)r->prompt_tokens,
			 "tokens_per_second", r->tokens_per_second,
			 "decode_tokens_per_second", r->decode_per_second,
			 "prefill_tokens_per_second", r->prefill_per_second,
			 "first_token_ms_p50", r->ttft_p50 * 1e3,
			 "first_token_ms_p99", r->ttft_p99 * 1e3,
			 "inter_token_ms_p50", r->itl_p50 * 1e3,
			 "inter_token_ms_p99", r->itl_p99 * 1e3);
}

struct serve_flags {
	char *gateway;
	int64_t clients, tokens, prompt_tokens, ids_below;
	bool json;
};

#define AT(field) offsetof(struct serve_flags, field)

static const struct option options[] = {
	{ "gateway", OPTION_TEXT, AT(gateway), "http://127.0.0.1:8080", .metavar = "URL",
	  .help = "the gateway to ask" },
	{ "clients", OPTION_INTEGER, AT(clients), "1", 1, 4096, .help = "requests at once" },
	{ "tokens", OPTION_INTEGER, AT(tokens), "64", 1, 1 << 20,
	  .help = "tokens each of them generates" },
	{ "prompt-tokens", OPTION_INTEGER, AT(prompt_tokens), "32", 1, 1 << 20,
	  .help = "length of each prompt" },
	{ "ids-below", OPTION_INTEGER, AT(ids_below), "20000", 2, 1 << 24, .metavar = "ID",
	  .help = "prompts hold token ids below this one" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object" },
};

static int run(void *target, int operand_count, char **operands)
{
	const struct serve_flags *f = target;
	const struct serve_options o = {
		.gateway = f->gateway, .clients = (uint32_t)f->clients,
		.tokens = (uint32_t)f->tokens, .prompt_tokens = (uint32_t)f->prompt_tokens,
		.ids_below = (uint32_t)f->ids_below,
	};
	struct serve_result result;
	struct error e = { 0 };
	json_t *described;

	if (serve_measure(&o, &result, &e) < 0)
		return bench_fail("serve", &e);
	described = serve_describe(&result);
	serve_result_close(&result);
	return bench_print(described, f->json);
}

const struct program bench_serve = {
	.name = "serve", .summary = "streams completions from a gateway with many clients at once",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct serve_flags), .run = run,
};
