/* completion_prompt_test.c - prompts become the ids that the tokenizer gives, chats what the
 * template makes of them, and what does not fit is refused with figures.
 */
#include "control/completion_prompt.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "tests/support/text_model.h"
#include "tests/test.h"

static int encode(struct completion_request *r, enum completion_kind kind, const char *body,
		  const struct served_model *m, struct api_fault *f)
{
	int rc;

	*r = (struct completion_request){ 0 };
	*f = (struct api_fault){ 0 };
	rc = completion_request_read(r, kind, body, strlen(body), m, f);
	if (rc == 0)
		rc = completion_encode(r, m, f);
	return rc == 0 ? completion_fit(r, m, f) : rc;
}

static void check_ids(const struct text_model *m, const struct token_list *ids, const char *text)
{
	struct token_list expected = { 0 };

	CHECK_EQ(tokenizer_encode(m->tokenizer, text, strlen(text), 0, &expected, NULL), 0);
	CHECK_EQ(ids->count, expected.count);
	CHECK_BYTES(ids->ids, expected.ids, ids->count * sizeof(*ids->ids));
	token_list_close(&expected);
}

/* Goal: texts are encoded, ids are left alone, and max_tokens is what fits. */
TEST(completion_encode__prompts)
{
	struct completion_request r;
	struct text_model m;
	struct api_fault f;

	text_model_open(&m);
	CHECK_EQ(encode(&r, COMPLETION_TEXT, "{\"prompt\": [\"The server\", [5, 6]]}", &m.served,
			&f), 0);
	check_ids(&m, &r.prompts[0].ids, "The server");
	CHECK_EQ(r.prompts[1].ids.count, 2);
	CHECK_EQ(r.max_tokens, 40);
	completion_request_close(&r);
	m.served.context = 12;
	CHECK_EQ(encode(&r, COMPLETION_TEXT, "{\"prompt\": [5, 6, 7, 8]}", &m.served, &f), 0);
	CHECK_EQ(r.max_tokens, 8);
	completion_request_close(&r);
	text_model_close(&m);
}

/* Goal: a chat is rendered by the model's own template. */
TEST(completion_encode__messages)
{
	struct completion_request r;
	struct text_model m;
	struct api_fault f;

	text_model_open(&m);
	CHECK_EQ(encode(&r, COMPLETION_CHAT, "{\"messages\": [{\"role\": \"user\", \"content\": "
			"\"  What is a hop?\\n\"}]}", &m.served, &f), 0);
	CHECK_EQ(r.prompt_count, 1);
	check_ids(&m, &r.prompts[0].ids,
		  "<|im_start|>user\nWhat is a hop?<|im_end|>\n<|im_start|>assistant\n");
	completion_request_close(&r);
	CHECK_EQ(encode(&r, COMPLETION_CHAT, "{\"messages\": [{\"role\": \"user\", \"content\": "
			"\"a\"}], \"add_generation_prompt\": false}", &m.served, &f), 0);
	check_ids(&m, &r.prompts[0].ids, "<|im_start|>user\na<|im_end|>\n");
	completion_request_close(&r);
	m.served.chat_template = NULL;
	CHECK_EQ(encode(&r, COMPLETION_CHAT, "{\"messages\": [{\"role\": \"user\", \"content\": "
			"\"a\"}]}", &m.served, &f), -EINVAL);
	CHECK(strstr(f.message, "no chat template"));
	completion_request_close(&r);
	text_model_close(&m);
}

/* Goal: what leaves no room is refused with the figures; what just fits is not. */
TEST(completion_fit__bounds_the_context)
{
	static const struct {
		const char *body, *param, *message;
	} cases[] = {
		{ "{\"prompt\": [1,2,3,4,5,6,7,8,9,10]}", "prompt",
		  "the prompt has 10 tokens, which leaves no room in a context of 10" },
		{ "{\"prompt\": [1,2,3,4,5,6,7,8,9,10,11]}", "prompt", "has 11 tokens" },
		{ "{\"prompt\": [1,2,3,4], \"max_tokens\": 7}", "max_tokens",
		  "the prompt has 4 tokens and max_tokens is 7: together more than the context "
		  "of 10" },
		{ "{\"prompt\": [1,2,3,4], \"max_tokens\": 6}", NULL, NULL },
		{ "{\"prompt\": [1,2,3,4,5,6,7,8,9,10], \"max_tokens\": 0, \"echo\": true}", NULL,
		  NULL },
		{ "{\"prompt\": \"\"}", "prompt", "the prompt has no tokens" },
		{ "{\"prompt\": [\"a\", \"\"]}", "prompt", "the prompt has no tokens" },
	};
	struct text_model m;

	text_model_open(&m);
	m.served.context = 10;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct completion_request r;
		struct api_fault f;
		int rc = encode(&r, COMPLETION_TEXT, cases[i].body, &m.served, &f);

		if (!cases[i].param) {
			CHECK_EQ(rc, 0);
		} else {
			CHECK_EQ(rc, -EINVAL);
			CHECK_EQ(f.status, 400);
			CHECK_TEXT(f.param, cases[i].param);
			if (!strstr(f.message, cases[i].message))
				fail_msg("%s: %s", cases[i].body, f.message);
		}
		completion_request_close(&r);
	}
	text_model_close(&m);
}

/* Goal: a text that cannot fit is refused before it is encoded. */
TEST(completion_encode__refuses_long_texts_early)
{
	struct completion_request r;
	struct text_model m;
	struct api_fault f;
	char *body = mem_alloc(20000);

	text_model_open(&m);
	memset(body, ' ', 20000);
	memcpy(body, "{\"prompt\": \"", 12);
	memcpy(body + 19997, "\"}", 3);
	CHECK_EQ(encode(&r, COMPLETION_TEXT, body, &m.served, &f), -EINVAL);
	CHECK_TEXT(f.code, "context_length_exceeded");
	CHECK(strstr(f.message, "prompt has 19985 bytes"));
	completion_request_close(&r);
	mem_free(body);
	text_model_close(&m);
}
