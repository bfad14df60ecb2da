/* jinja_expression_test.c - tests of compute/text/jinja_expression.c. */
#include "compute/text/jinja_parse.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: operators bind as in jinja2. */
TEST(parse_expression__precedence)
{
	static const struct {
		const char *expression, *text;
	} rows[] = {
		{ "1 + 2 * 3", "7" },
		{ "(1 + 2) * 3", "9" },
		{ "2 ** 3 ** 2", "64" },
		{ "-2 ** 2", "4" },
		{ "1 ~ 2 * 3", "16" },
		{ "(1 + 2) ~ 3", "33" },
		{ "not 1 == 2", "True" },
		{ "1 < 2 < 3 != 4", "True" },
		{ "1 < 3 < 2", "False" },
		{ "1 if false else 2 if true else 3", "2" },
		{ "1 or 0 and 0", "1" },
		{ "1 not in [1]", "False" },
		{ "-1 | abs", "1" },
		{ "'a' ~ 'B' | lower", "ab" },
		{ "1, 2", "(1, 2)" },
		{ "(1,)", "(1,)" },
		{ "()", "()" },
		{ "[1, 2,]", "[1, 2]" },
		{ "{'a': 1, 2: [3]}", "{'a': 1, 2: [3]}" },
		{ "x is defined and x.y is not defined", "True" },
		{ "4 is divisibleby 2 and 1", "1" },
		{ "x['y'] is undefined", "True" },
		{ "'abc'[1]", "b" },
		{ "[1, 2, 3][::-1]", "[3, 2, 1]" },
		{ "[[1, 2]].0.1", "2" },
		{ "'a' if false", "" },
	};
	char template[128];

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		snprintf(template, sizeof(template), "{{ %s }}", rows[i].expression);
		CHECK_TEXT(rendered(template, "{\"x\": {}}"), rows[i].text);
	}
}

/* Goal: half an expression is refused where it breaks off. */
TEST(parse_expression__refuses)
{
	CHECK_TEXT(rendered("{{ 1 + }}", NULL),
		   "error: line 1, column 8: an expression is missing");
	CHECK_TEXT(rendered("{{ x. }}", NULL), "error: line 1, column 7: a name is expected");
	CHECK_TEXT(rendered("{{ [1 2] }}", NULL), "error: line 1, column 7: expected ,, not \"2\"");
	CHECK_TEXT(rendered("{{ x[] }}", NULL), "error: line 1, column 5: an index is missing");
	CHECK_TEXT(rendered("{{ x[1:2:3:4] }}", NULL),
		   "error: line 1, column 5: a slice has at most three parts");
}
