/* completion_prompt.c - from what a client said to token ids.
 *
 * Owns the shapes of prompts and messages.  Leaves the template's own language to
 * chat_template.c, and tokens to tokenizer.c.
 */
#include "control/completion_prompt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/memory.h"

/* No token is longer than this on average: a text beyond it cannot fit a context, and is
 * refused before time is spent on it.
 */
enum { TOKEN_BYTES_MAX = 64, ROLE_BYTES_MAX = 64 };

static int out_of_memory(struct api_fault *f)
{
	return api_fault_set(f, 503, NULL, "out_of_memory", "out of memory for the request");
}

static int read_text(struct completion_prompt *p, const json_t *v, struct api_fault *f)
{
	p->bytes = json_string_length(v);
	p->text = mem_alloc(p->bytes + 1);
	if (!p->text)
		return out_of_memory(f);
	memcpy(p->text, json_string_value(v), p->bytes + 1);
	return 0;
}

static int read_ids(struct completion_prompt *p, const json_t *v, const struct served_model *m,
		    struct api_fault *f)
{
	size_t i;
	json_t *element;

	if (json_array_size(v) == 0)
		return api_fault_set(f, 400, "prompt", "empty", "prompt holds an empty list of "
				     "token ids");
	json_array_foreach((json_t *)v, i, element) {
		json_int_t id = json_integer_value(element);

		if (!json_is_integer(element))
			return api_fault_set(f, 400, "prompt", "invalid_type",
					     "element %zu of a prompt's token ids is no whole "
					     "number", i);
		if (id < 0 || id >= m->vocabulary)
			return api_fault_set(f, 400, "prompt", "invalid_token", "prompt names "
					     "token %" JSON_INTEGER_FORMAT "; ids are 0 to %u", id,
					     m->vocabulary - 1);
		if (token_list_push(&p->ids, (uint32_t)id) < 0)
			return out_of_memory(f);
	}
	return 0;
}

static int read_one(struct completion_request *r, const json_t *v, const struct served_model *m,
		    struct api_fault *f)
{
	struct completion_prompt *p = &r->prompts[r->prompt_count++];

	if (json_is_string(v))
		return read_text(p, v, f);
	if (json_is_array(v))
		return read_ids(p, v, m, f);
	return api_fault_set(f, 400, "prompt", "invalid_type", "prompt must be text, a list of "
			     "texts, token ids, or a list of those");
}

int completion_read_prompt(struct completion_request *r, const json_t *v,
			   const struct served_model *m, struct api_fault *f)
{
	/* A list of numbers is one prompt; a list of anything else is many. */
	bool many = json_is_array(v) && !json_is_integer(json_array_get(v, 0));
	size_t count = many ? json_array_size(v) : 1;
	int rc = 0;

	if (count == 0)
		return api_fault_set(f, 400, "prompt", "empty", "prompt is an empty list");
	if (count > m->choices_max)
		return api_fault_set(f, 400, "prompt", "too_many", "prompt has %zu elements, the "
				     "most of one request is %u", count, m->choices_max);
	r->prompts = mem_calloc(count, sizeof(*r->prompts));
	if (!r->prompts)
		return out_of_memory(f);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = read_one(r, many ? json_array_get(v, i) : v, m, f);
	return rc;
}

/* Text parts one after another, a line each. */
static json_t *read_parts(const json_t *parts, size_t at, struct api_fault *f)
{
	struct buffer text = { 0 };
	json_t *part, *joined = NULL;
	size_t i;

	json_array_foreach((json_t *)parts, i, part) {
		const char *type = json_string_value(json_object_get(part, "type"));
		const json_t *words = json_object_get(part, "text");

		if (!type || strcmp(type, "text") != 0 || !json_is_string(words)) {
			api_fault_set(f, 400, "messages", type ? "not_supported" : "invalid_type",
				      "part %zu of messages[%zu].content is %.40s; this model "
				      "takes parts of type text, with their text", i, at,
				      type ? type : "no object with a type");
			goto out;
		}
		if (i)
			buffer_char(&text, '\n');
		buffer_append(&text, json_string_value(words), json_string_length(words));
	}
	if (buffer_failed(&text) == 0)
		joined = json_stringn(buffer_string(&text), text.length);
	if (!joined)
		out_of_memory(f);
out:
	buffer_close(&text);
	return joined;
}

static json_t *read_content(const json_t *message, size_t at, struct api_fault *f)
{
	json_t *content = json_object_get(message, "content");

	if (json_is_string(content))
		return json_incref(content);
	if (json_is_array(content))
		return read_parts(content, at, f);
	/* An assistant that called a tool said nothing. */
	if ((!content || json_is_null(content)) && json_object_get(message, "tool_calls"))
		return json_string("");
	api_fault_set(f, 400, "messages", "invalid_type", "messages[%zu].content must be text or a "
		      "list of text parts", at);
	return NULL;
}

/* A copy whose content is text, whatever shape it came in. */
static json_t *read_message(const json_t *message, size_t at, struct api_fault *f)
{
	const char *role = json_string_value(json_object_get(message, "role"));
	json_t *content, *copy;

	if (!role || !*role || strlen(role) > ROLE_BYTES_MAX) {
		api_fault_set(f, 400, "messages", "invalid_type", "messages[%zu] must be an object "
			      "with a role and a content", at);
		return NULL;
	}
	content = read_content(message, at, f);
	if (!content)
		return NULL;
	copy = json_copy((json_t *)message);
	if (!copy || json_object_set_new(copy, "content", content) < 0) {
		json_decref(copy);
		out_of_memory(f);
		return NULL;
	}
	/* OpenAI's newer name; templates know the older one. */
	if (strcmp(role, "developer") == 0)
		json_object_set_new(copy, "role", json_string("system"));
	return copy;
}

