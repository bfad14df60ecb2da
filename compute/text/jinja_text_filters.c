/* jinja_text_filters.c - filters that make texts and numbers. */
#include "compute/text/jinja_table.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/text/jinja_format.h"
#include "compute/text/jinja_print.h"
#include "compute/text/jinja_text.h"

enum { INDENT_MAX = 1000 };

static struct value filter_trim(struct run *r, struct value v, const struct arguments *a)
{
	struct value chars = argument(a, 0, "chars");
	struct text text = text_of(r, v);

	run_charge(r, text.bytes);
	return value_text(text_strip(text, chars.kind == VALUE_TEXT ? &chars.text : NULL,
				     STRIP_LEFT | STRIP_RIGHT));
}

static struct value filter_upper(struct run *r, struct value v, const struct arguments *a)
{
	return text_recase(r, text_of(r, v), CASE_UPPER);
}

static struct value filter_lower(struct run *r, struct value v, const struct arguments *a)
{
	return text_recase(r, text_of(r, v), CASE_LOWER);
}

static struct value filter_title(struct run *r, struct value v, const struct arguments *a)
{
	return text_recase(r, text_of(r, v), CASE_TITLE_FILTER);
}

static struct value filter_capitalize(struct run *r, struct value v, const struct arguments *a)
{
	return text_recase(r, text_of(r, v), CASE_CAPITALIZE);
}

static struct value filter_string(struct run *r, struct value v, const struct arguments *a)
{
	return value_text(text_of(r, v));
}

static struct value filter_default(struct run *r, struct value v, const struct arguments *a)
{
	bool falsy = argument_truth(a, 1, "boolean", false);

	if (v.kind != VALUE_UNDEFINED && !(falsy && !value_truth(v)))
		return v;
	return argument_given(a, 0, "default_value") ? argument(a, 0, "default_value")
						     : value_text(TEXT(""));
}

static struct value filter_replace(struct run *r, struct value v, const struct arguments *a)
{
	struct text old = text_of(r, argument(a, 0, "old"));
	struct text by = text_of(r, argument(a, 1, "new"));
	struct value count = argument(a, 2, "count");

	return text_replace(r, text_of(r, v), old, by,
			    count.kind == VALUE_INTEGER ? count.integer : -1);
}

static void indent_lines(struct run *r, struct buffer *out, const struct list *lines,
			 struct text by, bool first, bool blank)
{
	for (size_t i = 0; i < lines->count && !run_failed(r); i++) {
		struct text line = lines->items[i].text;

		if (i > 0)
			buffer_char(out, '\n');
		if (i == 0 ? first : (blank || line.bytes > 0))
			buffer_append(out, by.data, by.bytes);
		buffer_append(out, line.data, line.bytes);
	}
}

/* `count` spaces, for indentation. */
static struct text spaces(struct run *r, int64_t count)
{
	struct buffer out = { 0 };

	if (count > INDENT_MAX)
		run_fail(r, -EINVAL, "an indentation of %jd is more than %d", (intmax_t)count,
			 INDENT_MAX);
	for (int64_t i = 0; i < count && !run_failed(r); i++)
		buffer_char(&out, ' ');
	return run_text(r, &out).text;
}

static struct value filter_indent(struct run *r, struct value v, const struct arguments *a)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	struct value width = argument(a, 0, "width"), lines;
	struct text text = v.text, by;

	if (v.kind != VALUE_TEXT) {
		run_fail(r, -EINVAL, "a %s cannot be indented", value_type(v));
		return v;
	}
	by = width.kind == VALUE_TEXT ? width.text
				      : spaces(r, argument_whole(r, a, 0, "width", 4));
	/* Jinja adds a newline first, so that a last one makes an empty line. */
	lines = text_lines(r, text);
	if (text.bytes == 0 || text.data[text.bytes - 1] == '\n')
		value_list_push(r, lines.list, value_text(TEXT("")));
	if (lines.list)
		indent_lines(r, &out, lines.list, by, argument_truth(a, 1, "first", false),
			     argument_truth(a, 2, "blank", false));
	return run_text(r, &out);
}

