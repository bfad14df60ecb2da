/* jinja_eval_test.c - tests of compute/text/jinja_eval.c. */
#include "compute/text/jinja_eval.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: loops know where they are, filter, and have an else. */
TEST(jinja_execute__loops)
{
	CHECK_TEXT(rendered("{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}"
			    "{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
			    "{\"l\":[7,8]}"),
		   "102TrueFalse2;211FalseTrue2;");
	CHECK_TEXT(rendered("{% for x in l if x > 1 %}{{ x }}{{ loop.previtem }}{{ loop.nextitem }}"
			    ",{% endfor %}", "{\"l\":[1,2,3]}"), "23,32,");
	CHECK_TEXT(rendered("{% for x in [] %}a{% else %}b{% endfor %}", NULL), "b");
	CHECK_TEXT(rendered("{% for x in undefined_thing %}a{% else %}b{% endfor %}", NULL), "b");
	CHECK_TEXT(rendered("{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}",
			    "{\"d\":{\"b\":1,\"a\":2}}"), "b=1 a=2 ");
	CHECK_TEXT(rendered("{% for a in 'xy' %}{% for b in [1] %}{{ loop.depth }}{% endfor %}"
			    "{{ loop.depth }}{% endfor %}", NULL), "2121");
	CHECK_TEXT(rendered("{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}"
			    "{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}", NULL),
		   "02");
}

/* Goal: what is set in a loop stays there; a namespace goes on. */
TEST(jinja_execute__scopes)
{
	CHECK_TEXT(rendered("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}"
			    "{{ x }}", NULL), "21");
	CHECK_TEXT(rendered("{% if true %}{% set x = 2 %}{% endif %}{{ x }}", NULL), "2");
	CHECK_TEXT(rendered("{% set n = namespace(c=0) %}{% for i in [1, 2] %}{% set n.c = n.c + i "
			    "%}{% endfor %}{{ n.c }}", NULL), "3");
	CHECK_TEXT(rendered("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", NULL), "3");
	CHECK_TEXT(rendered("{% set x %} a {% endset %}[{{ x | trim }}]", NULL), "[a]");
	CHECK_TEXT(rendered("{% set x | upper %}a{% endset %}{{ x }}", NULL), "A");
	CHECK_TEXT(rendered("{% filter upper | replace('A', 'b') %}a{% endfilter %}", NULL), "b");
	CHECK_TEXT(rendered("{% set a, b = [1, 2] %}{{ b }}{{ a }}", NULL), "21");
	CHECK_TEXT(rendered("{% generation %}x{% endgeneration %}", NULL), "x");
	CHECK(strstr(rendered("{% set x.y = 1 %}", "{\"x\": {}}"), "is not a namespace"));
	CHECK(strstr(rendered("{% set a, b = [1] %}", NULL), "only 1 values to unpack"));
	CHECK(strstr(rendered("{% for a, b in [[1, 2, 3]] %}{% endfor %}", NULL), "3 values"));
}

/* Goal: undefined is empty, false and nothing to iterate; its parts are errors. */
TEST(jinja_evaluate__undefined)
{
	CHECK_TEXT(rendered("[{{ x }}]{{ x == y }}{{ x | length }}{{ 'd' if not x }}", NULL),
		   "[]True0d");
	CHECK_TEXT(rendered("{{ m.gone }}|{{ m['gone'] | default('d') }}", "{\"m\":{}}"), "|d");
	CHECK_TEXT(rendered("a\n{{ x.y }}", NULL),
		   "error: line 2, column 6: \"x\" is undefined");
	CHECK_TEXT(rendered("{{ x + 1 }}", NULL), "error: line 1, column 6: \"x\" is undefined");
}

/* Goal: a template that runs away is stopped by steps or by its output. */
TEST(jinja_execute__limits)
{
	CHECK(strstr(rendered("{% for a in range(9) %}{% set x = 'ab' * 30000000 %}{% endfor %}",
			      NULL), "takes more than 5000000 steps"));
	CHECK(strstr(rendered("{% set n = namespace(x='0123456789') %}{% for i in range(99) %}"
			      "{% set n.x = n.x ~ n.x %}{% endfor %}", NULL), "error: line 1"));
}