int completion_read_messages(struct completion_request *r, const json_t *v, struct api_fault *f)
{
	size_t i;
	json_t *message, *copy;

	if (!json_is_array(v) || json_array_size(v) == 0)
		return api_fault_set(f, 400, "messages", "invalid_type", "messages must be a list "
				     "of at least one message");
	if (json_array_size(v) > COMPLETION_MESSAGES_MAX)
		return api_fault_set(f, 400, "messages", "too_many", "messages has %zu elements, "
				     "the most is %d", json_array_size(v), COMPLETION_MESSAGES_MAX);
	r->messages = json_array();
	if (!r->messages)
		return out_of_memory(f);
	json_array_foreach((json_t *)v, i, message) {
		copy = read_message(message, i, f);
		if (!copy)
			return -EINVAL;
		if (json_array_append_new(r->messages, copy) < 0)
			return out_of_memory(f);
	}
	return 0;
}

int completion_render(const struct completion_request *r, const struct served_model *m,
		      struct buffer *out, struct api_fault *f)
{
	struct error e = { 0 };
	json_t *variables;
	int rc;

	if (!m->chat_template)
		return api_fault_set(f, 400, "messages", "no_chat_template", "the model %s has no "
				     "chat template; use /v1/completions", m->name);
	variables = r->template_variables ? json_copy(r->template_variables) : json_object();
	if (!variables)
		return out_of_memory(f);
	json_object_set(variables, "messages", r->messages);
	json_object_set_new(variables, "add_generation_prompt",
			    json_boolean(!r->no_generation_prompt));
	json_object_set_new(variables, "bos_token", json_string(tokenizer_bos(m->tokenizer)));
	json_object_set_new(variables, "eos_token", json_string(tokenizer_eos(m->tokenizer)));
	rc = chat_template_render(m->chat_template, variables, out, &e);
	json_decref(variables);
	if (rc == -ENOMEM)
		return out_of_memory(f);
	if (rc < 0)
		return api_fault_set(f, 400, "messages", "template_refused", "the model's chat "
				     "template refuses these messages: %.300s", e.text);
	return 0;
}

static int encode_text(const char *text, size_t bytes, unsigned flags,
		       const struct served_model *m, const char *param, struct token_list *out,
		       struct api_fault *f)
{
	struct error e = { 0 };
	int rc;

	if (bytes / TOKEN_BYTES_MAX > m->context)
		return api_fault_set(f, 400, param, "context_length_exceeded", "%s has %zu bytes, "
				     "more than a context of %u tokens can hold", param, bytes,
				     m->context);
	rc = tokenizer_encode(m->tokenizer, text, bytes, flags, out, &e);
	if (rc == -ENOMEM)
		return out_of_memory(f);
	if (rc < 0)
		return api_fault_set(f, 400, param, NULL, "%s cannot be encoded: %.300s", param,
				     e.text);
	return 0;
}

static int encode_messages(struct completion_request *r, const struct served_model *m,
			   struct api_fault *f)
{
	struct buffer text = { 0 };
	int rc = completion_render(r, m, &text, f);

	if (rc == 0) {
		r->prompts = mem_calloc(1, sizeof(*r->prompts));
		r->prompt_count = r->prompts ? 1 : 0;
		rc = r->prompts ? 0 : out_of_memory(f);
	}
	/* The template has put bos where it wants it. */
	if (rc == 0)
		rc = encode_text(buffer_string(&text), text.length, 0, m, "messages",
				 &r->prompts[0].ids, f);
	buffer_close(&text);
	return rc;
}

int completion_encode(struct completion_request *r, const struct served_model *m,
		      struct api_fault *f)
{
	const char *param = r->kind == COMPLETION_CHAT ? "messages" : "prompt";
	unsigned flags = r->no_special_tokens ? 0 : ENCODE_SPECIALS;
	int rc = r->kind == COMPLETION_CHAT ? encode_messages(r, m, f) : 0;

	for (uint32_t i = 0; i < r->prompt_count && rc == 0; i++) {
		struct completion_prompt *p = &r->prompts[i];

		if (p->text)
			rc = encode_text(p->text, p->bytes, flags, m, param, &p->ids, f);
		if (rc == 0 && p->ids.count == 0)
			rc = api_fault_set(f, 400, param, "empty", "the prompt has no tokens");
	}
	return rc;
}

int completion_fit(struct completion_request *r, const struct served_model *m,
		   struct api_fault *f)
{
	const char *param = r->kind == COMPLETION_CHAT ? "messages" : "prompt";
	uint32_t least = r->max_tokens_given ? r->max_tokens : 1;
	size_t longest = 0;

	for (uint32_t i = 0; i < r->prompt_count; i++)
		longest = MAX(longest, r->prompts[i].ids.count);
	if (longest > m->context || (longest == m->context && least > 0))
		return api_fault_set(f, 400, param, "context_length_exceeded", "the prompt has "
				     "%zu tokens, which leaves no room in a context of %u",
				     longest, m->context);
	if (least > m->context - longest)
		return api_fault_set(f, 400, "max_tokens", "context_length_exceeded", "the prompt "
				     "has %zu tokens and max_tokens is %u: together more than "
				     "the context of %u", longest, least, m->context);
	if (!r->max_tokens_given)
		r->max_tokens = MIN(m->default_tokens, m->context - (uint32_t)longest);
	r->sampler.min_tokens = MIN(r->sampler.min_tokens, r->max_tokens);
	return 0;
}
