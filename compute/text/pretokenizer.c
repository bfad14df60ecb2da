/* pretokenizer.c - owns how each step cuts and rewrites pieces. */
#include "compute/text/pretokenizer.h"

#include <errno.h>
#include <string.h>

#include "compute/text/byte_alphabet.h"
#include "dataplane/base/memory.h"

void pieces_close(struct pieces *p)
{
	buffer_close(&p->text);
	mem_free(p->list);
	*p = (struct pieces){ 0 };
}

static void add_piece(struct pieces *p, size_t start, size_t end, bool first)
{
	if (start == end || p->failed)
		return;
	if (p->count == p->capacity) {
		size_t capacity = MAX(p->capacity * 2, (size_t)64);
		void *grown = mem_realloc(p->list, capacity * sizeof(*p->list));

		if (!grown) {
			p->failed = -ENOMEM;
			return;
		}
		p->list = grown;
		p->capacity = capacity;
	}
	p->list[p->count++] = (struct piece){ start, end, first };
}

void pieces_start(struct pieces *p, const char *text, size_t bytes, bool first)
{
	buffer_clear(&p->text);
	p->count = 0;
	p->failed = 0;
	buffer_append(&p->text, text, bytes);
	if (buffer_failed(&p->text))
		p->failed = -ENOMEM;
	add_piece(p, 0, bytes, first);
}

/* Splitting one piece: matches and the stretches between them alternate into
 * split_part(), which joins them as the behaviour says.
 */
struct splitter {
	struct pieces *out;
	const struct piece *piece;
	enum split_behavior behavior;
	bool invert;
	bool open;                   /* start..end waits for what joins it */
	bool open_is_match;
	size_t start, end;
};

static void close_part(struct splitter *s)
{
	if (s->open)
		add_piece(s->out, s->start, s->end, s->piece->first && s->start == s->piece->start);
	s->open = false;
}

static bool joins(const struct splitter *s, bool is_match)
{
	switch (s->behavior) {
	case SPLIT_CONTIGUOUS:
		return is_match == s->open_is_match;
	case SPLIT_MERGED_WITH_PREVIOUS:
		return is_match && !s->open_is_match;
	case SPLIT_MERGED_WITH_NEXT:
		return s->open_is_match && !is_match;
	default:
		return false;
	}
}

static void split_part(struct splitter *s, size_t start, size_t end, bool is_match)
{
	is_match ^= s->invert;
	if (is_match && s->behavior == SPLIT_REMOVED) {
		close_part(s);
		return;
	}
	if (!s->open || !joins(s, is_match)) {
		close_part(s);
		s->start = start;
		s->open = true;
	}
	s->end = end;
	s->open_is_match = is_match;
}

static int split_piece(struct splitter *s, const struct pattern *pattern,
		       struct regex_scratch *scratch, const char *text, struct error *e)
{
	const char *data = text + s->piece->start;
	size_t bytes = s->piece->end - s->piece->start, base = s->piece->start;
	size_t done = 0, from = 0;
	struct regex_match m;
	uint32_t c;
	int rc;

	while ((rc = pattern_find(pattern, scratch, data, bytes, from, &m, e)) > 0) {
		if (m.start > done)
			split_part(s, base + done, base + m.start, false);
		split_part(s, base + m.start, base + m.end, true);
		done = m.end;
		from = m.end;
		if (from == bytes)
			break;
		if (m.start == m.end)
			from += utf8_next(data + from, bytes - from, &c);
	}
	if (rc < 0)
		return rc;
	if (done < bytes)
		split_part(s, base + done, base + bytes, false);
	close_part(s);
	return 0;
}

static void split_characters(struct splitter *s, bool (*matches)(uint32_t c), const char *text)
{
	size_t done = s->piece->start;
	uint32_t c;

	for (size_t at = done; at < s->piece->end;) {
		size_t n = utf8_next(text + at, s->piece->end - at, &c);

		if (matches(c)) {
			if (at > done)
				split_part(s, done, at, false);
			split_part(s, at, at + n, true);
			done = at + n;
		}
		at += n;
	}
	if (done < s->piece->end)
		split_part(s, done, s->piece->end, false);
	close_part(s);
}

/* Steps that only cut leave the text where it is. */
static int run_split(const struct pretokenizer_step *step, const struct pattern *pattern,
		     struct regex_scratch *scratch, struct pieces *in, struct pieces *out,
		     struct error *e)
{
	struct buffer swap = out->text;
	int rc = 0;

