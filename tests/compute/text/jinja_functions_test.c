/* jinja_functions_test.c - tests of compute/text/jinja_functions.c. */
#include "compute/text/jinja_table.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: the template's own exception becomes the sentence, as it is. */
TEST(find_function__raise_exception)
{
	CHECK_TEXT(rendered("{{ raise_exception('Roles must ' ~ 'alternate!') }}", NULL),
		   "error: Roles must alternate!");
}

/* Goal: range, dict and namespace. */
TEST(find_function__makers)
{
	CHECK_TEXT(rendered("{{ range(3) | list }}{{ range(1, 3) | list }}"
			    "{{ range(5, 0, -2) | list }}", NULL), "[0, 1, 2][1, 2][5, 3, 1]");
	CHECK_TEXT(rendered("{{ dict(a=1, b='x') }}{{ namespace({'k': 2}).k }}", NULL),
		   "{'a': 1, 'b': 'x'}2");
	CHECK(strstr(rendered("{{ range(9999999) }}", NULL), "range has more than"));
	CHECK(strstr(rendered("{{ range(1, 2, 0) }}", NULL), "the step of range is zero"));
}

/* Goal: there is no clock unless the caller brings one. */
TEST(find_function__strftime_now)
{
	const char *asks = "{{ strftime_now('%d %b %Y') if strftime_now is defined else 'no' }}";

	CHECK_TEXT(rendered(asks, NULL), "no");
	CHECK_TEXT(rendered(asks, "{\"strftime_now\": 1721952000}"), "26 Jul 2024");
	CHECK_TEXT(rendered("{{ strftime_now('%Y') }}", NULL),
		   "error: line 1, column 4: \"strftime_now\" is undefined");
}
