/* completion_response.c - prints OpenAI's shapes, with vLLM's additions.
 *
 * Owns nothing but the shapes.  Leaves when to print what to completion.c.
 */
#include "control/completion_response.h"

#include <inttypes.h>

#include "control/json_print.h"

void completion_print_head(const struct completion_head *h, bool chunk, struct buffer *out)
{
	bool chat = h->kind == COMPLETION_CHAT;

	buffer_printf(out, "{\"id\":\"%s-%016" PRIx64 "\",\"object\":\"%s%s\",\"created\":%" PRIu64,
		      chat ? "chatcmpl" : "cmpl", h->id,
		      chat ? "chat.completion" : "text_completion", chat && chunk ? ".chunk" : "",
		      h->created);
	buffer_text(out, ",\"model\":");
	json_print_string(out, h->model);
	buffer_printf(out, ",\"system_fingerprint\":\"fp_%016" PRIx64 "\",\"choices\":[",
		      h->fingerprint);
}

static void print_ids(const char *key, const struct token_list *l, struct buffer *out)
{
	buffer_printf(out, ",\"%s\":", key);
	if (l)
		json_print_ids(out, l->ids, l->count);
	else
		buffer_text(out, "null");
}

/* What follows the text in every shape. */
static void print_rest(const struct completion_part *p, struct buffer *out)
{
	buffer_text(out, ",\"logprobs\":");
	if (p->scores)
		token_scores_print(p->scores, out);
	else
		buffer_text(out, "null");
	buffer_text(out, ",\"finish_reason\":");
	json_print_string(out, p->finish);
	buffer_text(out, ",\"stop_reason\":");
	if (p->stop_id >= 0)
		buffer_printf(out, "%" PRId64, p->stop_id);
	else
		json_print_string(out, p->stop_text);
	if (p->has_ids) {
		print_ids("prompt_token_ids", p->prompt_ids, out);
		print_ids("token_ids", p->ids, out);
	}
	buffer_char(out, '}');
}

static void print_text_choice(const struct completion_part *p, struct buffer *out)
{
	buffer_printf(out, "{\"index\":%u,\"text\":", p->index);
	json_print_text(out, p->text, p->bytes);
	print_rest(p, out);
}

void completion_print_choice(const struct completion_head *h, const struct completion_part *p,
			     struct buffer *out)
{
	if (h->kind == COMPLETION_TEXT) {
		print_text_choice(p, out);
		return;
	}
	buffer_printf(out, "{\"index\":%u,", p->index);
	buffer_text(out, "\"message\":{\"role\":\"assistant\",\"content\":");
	json_print_text(out, p->text, p->bytes);
	buffer_text(out, ",\"refusal\":null}");
	print_rest(p, out);
}

void completion_print_delta(const struct completion_head *h, const struct completion_part *p,
			    struct buffer *out)
{
	if (h->kind == COMPLETION_TEXT) {
		print_text_choice(p, out);
		return;
	}
	buffer_printf(out, "{\"index\":%u,\"delta\":{", p->index);
	if (p->begins)
		buffer_text(out, "\"role\":\"assistant\",");
	if (p->begins || p->bytes || !p->finish) {
		buffer_text(out, "\"content\":");
		json_print_text(out, p->text, p->bytes);
	}
	buffer_char(out, '}');
	print_rest(p, out);
}

void completion_print_tail(const struct completion_usage *usage, bool expected,
			   struct buffer *out)
{
	buffer_char(out, ']');
	if (usage)
		buffer_printf(out, ",\"usage\":{\"prompt_tokens\":%" PRIu64 ","
			      "\"completion_tokens\":%" PRIu64 ",\"total_tokens\":%" PRIu64 "}",
			      usage->prompt_tokens, usage->completion_tokens,
			      usage->prompt_tokens + usage->completion_tokens);
	else if (expected)
		buffer_text(out, ",\"usage\":null");
	buffer_char(out, '}');
}
