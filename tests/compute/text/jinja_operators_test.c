/* jinja_operators_test.c - tests of compute/text/jinja_operators.c. */
#include "compute/text/jinja_eval.h"

#include "tests/support/text.h"
#include "tests/test.h"

static void check(const char *expression, const char *text)
{
	char template[128];

	snprintf(template, sizeof(template), "{{ %s }}", expression);
	CHECK_TEXT(rendered(template, NULL), text);
}

/* Goal: numbers behave as in Python, signs and kinds included. */
TEST(jinja_operate__arithmetic)
{
	check("7 // 2, -7 // 2, 7 % -3, -7 % 3", "(3, -4, -2, 2)");
	check("7 / 2, 6 / 2, 1 / 3", "(3.5, 3.0, 0.3333333333333333)");
	check("7.5 // 2, -7.5 % 2, 2 ** -1, 2 ** 10", "(3.0, 0.5, 0.5, 1024)");
	check("true + 1, 1.0 + 1, 1e16, 0.1 + 0.2", "(2, 2.0, 1e+16, 0.30000000000000004)");
	check("'ab' * 2, [1] * 2, 2 * 'x', 'x' * -1", "('abab', [1, 1], 'xx', '')");
	check("'a' + 'b', [1] + [2], (1,) + (2,)", "('ab', [1, 2], (1, 2))");
	check("'%s-%d' % ('a', 3)", "a-3");
	check("none ~ 1 ~ true ~ []", "None1True[]");
}

/* Goal: what Python cannot compute is an error with its place. */
TEST(jinja_operate__refuses)
{
	check("1 / 0", "error: line 1, column 6: division by zero");
	check("1 % 0", "error: line 1, column 6: division by zero");
	check("1 + 'a'", "error: line 1, column 6: a int and a str have no +");
	check("9223372036854775807 + 1", "error: line 1, column 24: this number is too large");
	check("2 ** 64", "error: line 1, column 6: this number is too large");
	check("'a' < 1", "error: line 1, column 10: a str and a int have no order");
	check("1 in 2", "error: line 1, column 9: a int cannot be in a int");
	check("'x' * 99999999999", "error: line 1, column 8: this repetition is too long");
	check("-'a'", "error: line 1, column 4: a str has no negative");
}

/* Goal: slices clamp and step like Python's. */
TEST(jinja_slice__python)
{
	check("[0,1,2,3][1:3], [0,1,2,3][-2:], [0,1,2,3][:-1]", "([1, 2], [2, 3], [0, 1, 2])");
	check("[0,1,2,3][::2], [0,1,2,3][::-2], [0,1,2,3][9:], [0,1][-9:1]",
	      "([0, 2], [3, 1], [], [0])");
	check("'h\xC3\xA4llo'[1:3], 'h\xC3\xA4llo'[::-1]", "('\xC3\xA4l', 'oll\xC3\xA4h')");
	check("(1, 2, 3)[1:]", "(2, 3)");
	check("[1][::0]", "error: line 1, column 7: the step of a slice is zero");
}

/* Goal: equality and order across kinds. */
TEST(jinja_operate__comparison)
{
	check("1 == 1.0, 1 == true, '1' == 1, [1] == (1,)", "(True, True, False, False)");
	check("{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "True");
	check("[1, 2] < [1, 3], 'a' < 'b', 'a' in 'ab', 'k' in {'k': 1}",
	      "(True, True, True, True)");
	check("none == none, none == false", "(True, False)");
}
