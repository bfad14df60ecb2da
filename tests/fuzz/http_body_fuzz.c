/* http_body_fuzz.c - bodies of completions and chats, read and encoded as the gateway does.
 *
 * The first byte chooses: 'm' and 'c' take the rest as a chat's and a completion's body;
 * capitals take it as a script that picks keys and values, so that sound JSON with any
 * combination of them is reached.
 */
#include <string.h>

#include "control/completion_prompt.h"
#include "dataplane/base/memory.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

static const char *const seeds[] = {
	"c{\"prompt\": \"The server\", \"max_tokens\": 7, \"temperature\": 0.5, \"top_p\": 0.9, "
	"\"top_k\": 40, \"min_p\": 0.05, \"repetition_penalty\": 1.1, \"presence_penalty\": -1, "
	"\"frequency_penalty\": 2, \"logit_bias\": {\"5\": -100, \"6\": 1.5}, \"seed\": -3}",
	"c{\"prompt\": [\"one\", \"two\"], \"stop\": [\"a\", \"bc\"], \"stop_token_ids\": [0, 9], "
	"\"ignore_eos\": true, \"min_tokens\": 2, \"n\": 3, \"best_of\": 3, \"echo\": true, "
	"\"logprobs\": 4, \"stream\": true, \"stream_options\": {\"include_usage\": true}}",
	"c{\"prompt\": [5, 6, 7], \"model\": \"m\", \"return_token_ids\": true}",
	"c{\"prompt\": [[5], [6, 7]], \"suffix\": null, \"skip_special_tokens\": false}",
	"m{\"messages\": [{\"role\": \"system\", \"content\": \"be brief\"}, "
	"{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"hi\"}]}], "
	"\"tools\": [], \"logprobs\": true, \"top_logprobs\": 2, "
	"\"max_completion_tokens\": 5, \"response_format\": {\"type\": \"text\"}, "
	"\"chat_template_kwargs\": {\"x\": 1}}",
	"m{\"messages\": [{\"role\": \"assistant\", \"content\": null, "
	"\"tool_calls\": [{}]}], "
	"\"add_generation_prompt\": false, \"tool_choice\": \"auto\", \"user\": \"me\"}",
	/* Scripts: a prompt or messages, then a walk over the keys. */
	"C\x22\x13\x02\x03\x04\x05\x05\x06\x06\x07\x07\x08\x08\x09\x09\x0a\x0a\x0b\x0b\x0c\x0c\x0d",
	"M\x01\x22\x02\x06\x14\x01\x15\x05\x16\x01\x17\x1f\x18\x01\x19\x02\x1c\x21\x1d\x1e",
};

/* One vocabulary entry per byte, and a template of one expression. */
static const char tokenizer_json[] =
	"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"d\": 3, "
	"\"e\": 4, \"ab\": 5}, \"merges\": [\"a b\"]}, \"pre_tokenizer\": {\"type\": "
	"\"ByteLevel\", \"add_prefix_space\": false}, \"decoder\": {\"type\": \"ByteLevel\"}}";
static const char chat_template[] = "{% for m in messages %}{{ m['role'] + m['content'] }}"
				    "{% endfor %}{{ bos_token }}";

static const struct served_model *model(void)
{
	static struct served_model m = {
		.name = "m", .vocabulary = 16, .context = 64, .default_tokens = 16,
		.choices_max = 16,
	};
	static struct tokenizer *tokenizer;
	static struct chat_template *template;

	if (!tokenizer) {
		int rc = tokenizer_open_json(&tokenizer, tokenizer_json, strlen(tokenizer_json),
					     NULL);

		assert(rc == 0);
		rc = chat_template_open(&template, chat_template, strlen(chat_template), NULL);
		assert(rc == 0);
	}
	m.tokenizer = tokenizer;
	m.chat_template = template;
	return &m;
}

static const char *const keys[] = {
	"prompt", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p",
	"top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
	"logit_bias", "seed", "stop", "stop_token_ids", "ignore_eos", "min_tokens", "n",
	"best_of", "echo", "logprobs", "top_logprobs", "stream", "stream_options",
	"return_token_ids", "skip_special_tokens", "add_special_tokens", "add_generation_prompt",
	"chat_template_kwargs", "response_format", "tool_choice", "tools", "suffix", "model",
};

static const char *const values[] = {
	"null", "true", "false", "0", "1", "2", "-1", "0.5", "1e300", "-1e-300", "3", "15", "16",
	"17", "64", "65", "2147483648", "-9223372036854775808", "\"\"", "\"ab\"", "\"\\u0000\"",
	"\"m\"", "\"none\"", "[]", "[1]", "[[1, 2], [3]]", "[\"a\", \"b\"]", "[15, 16]", "[{}]",
	"{}", "{\"type\": \"text\"}", "{\"include_usage\": true}", "{\"5\": 1, \"6\": -100}",
	"{\"bos_token\": []}", "[{\"role\": \"user\", \"content\": \"abc\"}]",
	"[{\"role\": \"a\", \"content\": [{\"type\": \"text\", \"text\": \"b\"}]}]",
	"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
};

/* Two bytes of the script per member. */
static void write_body(const uint8_t *script, size_t size, struct buffer *out)
{
	buffer_text(out, "{");
	for (size_t i = 0; i + 1 < size; i += 2)
		buffer_printf(out, "%s\"%s\": %s", i ? ", " : "",
			      keys[script[i] % ARRAY_LENGTH(keys)],
			      values[script[i + 1] % ARRAY_LENGTH(values)]);
	buffer_text(out, "}");
}

static void run(enum completion_kind kind, const char *body, size_t bytes)
{
	struct completion_request r = { 0 };
	struct api_fault f = { 0 };
	struct buffer text = { 0 };
	int rc = completion_request_read(&r, kind, body, bytes, model(), &f);

	if (rc == 0)
		rc = completion_encode(&r, model(), &f);
	if (rc == 0)
		rc = completion_fit(&r, model(), &f);
	/* Refused with a status and a sentence, or within every bound. */
	assert(rc < 0 ? f.status >= 400 && f.message[0] : f.status == 0);
	if (rc == 0) {
		struct error e;

		assert(sampler_options_check(&r.sampler, model()->vocabulary, &e) == 0);
		assert(r.prompt_count * r.n <= model()->choices_max);
		for (uint32_t i = 0; i < r.prompt_count; i++)
			assert(r.prompts[i].ids.count + r.max_tokens <= model()->context);
	}
	api_fault_print(&f, &text);
	buffer_close(&text);
	completion_request_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer body = { 0 };
	enum completion_kind kind;

	if (size == 0)
		return 0;
	kind = data[0] == 'm' || data[0] == 'M' ? COMPLETION_CHAT : COMPLETION_TEXT;
	if (data[0] >= 'A' && data[0] <= 'Z')
		write_body(data + 1, size - 1, &body);
	else
		buffer_append(&body, data + 1, size - 1);
	run(kind, buffer_string(&body), body.length);
	buffer_close(&body);
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	return text_seed(seeds, ARRAY_LENGTH(seeds), index, out, capacity);
}
