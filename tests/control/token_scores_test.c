/* token_scores_test.c - scores in both shapes, whole and piece by piece. */
#include "control/token_scores.h"

#include <jansson.h>
#include <math.h>

#include "tests/support/text_model.h"
#include "tests/test.h"

static json_t *print(const struct token_scores *s)
{
	struct buffer b = { 0 };
	json_error_t fault;
	json_t *j;

	token_scores_print(s, &b);
	j = json_loadb(buffer_string(&b), b.length, 0, &fault);
	if (!j)
		fail_msg("%s: %s", buffer_string(&b), fault.text);
	buffer_close(&b);
	return j;
}

static uint32_t id_of(const struct text_model *m, const char *text)
{
	struct token_list ids = { 0 };
	uint32_t id;

	CHECK_EQ(tokenizer_encode(m->tokenizer, text, strlen(text), 0, &ids, NULL), 0);
	CHECK(ids.count > 0);
	id = ids.ids[0];
	token_list_close(&ids);
	return id;
}

/* Goal: the legacy lists have one element per token; the chosen one is always among the
 * alternatives; the first token of a prompt has none.
 */
TEST(token_scores_print__completions)
{
	struct text_model m;
	struct token_scores s = { 0 };
	struct choice c = { .logprob = -0.5f, .top_count = 1 };
	const json_t *tops;
	json_t *j;

	text_model_open(&m);
	token_scores_open(&s, COMPLETION_TEXT, m.tokenizer, true, true);
	c.token = id_of(&m, "T");
	token_scores_add(&s, &c, false);
	c.token = id_of(&m, "h");
	c.top[0].token = id_of(&m, "e");
	c.top[0].logprob = -0.25f;
	token_scores_add(&s, &c, true);
	c.token = c.top[0].token;
	token_scores_add(&s, &c, true);
	CHECK_EQ(token_scores_failed(&s), 0);
	j = print(&s);
	CHECK_EQ(json_array_size(json_object_get(j, "tokens")), 3);
	CHECK_TEXT(json_string_value(json_array_get(json_object_get(j, "tokens"), 1)), "h");
	CHECK(json_is_null(json_array_get(json_object_get(j, "token_logprobs"), 0)));
	CHECK(json_real_value(json_array_get(json_object_get(j, "token_logprobs"), 1)) == -0.5);
	CHECK_EQ(json_integer_value(json_array_get(json_object_get(j, "text_offset"), 2)), 2);
	tops = json_object_get(j, "top_logprobs");
	CHECK(json_is_null(json_array_get(tops, 0)));
	CHECK_EQ(json_object_size(json_array_get(tops, 1)), 2);
	CHECK_EQ(json_object_size(json_array_get(tops, 2)), 1);
	json_decref(j);
	token_scores_clear(&s);
	c.token = id_of(&m, "T");
	token_scores_add(&s, &c, true);
	j = print(&s);
	CHECK_EQ(json_array_size(json_object_get(j, "tokens")), 1);
	CHECK_EQ(json_integer_value(json_array_get(json_object_get(j, "text_offset"), 0)), 3);
	json_decref(j);
	token_scores_close(&s);
	text_model_close(&m);
}

/* Goal: a chat's elements carry bytes, and alternatives in order. */
TEST(token_scores_print__chat)
{
	struct text_model m;
	struct token_scores s = { 0 };
	struct choice c = { .logprob = -INFINITY, .top_count = 2 };
	const json_t *one, *top;
	json_t *j;

	text_model_open(&m);
	c.token = id_of(&m, "h");
	c.top[0].token = id_of(&m, "e");
	c.top[1].token = c.token;
	token_scores_open(&s, COMPLETION_CHAT, m.tokenizer, true, false);
	token_scores_add(&s, &c, true);
	token_scores_add(&s, &c, true);
	j = print(&s);
	CHECK_EQ(json_array_size(json_object_get(j, "content")), 2);
	one = json_array_get(json_object_get(j, "content"), 0);
	CHECK_TEXT(json_string_value(json_object_get(one, "token")), "h");
	CHECK(json_real_value(json_object_get(one, "logprob")) == -9999);
	CHECK_EQ(json_integer_value(json_array_get(json_object_get(one, "bytes"), 0)), 'h');
	top = json_object_get(one, "top_logprobs");
	CHECK_EQ(json_array_size(top), 2);
	CHECK_TEXT(json_string_value(json_object_get(json_array_get(top, 0), "token")), "e");
	json_decref(j);
	token_scores_close(&s);
	text_model_close(&m);
}

/* Goal: a token that is part of a character is shown by its bytes, and the offsets count
 * characters.
 */
TEST(token_print_text__parts_of_characters)
{
	static const char smile[] = "\xF0\x9F\x98\x80";
	struct text_model m;
	struct token_list ids = { 0 };
	struct token_scores s = { 0 };
	struct buffer scratch = { 0 }, out = { 0 };
	const json_t *offsets;
	json_t *j;

	text_model_open(&m);
	CHECK_EQ(tokenizer_encode(m.tokenizer, smile, 4, 0, &ids, NULL), 0);
	CHECK_EQ(ids.count, 4);
	token_print_text(m.tokenizer, ids.ids[1], &scratch, &out);
	CHECK_TEXT(buffer_string(&out), "\"bytes:\\\\x9f\"");
	token_scores_open(&s, COMPLETION_TEXT, m.tokenizer, true, true);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ids.count; i++) {
			struct choice c = { .token = ids.ids[i] };

			token_scores_add(&s, &c, true);
		}
	}
	j = print(&s);
	offsets = json_object_get(j, "text_offset");
	CHECK_EQ(json_integer_value(json_array_get(offsets, 3)), 0);
	CHECK_EQ(json_integer_value(json_array_get(offsets, 4)), 1);
	json_decref(j);
	token_scores_close(&s);
	buffer_close(&scratch);
	buffer_close(&out);
	token_list_close(&ids);
	text_model_close(&m);
}