static struct value filter_format(struct run *r, struct value v, const struct arguments *a)
{
	struct value values = value_list(r, VALUE_TUPLE, a->count);

	if (a->named_count > 0)
		run_fail(r, -ENOTSUP, "format takes values by position only");
	for (size_t i = 0; i < a->count; i++)
		value_list_push(r, values.list, a->positional[i]);
	return format_percent(r, text_of(r, v), values);
}

static struct value filter_escape(struct run *r, struct value v, const struct arguments *a)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	struct text text = text_of(r, v);

	for (size_t i = 0; i < text.bytes; i++) {
		char c = text.data[i];

		if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
			buffer_text(&out, c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;"
				    : c == '"' ? "&#34;" : "&#39;");
		else
			buffer_char(&out, c);
	}
	return run_text(r, &out);
}

static struct value filter_tojson(struct run *r, struct value v, const struct arguments *a)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	struct value indent = argument(a, 1, "indent"), separators = argument(a, 2, "separators");
	struct json_style style = { .ascii = argument_truth(a, 0, "ensure_ascii", false),
				    .sorted = argument_truth(a, 3, "sort_keys", false),
				    .item = TEXT(", "),
				    .key = TEXT(": ") };
	struct text unit;

	if (value_is_whole(indent)) {
		unit = spaces(r, value_whole(indent));
		style.indent = &unit;
		style.item = TEXT(",");
	} else if (indent.kind == VALUE_TEXT) {
		style.indent = &indent.text;
		style.item = TEXT(",");
	}
	if (value_is_sequence(separators) && value_length(separators) == 2) {
		style.item = text_of(r, separators.list->items[0]);
		style.key = text_of(r, separators.list->items[1]);
	}
	print_json(r, &out, v, &style);
	return run_text(r, &out);
}

/* A whole text as a number: true when nothing else is in it. */
static bool read_number(struct text t, double *real, int64_t *whole, bool *is_whole)
{
	char copy[64], *end;

	t = text_strip(t, NULL, STRIP_LEFT | STRIP_RIGHT);
	if (t.bytes == 0 || t.bytes >= sizeof(copy))
		return false;
	for (size_t i = 0; i < t.bytes; i++) {
		copy[i] = t.data[i];
		if (!strchr("0123456789+-.eE", copy[i]) || copy[i] == '\0')
			return false;
	}
	copy[t.bytes] = '\0';
	errno = 0;
	*whole = strtoll(copy, &end, 10);
	*is_whole = *end == '\0' && errno == 0;
	*real = strtod(copy, &end);
	return *end == '\0';
}

static void refuse_undefined(struct run *r, struct value v)
{
	if (v.kind == VALUE_UNDEFINED)
		run_fail(r, -EINVAL, "\"%.*s\" is undefined",
			 (int)MIN(v.text.bytes, (size_t)80), v.text.data);
}

static struct value filter_int(struct run *r, struct value v, const struct arguments *a)
{
	struct value fallback = argument(a, 0, "default");
	double real = 0;
	int64_t whole;
	bool is_whole = false;

	if (fallback.kind == VALUE_UNDEFINED)
		fallback = value_integer(0);
	if (argument_given(a, 1, "base") && argument_whole(r, a, 1, "base", 10) != 10)
		run_fail(r, -ENOTSUP, "int has no other base than 10");
	refuse_undefined(r, v);
	if (value_is_whole(v))
		return value_integer(value_whole(v));
	if (v.kind == VALUE_FLOAT)
		real = v.number;
	else if (v.kind != VALUE_TEXT || !read_number(v.text, &real, &whole, &is_whole))
		return fallback;
	if (is_whole)
		return value_integer(whole);
	if (!(real > -9e18 && real < 9e18))
		return fallback;
	return value_integer((int64_t)real);
}

