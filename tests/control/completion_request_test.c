/* completion_request_test.c - what is taken lands in its field; what is not is refused with
 * the parameter's name and a sentence.
 */
#include "control/completion_request.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

/* No tokenizer is needed to read. */
static const struct served_model model = {
	.name = "test-model", .vocabulary = 100, .context = 50, .default_tokens = 20,
	.choices_max = 16,
};

struct bad_body {
	const char *body, *param, *message;     /* param NULL: none; message: a part of it */
};

static void check_bad(enum completion_kind kind, const struct bad_body *bad, int status)
{
	struct completion_request r = { 0 };
	struct api_fault f = { 0 };

	if (completion_request_read(&r, kind, bad->body, strlen(bad->body), &model, &f) != -EINVAL)
		fail_msg("taken: %s", bad->body);
	if (f.status != status || strcmp(f.param, bad->param ? bad->param : "") != 0 ||
	    !strstr(f.message, bad->message))
		fail_msg("%s: %d '%s' %s", bad->body, f.status, f.param, f.message);
	completion_request_close(&r);
}

static void check_all(enum completion_kind kind, const struct bad_body *bad, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check_bad(kind, &bad[i], 400);
}

/* {"prompt": "x", REST}, {"messages": [...], REST} */
#define P(rest) "{\"prompt\": \"x\", " rest "}"
#define M(rest) "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], " rest "}"

/* Goal: what is no request, or has no prompt, is refused with the place of the fault. */
TEST(completion_request_read__bad_prompts)
{
	static const struct bad_body bad[] = {
		{ "", NULL, "the body is not JSON: line 1" },
		{ "{", NULL, "the body is not JSON" },
		{ "[]", NULL, "must be a JSON object, got a list" },
		{ "7", NULL, "must be a JSON object, got a number" },
		{ "{\"a\": 1} x", NULL, "the body is not JSON" },
		{ "{\"n\": 99999999999999999999}", NULL, "the body is not JSON" },
		{ "{}", "prompt", "prompt is missing" },
		{ "{\"prompt\": null}", "prompt", "prompt is missing" },
		{ "{\"prompt\": 7}", "prompt", "prompt must be text" },
		{ "{\"prompt\": []}", "prompt", "empty list" },
		{ "{\"prompt\": [[]]}", "prompt", "empty list of token ids" },
		{ "{\"prompt\": [{}]}", "prompt", "prompt must be text" },
		{ "{\"prompt\": [1, \"x\"]}", "prompt", "element 1" },
		{ "{\"prompt\": [1, 2.5]}", "prompt", "element 1" },
		{ "{\"prompt\": [100]}", "prompt", "names token 100; ids are 0 to 99" },
		{ "{\"prompt\": [-1]}", "prompt", "names token -1" },
		{ "{\"prompt\": [\"a\", 1]}", "prompt", "prompt must be text" },
		{ P("\"model\": 7"), "model", "model must be text, got a number" },
	};

	check_all(COMPLETION_TEXT, bad, ARRAY_LENGTH(bad));
}

/* Goal: so is each parameter that is out of its bounds. */
TEST(completion_request_read__bad_numbers)
{
	static const struct bad_body bad[] = {
		{ P("\"temperature\": 7"), "temperature",
		  "temperature must be between 0 and 2, got 7" },
		{ P("\"temperature\": -0.1"), "temperature", "got -0.1" },
		{ P("\"temperature\": \"hot\""), "temperature",
		  "temperature must be a number, got text" },
		{ P("\"temperature\": 1e400"), NULL, "the body is not JSON" },
		{ P("\"top_p\": 0"), "top_p", "above 0 and at most 1, got 0" },
		{ P("\"top_p\": 1.01"), "top_p", "got 1.01" },
		{ P("\"top_k\": -2"), "top_k", "between -1 and" },
		{ P("\"top_k\": 1.5"), "top_k", "must be a whole number" },
		{ P("\"min_p\": 2"), "min_p", "between 0 and 1, got 2" },
		{ P("\"repetition_penalty\": 0"), "repetition_penalty", "above 0" },
		{ P("\"presence_penalty\": 3"), "presence_penalty", "between -2 and 2, got 3" },
		{ P("\"frequency_penalty\": -3"), "frequency_penalty", "between -2 and 2" },
		{ P("\"max_tokens\": -1"), "max_tokens", "between 0 and 50, got -1" },
		{ P("\"max_tokens\": 1000000000000"), "max_tokens", "got 1000000000000" },
		{ P("\"max_tokens\": true"), "max_tokens", "must be a whole number, got true" },
		{ P("\"max_tokens\": 0"), "max_tokens", "at least 1, got 0" },
		{ P("\"min_tokens\": 9, \"max_tokens\": 8"), "min_tokens", "more than max_tokens" },
		{ P("\"n\": 0"), "n", "between 1 and 128, got 0" },
		{ P("\"n\": 1000"), "n", "got 1000" },
		{ P("\"n\": 17"), "n", "17 choices, the most of one request is 16" },
		{ P("\"best_of\": 2"), "best_of", "not supported yet" },
	};

	check_all(COMPLETION_TEXT, bad, ARRAY_LENGTH(bad));
}

