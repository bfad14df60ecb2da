/* jinja_table.c - looks names up in the tables of what a template may call. */
#include "compute/text/jinja_table.h"

const struct filter_row *find_filter(struct text name)
{
	const struct filter_row *const tables[] = { jinja_text_filters, jinja_list_filters };

	for (size_t t = 0; t < ARRAY_LENGTH(tables); t++)
		for (const struct filter_row *row = tables[t]; row->name; row++)
			if (text_is(name, row->name))
				return row;
	return NULL;
}

const struct test_row *find_test(struct text name)
{
	for (const struct test_row *row = jinja_tests; row->name; row++)
		if (text_is(name, row->name))
			return row;
	return NULL;
}

const struct method_row *find_method(struct text name, int kind)
{
	for (const struct method_row *row = jinja_methods; row->name; row++)
		if (text_is(name, row->name) && (kind < 0 || (row->kinds >> kind & 1)))
			return row;
	return NULL;
}

const struct function_row *find_function(struct text name)
{
	for (const struct function_row *row = jinja_functions; row->name; row++)
		if (text_is(name, row->name))
			return row;
	return NULL;
}
