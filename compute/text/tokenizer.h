/* tokenizer.h - text to token ids and back, as the checkpoint's own tokenizer
 * does it.
 *
 * Sources: Hugging Face tokenizer.json (BPE: byte-level with its regular
 * expressions, or SentencePiece style with byte fallback; added tokens,
 * normalisers, pre-tokenizers, post-processors, decoders) and GGUF metadata
 * (tokenizer.ggml.*: "gpt2" byte-level with known `pre` names, "llama"
 * SentencePiece scores).  What is not known is refused by name at open.
 *
 * Threads    Read-only after open: any thread may encode and decode at once
 *            (scratch memory is per call).
 * Ownership  tokenizer_open*() / tokenizer_close().
 * Units      Tokens; *_bytes.
 * Errors     -EINVAL, -ENOTSUP, -ENOMEM with a sentence that names the file
 *            and the JSON path ("model.merges[17]").
 */
#ifndef PETALS_COMPUTE_TEXT_TOKENIZER_H
#define PETALS_COMPUTE_TEXT_TOKENIZER_H

#include "compute/model/gguf.h"
#include "compute/text/token_list.h"
#include "dataplane/base/buffer.h"
#include "dataplane/base/error.h"

struct tokenizer;

/* dir/tokenizer.json (+ tokenizer_config.json for bos/eos and chat template). */
int tokenizer_open_hf(struct tokenizer **out, const char *dir, struct error *e);
int tokenizer_open_json(struct tokenizer **out, const char *json, size_t bytes,
			struct error *e);
int tokenizer_open_gguf(struct tokenizer **out, const struct gguf *g, struct error *e);
void tokenizer_close(struct tokenizer *t);                    /* NULL is fine */

uint32_t tokenizer_size(const struct tokenizer *t);           /* ids are below it */
/* The id of a whole token ("<|im_end|>"), -1 when there is none. */
int64_t tokenizer_id(const struct tokenizer *t, const char *token);
/* A token as stored, for people (byte-level pieces stay in their alphabet). */
const char *tokenizer_token(const struct tokenizer *t, uint32_t id);
bool tokenizer_is_special(const struct tokenizer *t, uint32_t id);
/* NULL when the checkpoint has none. */
const char *tokenizer_chat_template(const struct tokenizer *t);
const char *tokenizer_bos(const struct tokenizer *t);         /* text, "" when none */
const char *tokenizer_eos(const struct tokenizer *t);

enum {
	ENCODE_SPECIALS  = 1 << 0,    /* run the post-processor: bos and the like */
	ENCODE_NO_ADDED  = 1 << 1,    /* special tokens in the text are plain text */
};
/* Appends to out.  Invalid UTF-8 is read as U+FFFD, one per maximal subpart. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t bytes,
		     unsigned flags, struct token_list *out, struct error *e);
/* The whole text of ids.  skip_special drops special tokens. */
int tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t count,
		     bool skip_special, struct buffer *out);
/* Appends the bytes that one token adds to other text; they need not be whole characters. */
void tokenizer_token_bytes(const struct tokenizer *t, uint32_t id, struct buffer *out);

/* Streaming: feed ids one by one; text comes out as soon as it is whole, never
 * half a character; finish flushes what is left as U+FFFD.  The concatenation
 * equals tokenizer_decode() of all ids.
 */
struct detokenizer {
	const struct tokenizer *tokenizer;
	bool skip_special;
	bool started;            /* text has been emitted: leading-space rules are over */
	uint32_t held_bytes;
	uint8_t held[16];        /* an incomplete UTF-8 sequence */
};
void detokenizer_start(struct detokenizer *d, const struct tokenizer *t, bool skip_special);
void detokenizer_push(struct detokenizer *d, uint32_t id, struct buffer *out);
void detokenizer_finish(struct detokenizer *d, struct buffer *out);

#endif
