/* utf8.c - owns how bytes become characters; the class tables are utf8proc's. */
#include "compute/text/utf8.h"

#include <utf8proc.h>

/* What may follow a lead byte: how long the sequence is and the range of its
 * second byte, which excludes overlong forms, surrogates and beyond U+10FFFF.
 */
struct lead {
	uint8_t first, last;
	uint8_t length;
	uint8_t second_first, second_last;
};

static const struct lead leads[] = {
	{ 0xC2, 0xDF, 2, 0x80, 0xBF },
	{ 0xE0, 0xE0, 3, 0xA0, 0xBF },
	{ 0xE1, 0xEC, 3, 0x80, 0xBF },
	{ 0xED, 0xED, 3, 0x80, 0x9F },
	{ 0xEE, 0xEF, 3, 0x80, 0xBF },
	{ 0xF0, 0xF0, 4, 0x90, 0xBF },
	{ 0xF1, 0xF3, 4, 0x80, 0xBF },
	{ 0xF4, 0xF4, 4, 0x80, 0x8F },
};

static const struct lead *lead_of(uint8_t byte)
{
	for (size_t i = 0; i < ARRAY_LENGTH(leads); i++)
		if (byte >= leads[i].first && byte <= leads[i].last)
			return &leads[i];
	return NULL;
}

size_t utf8_read(const char *text, size_t bytes, uint32_t *out, enum utf8_state *state)
{
	const uint8_t *s = (const uint8_t *)text;
	const struct lead *lead;
	uint32_t c;

	assert(bytes > 0);
	*state = UTF8_WHOLE;
	if (s[0] < 0x80) {
		*out = s[0];
		return 1;
	}
	*out = UTF8_REPLACEMENT;
	lead = lead_of(s[0]);
	if (!lead) {
		*state = UTF8_BROKEN;
		return 1;
	}
	c = s[0] & (0x7Fu >> lead->length);
	for (size_t i = 1; i < lead->length; i++) {
		uint8_t least = i == 1 ? lead->second_first : 0x80;
		uint8_t most = i == 1 ? lead->second_last : 0xBF;

		if (i == bytes) {
			*state = UTF8_CUT;
			return i;
		}
		if (s[i] < least || s[i] > most) {
			*state = UTF8_BROKEN;
			return i;
		}
		c = c << 6 | (s[i] & 0x3F);
	}
	*out = c;
	return lead->length;
}

size_t utf8_next(const char *text, size_t bytes, uint32_t *out)
{
	enum utf8_state state;

	return utf8_read(text, bytes, out, &state);
}

size_t utf8_before(const char *text, size_t end)
{
	size_t start = end - 1;

	while (start > 0 && end - start < UTF8_MOST_BYTES && ((uint8_t)text[start] & 0xC0) == 0x80)
		start--;
	return start;
}

size_t utf8_write(uint32_t c, char out[UTF8_MOST_BYTES])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xE0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3F));
	out[2] = (char)(0x80 | (c >> 6 & 0x3F));
	out[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

bool utf8_valid(const char *text, size_t bytes)
{
	enum utf8_state state;
	uint32_t c;

	for (size_t at = 0; at < bytes;) {
		at += utf8_read(text + at, bytes - at, &c, &state);
		if (state != UTF8_WHOLE)
			return false;
	}
	return true;
}

void utf8_append(struct buffer *out, uint32_t character)
{
	char bytes[UTF8_MOST_BYTES];

	buffer_append(out, bytes, utf8_write(character, bytes));
}

void utf8_append_repaired(struct buffer *out, const char *text, size_t bytes)
{
	size_t good = 0;             /* start of the valid run not yet copied */
	enum utf8_state state;
	uint32_t c;

	for (size_t at = 0; at < bytes;) {
		size_t n = utf8_read(text + at, bytes - at, &c, &state);

		if (state != UTF8_WHOLE) {
			buffer_append(out, text + good, at - good);
			utf8_append(out, UTF8_REPLACEMENT);
			good = at + n;
		}
		at += n;
	}
	buffer_append(out, text + good, bytes - good);
}

bool character_is_space(uint32_t c)
{
	return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
	       c == 0x205F || c == 0x3000;
}

bool character_is_numeric(uint32_t c)
{
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_NO:
		return true;
	default:
		return false;
	}
}

bool character_is_punctuation(uint32_t c)
{
	if (c < 0x80)
		return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) ||
		       (c >= 0x5B && c <= 0x60) || (c >= 0x7B && c <= 0x7E);
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_PC:
	case UTF8PROC_CATEGORY_PD:
	case UTF8PROC_CATEGORY_PS:
	case UTF8PROC_CATEGORY_PE:
	case UTF8PROC_CATEGORY_PI:
	case UTF8PROC_CATEGORY_PF:
	case UTF8PROC_CATEGORY_PO:
		return true;
	default:
		return false;
	}
}

/* Circled and squared Latin letters are symbols by category and alphabetic by
 * property; the two joiners belong to words as well.
 */
static bool is_symbol_in_words(uint32_t c)
{
	return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
	       (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189) ||
	       c == 0x200C || c == 0x200D;
}

bool character_is_word(uint32_t c)
{
	utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

	if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL)
		return true;
	return category == UTF8PROC_CATEGORY_PC || is_symbol_in_words(c);
}
