/* completion_request.c - owns the table of parameters: what each may be and where it goes.
 *
 * Leaves prompts and messages to completion_prompt.c.
 */
#include "control/completion_request.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/completion_prompt.h"
#include "dataplane/base/memory.h"

enum field_kind {
	FIELD_REAL,        /* float within [least, most] */
	FIELD_COUNT,       /* uint32_t within [least, most] */
	FIELD_FLAG,        /* bool */
	FIELD_NOT_FLAG,    /* bool, stored upside down: what is true unless said */
	FIELD_READ,        /* a function of its own */
	FIELD_REFUSED,     /* not there yet, whatever is asked of it */
};

enum { TEXT = 1 << COMPLETION_TEXT, CHAT = 1 << COMPLETION_CHAT, BOTH = TEXT | CHAT };

struct reading {
	struct completion_request *request;
	const struct served_model *model;
	struct api_fault *fault;
};

struct field {
	const char *name;
	unsigned kinds;                 /* of request that know it */
	enum field_kind kind;
	size_t offset;
	double least, most;
	int (*read)(struct reading *r, const char *name, const json_t *v);
};

static const char *kind_of(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "text";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	default:
		return "null";
	}
}

static int expect(struct reading *r, const char *name, const char *what, const json_t *v)
{
	return api_fault_set(r->fault, 400, name, "invalid_type", "%s must be %s, got %s", name,
			     what, kind_of(v));
}

static int out_of_memory(struct reading *r)
{
	return api_fault_set(r->fault, 503, NULL, "out_of_memory",
			     "out of memory for the request");
}

static int read_real(struct reading *r, const struct field *field, const json_t *v, float *out)
{
	double value = json_number_value(v);

	if (!json_is_number(v))
		return expect(r, field->name, "a number", v);
	if (!(value >= field->least && value <= field->most))
		return api_fault_set(r->fault, 400, field->name, "out_of_range",
				     "%s must be between %g and %g, got %g", field->name,
				     field->least, field->most, value);
	*out = (float)value;
	return 0;
}

static int read_integer(struct reading *r, const char *name, const json_t *v, double least,
			double most, json_int_t *out)
{
	double value = json_number_value(v);

	if (!json_is_number(v) || floor(value) != value)
		return expect(r, name, "a whole number", v);
	if (!(value >= least && value <= most))
		return api_fault_set(r->fault, 400, name, "out_of_range",
				     "%s must be between %.0f and %.0f, got %.15g", name, least,
				     most, value);
	*out = json_is_integer(v) ? json_integer_value(v) : (json_int_t)value;
	return 0;
}

static int read_count(struct reading *r, const struct field *field, const json_t *v,
		      uint32_t *out)
{
	json_int_t value = 0;
	int rc = read_integer(r, field->name, v, field->least, field->most, &value);

	if (rc == 0)
		*out = (uint32_t)value;
	return rc;
}

static int read_flag(struct reading *r, const char *name, const json_t *v, bool *out)
{
	if (!json_is_boolean(v))
		return expect(r, name, "true or false", v);
	*out = json_is_true(v);
	return 0;
}

static int read_prompt(struct reading *r, const char *name, const json_t *v)
{
	return completion_read_prompt(r->request, v, r->model, r->fault);
}

static int read_messages(struct reading *r, const char *name, const json_t *v)
{
	return completion_read_messages(r->request, v, r->fault);
}

static int read_max_tokens(struct reading *r, const char *name, const json_t *v)
{
	json_int_t value;
	int rc = read_integer(r, name, v, 0, r->model->context, &value);

	if (rc < 0)
		return rc;
	r->request->max_tokens = (uint32_t)value;
	r->request->max_tokens_given = true;
	return 0;
}

static int read_top_p(struct reading *r, const char *name, const json_t *v)
{
	double value = json_number_value(v);

	if (!json_is_number(v))
		return expect(r, name, "a number", v);
	if (!(value > 0 && value <= 1))
		return api_fault_set(r->fault, 400, name, "out_of_range",
				     "%s must be above 0 and at most 1, got %g", name, value);
	r->request->sampler.top_p = (float)value;
	return 0;
}

