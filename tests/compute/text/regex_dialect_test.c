/* regex_dialect_test.c - tests of compute/text/regex_dialect.c. */
#include "compute/text/regex.h"

#include <errno.h>

#include "tests/support/text.h"
#include "tests/test.h"

/* Goal: classes mean what Oniguruma means by them. */
TEST(regex_translate__classes)
{
	CHECK_TEXT(matches("\\w+", "a_1 \xC2\xBD\xE2\x92\xB6-\xCC\x81"),
		   "[a_1][\xC2\xBD\xE2\x92\xB6][\xCC\x81]");
	CHECK_TEXT(matches("\\s", "a\xE1\xA0\x8E\xE3\x80\x80" "b"), "[\xE3\x80\x80]");
	CHECK_TEXT(matches("\\h+", "xyz 09aF"), "[09aF]");
	CHECK_TEXT(matches("[^(\\s|[.,])]+", "ab.c d|e)f"), "[ab][c][d][e][f]");
	CHECK_TEXT(matches("^b$", "a\nb\nc"), "[b]");
	CHECK_TEXT(matches("\\p{Han}+|\\p{^L}", "\xE4\xB8\xAD" "a1"), "[\xE4\xB8\xAD][1]");
	CHECK_TEXT(matches("\\P{L}", "a1"), "[1]");
	CHECK_TEXT(matches("(?i:'S)", "it's"), "['s]");
	CHECK_TEXT(matches("a.b", "a\nb a\rb"), "[a\rb]");
}

static const char *refusal(const char *pattern, int code)
{
	static struct error e;
	struct regex *r;

	CHECK_EQ(regex_open(&r, pattern, strlen(pattern), &e), code);
	CHECK(!r);
	return e.text;
}

/* Goal: what cannot be said in PCRE2 is refused with its place. */
TEST(regex_translate__refuses)
{
	CHECK(strstr(refusal("ab[c&&d]", -ENOTSUP), "byte 4"));
	CHECK(strstr(refusal("[a[^b]]", -ENOTSUP), "byte 2"));
	CHECK(strstr(refusal("x{1,2}+", -ENOTSUP), "{n,m}+"));
	CHECK(strstr(refusal("[abc", -EINVAL), "not closed"));
	CHECK(strstr(refusal("a\\", -EINVAL), "backslash"));
	CHECK(strstr(refusal("\\p{Nonsense}", -EINVAL), "PCRE2 refuses"));
	CHECK(strstr(refusal("(a", -EINVAL), "PCRE2 refuses"));
	CHECK(strstr(refusal("(*LIMIT_MATCH=1)a", -ENOTSUP), "(*"));
}
