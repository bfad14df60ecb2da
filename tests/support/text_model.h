/* text_model.h - the tokenizer and chat template of tests/data/gguf as a served model. */
#ifndef PETALS_TESTS_TEXT_MODEL_H
#define PETALS_TESTS_TEXT_MODEL_H

#include "control/completion_request.h"

struct text_model {
	struct gguf *gguf;
	struct tokenizer *tokenizer;
	struct chat_template *chat_template;
	struct served_model served;     /* "test-model", a context of 100 tokens */
};

void text_model_open(struct text_model *m);
void text_model_close(struct text_model *m);

#endif
