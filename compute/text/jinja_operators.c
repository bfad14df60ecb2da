/* jinja_operators.c - owns arithmetic, comparison and slices, as Python has them. */
#include "compute/text/jinja_eval.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "compute/text/jinja_format.h"
#include "compute/text/jinja_print.h"
#include "compute/text/jinja_text.h"

static const char *const signs[] = {
	[OPERATOR_ADD] = "+",
	[OPERATOR_SUBTRACT] = "-",
	[OPERATOR_MULTIPLY] = "*",
	[OPERATOR_DIVIDE] = "/",
	[OPERATOR_FLOOR_DIVIDE] = "//",
	[OPERATOR_MODULO] = "%",
	[OPERATOR_POWER] = "**",
};

static struct value fail(struct run *r, const char *sentence)
{
	run_fail(r, -EINVAL, "%s", sentence);
	return value_none();
}

static struct value join_texts(struct run *r, struct text a, struct text b)
{
	char *joined;

	if (a.bytes == 0 || b.bytes == 0)
		return value_text(a.bytes ? a : b);
	run_charge(r, a.bytes + b.bytes);
	joined = run_take(r, a.bytes + b.bytes);
	if (!joined)
		return value_none();
	memcpy(joined, a.data, a.bytes);
	memcpy(joined + a.bytes, b.data, b.bytes);
	return value_text((struct text){ joined, a.bytes + b.bytes });
}

static struct value join_lists(struct run *r, struct value a, struct value b)
{
	struct value v;
	size_t first = a.list ? a.list->count : 0, second = b.list ? b.list->count : 0;

	run_charge(r, (first + second) * sizeof(struct value));
	v = value_list(r, a.kind, first + second);
	for (size_t i = 0; i < first; i++)
		value_list_push(r, v.list, a.list->items[i]);
	for (size_t i = 0; i < second; i++)
		value_list_push(r, v.list, b.list->items[i]);
	return v;
}

static struct value repeat(struct run *r, struct value v, int64_t times)
{
	size_t unit = v.kind == VALUE_TEXT ? v.text.bytes : v.list ? v.list->count : 0;
	struct value out;
	char *copy;

	if (times <= 0 || unit == 0)
		return v.kind == VALUE_TEXT ? value_text(TEXT("")) : value_list(r, v.kind, 0);
	if ((uint64_t)times > RUN_OUTPUT_BYTES_MAX / unit)
		return fail(r, "this repetition is too long");
	run_charge(r, unit * (size_t)times);
	if (v.kind == VALUE_TEXT) {
		copy = run_take(r, unit * (size_t)times);
		for (int64_t i = 0; copy && i < times; i++)
			memcpy(copy + (size_t)i * unit, v.text.data, unit);
		return value_text((struct text){ copy, copy ? unit * (size_t)times : 0 });
	}
	out = value_list(r, v.kind, unit * (size_t)times);
	for (int64_t i = 0; i < times && !run_failed(r); i++)
		for (size_t k = 0; k < unit; k++)
			value_list_push(r, out.list, v.list->items[k]);
	return out;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
	int64_t q = a / b;

	return q - (a % b != 0 && (a < 0) != (b < 0));
}

static struct value whole_power(struct run *r, int64_t base, int64_t exponent)
{
	int64_t result = 1;

	if (exponent < 0) {
		if (base == 0)
			return fail(r, "division by zero");
		return value_float(pow((double)base, (double)exponent));
	}
	if (base == 0 || base == 1)
		return value_integer(exponent == 0 ? 1 : base);
	if (base == -1)
		return value_integer(exponent % 2 ? -1 : 1);
	for (; exponent > 0; exponent--)
		if (__builtin_mul_overflow(result, base, &result))
			return fail(r, "this number is too large");
	return value_integer(result);
}

static struct value operate_whole(struct run *r, enum operator_kind operator, int64_t a, int64_t b)
{
	int64_t result = 0;
	bool overflow = false;

