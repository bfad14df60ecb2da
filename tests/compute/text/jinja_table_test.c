/* jinja_table_test.c - tests of compute/text/jinja_table.c. */
#include "compute/text/jinja_table.h"

#include "tests/test.h"

/* A signature's required parameters are among its parameters. */
static void check_signature(const struct signature *s)
{
	unsigned count = 0;

	while (count < PARAMETERS_MAX && s->parameters[count])
		count++;
	CHECK(s->open || s->required <= count);
}

/* Goal: every row is found under its own name, and makes sense. */
TEST(find_filter__every_row)
{
	const struct filter_row *const filters[] = { jinja_text_filters, jinja_list_filters };

	for (size_t t = 0; t < ARRAY_LENGTH(filters); t++)
		for (const struct filter_row *row = filters[t]; row->name; row++) {
			CHECK(find_filter((struct text){ row->name, strlen(row->name) }) == row);
			check_signature(&row->signature);
		}
	for (const struct test_row *row = jinja_tests; row->name; row++) {
		CHECK(find_test((struct text){ row->name, strlen(row->name) }) == row);
		check_signature(&row->signature);
	}
	for (const struct function_row *row = jinja_functions; row->name; row++) {
		CHECK(find_function((struct text){ row->name, strlen(row->name) }) == row);
		check_signature(&row->signature);
	}
}

/* Goal: a method is found by the kind of its value. */
TEST(find_method__by_kind)
{
	CHECK(find_method(TEXT("count"), VALUE_TEXT) != find_method(TEXT("count"), VALUE_LIST));
	CHECK(find_method(TEXT("items"), VALUE_DICT));
	CHECK(!find_method(TEXT("items"), VALUE_TEXT));
	CHECK(find_method(TEXT("items"), -1));
	CHECK(!find_method(TEXT("append"), -1));
	CHECK(!find_filter(TEXT("nosuch")) && !find_test(TEXT("nosuch")));
	CHECK(!find_function(TEXT("lipsum")));
}
