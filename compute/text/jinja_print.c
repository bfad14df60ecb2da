/* jinja_print.c - owns how values are written. */
#include "compute/text/jinja_print.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "compute/text/utf8.h"

enum { FLOAT_DIGITS_MAX = 17, PLAIN_EXPONENT_LEAST = -4, PLAIN_EXPONENT_END = 16 };

/* The fewest digits that read back as the same number, as repr() has it. */
static void print_float(struct buffer *out, double number)
{
	char text[40];
	int exponent, digits = 1;

	if (isnan(number) || isinf(number)) {
		buffer_text(out, isnan(number) ? "nan" : number < 0 ? "-inf" : "inf");
		return;
	}
	do {
		snprintf(text, sizeof(text), "%.*e", digits - 1, number);
	} while (strtod(text, NULL) != number && digits++ < FLOAT_DIGITS_MAX);
	exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	if (exponent < PLAIN_EXPONENT_LEAST || exponent >= PLAIN_EXPONENT_END) {
		buffer_text(out, text);
		return;
	}
	snprintf(text, sizeof(text), "%.*f", MAX(digits - 1 - exponent, 1), number);
	buffer_text(out, text);
}

static bool is_printable(uint32_t c)
{
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return false;
	case UTF8PROC_CATEGORY_ZS:
		return c == ' ';
	default:
		return true;
	}
}

static void print_quoted(struct buffer *out, struct text t)
{
	bool doubled = memchr(t.data, '\'', t.bytes) && !memchr(t.data, '"', t.bytes);
	char quote = doubled ? '"' : '\'';
	uint32_t c;

	buffer_char(out, quote);
	for (size_t at = 0; at < t.bytes;) {
		size_t n = utf8_next(t.data + at, t.bytes - at, &c);

		if (c == (uint8_t)quote || c == '\\')
			buffer_printf(out, "\\%c", (char)c);
		else if (c == '\n' || c == '\r' || c == '\t')
			buffer_text(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
		else if (is_printable(c))
			buffer_append(out, t.data + at, n);
		else
			buffer_printf(out,
				      c < 0x100     ? "\\x%02x"
				      : c < 0x10000 ? "\\u%04x"
						    : "\\U%08x",
				      c);
		at += n;
	}
	buffer_char(out, quote);
}

static void print_items(struct run *r, struct buffer *out, struct value v)
{
	bool tuple = v.kind == VALUE_TUPLE;
	size_t count = v.list ? v.list->count : 0;

	buffer_char(out, tuple ? '(' : '[');
	for (size_t i = 0; i < count && !run_failed(r); i++) {
		if (i > 0)
			buffer_text(out, ", ");
		print_repr(r, out, v.list->items[i]);
	}
	if (tuple && count == 1)
		buffer_char(out, ',');
	buffer_char(out, tuple ? ')' : ']');
}

static void print_pairs(struct run *r, struct buffer *out, const struct dict *d)
{
	buffer_char(out, '{');
	for (size_t i = 0; d && i < d->count && !run_failed(r); i++) {
		if (i > 0)
			buffer_text(out, ", ");
		print_repr(r, out, d->pairs[i].key);
		buffer_text(out, ": ");
		print_repr(r, out, d->pairs[i].value);
	}
	buffer_char(out, '}');
}

static void print_container(struct run *r, struct buffer *out, struct value v)
{
	if (!run_descend(r, NULL))
		return;
	if (v.kind == VALUE_NAMESPACE)
		buffer_text(out, "<Namespace ");
	if (value_is_sequence(v))
		print_items(r, out, v);
	else
		print_pairs(r, out, v.dict);
	if (v.kind == VALUE_NAMESPACE)
		buffer_char(out, '>');
	run_ascend(r);
}

void print_repr(struct run *r, struct buffer *out, struct value v)
{
	run_charge(r, v.kind == VALUE_TEXT ? v.text.bytes : 0);
	switch (v.kind) {
	case VALUE_TEXT:
		print_quoted(out, v.text);
		break;
	case VALUE_UNDEFINED:
		buffer_text(out, "Undefined");
		break;
	default:
		print_value(r, out, v);
		break;
	}
}

void print_value(struct run *r, struct buffer *out, struct value v)
{
	switch (v.kind) {
	case VALUE_UNDEFINED:
		break;
	case VALUE_NONE:
		buffer_text(out, "None");
		break;
	case VALUE_BOOL:
		buffer_text(out, v.truth ? "True" : "False");
		break;
	case VALUE_INTEGER:
		buffer_printf(out, "%jd", (intmax_t)v.integer);
		break;
	case VALUE_FLOAT:
		print_float(out, v.number);
		break;
	case VALUE_TEXT:
		run_charge(r, v.text.bytes);
		buffer_append(out, v.text.data, v.text.bytes);
		break;
	case VALUE_LIST:
	case VALUE_TUPLE:
	case VALUE_DICT:
	case VALUE_NAMESPACE:
		print_container(r, out, v);
		break;
	default:
		run_fail(r, -EINVAL, "a %s cannot be printed", value_type(v));
		break;
	}
}

struct text text_of(struct run *r, struct value v)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };

	if (v.kind == VALUE_TEXT)
		return v.text;
	print_value(r, &out, v);
	return run_text(r, &out).text;
}

static void print_json_unit(struct buffer *out, uint32_t c)
{
	if (c >= 0x10000) {
		buffer_printf(out, "\\u%04x", 0xD800 + ((c - 0x10000) >> 10));
		c = 0xDC00 + ((c - 0x10000) & 0x3FF);
	}
	buffer_printf(out, "\\u%04x", c);
}

