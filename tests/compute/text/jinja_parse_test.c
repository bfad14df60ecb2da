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
		{ "{% for a in b recursive %}{% endfor %}",
		  "line 1, column 15: recursive loops are not supported" },
		{ "{% break %}", "line 1, column 4: \"break\" stands outside of a loop" },
		{ "{% for a in b %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
		  "line 1, column 35: \"break\" stands outside of a loop" },
		{ "{% set true = 1 %}", "line 1, column 8: \"true\" cannot be assigned to" },
	};
	char expected[256];

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		snprintf(expected, sizeof(expected), "error: %s", rows[i].sentence);
		CHECK_TEXT(rendered(rows[i].template, NULL), expected);
	}
}

/* "{{ [[[1]]] }}" and the like. */
static const char *nested(const char *open, const char *close, unsigned depth)
{
	static char result[256];
	struct buffer text = { 0 };

	buffer_text(&text, "{{ ");
	for (unsigned i = 0; i < depth; i++)
		buffer_text(&text, open);
	buffer_char(&text, '1');
	for (unsigned i = 0; i < depth; i++)
		buffer_text(&text, close);
	buffer_text(&text, " }}");
	snprintf(result, sizeof(result), "%s", rendered(buffer_string(&text), NULL));
	buffer_close(&text);
	return result;
}

/* Goal: nesting has an end. */
TEST(jinja_parse__depth)
{
	CHECK(!strstr(nested("[", "]", 50), "error"));
	CHECK(strstr(nested("-", "", 1500), "nested more than"));
	CHECK(strstr(nested("(", ")", 60), "1"));
	CHECK(strstr(nested("(", ")", 300), "nested too deeply"));
	CHECK(strstr(nested("not ", "", 300), "nested more than"));
}
