/* regex_dialect.c - rewrites an Oniguruma pattern for PCRE2, or says why not.
 *
 * Only what differs is touched; the rest is copied.  Inside a class a nested
 * positive class is a union and its brackets are dropped.
 */
#include "compute/text/regex.h"

#include <errno.h>
#include <string.h>

#include "compute/text/utf8.h"

enum { CLASS_DEPTH_MAX = 32, PROPERTY_BYTES_MAX = 48 };

struct translation {
	const char *pattern;
	size_t bytes;
	size_t at;
	struct buffer *out;
	struct error *error;
};

static int refuse(const struct translation *t, int code, const char *what)
{
	return error_set(t->error, code, "at byte %zu of the pattern: %s", t->at, what);
}

/* Oniguruma counts Latin-1's superscripts and fractions among word characters. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"

/* Oniguruma's spelling, PCRE2's outside of a class (inside, a class cannot
 * hold a class, so only single properties will do).
 */
static const struct {
	char letter;
	const char *outside, *inside;
} escapes[] = {
	{ 's', "\\p{White_Space}", "\\p{White_Space}" },
	{ 'S', "\\P{White_Space}", "\\P{White_Space}" },
	{ 'w', "[" WORD "]", WORD },
	{ 'W', "[^" WORD "]", NULL },
	{ 'h', "[0-9A-Fa-f]", "0-9A-Fa-f" },
	{ 'H', "[^0-9A-Fa-f]", NULL },
};

/* Long names of general categories and the properties both engines know;
 * every other name of more than two letters is a script.
 */
static const struct {
	const char *name, *pcre;
} properties[] = {
	{ "Letter", "L" },
	{ "Mark", "M" },
	{ "Number", "N" },
	{ "Punctuation", "P" },
	{ "Punct", "P" },
	{ "Symbol", "S" },
	{ "Separator", "Z" },
	{ "Other", "C" },
	{ "Uppercase_Letter", "Lu" },
	{ "Lowercase_Letter", "Ll" },
	{ "Titlecase_Letter", "Lt" },
	{ "Modifier_Letter", "Lm" },
	{ "Other_Letter", "Lo" },
	{ "Decimal_Number", "Nd" },
	{ "Alphabetic", "Alphabetic" },
	{ "Alpha", "Alphabetic" },
	{ "White_Space", "White_Space" },
	{ "Space", "White_Space" },
	{ "Uppercase", "Uppercase" },
	{ "Lowercase", "Lowercase" },
	{ "Any", "Any" },
	{ "Emoji", "Emoji" },
	{ "Extended_Pictographic", "Extended_Pictographic" },
};

/* "\p{Han}" at t->at. */
static int translate_property(struct translation *t)
{
	const char *start = t->pattern + t->at;
	const char *end = memchr(start, '}', t->bytes - t->at);
	const char *name = start + 3;
	bool negated;
	size_t length;

	if (t->at + 2 >= t->bytes || start[2] != '{' || !end)
		return refuse(t, -EINVAL, "\\p needs a name in braces");
	negated = *name == '^';
	name += negated;
	length = (size_t)(end - name);
	if (length == 0 || length > PROPERTY_BYTES_MAX)
		return refuse(t, -EINVAL, "\\p{...} names no property");
	buffer_char(t->out, '\\');
	buffer_char(t->out, negated == (start[1] == 'P') ? 'p' : 'P');
	buffer_char(t->out, '{');
	t->at += (size_t)(end - start) + 1;
	for (size_t i = 0; i < ARRAY_LENGTH(properties); i++) {
		if (strlen(properties[i].name) == length &&
		    strncmp(properties[i].name, name, length) == 0) {
			buffer_printf(t->out, "%s}", properties[i].pcre);
			return 0;
		}
	}
	if (length > 2 && !memchr(name, ':', length))
		buffer_text(t->out, "sc:");
	buffer_append(t->out, name, length);
	buffer_char(t->out, '}');
	return 0;
}

static int translate_escape(struct translation *t, bool in_class)
{
	char letter;

	if (t->at + 1 >= t->bytes)
		return refuse(t, -EINVAL, "a lone backslash ends it");
	letter = t->pattern[t->at + 1];
	if (letter == 'p' || letter == 'P')
		return translate_property(t);
	for (size_t i = 0; i < ARRAY_LENGTH(escapes); i++) {
		const char *text = in_class ? escapes[i].inside : escapes[i].outside;

		if (escapes[i].letter != letter)
			continue;
		if (!text)
			return refuse(t, -ENOTSUP, "\\W or \\H inside a class is not supported");
		buffer_text(t->out, text);
		t->at += 2;
		return 0;
	}
	if (letter == 'K' || letter == 'C' || letter == 'g')
		return refuse(t, -ENOTSUP, "this escape is not supported");
	buffer_append(t->out, t->pattern + t->at, 2);
	t->at += 2;
	return 0;
}