/* -1 and 0 both mean all. */
static int read_top_k(struct reading *r, const char *name, const json_t *v)
{
	json_int_t value;
	int rc = read_integer(r, name, v, -1, INT32_MAX, &value);

	if (rc < 0)
		return rc;
	r->request->sampler.top_k = value < 0 ? 0 : (uint32_t)value;
	return 0;
}

static int read_repetition(struct reading *r, const char *name, const json_t *v)
{
	double value = json_number_value(v);

	if (!json_is_number(v))
		return expect(r, name, "a number", v);
	if (!(value > 0 && value <= 100))
		return api_fault_set(r->fault, 400, name, "out_of_range",
				     "%s must be above 0 and at most 100, got %g", name, value);
	r->request->sampler.repetition_penalty = (float)value;
	return 0;
}

static int read_seed(struct reading *r, const char *name, const json_t *v)
{
	if (!json_is_integer(v))
		return expect(r, name, "a whole number", v);
	r->request->sampler.seed = (uint64_t)json_integer_value(v);
	r->request->seeded = true;
	return 0;
}

static int read_bias(struct reading *r, const char *name, const json_t *v)
{
	struct completion_request *q = r->request;
	const char *key;
	json_t *value;

	if (!json_is_object(v))
		return expect(r, name, "an object of token ids and biases", v);
	if (json_object_size(v) > COMPLETION_BIAS_MAX)
		return api_fault_set(r->fault, 400, name, "too_many", "%s has %zu entries, the "
				     "most is %d", name, json_object_size(v), COMPLETION_BIAS_MAX);
	q->bias = mem_calloc(json_object_size(v) + 1, sizeof(*q->bias));
	if (!q->bias)
		return out_of_memory(r);
	q->sampler.bias = q->bias;
	json_object_foreach((json_t *)v, key, value) {
		double bias = json_number_value(value);
		char *end;
		unsigned long long id = strtoull(key, &end, 10);

		if (key[0] < '0' || key[0] > '9' || *end || id >= r->model->vocabulary)
			return api_fault_set(r->fault, 400, name, "invalid_token",
					     "%s names token '%.40s'; ids are 0 to %u", name, key,
					     r->model->vocabulary - 1);
		if (!json_is_number(value) || !(bias >= -100 && bias <= 100))
			return api_fault_set(r->fault, 400, name, "out_of_range",
					     "%s of token %s must be a number between -100 and "
					     "100", name, key);
		q->bias[q->sampler.bias_count++] = (struct logit_bias){
			(uint32_t)id, (float)bias
		};
	}
	return 0;
}

static int read_stop_string(struct reading *r, const char *name, const json_t *v)
{
	struct completion_request *q = r->request;
	const char *text = json_string_value(v);
	size_t length = json_string_length(v);

	if (!text)
		return expect(r, name, "text or a list of texts", v);
	if (length == 0)
		return api_fault_set(r->fault, 400, name, "empty", "%s holds an empty text",
				     name);
	if (length > STOP_STRING_BYTES_MAX || strlen(text) != length)
		return api_fault_set(r->fault, 400, name, "too_long", "a text of %s has %zu "
				     "bytes; the most is %d, and none of them may be zero", name,
				     length, STOP_STRING_BYTES_MAX);
	q->stops[q->stop_count] = mem_strndup(text, length);
	if (!q->stops[q->stop_count])
		return out_of_memory(r);
	q->stop_count++;
	return 0;
}

