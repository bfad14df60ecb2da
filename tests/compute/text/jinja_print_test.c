/* jinja_print_test.c - tests of compute/text/jinja_print.c. */
#include "compute/text/jinja_print.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: floats print with the fewest digits that read back. */
TEST(print_value__floats)
{
	CHECK_TEXT(rendered("{{ [0.1, 1.0, 1e15, 1e16, 1.5e-4, 1.5e-5, 123456.789, -2.5, "
			    "5e-324] }}", NULL),
		   "[0.1, 1.0, 1000000000000000.0, 1e+16, 0.00015, 1.5e-05, 123456.789, -2.5, "
		   "5e-324]");
}

/* Goal: repr() quotes and escapes as Python does. */
TEST(print_repr__texts)
{
	CHECK_TEXT(rendered("{{ [x] }}", "{\"x\": \"it's\"}"), "[\"it's\"]");
	CHECK_TEXT(rendered("{{ [x] }}", "{\"x\": \"'\\\"\\\\\\n\\u0001\\u200b\\u00e4\"}"),
		   "['\\'\"\\\\\\n\\x01\\u200b\xC3\xA4']");
}

/* Goal: what has no text is an error. */
TEST(print_value__refuses)
{
	CHECK(strstr(rendered("{{ 'a'.upper }}", NULL), "a method cannot be printed"));
	CHECK(strstr(rendered("{{ range }}", NULL), "a function cannot be printed"));
}
