/* jinja_text_filters_test.c - tests of compute/text/jinja_text_filters.c. */
#include "compute/text/jinja_table.h"

#include "tests/support/text.h"
#include "tests/test.h"

static const char variables[] =
	"{\"m\":[{\"role\":\"b\",\"n\":2},{\"role\":\"a\",\"n\":1}],\"d\":{\"y\":1,\"X\":2}}";

static void check(const char *expression, const char *text)
{
	char template[160];

	snprintf(template, sizeof(template), "{{ %s }}", expression);
	CHECK_TEXT(rendered(template, variables), text);
}

/* Goal: filters that make texts. */
TEST(find_filter__texts)
{
	check("' a ' | trim ~ '|' ~ 'xax' | trim('x')", "a|a");
	check("'\xC3\xA4 b-c' | upper, '\xC3\x84' | lower", "('\xC3\x84 B-C', '\xC3\xA4')");
	check("'hello wORLD-x' | title, 'aB' | capitalize", "('Hello World-X', 'Ab')");
	check("'aaa' | replace('a', 'b', 2)", "bba");
	check("'a\n\nb' | indent(2), 'a\nb' | indent('>', true)", "('a\\n\\n  b', '>a\\n>b')");
	check("gone | default('x'), '' | d('x'), '' | d('x', true)", "('x', '', 'x')");
	check("1.5 | string ~ none | string", "1.5None");
	check("'<a&\"' | e", "&lt;a&amp;&#34;");
}

/* Goal: tojson as transformers has it. */
TEST(find_filter__tojson)
{
	check("{'a': [1, 2.0, none, true], '\xC3\xA4': '\xE2\x82\xAC\"\\n'} | tojson",
	      "{\"a\": [1, 2.0, null, true], \"\xC3\xA4\": \"\xE2\x82\xAC\\\"\\n\"}");
	check("{'a': [1], 'b': {}} | tojson(indent=1)", "{\n \"a\": [\n  1\n ],\n \"b\": {}\n}");
	check("'\xF0\x9F\x99\x82\x7F' | tojson(ensure_ascii=true)", "\"\\ud83d\\ude42\x7F\"");
	check("d | tojson(sort_keys=true, separators=(',', ':'))", "{\"X\":2,\"y\":1}");
	check("gone | tojson", "error: line 1, column 11: a Undefined cannot be written as JSON");
}

/* Goal: filters that make numbers. */
TEST(find_filter__numbers)
{
	check("'7' | int, ' 7.9 ' | int, 'x' | int, 'x' | int(3), 2.9 | int", "(7, 7, 0, 3, 2)");
	check("'2.5' | float, 'x' | float, 3 | float", "(2.5, 0.0, 3.0)");
	check("-3 | abs, 2.5 | round, 3.14159 | round(2), 2.1 | round(method='ceil')",
	      "(3, 2.0, 3.14, 3.0)");
	check("'\xC3\xA4\xC3\xA4' | length, d | count", "(2, 2)");
}
