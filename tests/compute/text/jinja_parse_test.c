/* jinja_parse_test.c - tests of compute/text/jinja_parse.c. */
#include "compute/text/jinja_parse.h"

#include "compute/text/chat_template.h"
#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: what jinja2 refuses is refused here, on the same line. */
TEST(jinja_parse__refuses_what_jinja2_refuses)
{
	json_t *file = json_data("templates/refused.json"), *one;
	size_t i;

	json_array_foreach(json_object_get(file, "cases"), i, one) {
		const char *text = json_string_value(json_object_get(one, "template"));
		struct chat_template *t;
		struct error e = { 0 };
		unsigned line = 0;

		CHECK(chat_template_open(&t, text, strlen(text), &e) < 0);
		CHECK(!t);
		CHECK_EQ(sscanf(e.text, "line %u, column ", &line), 1);
		CHECK_EQ(line, json_integer_value(json_object_get(one, "line")));
	}
	CHECK(i > 5);
	json_decref(file);
}

/* Goal: what is not implemented is refused by name when the template opens. */
TEST(jinja_parse__refuses_unknown)
{
	static const struct {
		const char *template, *sentence;
	} rows[] = {
		{ "{% include 'x' %}", "line 1, column 4: tag \"include\" is not known here" },
		{ "{% do x.append(1) %}", "line 1, column 4: tag \"do\" is not known here" },
		{ "{{ x | nosuch }}", "line 1, column 8: filter \"nosuch\" is not known" },
		{ "{{ x is nosuch }}", "line 1, column 9: test \"nosuch\" is not known" },
		{ "{{ x.append(1) }}", "line 1, column 6: method \"append\" is not known" },
		{ "\n{{ nosuch(1) }}", "line 2, column 4: function \"nosuch\" is not known" },
		{ "{% for a in b recursive %}{% endfor %}",
		  "line 1, column 15: recursive loops are not supported" },
		{ "{{ f(*x) }}", "line 1, column 6: *arguments are not supported" },
		{ "{% break %}", "line 1, column 4: \"break\" stands outside of a loop" },
		{ "{% for a in b %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
		  "line 1, column 35: \"break\" stands outside of a loop" },
		{ "{{ 'a' | replace('b') }}",
		  "line 1, column 10: filter \"replace\" needs 2 arguments, not 1" },
		{ "{{ 'a' | trim(1, 2) }}",
		  "line 1, column 10: filter \"trim\" has no such argument (number 2)" },
		{ "{{ x | tojson(indnt=2) }}",
		  "line 1, column 8: filter \"tojson\" has no such argument (number 1)" },
		{ "{{ f(a=1, 2) }}", "line 1, column 13: a positional argument follows a named one" },
		{ "{% set true = 1 %}", "line 1, column 8: \"true\" cannot be assigned to" },
	};
	char expected[256];

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		snprintf(expected, sizeof(expected), "error: %s", rows[i].sentence);
		CHECK_TEXT(rendered(rows[i].template, NULL), expected);
	}
}

/* Goal: nesting has an end. */
TEST(jinja_parse__depth)
{
	static char text[4096];
	size_t n = 0;

	n += (size_t)sprintf(text, "{{ ");
	for (int i = 0; i < 50; i++)
		n += (size_t)sprintf(text + n, "[");
	sprintf(text + n, "1");
	n++;
	for (int i = 0; i < 50; i++)
		n += (size_t)sprintf(text + n, "]");
	sprintf(text + n, " }}");
	CHECK(!strstr(rendered(text, NULL), "error"));
	n = (size_t)sprintf(text, "{{ ");
	for (int i = 0; i < 1500; i++)
		n += (size_t)sprintf(text + n, "-");
	sprintf(text + n, "1 }}");
	CHECK(strstr(rendered(text, NULL), "nested more than"));
}
