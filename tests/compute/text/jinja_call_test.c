/* jinja_call_test.c - tests of compute/text/jinja_call.c. */
#include "compute/text/jinja_parse.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: what is called must exist and take what it is given, when the template
 * opens.
 */
TEST(parse_call__refuses)
{
	static const struct {
		const char *template, *sentence;
	} rows[] = {
		{ "{{ x | nosuch }}", "line 1, column 8: filter \"nosuch\" is not known" },
		{ "{{ x is nosuch }}", "line 1, column 9: test \"nosuch\" is not known" },
		{ "{{ x.append(1) }}", "line 1, column 6: method \"append\" is not known" },
		{ "\n{{ nosuch(1) }}", "line 2, column 4: function \"nosuch\" is not known" },
		{ "{{ f(*x) }}", "line 1, column 6: *arguments are not supported" },
		{ "{{ 'a' | replace('b') }}",
		  "line 1, column 10: filter \"replace\" needs 2 arguments, not 1" },
		{ "{{ 'a' | trim(1, 2) }}",
		  "line 1, column 10: filter \"trim\" has no such argument (number 2)" },
		{ "{{ x | tojson(indnt=2) }}",
		  "line 1, column 8: filter \"tojson\" has no such argument (number 1)" },
		{ "{{ f(a=1, 2) }}",
		  "line 1, column 14: a positional argument follows a named one" },
	};
	char expected[256];

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		snprintf(expected, sizeof(expected), "error: %s", rows[i].sentence);
		CHECK_TEXT(rendered(rows[i].template, NULL), expected);
	}
}

/* Goal: arguments by position and by name; a macro may come later. */
TEST(parse_call__accepts)
{
	CHECK_TEXT(rendered("{{ 'aab'.replace('a', new='c', count=1) }}", NULL), "cab");
	CHECK_TEXT(rendered("{{ [2, 1] | sort(reverse=true,) }}", NULL), "[2, 1]");
	CHECK_TEXT(rendered("{% if false %}{{ later(1) }}{% endif %}{% macro later(a) %}"
			    "{% endmacro %}ok", NULL), "ok");
}
