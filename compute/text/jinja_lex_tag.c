/* jinja_lex_tag.c - owns the inner half of lexing: names, numbers, strings
 * and operators inside a tag.
 */
#include "compute/text/jinja_lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compute/text/jinja_text.h"
#include "compute/text/utf8.h"

/* Longest first. */
static const char *const operators[] = {
	"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]",
	"(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";",
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits_end(const struct lexer *x, size_t at)
{
	while (at < x->source.bytes &&
	       (is_digit(x->source.data[at]) ||
		(x->source.data[at] == '_' && at + 1 < x->source.bytes &&
		 is_digit(x->source.data[at + 1]))))
		at++;
	return at;
}

static char peek(const struct lexer *x, size_t at)
{
	return at < x->source.bytes ? x->source.data[at] : '\0';
}

/* The number's digits without '_', NUL-terminated. */
static bool plain_number(const struct lexer *x, size_t end, char out[64])
{
	size_t n = 0;

	for (size_t i = x->at; i < end; i++) {
		if (x->source.data[i] == '_')
			continue;
		if (n == 63)
			return false;
		out[n++] = x->source.data[i];
	}
	out[n] = '\0';
	return true;
}

/* Where a fraction or an exponent behind `at` ends; `at` when there is neither. */
static size_t fraction_end(const struct lexer *x, size_t at)
{
	size_t exponent;

	if (peek(x, at) == '.' && is_digit(peek(x, at + 1)))
		at = digits_end(x, at + 1);
	if (peek(x, at) != 'e' && peek(x, at) != 'E')
		return at;
	exponent = at + 1;
	if (peek(x, exponent) == '+' || peek(x, exponent) == '-')
		exponent++;
	return is_digit(peek(x, exponent)) ? digits_end(x, exponent) : at;
}

static int lex_number(struct lexer *x)
{
	size_t whole = digits_end(x, x->at), end;
	bool after_dot = x->out->count > 0 &&
			 text_is(x->out->list[x->out->count - 1].text, ".");
	struct token *token;
	char text[64];

	if (peek(x, x->at) == '0' && whole == x->at + 1 &&
	    strchr("xXoObB", peek(x, whole)) && peek(x, whole))
		return lexer_fail(x, x->at, "only decimal numbers are supported");
	end = after_dot ? whole : fraction_end(x, whole);
	token = lexer_push(x, end > whole ? TOKEN_FLOAT : TOKEN_INTEGER, x->at, end);
	if (!token)
		return -ENOMEM;
	errno = 0;
	if (!plain_number(x, end, text))
		return lexer_fail(x, x->at, "this number is too long");
	if (end > whole)
		token->number = strtod(text, NULL);
	else
		token->integer = strtoll(text, NULL, 10);
	if (errno == ERANGE && end == whole)
		return lexer_fail(x, x->at, "this number is too large");
	x->at = end;
	return 0;
}

static bool is_name_character(uint32_t c)
{
	return c == '_' || (c < 0x80 ? is_digit((char)c) || (c >= 'a' && c <= 'z') ||
					       (c >= 'A' && c <= 'Z')
				     : character_is_word(c));
}

static int lex_name(struct lexer *x)
{
	size_t end = x->at;
	uint32_t c;

	while (end < x->source.bytes) {
		size_t n = utf8_next(x->source.data + end, x->source.bytes - end, &c);

		if (!is_name_character(c))
			break;
		end += n;
	}
	if (!lexer_push(x, TOKEN_NAME, x->at, end))
		return -ENOMEM;
	x->at = end;
	return 0;
}

static int hex_value(const char *text, size_t digits, uint32_t *out)
{
	*out = 0;
	for (size_t i = 0; i < digits; i++) {
		char c = text[i];
		int value = is_digit(c) ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

		if (value < 0)
			return -EINVAL;
		*out = *out << 4 | (uint32_t)value;
	}
	return 0;
}

static const struct {
	char letter, character;
} simple_escapes[] = {
	{ 'n', '\n' }, { 't', '\t' }, { 'r', '\r' }, { '\\', '\\' }, { '\'', '\'' },
	{ '"', '"' },  { 'a', '\a' }, { 'b', '\b' }, { 'f', '\f' },  { 'v', '\v' },
};

/* The escape at text[0] == '\\'; returns its length, or 0 when it is a bad one.
 * Writes what it stands for behind *to.
 */
static size_t unescape_one(const char *text, size_t bytes, char **to)
{
	size_t digits = text[1] == 'x' ? 2 : text[1] == 'u' ? 4 : text[1] == 'U' ? 8 : 0;
	uint32_t c = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(simple_escapes); i++) {
		if (simple_escapes[i].letter == text[1]) {
			*(*to)++ = simple_escapes[i].character;
			return 2;
		}
	}
	if (text[1] == '\n')                 /* a continued line */
		return 2;
	if (text[1] >= '0' && text[1] <= '7') {
		size_t n = 1;

		while (n < 4 && n < bytes && text[n] >= '0' && text[n] <= '7')
			c = c << 3 | (uint32_t)(text[n++] - '0');
		*to += utf8_write(c, *to);
		return n;
	}
	if (digits == 0) {                   /* not an escape: both stay */
		*(*to)++ = '\\';
		return 1;
	}
	if (bytes < 2 + digits || hex_value(text + 2, digits, &c) < 0 || c > 0x10FFFF ||
	    (c >= 0xD800 && c < 0xE000))
		return 0;
	*to += utf8_write(c, *to);
	return 2 + digits;
}

