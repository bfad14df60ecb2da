/* jinja_lex.c - owns the outer half of lexing: text, tags, comments, raw. */
#include "compute/text/jinja_lex.h"

#include <errno.h>
#include <string.h>

#include "compute/text/jinja_text.h"
#include "compute/text/utf8.h"

/* Moves line and column to `at`; going back starts over. */
static void count_to(struct lexer *x, size_t at)
{
	if (at < x->counted) {
		x->counted = 0;
		x->line = x->column = 1;
	}
	for (; x->counted < at; x->counted++) {
		if (x->source.data[x->counted] == '\n') {
			x->line++;
			x->column = 1;
		} else {
			x->column += ((uint8_t)x->source.data[x->counted] & 0xC0) != 0x80;
		}
	}
}

int lexer_fail(struct lexer *x, size_t at, const char *what)
{
	count_to(x, at);
	return error_set(x->error, -EINVAL, "line %u, column %u: %s", x->line, x->column, what);
}

struct token *lexer_push(struct lexer *x, enum token_kind kind, size_t at, size_t end)
{
	struct token_run *out = x->out;
	struct token *token;

	if (out->count == out->capacity) {
		size_t capacity = MAX(out->capacity * 2, (size_t)256);
		struct token *grown = bag_take(x->bag, capacity * sizeof(*grown));

		if (!grown) {
			error_errno(x->error, -ENOMEM, "reading a template");
			return NULL;
		}
		if (out->count)
			memcpy(grown, out->list, out->count * sizeof(*grown));
		out->list = grown;
		out->capacity = capacity;
	}
	count_to(x, at);
	token = &out->list[out->count++];
	*token = (struct token){ .kind = kind,
				 .line = x->line,
				 .column = x->column,
				 .text = { x->source.data + at, end - at } };
	return token;
}

static char peek(const struct lexer *x, size_t at)
{
	return at < x->source.bytes ? x->source.data[at] : '\0';
}

static bool looking_at(const struct lexer *x, size_t at, const char *what)
{
	return text_starts((struct text){ x->source.data + at, x->source.bytes - at },
			   (struct text){ what, strlen(what) });
}

static size_t skip_spaces(const struct lexer *x, size_t at)
{
	uint32_t c;

	while (at < x->source.bytes) {
		size_t n = utf8_next(x->source.data + at, x->source.bytes - at, &c);

		if (!text_is_space(c))
			break;
		at += n;
	}
	return at;
}

/* The text before a tag at `at`, shortened as the sign behind the tag's two
 * characters and lstrip_blocks want.
 */
static int push_data(struct lexer *x, size_t start, size_t at, bool block)
{
	struct text text = { x->source.data + start, at - start };
	char sign = peek(x, at + 2);

	if (sign == '-' && at < x->source.bytes) {
		text = text_strip(text, NULL, STRIP_RIGHT);
	} else if (sign != '+' && block) {
		const char *newline = text.bytes ? memrchr(text.data, '\n', text.bytes) : NULL;
		size_t line = newline ? (size_t)(newline - text.data) + 1 : 0;
		struct text indent = { text.data + line, text.bytes - line };

		if ((newline || x->at_line_start) &&
		    text_strip(indent, NULL, STRIP_LEFT).bytes == 0)
			text.bytes = line;
	}
	if (text.bytes == 0)
		return 0;
	return lexer_push(x, TOKEN_DATA, start, start + text.bytes) ? 0 : -ENOMEM;
}

/* Behind the end of a tag at `at`: '-' takes white space, else the newline of
 * a block goes, unless it has a '+'.
 */
static void finish_tag(struct lexer *x, size_t at, char sign, bool trims)
{
	x->at = at;
	if (sign == '-')
		x->at = skip_spaces(x, at);
	else if (sign != '+' && trims && peek(x, at) == '\n')
		x->at = at + 1;
	x->at_line_start = x->at > at && x->source.data[x->at - 1] == '\n';
}

static int lex_comment(struct lexer *x, size_t at)
{
	size_t start = at + 2 + (peek(x, at + 2) == '-' || peek(x, at + 2) == '+');
	int64_t found = text_find(x->source, TEXT("#}"), start);
	char sign;

	if (found < 0)
		return lexer_fail(x, at, "this comment is never closed");
	sign = (size_t)found > start ? peek(x, (size_t)found - 1) : '\0';
	finish_tag(x, (size_t)found + 2, sign, true);
	return 0;
}