	switch (operator) {
	case OPERATOR_ADD:
		overflow = __builtin_add_overflow(a, b, &result);
		break;
	case OPERATOR_SUBTRACT:
		overflow = __builtin_sub_overflow(a, b, &result);
		break;
	case OPERATOR_MULTIPLY:
		overflow = __builtin_mul_overflow(a, b, &result);
		break;
	case OPERATOR_POWER:
		return whole_power(r, a, b);
	default:
		if (b == 0)
			return fail(r, "division by zero");
		if (operator == OPERATOR_DIVIDE)
			return value_float((double)a / (double)b);
		if (b == -1) {               /* INT64_MIN has no negative */
			overflow = __builtin_sub_overflow((int64_t)0, a, &result);
			result = operator == OPERATOR_MODULO ? 0 : result;
			overflow = overflow && operator != OPERATOR_MODULO;
			break;
		}
		result = floor_divide(a, b);
		if (operator == OPERATOR_MODULO)
			result = a - result * b;
		break;
	}
	return overflow ? fail(r, "this number is too large") : value_integer(result);
}

static struct value operate_real(struct run *r, enum operator_kind operator, double a, double b)
{
	double rest;

	switch (operator) {
	case OPERATOR_ADD:
		return value_float(a + b);
	case OPERATOR_SUBTRACT:
		return value_float(a - b);
	case OPERATOR_MULTIPLY:
		return value_float(a * b);
	case OPERATOR_POWER:
		return value_float(pow(a, b));
	default:
		if (b == 0)
			return fail(r, "division by zero");
		if (operator == OPERATOR_DIVIDE)
			return value_float(a / b);
		rest = fmod(a, b);
		if (rest != 0 && (rest < 0) != (b < 0))
			rest += b;
		if (operator == OPERATOR_MODULO)
			return value_float(rest);
		return value_float(floor((a - rest) / b + 0.5));
	}
}

static struct value fail_kinds(struct run *r, enum operator_kind operator, struct value a,
			       struct value b)
{
	struct text name = a.kind == VALUE_UNDEFINED ? a.text : b.text;

	if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED)
		run_fail(r, -EINVAL, "\"%.*s\" is undefined", (int)MIN(name.bytes, (size_t)80),
			 name.data);
	else
		run_fail(r, -EINVAL, "a %s and a %s have no %s", value_type(a), value_type(b),
			 signs[operator]);
	return value_none();
}

static struct value arithmetic(struct run *r, enum operator_kind operator, struct value a,
			       struct value b)
{
	bool a_repeats = a.kind == VALUE_TEXT || value_is_sequence(a);
	bool b_repeats = b.kind == VALUE_TEXT || value_is_sequence(b);

	if (value_is_whole(a) && value_is_whole(b))
		return operate_whole(r, operator, value_whole(a), value_whole(b));
	if (value_is_number(a) && value_is_number(b))
		return operate_real(r, operator, value_number(a), value_number(b));
	if (operator == OPERATOR_ADD && a.kind == VALUE_TEXT && b.kind == VALUE_TEXT)
		return join_texts(r, a.text, b.text);
	if (operator == OPERATOR_ADD && value_is_sequence(a) && a.kind == b.kind)
		return join_lists(r, a, b);
	if (operator == OPERATOR_MODULO && a.kind == VALUE_TEXT)
		return format_percent(r, a.text, b);
	if (operator == OPERATOR_MULTIPLY && a_repeats && value_is_whole(b))
		return repeat(r, a, value_whole(b));
	if (operator == OPERATOR_MULTIPLY && b_repeats && value_is_whole(a))
		return repeat(r, b, value_whole(a));
	return fail_kinds(r, operator, a, b);
}

struct value jinja_operate(struct run *r, enum operator_kind operator, struct value a,
			   struct value b)
{
	switch (operator) {
	case OPERATOR_JOIN:
		return join_texts(r, text_of(r, a), text_of(r, b));
	case OPERATOR_EQUAL:
		return value_bool(value_equal(r, a, b));
	case OPERATOR_NOT_EQUAL:
		return value_bool(!value_equal(r, a, b));
	case OPERATOR_LESS:
		return value_bool(value_compare(r, a, b) < 0);
	case OPERATOR_LESS_EQUAL:
		return value_bool(value_compare(r, a, b) <= 0);
	case OPERATOR_GREATER:
		return value_bool(value_compare(r, a, b) > 0);
	case OPERATOR_GREATER_EQUAL:
		return value_bool(value_compare(r, a, b) >= 0);
	case OPERATOR_IN:
		return value_bool(value_contains(r, b, a));
	case OPERATOR_NOT_IN:
		return value_bool(!value_contains(r, b, a));
	default:
		return arithmetic(r, operator, a, b);
	}
}

