/* regex_test.c - tests of compute/text/regex.c and regex_dialect.c. */
#include "compute/text/regex.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "tests/test.h"

#ifdef PETALS_FAULTS
#include "dataplane/base/fault.h"
#endif

/* All matches of pattern in text, each in brackets. */
static const char *matches(const char *pattern, const char *text)
{
	static char out[512];
	struct regex_scratch *s;
	struct regex_match m;
	struct regex *r;
	struct error e = { 0 };
	size_t from = 0, n = 0;

	CHECK_OK(regex_open(&r, pattern, strlen(pattern), &e), &e);
	CHECK_OK(regex_scratch_open(&s, &e), &e);
	out[0] = '\0';
	while (from <= strlen(text) && regex_find(r, s, text, strlen(text), from, &m, &e) > 0) {
		n += (size_t)snprintf(out + n, sizeof(out) - n, "[%.*s]", (int)(m.end - m.start),
				      text + m.start);
		from = m.end > m.start ? m.end : m.end + 1;
	}
	regex_scratch_close(s);
	regex_close(r);
	return out;
}

/* Goal: the expression of GPT-2 cuts as published. */
TEST(regex_find__gpt2)
{
	CHECK_TEXT(matches("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
			   "|\\s+(?!\\S)|\\s+", "it's 12  ok\n\n!"),
		   "[it]['s][ 12][ ][ ok][\n][\n][!]");
}

/* Goal: classes mean what Oniguruma means by them. */
TEST(regex_find__dialect)
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
TEST(regex_open__refuses)
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

/* Goal: an exploding pattern ends with an error, not with an hour. */
TEST(regex_find__gives_up)
{
	struct regex_scratch *s;
	struct regex_match m;
	struct regex *r;
	struct error e = { 0 };
	char text[64];

	memset(text, 'a', sizeof(text));
	memcpy(text + sizeof(text) - 2, "bc", 2);
	CHECK_OK(regex_open(&r, "(a|aa)+c", 8, &e), &e);
	CHECK_OK(regex_scratch_open(&s, &e), &e);
	CHECK_EQ(regex_find(r, s, text, sizeof(text), 0, &m, &e), -E2BIG);
	CHECK(strstr(e.text, "gave up"));
	regex_scratch_close(s);
	regex_close(r);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, nothing is left over. */
TEST(regex_open__unwinds_every_failure)
{
	uint64_t live = mem_live_blocks();

	for (int nth = 1;; nth++) {
		struct regex *r;
		struct error e = { 0 };
		bool fired;

		fault_arm(nth);
		(void)regex_open(&r, "[a-z]+\\w|b*", 11, &e);
		fired = fault_fired();
		regex_close(r);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fired)
			break;
	}
	fault_disarm();
}
#endif