/* Goal: and each that is no number, or asks for what is not there yet. */
TEST(completion_request_read__bad_settings)
{
	static const struct bad_body bad[] = {
		{ P("\"stop\": 7"), "stop", "must be text or a list of texts" },
		{ P("\"stop\": \"\""), "stop", "empty text" },
		{ P("\"stop\": [\"a\", 1]"), "stop", "must be text or a list of texts" },
		{ P("\"stop\": [\"a\\u0000b\"]"), "stop", "none of them may be zero" },
		{ P("\"stop\": [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\","
		    "\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]"), "stop",
		  "has 17 texts, the most is 16" },
		{ P("\"stop_token_ids\": 1"), "stop_token_ids", "a list of token ids" },
		{ P("\"stop_token_ids\": [100]"), "stop_token_ids", "between 0 and 99" },
		{ P("\"logit_bias\": []"), "logit_bias", "an object" },
		{ P("\"logit_bias\": {\"100\": 1}"), "logit_bias", "names token '100'" },
		{ P("\"logit_bias\": {\"-1\": 1}"), "logit_bias", "names token '-1'" },
		{ P("\"logit_bias\": {\"5x\": 1}"), "logit_bias", "names token '5x'" },
		{ P("\"logit_bias\": {\"5\": 101}"), "logit_bias", "between -100 and 100" },
		{ P("\"logit_bias\": {\"5\": \"a\"}"), "logit_bias", "between -100 and 100" },
		{ P("\"seed\": 1.5"), "seed", "must be a whole number" },
		{ P("\"logprobs\": 21"), "logprobs", "between 0 and 20, got 21" },
		{ P("\"logprobs\": true"), "logprobs", "must be a whole number" },
		{ P("\"echo\": 1"), "echo", "must be true or false, got a number" },
		{ P("\"stream\": \"yes\""), "stream", "must be true or false, got text" },
		{ P("\"stream_options\": {}"), "stream_options", "together with stream" },
		{ P("\"stream\": true, \"stream_options\": 1"), "stream_options", "an object" },
		{ P("\"stream\": true, \"stream_options\": {\"include_usage\": 1}"),
		  "stream_options.include_usage", "must be true or false" },
		{ P("\"suffix\": \"end\""), "suffix", "suffix is not supported yet" },
		{ P("\"prompt_logprobs\": 1"), "prompt_logprobs", "not supported yet" },
		{ P("\"guided_regex\": \"a*\""), "guided_regex", "not supported yet" },
		{ P("\"response_format\": {\"type\": \"json_object\"}"), "response_format",
		  "of type json_object is not supported yet" },
	};

	check_all(COMPLETION_TEXT, bad, ARRAY_LENGTH(bad));
}

/* Goal: likewise for a chat, and the fields that only chats have. */
TEST(completion_request_read__bad_chats)
{
	static const struct bad_body bad[] = {
		{ "{}", "messages", "messages is missing" },
		{ "{\"messages\": []}", "messages", "at least one message" },
		{ "{\"messages\": {}}", "messages", "must be a list" },
		{ "{\"messages\": [7]}", "messages", "messages[0] must be an object" },
		{ "{\"messages\": [{\"role\": 1, \"content\": \"x\"}]}", "messages",
		  "messages[0] must be" },
		{ "{\"messages\": [{\"role\": \"user\"}]}", "messages",
		  "messages[0].content must be text" },
		{ "{\"messages\": [{\"role\": \"user\", \"content\": 5}]}", "messages",
		  "messages[0].content must be text" },
		{ "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
		  "\"image_url\"}]}]}", "messages", "part 0 of messages[0].content is image_url" },
		{ "{\"messages\": [{\"role\": \"user\", \"content\": [\"x\"]}]}", "messages",
		  "no object with a type" },
		{ M("\"logprobs\": 1"), "logprobs", "must be true or false" },
		{ M("\"top_logprobs\": 3"), "top_logprobs", "together with logprobs" },
		{ M("\"logprobs\": true, \"top_logprobs\": 21"), "top_logprobs", "got 21" },
		{ M("\"max_completion_tokens\": 51"), "max_completion_tokens", "between 0 and 50" },
		{ M("\"max_tokens\": 0"), "max_tokens", "at least 1" },
		{ M("\"tools\": [{}]"), "tools", "tools is not supported yet" },
		{ M("\"tool_choice\": \"required\""), "tool_choice", "not supported yet" },
		{ M("\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {}}"),
		  "response_format", "of type json_schema is not supported yet" },
		{ M("\"response_format\": 1"), "response_format", "an object with a type" },
		{ M("\"chat_template\": \"x\""), "chat_template", "not supported yet" },
		{ M("\"chat_template_kwargs\": 1"), "chat_template_kwargs", "an object" },
	};

	check_all(COMPLETION_CHAT, bad, ARRAY_LENGTH(bad));
}

