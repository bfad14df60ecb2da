/* jinja_text_test.c - tests of compute/text/jinja_text.c. */
#include "compute/text/jinja_text.h"

#include "tests/test.h"

/* Goal: characters are counted and found in bytes. */
TEST(text_characters__utf8)
{
	struct text t = TEXT("h\xC3\xA4\xF0\x9F\x99\x82x");

	CHECK_EQ(text_characters(t), 4);
	CHECK_EQ(text_character(t, 1), 2);
	CHECK_EQ(text_offset(t, 3), 7);
	CHECK_EQ(text_offset(t, 99), t.bytes);
	CHECK_EQ(text_find(t, TEXT("x"), 0), 7);
	CHECK_EQ(text_find(t, TEXT("y"), 0), -1);
	CHECK_EQ(text_find(t, TEXT(""), 3), 3);
	CHECK_EQ(text_find_last(TEXT("abab"), TEXT("ab")), 2);
	CHECK_EQ(text_find_last(TEXT("a"), TEXT("ab")), -1);
}

/* Goal: white space is Python's; given characters are a set. */
TEST(text_strip__ends)
{
	struct text set = TEXT("\xC3\xA4x");
	struct text both = text_strip(TEXT("\x1C \xE3\x80\x80" "a b\n"), NULL,
				      STRIP_LEFT | STRIP_RIGHT);
	struct text chars = text_strip(TEXT("x\xC3\xA4" "ax"), &set, STRIP_LEFT | STRIP_RIGHT);

	CHECK(text_is(both, "a b"));
	CHECK(text_is(chars, "a"));
	CHECK(text_is(text_strip(TEXT(" a "), NULL, STRIP_RIGHT), " a"));
}
