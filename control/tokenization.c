/* tokenization.c - reads and answers the two requests about tokens. */
#include "control/tokenization.h"

#include <errno.h>

#include "control/completion_prompt.h"
#include "control/json_print.h"
#include "dataplane/base/memory.h"

static void print_strings(const struct served_model *m, const struct token_list *ids,
			  struct buffer *out)
{
	for (size_t i = 0; i < ids->count; i++) {
		buffer_char(out, i ? ',' : '[');
		json_print_string(out, tokenizer_token(m->tokenizer, ids->ids[i]));
	}
	buffer_char(out, ']');
}

static void answer(struct http_exchange *x, struct buffer *body)
{
	if (buffer_failed(body))
		http_fail(x, 503, "server_error", NULL, "out_of_memory",
			  "out of memory for the answer");
	else
		http_reply(x, 200, "application/json", body->data, body->length);
	buffer_close(body);
}

static void answer_tokens(const struct served_model *m, const struct token_list *ids,
			  bool strings, struct http_exchange *x)
{
	struct buffer body = { 0 };

	buffer_printf(&body, "{\"count\":%zu,\"max_model_len\":%u,\"tokens\":", ids->count,
		      m->context);
	json_print_ids(&body, ids->ids, ids->count);
	buffer_text(&body, ",\"token_strs\":");
	if (strings)
		print_strings(m, ids, &body);
	else
		buffer_text(&body, "null");
	buffer_char(&body, '}');
	answer(x, &body);
}

void tokenization_encode(const struct served_model *m, struct http_exchange *x)
{
	struct completion_request r = { 0 };
	struct api_fault fault = { 0 };
	size_t bytes;
	const char *text = http_body(x, &bytes);
	json_t *body = completion_body(text, bytes, &fault);
	bool strings = json_is_true(json_object_get(body, "return_token_strs"));
	enum completion_kind kind = json_object_get(body, "messages") ? COMPLETION_CHAT :
								       COMPLETION_TEXT;
	int rc = body ? completion_request_read(&r, kind, text, bytes, m, &fault) : -EINVAL;

	json_decref(body);
	if (rc == 0 && r.prompt_count > 1)
		rc = api_fault_set(&fault, 400, "prompt", "too_many",
				   "prompt must be one text, got %u", r.prompt_count);
	if (rc == 0)
		rc = completion_encode(&r, m, &fault);
	if (rc < 0)
		api_fault_reply(&fault, x);
	else
		answer_tokens(m, &r.prompts[0].ids, strings, x);
	completion_request_close(&r);
}

static int read_tokens(const struct served_model *m, const json_t *body, struct token_list *out,
		       struct api_fault *f)
{
	const json_t *list = json_object_get(body, "tokens");
	size_t i;
	json_t *element;

	if (!json_is_array(list))
		return api_fault_set(f, 400, "tokens", "invalid_type",
				     "tokens must be a list of token ids");
	json_array_foreach((json_t *)list, i, element) {
		json_int_t id = json_integer_value(element);

		if (!json_is_integer(element) || id < 0 || id >= m->vocabulary)
			return api_fault_set(f, 400, "tokens", "invalid_token", "tokens[%zu] must "
					     "be an id from 0 to %u", i, m->vocabulary - 1);
		if (token_list_push(out, (uint32_t)id) < 0)
			return api_fault_set(f, 503, NULL, "out_of_memory",
					     "out of memory for the request");
	}
	return 0;
}

void tokenization_decode(const struct served_model *m, struct http_exchange *x)
{
	struct buffer text = { 0 }, body = { 0 };
	struct token_list ids = { 0 };
	struct api_fault fault = { 0 };
	size_t bytes;
	const char *request = http_body(x, &bytes);
	json_t *j = completion_body(request, bytes, &fault);
	int rc = j ? completion_check_model(j, m, &fault) : -EINVAL;

	if (rc == 0)
		rc = read_tokens(m, j, &ids, &fault);
	json_decref(j);
	if (rc == 0) {
		tokenizer_decode(m->tokenizer, ids.ids, ids.count, false, &text);
		buffer_text(&body, "{\"prompt\":");
		json_print_text(&body, buffer_string(&text), text.length);
		buffer_char(&body, '}');
		if (buffer_failed(&text))
			body.failed = buffer_failed(&text);
		answer(x, &body);
	} else {
		api_fault_reply(&fault, x);
	}
	buffer_close(&text);
	token_list_close(&ids);
}