static int read_stop(struct reading *r, const char *name, const json_t *v)
{
	size_t i;
	json_t *element;
	int rc;

	if (!json_is_array(v))
		return read_stop_string(r, name, v);
	if (json_array_size(v) > STOP_STRINGS_MAX)
		return api_fault_set(r->fault, 400, name, "too_many", "%s has %zu texts, the most "
				     "is %d", name, json_array_size(v), STOP_STRINGS_MAX);
	json_array_foreach((json_t *)v, i, element) {
		rc = read_stop_string(r, name, element);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_stop_ids(struct reading *r, const char *name, const json_t *v)
{
	struct completion_request *q = r->request;
	json_int_t id;
	size_t i;
	json_t *element;
	int rc;

	if (!json_is_array(v))
		return expect(r, name, "a list of token ids", v);
	if (json_array_size(v) > COMPLETION_STOP_IDS_MAX)
		return api_fault_set(r->fault, 400, name, "too_many", "%s has %zu ids, the most "
				     "is %d", name, json_array_size(v), COMPLETION_STOP_IDS_MAX);
	q->stop_ids = mem_calloc(json_array_size(v) + 1, sizeof(*q->stop_ids));
	if (!q->stop_ids)
		return out_of_memory(r);
	q->sampler.stop_ids = q->stop_ids;
	json_array_foreach((json_t *)v, i, element) {
		rc = read_integer(r, name, element, 0, r->model->vocabulary - 1, &id);
		if (rc < 0)
			return rc;
		q->stop_ids[q->sampler.stop_id_count++] = (uint32_t)id;
	}
	return 0;
}

/* Completions count the alternatives; chats say whether, and how many in a field of its own. */
static int read_logprobs(struct reading *r, const char *name, const json_t *v)
{
	struct completion_request *q = r->request;
	json_int_t value;
	int rc;

	if (q->kind == COMPLETION_CHAT)
		return read_flag(r, name, v, &q->logprobs);
	rc = read_integer(r, name, v, 0, SAMPLER_TOP_MAX, &value);
	if (rc < 0)
		return rc;
	q->logprobs = true;
	q->sampler.top_logprobs = (uint32_t)value;
	return 0;
}

static int read_top_logprobs(struct reading *r, const char *name, const json_t *v)
{
	json_int_t value;
	int rc = read_integer(r, name, v, 0, SAMPLER_TOP_MAX, &value);

	if (rc < 0)
		return rc;
	r->request->sampler.top_logprobs = (uint32_t)value;
	r->request->top_logprobs_given = true;
	return 0;
}

static int read_stream_options(struct reading *r, const char *name, const json_t *v)
{
	struct completion_request *q = r->request;
	const json_t *usage = json_object_get(v, "include_usage");
	const json_t *always = json_object_get(v, "continuous_usage_stats");
	int rc = 0;

	if (!json_is_object(v))
		return expect(r, name, "an object", v);
	q->stream_options = true;
	if (usage && !json_is_null(usage))
		rc = read_flag(r, "stream_options.include_usage", usage, &q->include_usage);
	if (rc == 0 && always && !json_is_null(always))
		rc = read_flag(r, "stream_options.continuous_usage_stats", always,
			       &q->continuous_usage);
	return rc;
}

static int read_response_format(struct reading *r, const char *name, const json_t *v)
{
	const char *type = json_string_value(json_object_get(v, "type"));

	if (!type)
		return expect(r, name, "an object with a type", v);
	if (strcmp(type, "text") == 0)
		return 0;
	return api_fault_set(r->fault, 400, name, "not_supported", "%s of type %.40s is not "
			     "supported yet; answers are plain text", name, type);
}

static int read_tool_choice(struct reading *r, const char *name, const json_t *v)
{
	const char *text = json_string_value(v);

	if (text && (strcmp(text, "none") == 0 || strcmp(text, "auto") == 0))
		return 0;
	return api_fault_set(r->fault, 400, name, "not_supported", "%s is not supported yet; no "
			     "tool is ever called", name);
}

static int read_template_variables(struct reading *r, const char *name, const json_t *v)
{
	if (!json_is_object(v))
		return expect(r, name, "an object", v);
	r->request->template_variables = json_incref((json_t *)v);
	return 0;
}

#define AT(member) offsetof(struct completion_request, member)
#define REAL(key, which, member, low, high) \
	{ key, which, FIELD_REAL, .offset = AT(member), .least = low, .most = high }
#define COUNT(key, which, member, low, high) \
	{ key, which, FIELD_COUNT, .offset = AT(member), .least = low, .most = high }
#define FLAG(key, which, member) { key, which, FIELD_FLAG, .offset = AT(member) }
#define NOT_FLAG(key, which, member) { key, which, FIELD_NOT_FLAG, .offset = AT(member) }
#define READ(key, which, function) { key, which, FIELD_READ, .read = function }
#define REFUSED(key, which) { key, which, .kind = FIELD_REFUSED }

static const struct field fields[] = {
	READ("prompt", TEXT, read_prompt),
	READ("messages", CHAT, read_messages),
	/* The newer name of the two is read last, and wins. */
	READ("max_tokens", BOTH, read_max_tokens),
	READ("max_completion_tokens", BOTH, read_max_tokens),
	REAL("temperature", BOTH, sampler.temperature, 0, 2),
	READ("top_p", BOTH, read_top_p),
	READ("top_k", BOTH, read_top_k),
	REAL("min_p", BOTH, sampler.min_p, 0, 1),
	READ("repetition_penalty", BOTH, read_repetition),
	REAL("presence_penalty", BOTH, sampler.presence_penalty, -2, 2),
	REAL("frequency_penalty", BOTH, sampler.frequency_penalty, -2, 2),
	READ("logit_bias", BOTH, read_bias),
	READ("seed", BOTH, read_seed),
	READ("stop", BOTH, read_stop),
	READ("stop_token_ids", BOTH, read_stop_ids),
	FLAG("ignore_eos", BOTH, ignore_eos),
	COUNT("min_tokens", BOTH, sampler.min_tokens, 0, 1 << 24),
	COUNT("n", BOTH, n, 1, 128),
	COUNT("best_of", TEXT, best_of, 1, 128),
	FLAG("echo", TEXT, echo),
	READ("logprobs", BOTH, read_logprobs),
	READ("top_logprobs", CHAT, read_top_logprobs),
	FLAG("stream", BOTH, stream),
	READ("stream_options", BOTH, read_stream_options),
	FLAG("return_token_ids", BOTH, return_token_ids),
	NOT_FLAG("skip_special_tokens", BOTH, keep_special),
	NOT_FLAG("add_special_tokens", TEXT, no_special_tokens),
	NOT_FLAG("add_generation_prompt", CHAT, no_generation_prompt),
	READ("chat_template_kwargs", CHAT, read_template_variables),
	READ("response_format", BOTH, read_response_format),
	READ("tool_choice", CHAT, read_tool_choice),
	READ("function_call", CHAT, read_tool_choice),
	REFUSED("tools", CHAT),
	REFUSED("functions", CHAT),
	REFUSED("audio", CHAT),
	REFUSED("chat_template", CHAT),
	REFUSED("continue_final_message", CHAT),
	REFUSED("web_search_options", CHAT),
	REFUSED("suffix", TEXT),
	REFUSED("prompt_embeds", TEXT),
	REFUSED("prompt_logprobs", BOTH),
	REFUSED("use_beam_search", BOTH),
	REFUSED("include_stop_str_in_output", BOTH),
	REFUSED("structured_outputs", BOTH),
	REFUSED("guided_json", BOTH),
	REFUSED("guided_regex", BOTH),
	REFUSED("guided_choice", BOTH),
	REFUSED("guided_grammar", BOTH),
};

static bool asks_for_nothing(const json_t *v)
{
	return json_is_false(v) || (json_is_array(v) && json_array_size(v) == 0) ||
	       (json_is_object(v) && json_object_size(v) == 0) ||
	       (json_is_string(v) && json_string_length(v) == 0) ||
	       (json_is_integer(v) && json_integer_value(v) == 0);
}

static int read_field(struct reading *r, const struct field *field, const json_t *v)
{
	char *at = (char *)r->request + field->offset;
	bool flag = true;
	int rc;

	switch (field->kind) {
	case FIELD_REAL:
		return read_real(r, field, v, (float *)(void *)at);
	case FIELD_COUNT:
		return read_count(r, field, v, (uint32_t *)(void *)at);
	case FIELD_FLAG:
		return read_flag(r, field->name, v, (bool *)at);
	case FIELD_NOT_FLAG:
		rc = read_flag(r, field->name, v, &flag);
		if (rc == 0)
			*(bool *)at = !flag;
		return rc;
	case FIELD_READ:
		return field->read(r, field->name, v);
	default:
		if (asks_for_nothing(v))
			return 0;
		return api_fault_set(r->fault, 400, field->name, "not_supported",
				     "%s is not supported yet", field->name);
	}
}

/* What no field can see alone. */
static int check_together(struct reading *r)
{
	struct completion_request *q = r->request;
	const char *input = q->kind == COMPLETION_CHAT ? "messages" : "prompt";
	struct api_fault *f = r->fault;
	uint64_t choices = (uint64_t)q->n * MAX(q->prompt_count, 1);

	if (q->kind == COMPLETION_CHAT ? !q->messages : !q->prompt_count)
		return api_fault_set(f, 400, input, "missing", "%s is missing", input);
	if (q->stream_options && !q->stream)
		return api_fault_set(f, 400, "stream_options", NULL,
				     "stream_options may be given only together with stream");
	if (q->top_logprobs_given && !q->logprobs && q->sampler.top_logprobs)
		return api_fault_set(f, 400, "top_logprobs", NULL,
				     "top_logprobs may be given only together with logprobs");
	if (q->best_of && q->best_of != q->n)
		return api_fault_set(f, 400, "best_of", "not_supported", "best_of other than n is "
				     "not supported yet: best_of is %u, n is %u", q->best_of, q->n);
	if (q->max_tokens_given && q->max_tokens == 0 && !q->echo)
		return api_fault_set(f, 400, "max_tokens", "out_of_range",
				     "max_tokens must be at least 1, got 0%s",
				     q->kind == COMPLETION_TEXT ? " (0 only together with echo)" :
				     "");
	if (q->max_tokens_given && q->sampler.min_tokens > q->max_tokens)
		return api_fault_set(f, 400, "min_tokens", "out_of_range", "min_tokens is %u, more "
				     "than max_tokens, %u", q->sampler.min_tokens, q->max_tokens);
	if (choices > r->model->choices_max)
		return api_fault_set(f, 400, q->n > 1 ? "n" : "prompt", "too_many",
				     "%u prompts with n = %u are %ju choices, the most of one "
				     "request is %u", MAX(q->prompt_count, 1), q->n,
				     (uintmax_t)choices, r->model->choices_max);
	return 0;
}

json_t *completion_body(const char *body, size_t bytes, struct api_fault *f)
{
	json_error_t fault;
	json_t *j = json_loadb(body, bytes, JSON_ALLOW_NUL | JSON_DECODE_ANY, &fault);

	if (!j) {
		api_fault_set(f, 400, NULL, "invalid_json", "the body is not JSON: line %d, column "
			      "%d: %.200s", fault.line, fault.column, fault.text);
	} else if (!json_is_object(j)) {
		api_fault_set(f, 400, NULL, "invalid_json", "the body must be a JSON object, "
			      "got %s", kind_of(j));
		json_decref(j);
		j = NULL;
	}
	return j;
}

int completion_check_model(const json_t *body, const struct served_model *m, struct api_fault *f)
{
	const json_t *v = json_object_get(body, "model");
	const char *name = json_string_value(v);

	if (!v || json_is_null(v) || (name && strcmp(name, m->name) == 0))
		return 0;
	if (!name)
		return api_fault_set(f, 400, "model", "invalid_type", "model must be text, got %s",
				     kind_of(v));
	return api_fault_set(f, 404, "model", "model_not_found",
			     "the model '%.100s' does not exist; this gateway serves '%s'", name,
			     m->name);
}

int completion_request_read(struct completion_request *r, enum completion_kind kind,
			    const char *body, size_t bytes, const struct served_model *m,
			    struct api_fault *f)
{
	struct reading reading = { r, m, f };
	json_t *j = completion_body(body, bytes, f);
	int rc;

	if (!j)
		return -EINVAL;
	r->kind = kind;
	r->n = 1;
	sampler_options_default(&r->sampler);
	rc = completion_check_model(j, m, f);
	for (size_t i = 0; i < ARRAY_LENGTH(fields) && rc == 0; i++) {
		const json_t *v = json_object_get(j, fields[i].name);

		if (v && !json_is_null(v) && fields[i].kinds & 1u << kind)
			rc = read_field(&reading, &fields[i], v);
	}
	if (rc == 0)
		rc = check_together(&reading);
	json_decref(j);
	return rc;
}

void completion_request_close(struct completion_request *r)
{
	for (uint32_t i = 0; i < r->prompt_count; i++) {
		mem_free(r->prompts[i].text);
		token_list_close(&r->prompts[i].ids);
	}
	mem_free(r->prompts);
	json_decref(r->messages);
	json_decref(r->template_variables);
	mem_free(r->bias);
	mem_free(r->stop_ids);
	for (uint32_t i = 0; i < r->stop_count; i++)
		mem_free(r->stops[i]);
	*r = (struct completion_request){ 0 };
}