static void print_json_text(struct buffer *out, struct text t, bool ascii)
{
	static const char escapes[][2] = { { '"', '"' },  { '\\', '\\' }, { '\n', 'n' },
					   { '\r', 'r' }, { '\t', 't' },  { '\f', 'f' },
					   { '\b', 'b' } };
	uint32_t c;

	buffer_char(out, '"');
	for (size_t at = 0; at < t.bytes;) {
		size_t n = utf8_next(t.data + at, t.bytes - at, &c);
		char letter = 0;

		for (size_t i = 0; i < ARRAY_LENGTH(escapes); i++)
			if (c == (uint8_t)escapes[i][0])
				letter = escapes[i][1];
		if (letter)
			buffer_printf(out, "\\%c", letter);
		else if (c < 0x20 || (ascii && c >= 0x7F + (c == 0x7F)))
			print_json_unit(out, c);
		else
			buffer_append(out, t.data + at, n);
		at += n;
	}
	buffer_char(out, '"');
}

static void print_json_line(struct buffer *out, const struct json_style *s, unsigned level)
{
	if (!s->indent)
		return;
	buffer_char(out, '\n');
	for (unsigned i = 0; i < level; i++)
		buffer_append(out, s->indent->data, s->indent->bytes);
}

static void print_json_at(struct run *r, struct buffer *out, struct value v,
			  const struct json_style *s, unsigned level);

static void print_json_list(struct run *r, struct buffer *out, const struct list *l,
			    const struct json_style *s, unsigned level)
{
	size_t count = l ? l->count : 0;

	buffer_char(out, '[');
	for (size_t i = 0; i < count && !run_failed(r); i++) {
		if (i > 0)
			buffer_append(out, s->item.data, s->item.bytes);
		print_json_line(out, s, level + 1);
		print_json_at(r, out, l->items[i], s, level + 1);
	}
	if (count > 0)
		print_json_line(out, s, level);
	buffer_char(out, ']');
}

static void print_json_key(struct run *r, struct buffer *out, struct value key,
			   const struct json_style *s)
{
	struct buffer text = { 0 };

	if (key.kind == VALUE_TEXT) {
		print_json_text(out, key.text, s->ascii);
	} else if (key.kind <= VALUE_FLOAT && key.kind != VALUE_UNDEFINED) {
		print_json_at(r, &text, key, s, 0);
		buffer_printf(out, "\"%s\"", buffer_string(&text));
	} else {
		run_fail(r, -EINVAL, "a %s cannot be a key in JSON", value_type(key));
	}
	buffer_close(&text);
}

static int by_key(const void *a, const void *b)
{
	const struct pair *x = *(const struct pair *const *)a;
	const struct pair *y = *(const struct pair *const *)b;
	size_t common = MIN(x->key.text.bytes, y->key.text.bytes);
	int order = common ? memcmp(x->key.text.data, y->key.text.data, common) : 0;

	if (order)
		return order;
	return (x->key.text.bytes > y->key.text.bytes) - (x->key.text.bytes < y->key.text.bytes);
}

/* The pairs in the order they are written; NULL and failed when they have none. */
static const struct pair **order_pairs(struct run *r, const struct dict *d, bool sorted)
{
	const struct pair **order = run_take(r, (d->count + 1) * sizeof(struct pair *));

	for (size_t i = 0; order && i < d->count; i++) {
		order[i] = &d->pairs[i];
		if (sorted && d->pairs[i].key.kind != VALUE_TEXT)
			run_fail(r, -EINVAL, "keys that are not texts cannot be sorted");
	}
	if (order && sorted && !run_failed(r))
		qsort(order, d->count, sizeof(struct pair *), by_key);
	return run_failed(r) ? NULL : order;
}

static void print_json_dict(struct run *r, struct buffer *out, const struct dict *d,
			    const struct json_style *s, unsigned level)
{
	const struct pair **order = d ? order_pairs(r, d, s->sorted) : NULL;
	size_t count = order ? d->count : 0;

	buffer_char(out, '{');
	for (size_t i = 0; i < count && !run_failed(r); i++) {
		if (i > 0)
			buffer_append(out, s->item.data, s->item.bytes);
		print_json_line(out, s, level + 1);
		print_json_key(r, out, order[i]->key, s);
		buffer_append(out, s->key.data, s->key.bytes);
		print_json_at(r, out, order[i]->value, s, level + 1);
	}
	if (count > 0)
		print_json_line(out, s, level);
	buffer_char(out, '}');
}

static void print_json_number(struct buffer *out, double number)
{
	if (isnan(number) || isinf(number))
		buffer_text(out, isnan(number) ? "NaN" : number < 0 ? "-Infinity" : "Infinity");
	else
		print_float(out, number);
}

static void print_json_at(struct run *r, struct buffer *out, struct value v,
			  const struct json_style *s, unsigned level)
{
	if (!run_descend(r, NULL))
		return;
	switch (v.kind) {
	case VALUE_NONE:
		buffer_text(out, "null");
		break;
	case VALUE_BOOL:
		buffer_text(out, v.truth ? "true" : "false");
		break;
	case VALUE_INTEGER:
		print_value(r, out, v);
		break;
	case VALUE_FLOAT:
		print_json_number(out, v.number);
		break;
	case VALUE_TEXT:
		run_charge(r, v.text.bytes);
		print_json_text(out, v.text, s->ascii);
		break;
	case VALUE_LIST:
	case VALUE_TUPLE:
		print_json_list(r, out, v.list, s, level);
		break;
	case VALUE_DICT:
		print_json_dict(r, out, v.dict, s, level);
		break;
	default:
		run_fail(r, -EINVAL, "a %s cannot be written as JSON", value_type(v));
		break;
	}
	run_ascend(r);
}

void print_json(struct run *r, struct buffer *out, struct value v, const struct json_style *s)
{
	print_json_at(r, out, v, s, 0);
}
