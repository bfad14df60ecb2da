/* jinja_tests.c - what may stand behind "is". */
#include "compute/text/jinja_table.h"

#include <errno.h>

#include "compute/text/jinja_eval.h"
#include "compute/text/jinja_print.h"
#include "compute/text/jinja_text.h"

#define TEST_OF(name, expression)                                                   \
	static bool name(struct run *r, struct value v, const struct arguments *a) \
	{                                                                           \
		return expression;                                                  \
	}

TEST_OF(is_defined, v.kind != VALUE_UNDEFINED)
TEST_OF(is_undefined, v.kind == VALUE_UNDEFINED)
TEST_OF(is_none, v.kind == VALUE_NONE)
TEST_OF(is_string, v.kind == VALUE_TEXT)
TEST_OF(is_mapping, v.kind == VALUE_DICT)
TEST_OF(is_number, value_is_number(v))
TEST_OF(is_integer, v.kind == VALUE_INTEGER)
TEST_OF(is_float, v.kind == VALUE_FLOAT)
TEST_OF(is_boolean, v.kind == VALUE_BOOL)
TEST_OF(is_true, v.kind == VALUE_BOOL && v.truth)
TEST_OF(is_false, v.kind == VALUE_BOOL && !v.truth)
TEST_OF(is_callable, v.kind >= VALUE_MACRO)
TEST_OF(is_equal, value_equal(r, v, argument(a, 0, "other")))
TEST_OF(is_not_equal, !value_equal(r, v, argument(a, 0, "other")))
TEST_OF(is_less, value_compare(r, v, argument(a, 0, "other")) < 0)
TEST_OF(is_at_most, value_compare(r, v, argument(a, 0, "other")) <= 0)
TEST_OF(is_greater, value_compare(r, v, argument(a, 0, "other")) > 0)
TEST_OF(is_at_least, value_compare(r, v, argument(a, 0, "other")) >= 0)
TEST_OF(is_in, value_contains(r, argument(a, 0, "seq"), v))

static bool is_iterable(struct run *r, struct value v, const struct arguments *a)
{
	return v.kind == VALUE_UNDEFINED || v.kind == VALUE_TEXT || value_is_sequence(v) ||
	       v.kind == VALUE_DICT || v.kind == VALUE_LOOP;
}

/* Has a length and indices: a dict does, a generator does not. */
static bool is_sequence(struct run *r, struct value v, const struct arguments *a)
{
	if (value_is_sequence(v))
		return !v.list || !v.list->lazy;
	return v.kind == VALUE_UNDEFINED || v.kind == VALUE_TEXT || v.kind == VALUE_DICT;
}

/* The remainder of v by n, as a test needs it. */
static double remainder_of(struct run *r, struct value v, struct value n)
{
	struct value rest = jinja_operate(r, OPERATOR_MODULO, v, n);

	return value_is_number(rest) ? value_number(rest) : -1;
}

static bool is_odd(struct run *r, struct value v, const struct arguments *a)
{
	return remainder_of(r, v, value_integer(2)) == 1;
}

static bool is_even(struct run *r, struct value v, const struct arguments *a)
{
	return remainder_of(r, v, value_integer(2)) == 0;
}

static bool is_divisible(struct run *r, struct value v, const struct arguments *a)
{
	return remainder_of(r, v, argument(a, 0, "num")) == 0;
}

/* Has cased characters, and all of them are of that case. */
static bool has_case(struct run *r, struct value v, enum text_case how, enum text_case other)
{
	struct text t = text_of(r, v);
	struct text same = text_recase(r, t, how).text, opposite = text_recase(r, t, other).text;

	return text_equal(t, same) && !text_equal(t, opposite);
}

static bool is_lower(struct run *r, struct value v, const struct arguments *a)
{
	return has_case(r, v, CASE_LOWER, CASE_UPPER);
}

static bool is_upper(struct run *r, struct value v, const struct arguments *a)
{
	return has_case(r, v, CASE_UPPER, CASE_LOWER);
}

/* Identity: of small values it is equality of kind and value. */
static bool is_same(struct run *r, struct value v, const struct arguments *a)
{
	struct value other = argument(a, 0, "other");

	if (v.kind != other.kind)
		return false;
	if (value_is_sequence(v))
		return v.list == other.list;
	if (v.kind == VALUE_DICT)
		return v.dict == other.dict;
	return value_equal(r, v, other);
}

#define ONE(name) { { name }, 1, false }
#define NONE_AT_ALL { { NULL }, 0, false }

const struct test_row jinja_tests[] = {
	{ "defined", is_defined, NONE_AT_ALL },
	{ "undefined", is_undefined, NONE_AT_ALL },
	{ "none", is_none, NONE_AT_ALL },
	{ "string", is_string, NONE_AT_ALL },
	{ "mapping", is_mapping, NONE_AT_ALL },
	{ "iterable", is_iterable, NONE_AT_ALL },
	{ "sequence", is_sequence, NONE_AT_ALL },
	{ "number", is_number, NONE_AT_ALL },
	{ "integer", is_integer, NONE_AT_ALL },
	{ "float", is_float, NONE_AT_ALL },
	{ "boolean", is_boolean, NONE_AT_ALL },
	{ "true", is_true, NONE_AT_ALL },
	{ "false", is_false, NONE_AT_ALL },
	{ "callable", is_callable, NONE_AT_ALL },
	{ "odd", is_odd, NONE_AT_ALL },
	{ "even", is_even, NONE_AT_ALL },
	{ "lower", is_lower, NONE_AT_ALL },
	{ "upper", is_upper, NONE_AT_ALL },
	{ "divisibleby", is_divisible, ONE("num") },
	{ "sameas", is_same, ONE("other") },
	{ "in", is_in, ONE("seq") },
	{ "equalto", is_equal, ONE("other") },
	{ "eq", is_equal, ONE("other") },
	{ "==", is_equal, ONE("other") },
	{ "ne", is_not_equal, ONE("other") },
	{ "!=", is_not_equal, ONE("other") },
	{ "lt", is_less, ONE("other") },
	{ "<", is_less, ONE("other") },
	{ "lessthan", is_less, ONE("other") },
	{ "le", is_at_most, ONE("other") },
	{ "<=", is_at_most, ONE("other") },
	{ "gt", is_greater, ONE("other") },
	{ ">", is_greater, ONE("other") },
	{ "greaterthan", is_greater, ONE("other") },
	{ "ge", is_at_least, ONE("other") },
	{ ">=", is_at_least, ONE("other") },
	{ NULL, NULL, NONE_AT_ALL },
};
