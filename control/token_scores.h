/* token_scores.h - the log-probabilities of a choice's tokens, as JSON in the making: the
 * legacy completions' four lists, or the chat's one.
 *
 * Threads    A struct belongs to its holder.
 * Ownership  token_scores_open() on zeroed storage / token_scores_close().
 * Units      text_offset counts characters, as OpenAI does.
 * Errors     Kept by the buffers: token_scores_failed().
 */
#ifndef PETALS_CONTROL_TOKEN_SCORES_H
#define PETALS_CONTROL_TOKEN_SCORES_H

#include "compute/sampler.h"
#include "compute/text/tokenizer.h"
#include "control/completion_request.h"
#include "dataplane/base/buffer.h"

struct token_scores {
	enum completion_kind kind;
	const struct tokenizer *tokenizer;
	struct detokenizer detokenizer;         /* for text_offset */
	uint32_t offset;                        /* characters so far */
	uint32_t count;                         /* tokens since the last clear */
	struct buffer content;                  /* chat */
	struct buffer tokens, logprobs, tops, offsets;  /* completions */
	struct buffer scratch;
};

/* begins: the text begins with the first token, rather than following a prompt. */
void token_scores_open(struct token_scores *s, enum completion_kind kind,
		       const struct tokenizer *t, bool skip_special, bool begins);
void token_scores_close(struct token_scores *s);
/* scored false: the first token of a prompt, which nothing came before. */
void token_scores_add(struct token_scores *s, const struct choice *c, bool scored);
/* The value of a choice's "logprobs". */
void token_scores_print(const struct token_scores *s, struct buffer *out);
/* Tokens before this are no longer printed; the offset goes on. */
void token_scores_clear(struct token_scores *s);
int token_scores_failed(const struct token_scores *s);

/* A token's text for people, quoted: "bytes:\xe2\x82" where it is no whole characters. */
void token_print_text(const struct tokenizer *t, uint32_t id, struct buffer *scratch,
		      struct buffer *out);

#endif
