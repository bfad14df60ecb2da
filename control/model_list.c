/* model_list.c - prints model objects as OpenAI does, with vLLM's max_model_len. */
#include "control/model_list.h"

#include <inttypes.h>
#include <string.h>

#include "control/json_print.h"

static void print_model(const struct served_model *m, uint64_t created, struct buffer *out)
{
	buffer_text(out, "{\"id\":");
	json_print_string(out, m->name);
	buffer_printf(out, ",\"object\":\"model\",\"created\":%" PRIu64 ",\"owned_by\":\"petals\","
		      "\"root\":", created);
	json_print_string(out, m->name);
	buffer_printf(out, ",\"parent\":null,\"max_model_len\":%u,\"permission\":[]}", m->context);
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

void model_list_all(const struct served_model *m, uint64_t created, struct http_exchange *x)
{
	struct buffer body = { 0 };

	buffer_text(&body, "{\"object\":\"list\",\"data\":[");
	print_model(m, created, &body);
	buffer_text(&body, "]}");
	answer(x, &body);
}

void model_list_one(const struct served_model *m, uint64_t created, const char *name,
		    struct http_exchange *x)
{
	struct buffer body = { 0 };

	if (strcmp(name, m->name) != 0) {
		http_fail(x, 404, "invalid_request_error", "model", "model_not_found",
			  "the model '%.100s' does not exist; this gateway serves '%s'", name,
			  m->name);
		return;
	}
	print_model(m, created, &body);
	answer(x, &body);
}
