/* tokenizer.c - owns a tokenizer's life and the way from text to ids:
 * repair, added tokens, normaliser, pre-tokenizer, model, post-processor.
 */
#include "compute/text/tokenizer.h"

#include <errno.h>
#include <string.h>

#include "compute/text/tokenizer_parts.h"
#include "compute/text/utf8.h"
#include "dataplane/base/memory.h"

void tokenizer_close(struct tokenizer *t)
{
	if (!t)
		return;
	bpe_close(t->bpe);
	vocab_close(t->vocab);
	added_tokens_close(&t->added);
	normalizer_close(&t->normalizer);
	pretokenizer_close(&t->pretokenizer);
	decoder_close(&t->decoder);
	mem_free(t->chat_template);
	mem_free(t->bos);
	mem_free(t->eos);
	mem_free(t);
}

uint32_t tokenizer_size(const struct tokenizer *t)
{
	return vocab_size(t->vocab);
}

int64_t tokenizer_id(const struct tokenizer *t, const char *token)
{
	return vocab_find(t->vocab, token, strlen(token));
}

const char *tokenizer_token(const struct tokenizer *t, uint32_t id)
{
	return vocab_text(t->vocab, id, NULL);
}

bool tokenizer_is_special(const struct tokenizer *t, uint32_t id)
{
	return vocab_is_special(t->vocab, id);
}

const char *tokenizer_chat_template(const struct tokenizer *t)
{
	return t->chat_template;
}

const char *tokenizer_bos(const struct tokenizer *t)
{
	return t->bos ? t->bos : "";
}

const char *tokenizer_eos(const struct tokenizer *t)
{
	return t->eos ? t->eos : "";
}

/* What one encode call works in. */
struct encoding {
	const struct tokenizer *tokenizer;
	unsigned flags;
	struct regex_scratch *regex;
	struct bpe_scratch bpe;
	struct buffer normalized, spare;
	struct pieces pieces, spare_pieces;
	struct token_list *out;
	struct error *error;
};

static int encoding_open(struct encoding *x, const struct tokenizer *t, unsigned flags,
			 struct token_list *out, struct error *e)
{
	*x = (struct encoding){ .tokenizer = t, .flags = flags, .out = out, .error = e };
	return regex_scratch_open(&x->regex, e);
}

static void encoding_close(struct encoding *x)
{
	regex_scratch_close(x->regex);
	bpe_scratch_close(&x->bpe);
	buffer_close(&x->normalized);
	buffer_close(&x->spare);
	pieces_close(&x->pieces);
	pieces_close(&x->spare_pieces);
}

static int push(struct encoding *x, uint32_t id)
{
	int rc = token_list_push(x->out, id);

	return rc < 0 ? error_errno(x->error, rc, "encoding text") : 0;
}

/* A stretch of normalised text without added tokens. */
static int encode_stretch(struct encoding *x, const char *text, size_t bytes, bool first)
{
	const struct tokenizer *t = x->tokenizer;
	int rc;

	pieces_start(&x->pieces, text, bytes, first);
	rc = pretokenizer_run(&t->pretokenizer, x->regex, &x->pieces, &x->spare_pieces, x->error);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < x->pieces.count && rc == 0; i++) {
		const struct piece *p = &x->pieces.list[i];

		rc = bpe_encode(t->bpe, &x->bpe, x->pieces.text.data + p->start,
				p->end - p->start, x->out);
		if (rc < 0)
			error_errno(x->error, rc, "encoding a word of %zu bytes",
				    p->end - p->start);
	}
	return rc;
}