static struct value filter_float(struct run *r, struct value v, const struct arguments *a)
{
	struct value fallback = argument(a, 0, "default");
	double real;
	int64_t whole;
	bool is_whole;

	refuse_undefined(r, v);
	if (value_is_number(v))
		return value_float(value_number(v));
	if (v.kind == VALUE_TEXT && read_number(v.text, &real, &whole, &is_whole))
		return value_float(real);
	return fallback.kind == VALUE_UNDEFINED ? value_float(0) : fallback;
}

static struct value filter_abs(struct run *r, struct value v, const struct arguments *a)
{
	if (value_is_whole(v) && value_whole(v) != INT64_MIN)
		return value_integer(value_whole(v) < 0 ? -value_whole(v) : value_whole(v));
	if (v.kind == VALUE_FLOAT)
		return value_float(fabs(v.number));
	run_fail(r, -EINVAL, "a %s has no absolute value", value_type(v));
	return v;
}

/* Python rounds decimal halves by the exact binary value, which is what
 * printing and reading back does.
 */
static double round_to(double number, int64_t precision)
{
	char text[400];

	if (precision < 0 || precision > 300 || fabs(number) > 1e15 || isnan(number)) {
		double unit = pow(10, (double)-precision);

		return precision < 0 ? nearbyint(number / unit) * unit : number;
	}
	snprintf(text, sizeof(text), "%.*f", (int)precision, number);
	return strtod(text, NULL);
}

static struct value filter_round(struct run *r, struct value v, const struct arguments *a)
{
	int64_t precision = argument_whole(r, a, 0, "precision", 0);
	struct text method = argument_text(r, a, 1, "method", TEXT("common"));
	double unit = pow(10, (double)precision);

	if (!value_is_number(v)) {
		run_fail(r, -EINVAL, "a %s cannot be rounded", value_type(v));
		return v;
	}
	if (text_is(method, "ceil"))
		return value_float(ceil(value_number(v) * unit) / unit);
	if (text_is(method, "floor"))
		return value_float(floor(value_number(v) * unit) / unit);
	if (!text_is(method, "common"))
		run_fail(r, -EINVAL, "method must be common, ceil or floor");
	if (value_is_whole(v) && precision >= 0)
		return value_integer(value_whole(v));
	if (value_is_whole(v))
		return value_integer((int64_t)round_to(value_number(v), precision));
	return value_float(round_to(v.number, precision));
}

const struct filter_row jinja_text_filters[] = {
	{ "trim", filter_trim, { { "chars" }, 0, false } },
	{ "upper", filter_upper, { { NULL }, 0, false } },
	{ "lower", filter_lower, { { NULL }, 0, false } },
	{ "title", filter_title, { { NULL }, 0, false } },
	{ "capitalize", filter_capitalize, { { NULL }, 0, false } },
	{ "string", filter_string, { { NULL }, 0, false } },
	{ "safe", filter_string, { { NULL }, 0, false } },
	{ "escape", filter_escape, { { NULL }, 0, false } },
	{ "e", filter_escape, { { NULL }, 0, false } },
	{ "format", filter_format, { { NULL }, 0, true } },
	{ "default", filter_default, { { "default_value", "boolean" }, 0, false } },
	{ "d", filter_default, { { "default_value", "boolean" }, 0, false } },
	{ "replace", filter_replace, { { "old", "new", "count" }, 2, false } },
	{ "indent", filter_indent, { { "width", "first", "blank" }, 0, false } },
	{ "tojson", filter_tojson,
	  { { "ensure_ascii", "indent", "separators", "sort_keys" }, 0, false } },
	{ "int", filter_int, { { "default", "base" }, 0, false } },
	{ "float", filter_float, { { "default" }, 0, false } },
	{ "abs", filter_abs, { { NULL }, 0, false } },
	{ "round", filter_round, { { "precision", "method" }, 0, false } },
	{ NULL, NULL, { { NULL }, 0, false } },
};
