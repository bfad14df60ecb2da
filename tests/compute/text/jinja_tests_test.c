/* jinja_tests_test.c - tests of compute/text/jinja_tests.c. */
#include "compute/text/jinja_table.h"

#include "dataplane/base/memory.h"
#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: each test says of each kind of value what jinja2 says. */
TEST(find_test__kinds)
{
	static const struct {
		const char *name;
		/* of: gone none true 1 1.5 'a' [] (1,) {} */
		const char *answers;
	} rows[] = {
		{ "defined", "011111111" },   { "undefined", "100000000" },
		{ "none", "010000000" },      { "boolean", "001000000" },
		{ "number", "001110000" },    { "integer", "000100000" },
		{ "float", "000010000" },     { "string", "000001000" },
		{ "mapping", "000000001" },   { "iterable", "100001111" },
		{ "sequence", "100001111" },  { "true", "001000000" },
		{ "false", "000000000" },     { "callable", "000000000" },
	};
	char template[200], *answer;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		snprintf(template, sizeof(template),
			 "{%% for x in [none, true, 1, 1.5, 'a', [], (1,), {}] %%}"
			 "{%% if x is %s %%}1"
			 "{%% else %%}0{%% endif %%}{%% endfor %%}{{ gone is %s }}",
			 rows[i].name, rows[i].name);
		answer = mem_strdup(rendered(template, NULL));
		CHECK(strncmp(answer, rows[i].answers + 1, 8) == 0);
		CHECK_TEXT(answer + 8, rows[i].answers[0] == '1' ? "True" : "False");
		mem_free(answer);
	}
}

/* Goal: tests with arguments. */
TEST(find_test__arguments)
{
	CHECK_TEXT(rendered("{{ 3 is odd }} {{ 3.5 is odd }} {{ 4 is even }} "
			    "{{ 9 is divisibleby(3) }}", NULL), "True False True True");
	CHECK_TEXT(rendered("{{ 1 is eq 1 }} {{ 1 is ne(2) }} {{ 1 is lt 2 }} "
			    "{{ 2 is ge 3 }}", NULL),
		   "True True True False");
	CHECK_TEXT(rendered("{{ 'a' is in ['a'] }} {{ none is sameas none }} "
			    "{{ 1 is sameas true }}", NULL), "True True False");
	CHECK_TEXT(rendered("{{ 'ab' is lower }} {{ 'aB' is lower }} {{ 'A1' is upper }} {{ '1' is "
			    "upper }}", NULL), "True False True False");
	CHECK_TEXT(rendered("{{ raise_exception is callable }} {{ [] | select is sequence }}",
			    NULL),
		   "True False");
}