/* A stretch of raw text: normalise it, then look for tokens once more. */
static int encode_raw(struct encoding *x, const char *text, size_t bytes, bool first)
{
	const struct tokenizer *t = x->tokenizer;
	struct added_walk walk;
	struct added_part part;
	int rc;

	buffer_clear(&x->normalized);
	buffer_append(&x->normalized, text, bytes);
	rc = normalizer_run(&t->normalizer, x->regex, &x->normalized, &x->spare, x->error);
	if (rc == 0 && buffer_failed(&x->normalized))
		rc = error_errno(x->error, buffer_failed(&x->normalized), "encoding %zu bytes",
				 bytes);
	if (rc < 0)
		return rc;
	added_walk_start(&walk, &t->added, true, x->flags & ENCODE_NO_ADDED,
			 buffer_string(&x->normalized), x->normalized.length);
	while (rc == 0 && added_walk_next(&walk, &part)) {
		if (part.id >= 0)
			rc = push(x, (uint32_t)part.id);
		else
			rc = encode_stretch(x, x->normalized.data + part.start,
					    part.end - part.start, first && part.start == 0);
	}
	return rc;
}

static int encode_text(struct encoding *x, const char *text, size_t bytes)
{
	const struct tokenizer *t = x->tokenizer;
	struct added_walk walk;
	struct added_part part;
	int rc = 0;

	added_walk_start(&walk, &t->added, false, x->flags & ENCODE_NO_ADDED, text, bytes);
	while (rc == 0 && added_walk_next(&walk, &part)) {
		if (part.id >= 0)
			rc = push(x, (uint32_t)part.id);
		else
			rc = encode_raw(x, text + part.start, part.end - part.start,
					part.start == 0);
	}
	return rc;
}

static int encode_wrapped(struct encoding *x, const char *text, size_t bytes)
{
	const struct postprocessor *p = &x->tokenizer->postprocessor;
	bool wrap = x->flags & ENCODE_SPECIALS;
	int rc = 0;

	for (unsigned i = 0; wrap && i < p->before_count && rc == 0; i++)
		rc = push(x, p->before[i]);
	if (rc == 0)
		rc = encode_text(x, text, bytes);
	for (unsigned i = 0; wrap && i < p->after_count && rc == 0; i++)
		rc = push(x, p->after[i]);
	return rc;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t bytes, unsigned flags,
		     struct token_list *out, struct error *e)
{
	struct buffer repaired = { 0 };
	size_t before = out->count;
	struct encoding x;
	int rc = encoding_open(&x, t, flags, out, e);

	if (rc < 0)
		return rc;
	if (!utf8_valid(text, bytes)) {
		utf8_append_repaired(&repaired, text, bytes);
		text = buffer_string(&repaired);
		bytes = repaired.length;
	}
	if (buffer_failed(&repaired))
		rc = error_errno(e, buffer_failed(&repaired), "encoding text");
	if (rc == 0)
		rc = encode_wrapped(&x, text, bytes);
	if (rc < 0)
		out->count = before;
	encoding_close(&x);
	buffer_close(&repaired);
	return rc;
}

int tokenizer_add_token(struct tokenizer *t, const struct added_token *token, struct error *e)
{
	struct buffer text = { 0 }, spare = { 0 };
	struct regex_scratch *scratch = NULL;
	size_t bytes;
	const char *content = vocab_text(t->vocab, token->id, &bytes);
	int rc = 0;

	if (token->special)
		vocab_mark(t->vocab, token->id, VOCAB_SPECIAL);
	buffer_append(&text, content, bytes);
	if (token->normalized && t->normalizer.count > 0) {
		rc = regex_scratch_open(&scratch, e);
		if (rc == 0)
			rc = normalizer_run(&t->normalizer, scratch, &text, &spare, e);
	}
	if (rc == 0 && buffer_failed(&text))
		rc = error_errno(e, buffer_failed(&text), "adding a token");
	if (rc == 0 &&
	    added_tokens_add(&t->added, token, buffer_string(&text), text.length) < 0)
		rc = error_errno(e, -ENOMEM, "adding a token");
	regex_scratch_close(scratch);
	buffer_close(&text);
	buffer_close(&spare);
	return rc;
}
