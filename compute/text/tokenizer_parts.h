/* tokenizer_parts.h - what a tokenizer is made of; for the files that build
 * one (tokenizer_json.c, tokenizer_hf.c, tokenizer_gguf.c) and run it.
 *
 * Threads    Read-only once built.
 * Ownership  Everything belongs to the tokenizer; tokenizer_close().
 * Units      Ids, bytes.
 * Errors     As tokenizer.h.
 */
#ifndef PETALS_COMPUTE_TEXT_TOKENIZER_PARTS_H
#define PETALS_COMPUTE_TEXT_TOKENIZER_PARTS_H

#include "compute/text/added_tokens.h"
#include "compute/text/bpe.h"
#include "compute/text/decoder.h"
#include "compute/text/normalizer.h"
#include "compute/text/postprocessor.h"
#include "compute/text/pretokenizer.h"
#include "compute/text/tokenizer.h"
#include "compute/text/vocab.h"

struct tokenizer {
	struct vocab *vocab;
	struct bpe *bpe;
	struct added_tokens added;
	struct normalizer normalizer;
	struct pretokenizer pretokenizer;
	struct postprocessor postprocessor;
	struct decoder decoder;
	char *chat_template;         /* NULL: none */
	char *bos, *eos;             /* NULL: none */
};

/* Registers a token that is in the vocab, its text normalised when it asks. */
int tokenizer_add_token(struct tokenizer *t, const struct added_token *token, struct error *e);

#endif
