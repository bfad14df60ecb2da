/* detokenizer.c - owns the way from ids back to text, one id at a time.
 *
 * Bytes are held until they form a character.  What can never become one is
 * U+FFFD: one per maximal subpart in byte-level vocabularies, one per byte
 * where single bytes are tokens.  (Hugging Face's byte fallback gives up a
 * whole run of byte tokens when one of them is bad; that cannot be streamed,
 * so characters that were whole stay whole here.)
 */
#include "compute/text/tokenizer.h"

#include <string.h>

#include "compute/text/tokenizer_parts.h"

void detokenizer_start(struct detokenizer *d, const struct tokenizer *t, bool skip_special)
{
	*d = (struct detokenizer){ .tokenizer = t, .skip_special = skip_special };
}

/* Characters that are whole. */
static void emit(struct detokenizer *d, const char *text, size_t bytes, struct buffer *out)
{
	const struct decoder *decoder = &d->tokenizer->decoder;
	size_t n = decoder->strip_first_bytes;

	if (bytes == 0)
		return;
	if (n > 0 && !d->started) {
		d->started = true;
		if (bytes >= n && memcmp(text, decoder->strip_first, n) == 0) {
			text += n;
			bytes -= n;
		}
	}
	buffer_append(out, text, bytes);
}

static void emit_broken(struct detokenizer *d, size_t bytes, struct buffer *out)
{
	size_t count = d->tokenizer->decoder.byte_fallback ? bytes : 1;

	for (size_t i = 0; i < count; i++)
		emit(d, "\xEF\xBF\xBD", 3, out);
}

/* Lets go of everything in hand that is settled; of all of it at a `last`. */
static void drain(struct detokenizer *d, bool last, struct buffer *out)
{
	size_t at = 0;

	while (at < d->held_bytes) {
		const char *text = (const char *)d->held + at;
		enum utf8_state state;
		uint32_t c;
		size_t n = utf8_read(text, d->held_bytes - at, &c, &state);

		if (state == UTF8_CUT && !last)
			break;
		if (state == UTF8_WHOLE)
			emit(d, text, n, out);
		else
			emit_broken(d, n, out);
		at += n;
	}
	d->held_bytes -= (uint32_t)at;
	memmove(d->held, d->held + at, d->held_bytes);
}

static void hold(struct detokenizer *d, const char *bytes, size_t count, struct buffer *out)
{
	for (size_t i = 0; i < count; i++) {
		assert(d->held_bytes < sizeof(d->held));
		d->held[d->held_bytes++] = (uint8_t)bytes[i];
		drain(d, false, out);
	}
}

void detokenizer_push(struct detokenizer *d, uint32_t id, struct buffer *out)
{
	const struct tokenizer *t = d->tokenizer;
	const struct decoder *decoder = &t->decoder;
	bool first = !d->started && !decoder->strip_first_bytes;
	size_t bytes;
	const char *text;
	int byte;

	if (!vocab_has(t->vocab, id) || (d->skip_special && vocab_is_special(t->vocab, id)))
		return;
	text = vocab_text(t->vocab, id, &bytes);
	byte = decoder->byte_fallback ? byte_fallback_value(text, bytes) : -1;
	if (!decoder->strip_first_bytes)
		d->started = true;
	if (byte >= 0) {
		hold(d, &(char){ (char)byte }, 1, out);
		return;
	}
	text = decoder_text(decoder, id, first, &bytes);
	if (decoder->byte_level) {
		hold(d, text, bytes, out);
		return;
	}
	drain(d, true, out);
	if (!decoder->joined && !first)
		emit(d, " ", 1, out);
	emit(d, text, bytes, out);
}

void detokenizer_finish(struct detokenizer *d, struct buffer *out)
{
	drain(d, true, out);
}

int tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t count,
		     bool skip_special, struct buffer *out)
{
	struct detokenizer d;

	detokenizer_start(&d, t, skip_special);
	for (size_t i = 0; i < count; i++)
		detokenizer_push(&d, ids[i], out);
	detokenizer_finish(&d, out);
	return buffer_failed(out);
}

void tokenizer_token_bytes(const struct tokenizer *t, uint32_t id, struct buffer *out)
{
	size_t bytes;
	const char *text;
	int byte;

	if (!vocab_has(t->vocab, id))
		return;
	text = vocab_text(t->vocab, id, &bytes);
	byte = t->decoder.byte_fallback ? byte_fallback_value(text, bytes) : -1;
	if (byte >= 0) {
		buffer_char(out, (char)byte);
		return;
	}
	text = decoder_text(&t->decoder, id, false, &bytes);
	if (!t->decoder.joined && !t->decoder.byte_level)
		buffer_char(out, ' ');
	buffer_append(out, text, bytes);
}
