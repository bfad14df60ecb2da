/* added_tokens_test.c - tests of compute/text/added_tokens.c. */
#include "compute/text/added_tokens.h"

#include "tests/test.h"

/* The parts of a text: stretches in quotes, tokens as numbers. */
static const char *walked(const struct added_tokens *a, const char *text, bool skip_special)
{
	static char result[256];
	struct added_walk w;
	struct added_part part;
	size_t n = 0;

	result[0] = '\0';
	added_walk_start(&w, a, false, skip_special, text, strlen(text));
	while (added_walk_next(&w, &part)) {
		if (part.id >= 0)
			n += (size_t)snprintf(result + n, sizeof(result) - n, "%d.", (int)part.id);
		else
			n += (size_t)snprintf(result + n, sizeof(result) - n, "'%.*s'",
					      (int)(part.end - part.start), text + part.start);
	}
	return result;
}

static void add(struct added_tokens *a, const char *text, struct added_token token)
{
	CHECK_EQ(added_tokens_add(a, &token, text, strlen(text)), 0);
}

/* Goal: leftmost, then longest; the empty set leaves the text whole. */
TEST(added_walk_next__leftmost_longest)
{
	struct added_tokens a = { 0 };

	CHECK_TEXT(walked(&a, "xx", false), "'xx'");
	CHECK_TEXT(walked(&a, "", false), "");
	add(&a, "<a>", (struct added_token){ .id = 1, .special = true });
	add(&a, "<a>b", (struct added_token){ .id = 2 });
	add(&a, ">c", (struct added_token){ .id = 3 });
	CHECK_TEXT(walked(&a, "x<a>by<a>c>c<a", false), "'x'2.'y'1.'c'3.'<a'");
	CHECK_TEXT(walked(&a, "<a>", true), "'<a>'");
	added_tokens_close(&a);
}

/* Goal: the flags take white space along and mind word borders. */
TEST(added_walk_next__flags)
{
	struct added_tokens a = { 0 };

	add(&a, "L", (struct added_token){ .id = 1, .left_strip = true });
	add(&a, "R", (struct added_token){ .id = 2, .right_strip = true });
	add(&a, "W", (struct added_token){ .id = 3, .single_word = true });
	CHECK_TEXT(walked(&a, "x  L y", false), "'x'1.' y'");
	CHECK_TEXT(walked(&a, "x R  y", false), "'x '2.'y'");
	CHECK_TEXT(walked(&a, "R  L", false), "2.1.");
	CHECK_TEXT(walked(&a, "W xW W.", false), "3.' xW '3.'.'");
	added_tokens_close(&a);
}
