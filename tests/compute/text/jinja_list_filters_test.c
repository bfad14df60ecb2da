/* jinja_list_filters_test.c - tests of compute/text/jinja_list_filters.c. */
#include "compute/text/jinja_table.h"

#include "tests/support/text.h"
#include "tests/test.h"

static const char variables[] =
	"{\"m\":[{\"role\":\"b\",\"n\":2},{\"role\":\"a\",\"n\":1}],\"d\":{\"y\":1,\"X\":2}}";

static void check(const char *expression, const char *text)
{
	char template[160];

	snprintf(template, sizeof(template), "{{ %s }}", expression);
	CHECK_TEXT(rendered(template, variables), text);
}

/* Goal: filters over items. */
TEST(find_filter__items)
{
	check("m | map(attribute='role') | join(', ')", "b, a");
	check("m | selectattr('role', 'equalto', 'a') | map(attribute='n') | list", "[1]");
	check("m | rejectattr('n', 'gt', 1) | list | length", "1");
	check("[1, 'a', none] | select('string') | list, [0, 1] | reject | list", "(['a'], [0])");
	check("['b', 'A'] | sort, [1, 3, 2] | sort(reverse=true)", "(['A', 'b'], [3, 2, 1])");
	check("m | sort(attribute='n') | map(attribute='role') | list", "['a', 'b']");
	check("d | dictsort, d | dictsort(by='value', reverse=true)",
	      "([('X', 2), ('y', 1)], [('X', 2), ('y', 1)])");
	check("['a', 'A', 'b'] | unique | list, 'abc' | reverse", "(['a', 'b'], 'cba')");
	check("[3, 1] | first, [3, 1] | last, [3, 1] | min, [3, 1] | max, [3, 1] | sum",
	      "(3, 1, 1, 3, 4)");
	check("['a'] | map('upper') | list, d | items | list", "(['A'], [('y', 1), ('X', 2)])");
	check("'yes' if [] | select else 'no'", "yes");
}