	for (size_t i = 0; i < in->count && rc == 0; i++) {
		struct splitter s = { .out = out,
				      .piece = &in->list[i],
				      .behavior = step->behavior,
				      .invert = step->invert };

		if (pattern)
			rc = split_piece(&s, pattern, scratch, in->text.data, e);
		else if (step->kind == CUT_DIGITS)
			split_characters(&s, character_is_numeric, in->text.data);
		else if (step->kind == CUT_PUNCTUATION)
			split_characters(&s, character_is_punctuation, in->text.data);
		else
			split_characters(&s, character_is_space, in->text.data);
	}
	out->text = in->text;
	in->text = swap;
	return rc;
}

/* Writes every piece through `write` into out's own text. */
static void rewrite(const struct pretokenizer_step *step, const struct pieces *in,
		    struct pieces *out,
		    void (*write)(const struct pretokenizer_step *step, struct buffer *to,
				  const char *text, size_t bytes, bool first))
{
	for (size_t i = 0; i < in->count; i++) {
		const struct piece *piece = &in->list[i];
		size_t start = out->text.length;

		write(step, &out->text, in->text.data + piece->start, piece->end - piece->start,
		      piece->first);
		add_piece(out, start, out->text.length, piece->first);
	}
	if (buffer_failed(&out->text))
		out->failed = -ENOMEM;
}

static void write_prefix_space(const struct pretokenizer_step *step, struct buffer *to,
			       const char *text, size_t bytes, bool first)
{
	if (text[0] != ' ')
		buffer_char(to, ' ');
	buffer_append(to, text, bytes);
}

static void write_byte_level(const struct pretokenizer_step *step, struct buffer *to,
			     const char *text, size_t bytes, bool first)
{
	byte_alphabet_append(to, text, bytes);
}

static void write_metaspace(const struct pretokenizer_step *step, struct buffer *to,
			    const char *text, size_t bytes, bool first)
{
	bool starts = text[0] == ' ' ||
		      (bytes >= step->replacement_bytes &&
		       memcmp(text, step->replacement, step->replacement_bytes) == 0);

	if (!starts && (step->prepend == PREPEND_ALWAYS ||
			(step->prepend == PREPEND_FIRST && first)))
		buffer_append(to, step->replacement, step->replacement_bytes);
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == ' ')
			buffer_append(to, step->replacement, step->replacement_bytes);
		else
			buffer_char(to, text[i]);
	}
}

static void exchange(struct pieces *a, struct pieces *b)
{
	struct pieces swap = *a;

	*a = *b;
	*b = swap;
	b->count = 0;
	b->failed = 0;
	buffer_clear(&b->text);
}

/* A literal cut at the stand-in, which starts the piece that follows it. */
static int cut_metaspace(const struct pretokenizer_step *step, struct pieces *in,
			 struct pieces *out, struct error *e)
{
	struct pretokenizer_step cut = { .kind = CUT_SPLIT, .behavior = SPLIT_MERGED_WITH_NEXT };
	char text[UTF8_MOST_BYTES + 1] = { 0 };
	struct pattern stand_in = { .text = text, .bytes = step->replacement_bytes };

	memcpy(text, step->replacement, step->replacement_bytes);
	return run_split(&cut, &stand_in, NULL, in, out, e);
}

static int run_step(const struct pretokenizer_step *step, struct regex_scratch *s,
		    struct pieces *pieces, struct pieces *spare, struct error *e)
{
	int rc = 0;

	switch (step->kind) {
	case CUT_BYTE_LEVEL:
		if (step->prefix_space) {
			rewrite(step, pieces, spare, write_prefix_space);
			exchange(pieces, spare);
		}
		if (step->matches) {
			rc = run_split(step, &step->pattern, s, pieces, spare, e);
			exchange(pieces, spare);
		}
		rewrite(step, pieces, spare, write_byte_level);
		break;
	case CUT_METASPACE:
		rewrite(step, pieces, spare, write_metaspace);
		if (step->split) {
			exchange(pieces, spare);
			rc = cut_metaspace(step, pieces, spare, e);
		}
		break;
	case CUT_SPLIT:
		rc = run_split(step, &step->pattern, s, pieces, spare, e);
		break;
	case CUT_DIGITS:
	case CUT_PUNCTUATION:
	case CUT_WHITESPACE:
		rc = run_split(step, NULL, s, pieces, spare, e);
		break;
	}
	if (rc == 0 && (pieces->failed || spare->failed))
		rc = error_errno(e, -ENOMEM, "cutting %zu bytes", pieces->text.length);
	exchange(pieces, spare);
	return rc;
}

int pretokenizer_run(const struct pretokenizer *p, struct regex_scratch *s,
		     struct pieces *pieces, struct pieces *spare, struct error *e)
{
	int rc = pieces->failed ? error_errno(e, pieces->failed, "cutting text") : 0;

	spare->count = 0;
	spare->failed = 0;
	buffer_clear(&spare->text);
	for (unsigned i = 0; i < p->count && rc == 0; i++)
		rc = run_step(&p->steps[i], s, pieces, spare, e);
	return rc;
}