/* Goal: a model that is not ours is 404, whatever else is wrong. */
TEST(completion_request_read__unknown_model)
{
	const struct bad_body bad = {
		P("\"model\": \"gpt-4\", \"temperature\": 7"), "model",
		"the model 'gpt-4' does not exist; this gateway serves 'test-model'",
	};

	check_bad(COMPLETION_TEXT, &bad, 404);
}

static void read_good(struct completion_request *r, enum completion_kind kind, const char *body)
{
	struct api_fault f = { 0 };

	*r = (struct completion_request){ 0 };
	if (completion_request_read(r, kind, body, strlen(body), &model, &f) != 0)
		fail_msg("%s: %s", body, f.message);
}

/* Goal: what is not said has OpenAI's defaults. */
TEST(completion_request_read__defaults)
{
	struct completion_request r;

	read_good(&r, COMPLETION_TEXT, "{\"prompt\": \"x\", \"model\": \"test-model\"}");
	CHECK_EQ(r.prompt_count, 1);
	CHECK_EQ(r.n, 1);
	CHECK(r.sampler.temperature == 1 && r.sampler.top_p == 1);
	CHECK(!r.max_tokens_given && !r.seeded && !r.stream && !r.echo && !r.logprobs);
	CHECK(!r.keep_special && !r.no_special_tokens && !r.ignore_eos);
	completion_request_close(&r);
}

/* Goal: every parameter lands where it belongs. */
TEST(completion_request_read__takes_everything)
{
	struct completion_request r;

	read_good(&r, COMPLETION_TEXT,
		  P("\"max_tokens\": 7, \"temperature\": 0.5, \"top_p\": 0.9, \"top_k\": 40, "
		    "\"min_p\": 0.05, \"repetition_penalty\": 1.1, \"presence_penalty\": -1, "
		    "\"frequency_penalty\": 2, \"logit_bias\": {\"5\": -100, \"6\": 1.5}, "
		    "\"seed\": -3, \"stop\": [\"a\", \"bc\"], \"stop_token_ids\": [0, 99], "
		    "\"ignore_eos\": true, \"min_tokens\": 2, \"n\": 3, \"best_of\": 3, "
		    "\"echo\": true, \"logprobs\": 4, \"stream\": true, \"stream_options\": "
		    "{\"include_usage\": true, \"continuous_usage_stats\": true}, "
		    "\"return_token_ids\": true, \"skip_special_tokens\": false, "
		    "\"add_special_tokens\": false, \"user\": \"me\", \"unheard_of\": [1, 2]"));
	CHECK_EQ(r.max_tokens, 7);
	CHECK(r.max_tokens_given && r.seeded && r.ignore_eos && r.echo && r.logprobs && r.stream);
	CHECK(r.include_usage && r.continuous_usage && r.return_token_ids && r.keep_special);
	CHECK(r.no_special_tokens);
	CHECK(r.sampler.temperature == 0.5f && r.sampler.top_p == 0.9f);
	CHECK(r.sampler.min_p == 0.05f && r.sampler.repetition_penalty == 1.1f);
	CHECK(r.sampler.presence_penalty == -1 && r.sampler.frequency_penalty == 2);
	CHECK_EQ(r.sampler.top_k, 40);
	CHECK_EQ(r.sampler.bias_count, 2);
	CHECK_EQ(r.bias[0].token, 5);
	CHECK(r.bias[0].bias == -100 && r.bias[1].bias == 1.5f);
	CHECK_EQ((int64_t)r.sampler.seed, -3);
	CHECK_EQ(r.stop_count, 2);
	CHECK_TEXT(r.stops[1], "bc");
	CHECK_EQ(r.sampler.stop_id_count, 2);
	CHECK_EQ(r.stop_ids[1], 99);
	CHECK_EQ(r.sampler.min_tokens, 2);
	CHECK_EQ(r.n, 3);
	CHECK_EQ(r.sampler.top_logprobs, 4);
	completion_request_close(&r);
}

