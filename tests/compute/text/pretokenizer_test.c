/* pretokenizer_test.c - tests of compute/text/pretokenizer.c. */
#include "compute/text/pretokenizer.h"

#include "tests/support/text.h"
#include "tests/test.h"

#define SPLIT(behavior, more) \
	"{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"" behavior "\"" more "}"

/* Goal: each behaviour joins matches with what it says. */
TEST(pretokenizer_run__split_behaviors)
{
	const char *text = "-a--b-";

	CHECK_TEXT(cuts_of(SPLIT("Removed", ""), text), "a|b");
	CHECK_TEXT(cuts_of(SPLIT("Isolated", ""), text), "-|a|-|-|b|-");
	CHECK_TEXT(cuts_of(SPLIT("MergedWithPrevious", ""), text), "-|a-|-|b-");
	CHECK_TEXT(cuts_of(SPLIT("MergedWithNext", ""), text), "-a|-|-b|-");
	CHECK_TEXT(cuts_of(SPLIT("Contiguous", ""), text), "-|a|--|b|-");
	CHECK_TEXT(cuts_of(SPLIT("Removed", ",\"invert\":true"), text), "-|-|-|-");
}

/* Goal: each kind of step cuts as its name says. */
TEST(pretokenizer_run__kinds)
{
	CHECK_TEXT(cuts_of("null", "a b"), "a b");
	CHECK_TEXT(cuts_of("null", ""), "");
	CHECK_TEXT(cuts_of("{\"type\":\"Digits\",\"individual_digits\":true}", "a12"), "a|1|2");
	CHECK_TEXT(cuts_of("{\"type\":\"Digits\"}", "a12b"), "a|12|b");
	CHECK_TEXT(cuts_of("{\"type\":\"Punctuation\"}", "a,,b"), "a|,|,|b");
	CHECK_TEXT(cuts_of("{\"type\":\"Whitespace\"}", "a_1 !? b"), "a_1|!?|b");
	CHECK_TEXT(cuts_of("{\"type\":\"WhitespaceSplit\"}", " a!  b"), "a!|b");
	CHECK_TEXT(cuts_of("{\"type\":\"ByteLevel\"}", "a b"), "\xC4\xA0" "a|\xC4\xA0" "b");
	CHECK_TEXT(cuts_of("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
			   "\"use_regex\":false}",
		       "a \xC3\xA4"), "a\xC4\xA0\xC3\x83\xC2\xA4");
}

