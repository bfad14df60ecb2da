/* jinja_format_test.c - tests of compute/text/jinja_format.c. */
#include "compute/text/jinja_format.h"

#include "tests/support/text.h"
#include "tests/test.h"

static void check(const char *expression, const char *text)
{
	char template[160];

	snprintf(template, sizeof(template), "{{ %s }}", expression);
	CHECK_TEXT(rendered(template, "{\"d\":{\"a\":1,\"b\":2}}"), text);
}

/* Goal: both ways to format. */
TEST(format_braces__and_percent)
{
	check("'{} {1} {x} {{}}'.format(1, 2, x=3)", "1 2 3 {}");
	check("'{'.format(1)", "error: line 1, column 8: a single \"{\" in a format");
	check("'%5.1f|%-4d|%04d|%s|%r|%%|%x' % (2.25, 3, 4, none, 'a', 255)",
	      "  2.2|3   |0004|None|'a'|%|ff");
	check("'%s' % ()", "error: line 1, column 9: there are only 0 values to format");
	check("'x' % 1", "error: line 1, column 8: only 0 of 1 values are formatted");
	check("'%c' % 1", "error: line 1, column 9: this % conversion is not supported");
}