struct value jinja_negate(struct run *r, struct value v)
{
	if (value_is_whole(v))
		return operate_whole(r, OPERATOR_SUBTRACT, 0, value_whole(v));
	if (v.kind == VALUE_FLOAT)
		return value_float(-v.number);
	run_fail(r, -EINVAL, "a %s has no negative", value_type(v));
	return value_none();
}

/* Where a slice starts, stops, and how far it steps, within `length`. */
struct range {
	int64_t start, stop, step;
};

static int64_t clamp(int64_t index, int64_t length, int64_t least, int64_t most)
{
	if (index < 0)
		index += length;
	return index < least ? least : index > most ? most : index;
}

static bool resolve(struct run *r, struct range *range, const struct value parts[3],
		    int64_t length)
{
	bool backwards;

	for (int i = 0; i < 3; i++) {
		if (parts[i].kind != VALUE_NONE && !value_is_whole(parts[i])) {
			run_fail(r, -EINVAL, "a slice of %ss", value_type(parts[i]));
			return false;
		}
	}
	range->step = parts[2].kind == VALUE_NONE ? 1 : value_whole(parts[2]);
	if (range->step == 0) {
		run_fail(r, -EINVAL, "the step of a slice is zero");
		return false;
	}
	backwards = range->step < 0;
	range->start = parts[0].kind == VALUE_NONE
			       ? (backwards ? length - 1 : 0)
			       : clamp(value_whole(parts[0]), length, backwards ? -1 : 0,
				       backwards ? length - 1 : length);
	range->stop = parts[1].kind == VALUE_NONE
			      ? (backwards ? -1 : length)
			      : clamp(value_whole(parts[1]), length, backwards ? -1 : 0,
				      backwards ? length - 1 : length);
	return true;
}

/* How many items a slice has; a step past the end must not overflow. */
static uint64_t slice_length(const struct range *g)
{
	uint64_t stride = g->step > 0 ? (uint64_t)g->step : 0 - (uint64_t)g->step;
	int64_t distance = g->step > 0 ? g->stop - g->start : g->start - g->stop;

	return distance <= 0 ? 0 : ((uint64_t)distance - 1) / stride + 1;
}

static struct value slice_text(struct run *r, struct text t, const struct range *g)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	const struct list *characters;
	uint64_t count = slice_length(g);

	if (g->step == 1) {
		size_t start = text_offset(t, (size_t)g->start);
		struct text rest = { t.data + start, t.bytes - start };

		rest.bytes = text_offset(rest, (size_t)count);
		return value_text(rest);
	}
	characters = value_iterate(r, value_text(t));
	for (uint64_t i = 0; i < count && !run_failed(r); i++) {
		struct text c = characters->items[g->start + (int64_t)i * g->step].text;

		buffer_append(&out, c.data, c.bytes);
	}
	return run_text(r, &out);
}

struct value jinja_slice(struct run *r, struct value v, const struct value parts[3])
{
	struct range g;
	struct value out;
	uint64_t count;

	if (v.kind != VALUE_TEXT && !value_is_sequence(v)) {
		run_fail(r, -EINVAL, "a %s has no slices", value_type(v));
		return value_none();
	}
	if (!resolve(r, &g, parts, value_length(v)))
		return value_none();
	run_charge(r, v.kind == VALUE_TEXT ? v.text.bytes : 0);
	if (v.kind == VALUE_TEXT)
		return slice_text(r, v.text, &g);
	count = slice_length(&g);
	run_charge(r, count * sizeof(struct value));
	out = value_list(r, v.kind, count);
	for (uint64_t i = 0; i < count && !run_failed(r); i++)
		value_list_push(r, out.list, v.list->items[g.start + (int64_t)i * g.step]);
	return out;
}
