/* jinja_format.c - owns "{}".format() and "%s" %. */
#include "compute/text/jinja_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/text/jinja_print.h"
#include "compute/text/jinja_text.h"

enum { WIDTH_MAX = 1000, NUMBER_BYTES = 2048 };

/* What stands between braces: nothing, a position or a name. */
static struct value brace_field(struct run *r, const struct arguments *a, struct text field,
				 size_t *next)
{
	size_t position = 0;

	if (field.bytes == 0) {
		position = (*next)++;
	} else if (field.data[0] >= '0' && field.data[0] <= '9' && field.bytes < 4) {
		for (size_t i = 0; i < field.bytes; i++)
			position = position * 10 + (size_t)(field.data[i] - '0');
	} else {
		for (size_t i = 0; i < a->named_count; i++)
			if (text_equal(a->named[i].name, field))
				return a->named[i].value;
		position = SIZE_MAX;
	}
	if (position < a->count)
		return a->positional[position];
	run_fail(r, -EINVAL, "format has no argument for {%.*s}",
		 (int)MIN(field.bytes, (size_t)40), field.data);
	return value_none();
}

struct value format_braces(struct run *r, struct value self, const struct arguments *a)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	struct text t = self.text;
	size_t next = 0;

	run_charge(r, t.bytes);
	for (size_t at = 0; at < t.bytes && !run_failed(r); at++) {
		char c = t.data[at];
		bool doubled = at + 1 < t.bytes && t.data[at + 1] == c;
		int64_t close;

		if (c != '{' && c != '}') {
			buffer_char(&out, c);
			continue;
		}
		if (doubled) {
			buffer_char(&out, c);
			at++;
			continue;
		}
		close = c == '{' ? text_find(t, TEXT("}"), at) : -1;
		if (close < 0) {
			run_fail(r, -EINVAL, "a single \"%c\" in a format", c);
			break;
		}
		print_value(r, &out, brace_field(r, a, (struct text){ t.data + at + 1,
								       (size_t)close - at - 1 },
						  &next));
		at = (size_t)close;
	}
	return run_text(r, &out);
}

/* One conversion: "%-5.2f". */
struct conversion {
	bool left, zeros, plus;
	int width, precision;        /* -1: not given */
	char letter;
};

static int read_count(struct text t, size_t *at)
{
	int count = 0;

	while (*at < t.bytes && t.data[*at] >= '0' && t.data[*at] <= '9') {
		count = MIN(count * 10 + (t.data[*at] - '0'), WIDTH_MAX);
		(*at)++;
	}
	return count;
}

/* Behind the '%' at *at; leaves *at behind the letter. */
static struct conversion read_conversion(struct text t, size_t *at)
{
	struct conversion c = { .width = 0, .precision = -1 };

	for (; *at < t.bytes && strchr("-0+", t.data[*at]) && t.data[*at]; (*at)++) {
		c.left |= t.data[*at] == '-';
		c.zeros |= t.data[*at] == '0';
		c.plus |= t.data[*at] == '+';
	}
	c.width = read_count(t, at);
	if (*at < t.bytes && t.data[*at] == '.') {
		(*at)++;
		c.precision = read_count(t, at);
	}
	c.letter = *at < t.bytes ? t.data[(*at)++] : '\0';
	return c;
}

static void print_text(struct run *r, struct buffer *out, const struct conversion *c,
		       struct value v)
{
	struct buffer repr = { .bound = RUN_OUTPUT_BYTES_MAX };
	struct text t;
	int64_t pad;

	if (c->letter == 'r')
		print_repr(r, &repr, v);
	t = c->letter == 'r' ? run_text(r, &repr).text : text_of(r, v);
	if (c->precision >= 0)
		t.bytes = text_offset(t, (size_t)c->precision);
	pad = c->width - (int64_t)text_characters(t);
	for (int64_t i = 0; i < pad && !c->left; i++)
		buffer_char(out, ' ');
	buffer_append(out, t.data, t.bytes);
	for (int64_t i = 0; i < pad && c->left; i++)
		buffer_char(out, ' ');
}

static void print_number(struct run *r, struct buffer *out, const struct conversion *c,
			 struct value v)
{
	char format[16], text[NUMBER_BYTES];
	int precision = c->precision;

	if (!value_is_number(v) || (c->letter == 'x' && v.kind == VALUE_FLOAT)) {
		run_fail(r, -EINVAL, "%%%c needs a number, not a %s", c->letter, value_type(v));
		return;
	}
	snprintf(format, sizeof(format), "%%%s%s%s*.*%s", c->left ? "-" : "", c->zeros ? "0" : "",
		 c->plus ? "+" : "", c->letter == 'f' ? "f" : c->letter == 'x' ? "jx" : "jd");
	if (c->letter == 'f')
		snprintf(text, sizeof(text), format, c->width, precision < 0 ? 6 : precision,
			 value_number(v));
	else
		snprintf(text, sizeof(text), format, c->width, precision,
			 v.kind == VALUE_FLOAT ? (intmax_t)v.number : (intmax_t)value_whole(v));
	buffer_text(out, text);
}

struct value format_percent(struct run *r, struct text format, struct value given)
{
	bool tuple = given.kind == VALUE_TUPLE && given.list;
	const struct value *values = tuple ? given.list->items : &given;
	size_t count = tuple ? given.list->count : 1;
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	size_t used = 0;

	run_charge(r, format.bytes);
	for (size_t at = 0; at < format.bytes && !run_failed(r);) {
		struct conversion c;

		if (format.data[at] != '%') {
			buffer_char(&out, format.data[at++]);
			continue;
		}
		at++;
		c = read_conversion(format, &at);
		if (c.letter == '%') {
			buffer_char(&out, '%');
			continue;
		}
		if (!c.letter || !strchr("srdifx", c.letter)) {
			run_fail(r, -ENOTSUP, "this %% conversion is not supported");
		} else if (used == count) {
			run_fail(r, -EINVAL, "there are only %zu values to format", count);
		} else if (c.letter == 's' || c.letter == 'r') {
			print_text(r, &out, &c, values[used++]);
		} else {
			print_number(r, &out, &c, values[used++]);
		}
	}
	/* What could have been looked up by name may go unused. */
	if (used < count && (tuple || value_is_number(given) || given.kind == VALUE_NONE ||
			     given.kind == VALUE_TEXT))
		run_fail(r, -EINVAL, "only %zu of %zu values are formatted", used, count);
	return run_text(r, &out);
}
