/* token_scores.c - prints scores token by token, in the shape that was asked for. */
#include "control/token_scores.h"

#include <string.h>

#include "compute/text/utf8.h"
#include "control/json_print.h"

void token_scores_open(struct token_scores *s, enum completion_kind kind,
		       const struct tokenizer *t, bool skip_special, bool begins)
{
	s->kind = kind;
	s->tokenizer = t;
	detokenizer_start(&s->detokenizer, t, skip_special);
	s->detokenizer.started = !begins;
}

void token_scores_close(struct token_scores *s)
{
	buffer_close(&s->content);
	buffer_close(&s->tokens);
	buffer_close(&s->logprobs);
	buffer_close(&s->tops);
	buffer_close(&s->offsets);
	buffer_close(&s->scratch);
}

void token_print_text(const struct tokenizer *t, uint32_t id, struct buffer *scratch,
		      struct buffer *out)
{
	buffer_clear(scratch);
	tokenizer_token_bytes(t, id, scratch);
	if (utf8_valid(buffer_string(scratch), scratch->length)) {
		json_print_text(out, buffer_string(scratch), scratch->length);
		return;
	}
	buffer_text(out, "\"bytes:");
	for (size_t i = 0; i < scratch->length; i++)
		buffer_printf(out, "\\\\x%02x", (unsigned char)scratch->data[i]);
	buffer_char(out, '"');
}

/* {"token", "logprob", "bytes"} without its closing brace. */
static void print_token(struct token_scores *s, uint32_t id, float logprob, struct buffer *out)
{
	buffer_text(out, "{\"token\":");
	token_print_text(s->tokenizer, id, &s->scratch, out);
	buffer_text(out, ",\"logprob\":");
	json_print_float(out, logprob);
	buffer_text(out, ",\"bytes\":[");
	for (size_t i = 0; i < s->scratch.length; i++)
		buffer_printf(out, i ? ",%u" : "%u", (unsigned char)s->scratch.data[i]);
	buffer_char(out, ']');
}

static void add_chat(struct token_scores *s, const struct choice *c)
{
	if (s->count)
		buffer_char(&s->content, ',');
	print_token(s, c->token, c->logprob, &s->content);
	buffer_text(&s->content, ",\"top_logprobs\":[");
	for (uint32_t i = 0; i < c->top_count; i++) {
		if (i)
			buffer_char(&s->content, ',');
		print_token(s, c->top[i].token, c->top[i].logprob, &s->content);
		buffer_char(&s->content, '}');
	}
	buffer_text(&s->content, "]}");
}

/* The best ones, and the chosen one if it is not among them. */
static void print_tops(struct token_scores *s, const struct choice *c)
{
	bool chosen = false;

	buffer_char(&s->tops, '{');
	for (uint32_t i = 0; i <= c->top_count; i++) {
		bool last = i == c->top_count;
		uint32_t id = last ? c->token : c->top[i].token;

		if (last && chosen)
			break;
		chosen |= id == c->token;
		if (i)
			buffer_char(&s->tops, ',');
		token_print_text(s->tokenizer, id, &s->scratch, &s->tops);
		buffer_char(&s->tops, ':');
		json_print_float(&s->tops, last ? c->logprob : c->top[i].logprob);
	}
	buffer_char(&s->tops, '}');
}

static uint32_t count_characters(const struct buffer *text)
{
	uint32_t count = 0;

	for (size_t i = 0; i < text->length; i++)
		count += ((unsigned char)text->data[i] & 0xC0) != 0x80;
	return count;
}

static void add_completion(struct token_scores *s, const struct choice *c, bool scored)
{
	if (s->count) {
		buffer_char(&s->tokens, ',');
		buffer_char(&s->logprobs, ',');
		buffer_char(&s->tops, ',');
		buffer_char(&s->offsets, ',');
	}
	token_print_text(s->tokenizer, c->token, &s->scratch, &s->tokens);
	buffer_printf(&s->offsets, "%u", s->offset);
	if (scored) {
		json_print_float(&s->logprobs, c->logprob);
		print_tops(s, c);
	} else {
		buffer_text(&s->logprobs, "null");
		buffer_text(&s->tops, "null");
	}
	buffer_clear(&s->scratch);
	detokenizer_push(&s->detokenizer, c->token, &s->scratch);
	s->offset += count_characters(&s->scratch);
}

void token_scores_add(struct token_scores *s, const struct choice *c, bool scored)
{
	if (s->kind == COMPLETION_CHAT)
		add_chat(s, c);
	else
		add_completion(s, c, scored);
	s->count++;
}

static void print_list(const char *key, const struct buffer *elements, struct buffer *out)
{
	buffer_printf(out, "\"%s\":[", key);
	buffer_append(out, buffer_string(elements), elements->length);
	buffer_char(out, ']');
}

void token_scores_print(const struct token_scores *s, struct buffer *out)
{
	buffer_char(out, '{');
	if (s->kind == COMPLETION_CHAT) {
		print_list("content", &s->content, out);
		buffer_text(out, ",\"refusal\":null}");
		return;
	}
	print_list("text_offset", &s->offsets, out);
	buffer_char(out, ',');
	print_list("token_logprobs", &s->logprobs, out);
	buffer_char(out, ',');
	print_list("tokens", &s->tokens, out);
	buffer_char(out, ',');
	print_list("top_logprobs", &s->tops, out);
	buffer_char(out, '}');
}

void token_scores_clear(struct token_scores *s)
{
	buffer_clear(&s->content);
	buffer_clear(&s->tokens);
	buffer_clear(&s->logprobs);
	buffer_clear(&s->tops);
	buffer_clear(&s->offsets);
	s->count = 0;
}

int token_scores_failed(const struct token_scores *s)
{
	const struct buffer *all[] = {
		&s->content, &s->tokens, &s->logprobs, &s->tops, &s->offsets, &s->scratch,
	};

	for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
		if (buffer_failed(all[i]) < 0)
			return buffer_failed(all[i]);
	return 0;
}
