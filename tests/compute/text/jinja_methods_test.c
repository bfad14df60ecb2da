/* jinja_methods_test.c - tests of compute/text/jinja_methods.c. */
#include "compute/text/jinja_table.h"

#include "tests/support/text.h"
#include "tests/test.h"

static void check(const char *expression, const char *text)
{
	char template[160];

	snprintf(template, sizeof(template), "{{ %s }}", expression);
	CHECK_TEXT(rendered(template, "{\"d\":{\"a\":1,\"b\":2}}"), text);
}

/* Goal: methods of texts. */
TEST(find_method__texts)
{
	check("' a '.strip() ~ 'xax'.lstrip('x') ~ 'xax'.rstrip('x')", "aaxxa");
	check("'a,b,,c'.split(','), ' a  b '.split(), 'a b c'.split(' ', 1)",
	      "(['a', 'b', '', 'c'], ['a', 'b'], ['a', 'b c'])");
	check("'a.b.c'.rsplit('.', 1), 'a\nb\r\nc'.splitlines()",
	      "(['a.b', 'c'], ['a', 'b', 'c'])");
	check("'ab'.upper(), 'AB'.lower(), \"it's a\".title(), 'aB'.capitalize()",
	      "('AB', 'ab', \"It'S A\", 'Ab')");
	check("'abc'.startswith('ab'), 'abc'.endswith(('x', 'c'))", "(True, True)");
	check("'abc'.replace('b', '-'), 'abc'.replace('', '.')", "('a-c', '.a.b.c.')");
	check("'abc'.removeprefix('a'), 'abc'.removesuffix('x')", "('bc', 'abc')");
	check("'\xC3\xA4" "bb'.find('b'), 'abab'.count('ab'), 'abc'.index('c')", "(1, 2, 2)");
	check("'-'.join(['a', 'b'])", "a-b");
	check("'-'.join([1])", "error: line 1, column 8: item 0 to join is a int, expected a str");
	check("'a'.split('')", "error: line 1, column 8: split by an empty separator");
}

/* Goal: methods of dicts, lists and loops. */
TEST(find_method__containers)
{
	check("d.keys() | list, d.values() | list, d.items() | list",
	      "(['a', 'b'], [1, 2], [('a', 1), ('b', 2)])");
	check("d.get('a'), d.get('x'), d.get('x', 7)", "(1, None, 7)");
	check("[1, 2, 1].count(1), [1, 2].index(2)", "(2, 1)");
	CHECK_TEXT(rendered("{% for i in range(3) %}{{ loop.cycle('a', 'b') }}{% endfor %}", NULL),
		   "aba");
	check("d.upper()", "error: line 1, column 6: \"upper\" is undefined");
}

