/* jinja_lex_tag_test.c - tests of compute/text/jinja_lex_tag.c. */
#include "compute/text/jinja_lex.h"

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: literals are read as Python reads them. */
TEST(jinja_lex_tag_token__literals)
{
	CHECK_TEXT(rendered("{{ 'a\\n\\'\\x41\\u00e4\\q' }}", NULL), "a\n'A\xC3\xA4\\q");
	CHECK_TEXT(rendered("{{ 1_000 }} {{ 1.5 }} {{ 1e3 }} {{ 2.5e-1 }}", NULL),
		   "1000 1.5 1000.0 0.25");
	CHECK_TEXT(rendered("{{ \"it's\" 'two' }}", NULL), "it'stwo");
}

/* Goal: what cannot be read is refused with line and column. */
TEST(jinja_lex_tag_token__refuses)
{
	CHECK_TEXT(rendered("a\n  {{ 'x }}", NULL),
		   "error: line 2, column 6: this string is never closed");
	CHECK_TEXT(rendered("\xC3\xA4\xC3\xA4{{ x ? }}", NULL),
		   "error: line 1, column 8: this character has no meaning here");
	CHECK_TEXT(rendered("{{ x ) }}", NULL),
		   "error: line 1, column 6: this bracket closes nothing");
	CHECK_TEXT(rendered("{{ 99999999999999999999 }}", NULL),
		   "error: line 1, column 4: this number is too large");
	CHECK_TEXT(rendered("{{ 0x1F }}", NULL),
		   "error: line 1, column 4: only decimal numbers are supported");
	CHECK_TEXT(rendered("{{ '\\x4' }}", NULL),
		   "error: line 1, column 4: this string has a bad \\x, \\u or \\U escape");
}