/* Reads "{%- NAME -%}" at `at`: where it ends, or 0 when it is something else. */
static size_t bare_tag(const struct lexer *x, size_t at, const char *name, char *sign)
{
	size_t i = at + 2;

	if (!looking_at(x, at, "{%"))
		return 0;
	if (peek(x, i) == '-' || peek(x, i) == '+')
		i++;
	i = skip_spaces(x, i);
	if (!looking_at(x, i, name))
		return 0;
	i = skip_spaces(x, i + strlen(name));
	*sign = peek(x, i);
	if (*sign == '-' || *sign == '+')
		i++;
	return looking_at(x, i, "%}") ? i + 2 : 0;
}

static int lex_raw(struct lexer *x, size_t tag, size_t start, char sign)
{
	/* The newline behind {% raw %} stays; '-' still takes white space. */
	finish_tag(x, start, sign, false);
	start = x->at;
	for (size_t at = start; at < x->source.bytes; at++) {
		size_t end = peek(x, at) == '{' ? bare_tag(x, at, "endraw", &sign) : 0;
		int rc;

		if (!end)
			continue;
		rc = push_data(x, start, at, true);
		finish_tag(x, end, sign, true);
		return rc;
	}
	return lexer_fail(x, tag, "this raw block is never closed");
}

static int lex_tag(struct lexer *x, size_t at, bool block)
{
	const char *end = block ? "%}" : "}}";
	int rc = 0;

	if (!lexer_push(x, block ? TOKEN_BLOCK_BEGIN : TOKEN_PRINT_BEGIN, at, at + 2))
		return -ENOMEM;
	x->at = at + 2;
	x->depth = 0;
	if (peek(x, x->at) == '-' || peek(x, x->at) == '+')
		x->at++;
	while (rc == 0) {
		size_t here;
		char sign;

		x->at = here = skip_spaces(x, x->at);
		sign = peek(x, here);
		if (here >= x->source.bytes)
			return lexer_fail(x, at, "this tag is never closed");
		if ((sign == '-' || (block && sign == '+')) && looking_at(x, here + 1, end))
			here++;
		if (x->depth == 0 && looking_at(x, here, end)) {
			if (!lexer_push(x, block ? TOKEN_BLOCK_END : TOKEN_PRINT_END, here,
					here + 2))
				return -ENOMEM;
			finish_tag(x, here + 2, here > x->at ? sign : '\0', block);
			return 0;
		}
		rc = jinja_lex_tag_token(x);
	}
	return rc;
}

/* The next "{{", "{%" or "{#" from `at` on; the end when there is none. */
static size_t find_tag(const struct lexer *x, size_t at)
{
	while (at < x->source.bytes) {
		const char *brace = memchr(x->source.data + at, '{', x->source.bytes - at);

		if (!brace)
			break;
		at = (size_t)(brace - x->source.data);
		if (peek(x, at + 1) == '{' || peek(x, at + 1) == '%' || peek(x, at + 1) == '#')
			return at;
		at++;
	}
	return x->source.bytes;
}

int jinja_lex(struct token_run *out, struct text source, struct bag *bag, struct error *e)
{
	struct lexer x = { .source = source,
			   .line = 1,
			   .column = 1,
			   .bag = bag,
			   .out = out,
			   .error = e,
			   .at_line_start = true };
	int rc = 0;

	*out = (struct token_run){ 0 };
	while (rc == 0 && x.at < source.bytes) {
		size_t start = x.at, at = find_tag(&x, start), raw;
		char kind = peek(&x, at + 1), sign;

		rc = push_data(&x, start, at, kind != '{' && at < source.bytes);
		x.at = at;
		if (rc < 0 || at == source.bytes)
			break;
		if (kind == '#')
			rc = lex_comment(&x, at);
		else if (kind == '%' && (raw = bare_tag(&x, at, "raw", &sign)))
			rc = lex_raw(&x, at, raw, sign);
		else
			rc = lex_tag(&x, at, kind == '%');
	}
	if (rc == 0 && !lexer_push(&x, TOKEN_END, source.bytes, source.bytes))
		rc = -ENOMEM;
	return rc;
}