/* "[:alpha:]" at t->at, copied whole. */
static bool translate_posix_class(struct translation *t)
{
	const char *start = t->pattern + t->at;
	size_t left = t->bytes - t->at;
	const char *end;

	if (left < 4 || start[1] != ':')
		return false;
	end = memmem(start + 2, left - 2, ":]", 2);
	if (!end)
		return false;
	for (const char *c = start + 2; c < end; c++)
		if (!(*c >= 'a' && *c <= 'z') && *c != '^')
			return false;
	buffer_append(t->out, start, (size_t)(end - start) + 2);
	t->at += (size_t)(end - start) + 2;
	return true;
}

/* A bracket inside a class: opens a nested union, or is a POSIX class. */
static int translate_nested(struct translation *t, int *depth)
{
	if (translate_posix_class(t))
		return 0;
	if (t->at + 1 < t->bytes && t->pattern[t->at + 1] == '^')
		return refuse(t, -ENOTSUP, "a negated class inside a class is not supported");
	if (*depth == CLASS_DEPTH_MAX)
		return refuse(t, -EINVAL, "classes are nested too deeply");
	*depth += 1;
	t->at++;
	return 0;
}

/* A whole class, t->at on its '['. */
static int translate_class(struct translation *t)
{
	bool opening = true;         /* a ']' here is a literal */
	int depth = 0, rc;

	do {
		char c = t->pattern[t->at];

		if (c == '[' && depth == 0) {
			buffer_char(t->out, '[');
			depth = 1;
			t->at++;
			if (t->at < t->bytes && t->pattern[t->at] == '^') {
				buffer_char(t->out, '^');
				t->at++;
			}
			continue;
		}
		if (c == '[') {
			rc = translate_nested(t, &depth);
		} else if (c == ']' && !opening) {
			t->at++;
			rc = 0;
			if (--depth == 0)
				buffer_char(t->out, ']');
		} else if (c == ']') {
			buffer_text(t->out, "\\]");
			t->at++;
			rc = 0;
		} else if (c == '\\') {
			rc = translate_escape(t, true);
		} else if (c == '&' && t->at + 1 < t->bytes && t->pattern[t->at + 1] == '&') {
			rc = refuse(t, -ENOTSUP, "&& inside a class is not supported");
		} else {
			buffer_char(t->out, c);
			t->at++;
			rc = 0;
		}
		if (rc < 0)
			return rc;
		opening = false;
	} while (depth > 0 && t->at < t->bytes);
	return depth == 0 ? 0 : refuse(t, -EINVAL, "a class is not closed");
}

/* "{2,3}+" repeats the repetition there and is possessive here. */
static bool ends_interval(const struct translation *t)
{
	size_t at = t->at;

	if (t->pattern[at] != '}' || at + 1 >= t->bytes || t->pattern[at + 1] != '+')
		return false;
	while (at > 0 && ((t->pattern[at - 1] >= '0' && t->pattern[at - 1] <= '9') ||
			  t->pattern[at - 1] == ','))
		at--;
	return at > 0 && t->pattern[at - 1] == '{' && at < t->at;
}

int regex_translate(struct buffer *out, const char *pattern, size_t bytes, struct error *e)
{
	struct translation t = { pattern, bytes, 0, out, e };
	int rc = 0;

	if (!utf8_valid(pattern, bytes) || memchr(pattern, '\0', bytes))
		return error_set(e, -EINVAL, "the pattern is not plain UTF-8 text");
	while (t.at < bytes && rc == 0) {
		char c = pattern[t.at];

		if (c == '\\') {
			rc = translate_escape(&t, false);
		} else if (c == '[') {
			rc = translate_class(&t);
		} else if (ends_interval(&t)) {
			rc = refuse(&t, -ENOTSUP, "{n,m}+ is not supported");
		} else if (c == '(' && t.at + 1 < bytes && pattern[t.at + 1] == '*') {
			rc = refuse(&t, -ENOTSUP, "(*...) is not supported");
		} else {
			buffer_char(out, c);
			t.at++;
		}
	}
	if (rc == 0 && buffer_failed(out))
		rc = error_errno(e, buffer_failed(out), "translating a pattern");
	return rc;
}