/* Goal: prompts in all four shapes. */
TEST(completion_request_read__prompt_shapes)
{
	struct completion_request r;

	read_good(&r, COMPLETION_TEXT, "{\"prompt\": [\"one\", \"two\\u0000\"]}");
	CHECK_EQ(r.prompt_count, 2);
	CHECK_EQ(r.prompts[1].bytes, 4);
	completion_request_close(&r);
	read_good(&r, COMPLETION_TEXT, "{\"prompt\": [5, 6, 7]}");
	CHECK_EQ(r.prompt_count, 1);
	CHECK_EQ(r.prompts[0].ids.count, 3);
	CHECK_EQ(r.prompts[0].ids.ids[2], 7);
	completion_request_close(&r);
	read_good(&r, COMPLETION_TEXT, "{\"prompt\": [[5], [6, 7]]}");
	CHECK_EQ(r.prompt_count, 2);
	CHECK_EQ(r.prompts[1].ids.count, 2);
	completion_request_close(&r);
}

/* Goal: requests that ask politely for nothing special are taken; null means unsaid. */
TEST(completion_request_read__asks_for_nothing)
{
	struct completion_request r;

	read_good(&r, COMPLETION_CHAT,
		  M("\"tools\": [], \"tool_choice\": \"auto\", \"response_format\": "
		    "{\"type\": \"text\"}, \"temperature\": null, \"stop\": null, \"n\": null, "
		    "\"logprobs\": false, \"top_logprobs\": 0, \"max_tokens\": 3, "
		    "\"max_completion_tokens\": 5, \"top_k\": -1, \"echo\": 7"));
	CHECK_EQ(r.max_tokens, 5);
	CHECK_EQ(r.sampler.top_k, 0);
	CHECK(!r.logprobs);
	completion_request_close(&r);
	read_good(&r, COMPLETION_TEXT, P("\"max_tokens\": 0, \"echo\": true, \"logprobs\": 0"));
	CHECK(r.logprobs && r.sampler.top_logprobs == 0);
	completion_request_close(&r);
}

/* Goal: content parts become text, newer roles older ones, other keys stay. */
TEST(completion_request_read__messages)
{
	struct completion_request r;
	const json_t *m;

	read_good(&r, COMPLETION_CHAT,
		  "{\"messages\": [{\"role\": \"developer\", \"content\": \"be brief\"}, "
		  "{\"role\": \"user\", \"name\": \"ann\", \"content\": [{\"type\": \"text\", "
		  "\"text\": \"one\"}, {\"type\": \"text\", \"text\": \"two\"}]}, "
		  "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{}]}]}");
	CHECK_EQ(json_array_size(r.messages), 3);
	m = json_array_get(r.messages, 0);
	CHECK_TEXT(json_string_value(json_object_get(m, "role")), "system");
	m = json_array_get(r.messages, 1);
	CHECK_TEXT(json_string_value(json_object_get(m, "content")), "one\ntwo");
	CHECK_TEXT(json_string_value(json_object_get(m, "name")), "ann");
	m = json_array_get(r.messages, 2);
	CHECK_TEXT(json_string_value(json_object_get(m, "content")), "");
	completion_request_close(&r);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, the request is refused and nothing is lost. */
TEST(completion_request_read__survives_every_failure)
{
	const char *body = P("\"stop\": [\"a\", \"b\"], \"stop_token_ids\": [1], "
			     "\"logit_bias\": {\"5\": 1}, \"user\": \"me\"");
	uint64_t live = mem_live_blocks();
	int nth, rc;

	for (nth = 1;; nth++) {
		struct completion_request r = { 0 };
		struct api_fault f = { 0 };

		fault_arm(nth);
		rc = completion_request_read(&r, COMPLETION_TEXT, body, strlen(body), &model, &f);
		completion_request_close(&r);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -EINVAL);
		CHECK_EQ(f.status, 503);
	}
	fault_disarm();
	CHECK(nth > 4);
	CHECK_EQ(rc, 0);
}
#endif
