/* jinja_access_test.c - tests of compute/text/jinja_access.c. */
#include "compute/text/jinja_eval.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: a dot prefers methods, brackets prefer keys. */
TEST(jinja_attribute__dicts)
{
	const char *variables = "{\"d\":{\"items\":1,\"x\":2},\"l\":[5,6],\"s\":\"h\u00e4\"}";

	CHECK_TEXT(rendered("{{ d.x }}{{ d['x'] }}{{ d['items'] }}", variables), "221");
	CHECK_TEXT(rendered("{{ d.items() | list | length }}", variables), "2");
	CHECK_TEXT(rendered("{{ l[0] }}{{ l[-1] }}{{ l.1 }}[{{ l[9] }}][{{ l['x'] }}]", variables),
		   "566[][]");
	CHECK_TEXT(rendered("{{ s[-1] }}[{{ s[2] }}]", variables), "\xC3\xA4[]");
	CHECK_TEXT(rendered("{{ d.none.x }}", variables),
		   "error: line 1, column 11: \"none\" is undefined");
	CHECK_TEXT(rendered("{{ none.x is undefined }}", variables), "True");
}
