/* completion_response_test.c - the shapes, key by key. */
#include "control/completion_response.h"

#include <jansson.h>

#include "tests/test.h"

static const struct completion_head text_head = {
	.kind = COMPLETION_TEXT, .id = 0xab, .created = 1700000000, .model = "m\"1",
	.fingerprint = 1,
};
static const struct completion_head chat_head = {
	.kind = COMPLETION_CHAT, .id = 0xab, .created = 1700000000, .model = "m",
};
static const struct completion_usage usage = { 3, 4 };

static void check_shape(const struct buffer *b, const char *expected)
{
	json_t *j = json_loadb(buffer_string(b), b->length, 0, NULL);

	if (!j)
		fail_msg("no JSON: %s", buffer_string(b));
	json_decref(j);
	CHECK_TEXT(buffer_string(b), expected);
}

/* Goal: a whole completion. */
TEST(completion_print__completion)
{
	const struct completion_part p = {
		.index = 0, .text = " a\n", .bytes = 3, .finish = "stop", .stop_text = "END",
		.stop_id = -1,
	};
	struct buffer b = { 0 };

	completion_print_head(&text_head, false, &b);
	completion_print_choice(&text_head, &p, &b);
	completion_print_tail(&usage, true, &b);
	check_shape(&b, "{\"id\":\"cmpl-00000000000000ab\",\"object\":\"text_completion\","
		    "\"created\":1700000000,\"model\":\"m\\\"1\",\"system_fingerprint\":"
		    "\"fp_0000000000000001\",\"choices\":[{\"index\":0,\"text\":\" a\\n\","
		    "\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":\"END\"}],"
		    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}");
	buffer_close(&b);
}

/* Goal: a whole chat, with the ids that were asked for, stopped by an id. */
TEST(completion_print__chat)
{
	const struct token_list prompt = { (uint32_t[]){ 1, 2 }, 2, 2 };
	const struct token_list ids = { (uint32_t[]){ 9 }, 1, 1 };
	const struct completion_part p = {
		.index = 1, .text = "hi", .bytes = 2, .finish = "stop", .stop_id = 9,
		.has_ids = true, .prompt_ids = &prompt, .ids = &ids,
	};
	struct buffer b = { 0 };

	completion_print_head(&chat_head, false, &b);
	completion_print_choice(&chat_head, &p, &b);
	completion_print_tail(&usage, true, &b);
	check_shape(&b, "{\"id\":\"chatcmpl-00000000000000ab\",\"object\":\"chat.completion\","
		    "\"created\":1700000000,\"model\":\"m\",\"system_fingerprint\":"
		    "\"fp_0000000000000000\",\"choices\":[{\"index\":1,\"message\":{\"role\":"
		    "\"assistant\",\"content\":\"hi\",\"refusal\":null},\"logprobs\":null,"
		    "\"finish_reason\":\"stop\",\"stop_reason\":9,\"prompt_token_ids\":[1,2],"
		    "\"token_ids\":[9]}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,"
		    "\"total_tokens\":7}}");
	buffer_close(&b);
}

static void print_chunk(const struct completion_head *h, const struct completion_part *p,
			bool expected, struct buffer *b)
{
	buffer_clear(b);
	completion_print_head(h, true, b);
	completion_print_delta(h, p, b);
	completion_print_tail(NULL, expected, b);
}

/* Goal: chunks of a chat: the first says who speaks, the last has an empty delta. */
TEST(completion_print__chat_chunks)
{
	struct completion_part p = {
		.text = "hi", .bytes = 2, .begins = true, .stop_id = -1,
	};
	struct buffer b = { 0 };

	print_chunk(&chat_head, &p, true, &b);
	CHECK(strstr(b.data, "\"object\":\"chat.completion.chunk\""));
	CHECK(strstr(b.data, "\"delta\":{\"role\":\"assistant\",\"content\":\"hi\"}"));
	CHECK(strstr(b.data, "\"finish_reason\":null"));
	CHECK(strstr(b.data, ",\"usage\":null}"));
	p.begins = false;
	print_chunk(&chat_head, &p, false, &b);
	CHECK(strstr(b.data, "\"delta\":{\"content\":\"hi\"}"));
	CHECK(!strstr(b.data, "usage"));
	p.finish = "length";
	p.bytes = 0;
	print_chunk(&chat_head, &p, false, &b);
	CHECK(strstr(b.data, "\"delta\":{},"));
	CHECK(strstr(b.data, "\"finish_reason\":\"length\""));
	buffer_close(&b);
}

/* Goal: a completion's chunk has the shape of its whole; the usage stands alone. */
TEST(completion_print__completion_chunks)
{
	const struct completion_part p = { .index = 2, .text = "x", .bytes = 1, .stop_id = -1 };
	struct buffer b = { 0 };

	print_chunk(&text_head, &p, false, &b);
	CHECK(strstr(b.data, "\"object\":\"text_completion\""));
	CHECK(strstr(b.data, "{\"index\":2,\"text\":\"x\",\"logprobs\":null,"));
	buffer_clear(&b);
	completion_print_head(&text_head, true, &b);
	completion_print_tail(&usage, true, &b);
	CHECK(strstr(b.data, "\"choices\":[],\"usage\":{\"prompt_tokens\":3"));
	buffer_close(&b);
}
