/* jinja_invoke_test.c - tests of compute/text/jinja_invoke.c. */
#include "compute/text/jinja_eval.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: macros take arguments, defaults and a caller. */
TEST(jinja_call__macros)
{
	CHECK_TEXT(rendered("{% macro m(a, b='B') %}{{ a }}{{ b }}{% endmacro %}"
			    "{{ m(1) }} {{ m(b=2, a=3) }} {{ m() }}", NULL), "1B 32 B");
	CHECK_TEXT(rendered("{% macro m(a) %}<{{ caller(a) }}>{% endmacro %}"
			    "{% call(x) m(7) %}{{ x }}!{% endcall %}", NULL), "<7!>");
	CHECK_TEXT(rendered("{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}"
			    "{% endmacro %}{{ f(3) }}", NULL), "3210");
	CHECK(strstr(rendered("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", NULL),
		     "does not take all"));
	CHECK(strstr(rendered("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", NULL),
		     "nested more than"));
}

/* Goal: what is no function cannot be called. */
TEST(jinja_call__refuses)
{
	CHECK(strstr(rendered("{% set f = 1 %}{{ f() }}", NULL), "a int cannot be called"));
	CHECK(strstr(rendered("{% if false %}{% set f = 1 %}{% endif %}{{ f() }}", NULL),
		     "\"f\" is undefined"));
	CHECK_TEXT(rendered("{% set f = 'a b'.split %}{{ f() }}", NULL), "['a', 'b']");
}
