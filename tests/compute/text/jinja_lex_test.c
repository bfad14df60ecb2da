/* jinja_lex_test.c - tests of compute/text/jinja_lex.c. */
#include "compute/text/jinja_lex.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: trim_blocks, lstrip_blocks and the signs, as jinja2 has them. */
TEST(jinja_lex__white_space)
{
	static const struct {
		const char *template, *text;
	} rows[] = {
		{ "a\n{% if true %}\nb\n{% endif %}\nc\n", "a\nb\nc" },
		{ "  {% if true %}x{% endif %}  y", "x  y" },
		{ "  {%+ if true %}x{% endif +%}\n", "  x" },
		{ "a  {%- if true -%}  b  {%- endif -%}  c", "abc" },
		{ "a {{- 'b' -}} c", "abc" },
		{ "a\n {{ 'b' }}\nc", "a\n b\nc" },
		{ "a {# x #}\nb", "a b" },
		{ "  {# x #}\nb", "b" },
		{ "a {#- x -#} b", "ab" },
		{ "a{#-#} b", "a b" },
		{ "{% raw %}{{ x }} {% y %}{% endraw %}z", "{{ x }} {% y %}z" },
		{ "a {%- raw -%} {{ x {%- endraw %}\nz", "a{{ xz" },
		{ "{{+ 'x' }}", "x" },
		{ "a\r\nb\rc\n", "a\nb\nc" },
		{ "{{ '}}' }}{{ {'a': {'b': 1}}.a.b }}", "}}1" },
		{ "{ %{ {", "{ %{ {" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		CHECK_TEXT(rendered(rows[i].template, NULL), rows[i].text);
}

/* Goal: what never ends is refused where it began. */
TEST(jinja_lex__refuses)
{
	CHECK_TEXT(rendered("{{ x", NULL), "error: line 1, column 1: this tag is never closed");
	CHECK_TEXT(rendered("{# x", NULL),
		   "error: line 1, column 1: this comment is never closed");
	CHECK_TEXT(rendered("{% raw %}", NULL),
		   "error: line 1, column 1: this raw block is never closed");
}
