/* jinja_lex_test.c - tests of compute/text/jinja_lex.c and jinja_lex_tag.c. */
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
		{ "  {%+ if true %}x{% endif +%}\n", "  x\n" },
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

/* Goal: literals are read as Python reads them. */
TEST(jinja_lex__literals)
{
	CHECK_TEXT(rendered("{{ 'a\\n\\'\\x41\\u00e4\\q' }}", NULL), "a\n'A\xC3\xA4\\q");
	CHECK_TEXT(rendered("{{ 1_000 }} {{ 1.5 }} {{ 1e3 }} {{ 2.5e-1 }}", NULL),
		   "1000 1.5 1000.0 0.25");
	CHECK_TEXT(rendered("{{ \"it's\" 'two' }}", NULL), "it'stwo");
}

/* Goal: what cannot be read is refused with line and column. */
TEST(jinja_lex__refuses)
{
	CHECK_TEXT(rendered("a\n  {{ 'x }}", NULL),
		   "error: line 2, column 6: this string is never closed");
	CHECK_TEXT(rendered("\xC3\xA4\xC3\xA4{{ x ? }}", NULL),
		   "error: line 1, column 8: this character has no meaning here");
	CHECK_TEXT(rendered("{{ x ) }}", NULL),
		   "error: line 1, column 6: this bracket closes nothing");
	CHECK_TEXT(rendered("{{ x", NULL), "error: line 1, column 1: this tag is never closed");
	CHECK_TEXT(rendered("{# x", NULL),
		   "error: line 1, column 1: this comment is never closed");
	CHECK_TEXT(rendered("{% raw %}", NULL),
		   "error: line 1, column 1: this raw block is never closed");
	CHECK_TEXT(rendered("{{ 99999999999999999999 }}", NULL),
		   "error: line 1, column 4: this number is too large");
}
