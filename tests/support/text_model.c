/* text_model.c - opens what of a checkpoint concerns text. */
#include "tests/support/text_model.h"

#include "tests/test.h"

void text_model_open(struct text_model *m)
{
	struct error e;
	const char *text;

	CHECK_OK(gguf_open(&m->gguf, test_data("gguf/llama-f32.gguf"), &e), &e);
	CHECK_OK(tokenizer_open_gguf(&m->tokenizer, m->gguf, &e), &e);
	text = tokenizer_chat_template(m->tokenizer);
	CHECK(text);
	CHECK_OK(chat_template_open(&m->chat_template, text, strlen(text), &e), &e);
	m->served = (struct served_model){
		.name = "test-model", .tokenizer = m->tokenizer,
		.chat_template = m->chat_template, .vocabulary = tokenizer_size(m->tokenizer),
		.context = 100, .default_tokens = 40, .choices_max = 16,
	};
}

void text_model_close(struct text_model *m)
{
	chat_template_close(m->chat_template);
	tokenizer_close(m->tokenizer);
	gguf_close(m->gguf);
}