static int unescape(struct lexer *x, struct text *text, size_t at)
{
	char *copy, *to;

	if (!memchr(text->data, '\\', text->bytes))
		return 0;
	/* Nothing grows: \777 is the shortest for its two bytes. */
	copy = to = bag_take(x->bag, text->bytes + UTF8_MOST_BYTES);
	if (!copy)
		return error_errno(x->error, -ENOMEM, "reading a template");
	for (size_t i = 0; i < text->bytes;) {
		size_t n = 1;

		if (text->data[i] != '\\') {
			*to++ = text->data[i];
		} else {
			n = unescape_one(text->data + i, text->bytes - i, &to);
			if (n == 0)
				return lexer_fail(x, at,
						  "this string has a bad \\x, \\u or \\U escape");
		}
		i += n;
	}
	*text = (struct text){ copy, (size_t)(to - copy) };
	return 0;
}

static int lex_string(struct lexer *x)
{
	char quote = x->source.data[x->at];
	size_t end = x->at + 1;
	struct token *token;
	int rc;

	while (end < x->source.bytes && x->source.data[end] != quote)
		end += x->source.data[end] == '\\' ? 2 : 1;
	if (end >= x->source.bytes)
		return lexer_fail(x, x->at, "this string is never closed");
	token = lexer_push(x, TOKEN_STRING, x->at, end + 1);
	if (!token)
		return -ENOMEM;
	token->text = (struct text){ x->source.data + x->at + 1, end - x->at - 1 };
	rc = unescape(x, &token->text, x->at);
	x->at = end + 1;
	return rc;
}

/* Brackets inside a tag must match; "}}" inside them is not its end. */
static int balance(struct lexer *x, char c)
{
	const char *pair = strchr("()[]{}", c);

	if (!pair)
		return 0;
	if (c == '(' || c == '[' || c == '{') {
		if (x->depth == sizeof(x->brackets))
			return lexer_fail(x, x->at, "brackets are nested too deeply");
		x->brackets[x->depth++] = pair[1];
		return 0;
	}
	if (x->depth == 0 || x->brackets[x->depth - 1] != c)
		return lexer_fail(x, x->at, "this bracket closes nothing");
	x->depth--;
	return 0;
}

int jinja_lex_tag_token(struct lexer *x)
{
	char c = x->source.data[x->at];
	uint32_t character;
	int rc;

	if (c == '"' || c == '\'')
		return lex_string(x);
	if (is_digit(c))
		return lex_number(x);
	utf8_next(x->source.data + x->at, x->source.bytes - x->at, &character);
	if (is_name_character(character))
		return lex_name(x);
	for (size_t i = 0; i < ARRAY_LENGTH(operators); i++) {
		size_t n = strlen(operators[i]);

		if (x->source.bytes - x->at < n ||
		    memcmp(x->source.data + x->at, operators[i], n) != 0)
			continue;
		rc = balance(x, c);
		if (rc == 0 && !lexer_push(x, TOKEN_OPERATOR, x->at, x->at + n))
			rc = -ENOMEM;
		x->at += n;
		return rc;
	}
	return lexer_fail(x, x->at, "this character has no meaning here");
}
