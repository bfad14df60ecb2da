/* decoder.c - owns decoder steps and the table of decoded token texts. */
#include "compute/text/decoder.h"

#include <errno.h>
#include <string.h>

#include "compute/text/byte_alphabet.h"
#include "dataplane/base/memory.h"

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int byte_fallback_value(const char *text, size_t bytes)
{
	int high, low;

	if (bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
		return -1;
	high = digit_value(text[3]);
	low = digit_value(text[4]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void decoder_set_byte_level(struct decoder *d)
{
	assert(d->count < DECODER_STEPS_MAX);
	d->steps[d->count++].kind = DECODE_BYTE_LEVEL;
	d->joined = true;
	d->fused = true;
	d->byte_level = true;
}

int decoder_set_sentence_piece(struct decoder *d, bool strip_space)
{
	struct decoder_step *step = &d->steps[d->count];

	assert(d->count < DECODER_STEPS_MAX);
	d->count++;
	step->kind = DECODE_REPLACE;
	d->joined = true;
	d->fused = true;
	d->byte_fallback = true;
	if (strip_space) {
		d->strip_first[0] = ' ';
		d->strip_first_bytes = 1;
	}
	step->content = mem_strdup(" ");
	if (!step->content)
		return -ENOMEM;
	return pattern_set_text(&step->pattern, "\xE2\x96\x81", 3);
}

void decoder_close(struct decoder *d)
{
	for (unsigned i = 0; i < d->count; i++) {
		pattern_close(&d->steps[i].pattern);
		mem_free(d->steps[i].content);
	}
	buffer_close(&d->any.texts);
	buffer_close(&d->first.texts);
	mem_free(d->any.ends);
	mem_free(d->first.ends);
	*d = (struct decoder){ 0 };
}

static bool starts_with(const struct decoder_step *step, const char *text, size_t bytes)
{
	return bytes >= step->character_bytes &&
	       memcmp(text, step->character, step->character_bytes) == 0;
}

static void strip(const struct decoder_step *step, struct buffer *out, const char *text,
		  size_t bytes)
{
	size_t n = step->character_bytes;

	for (unsigned i = 0; i < step->start && starts_with(step, text, bytes); i++) {
		text += n;
		bytes -= n;
	}
	for (unsigned i = 0; i < step->stop && bytes >= n; i++) {
		if (memcmp(text + bytes - n, step->character, n) != 0)
			break;
		bytes -= n;
	}
	buffer_append(out, text, bytes);
}

static void metaspace(const struct decoder_step *step, struct buffer *out, const char *text,
		      size_t bytes, bool first)
{
	for (size_t at = 0; at < bytes;) {
		if (starts_with(step, text + at, bytes - at)) {
			if (!first || !step->drops_first)
				buffer_char(out, ' ');
			at += step->character_bytes;
		} else {
			buffer_char(out, text[at++]);
		}
	}
}

static int run_step(const struct decoder_step *step, struct regex_scratch *s, const char *text,
		    size_t bytes, bool first, struct buffer *out, struct error *e)
{
	switch (step->kind) {
	case DECODE_BYTE_LEVEL:
		if (!byte_alphabet_restore(out, text, bytes))
			buffer_append(out, text, bytes);
		return 0;
	case DECODE_REPLACE:
		return pattern_replace(&step->pattern, s, text, bytes, step->content, out, e);
	case DECODE_STRIP:
		strip(step, out, text, bytes);
		return 0;
	case DECODE_METASPACE:
		metaspace(step, out, text, bytes, first);
		return 0;
	case DECODE_BYTE_FALLBACK:       /* bytes need their neighbours: detokenizer.c */
		break;
	}
	buffer_append(out, text, bytes);
	return 0;
}

/* Room for one token between two steps. */
struct workroom {
	struct regex_scratch *scratch;
	struct buffer one, other;
};

static int decode_token(const struct decoder *d, struct workroom *w, const char *text,
			size_t bytes, bool first, struct buffer *out, struct error *e)
{
	int rc = 0;

	buffer_clear(&w->one);
	buffer_append(&w->one, text, bytes);
	for (unsigned i = 0; i < d->count && rc == 0; i++) {
		struct buffer swap = w->one;

		buffer_clear(&w->other);
		rc = run_step(&d->steps[i], w->scratch, buffer_string(&w->one), w->one.length,
			      first, &w->other, e);
		w->one = w->other;
		w->other = swap;
	}
	buffer_append(out, buffer_string(&w->one), w->one.length);
	if (rc == 0 && (buffer_failed(&w->one) || buffer_failed(&w->other) || buffer_failed(out)))
		rc = error_errno(e, -ENOMEM, "decoding tokens");
	return rc;
}

static int fill(const struct decoder *d, struct decoded_texts *t, struct workroom *w,
		const struct vocab *v, bool first, struct error *e)
{
	uint32_t size = vocab_size(v);
	int rc = 0;

	t->ends = mem_alloc(size * sizeof(*t->ends));
	if (!t->ends)
		return error_errno(e, -ENOMEM, "decoding %u tokens", size);
	t->texts.bound = UINT32_MAX - 1;
	for (uint32_t id = 0; id < size && rc == 0; id++) {
		size_t bytes;
		const char *text = vocab_text(v, id, &bytes);

		rc = decode_token(d, w, text, bytes, first, &t->texts, e);
		t->ends[id] = (uint32_t)t->texts.length;
	}
	return rc;
}

int decoder_prepare(struct decoder *d, const struct vocab *v, struct error *e)
{
	struct workroom w = { 0 };
	int rc = regex_scratch_open(&w.scratch, e);

	if (rc == 0)
		rc = fill(d, &d->any, &w, v, false, e);
	if (rc == 0 && d->first_differs)
		rc = fill(d, &d->first, &w, v, true, e);
	regex_scratch_close(w.scratch);
	buffer_close(&w.one);
	buffer_close(&w.other);
	return rc;
}

const char *decoder_text(const struct decoder *d, uint32_t id, bool first, size_t *bytes)
{
	const struct decoded_texts *t = first && d->first_differs ? &d->first : &d->any;
	size_t start = id ? t->ends[id - 1] : 0;

	*bytes = t->ends[id] - start;
	return buffer_string(&t->texts) + start;
}
