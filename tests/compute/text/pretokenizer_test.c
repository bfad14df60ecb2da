/* pretokenizer_test.c - tests of compute/text/pretokenizer.c. */
#include "compute/text/pretokenizer.h"

#include "tests/test.h"

/* The pieces of text, joined by '|'. */
static const char *cut(const char *json, const char *text)
{
	static char result[512];
	json_t *node = json_loads(json, JSON_DECODE_ANY, NULL);
	struct pieces pieces = { 0 }, spare = { 0 };
	struct pretokenizer p = { 0 };
	struct regex_scratch *s;
	struct error e = { 0 };
	size_t n = 0;

	CHECK(node);
	CHECK_OK(pretokenizer_read(&p, node, "pre_tokenizer", &e), &e);
	CHECK_OK(regex_scratch_open(&s, &e), &e);
	pieces_start(&pieces, text, strlen(text), true);
	CHECK_OK(pretokenizer_run(&p, s, &pieces, &spare, &e), &e);
	result[0] = '\0';
	for (size_t i = 0; i < pieces.count; i++)
		n += (size_t)snprintf(result + n, sizeof(result) - n, "%s%.*s", i ? "|" : "",
				      (int)(pieces.list[i].end - pieces.list[i].start),
				      pieces.text.data + pieces.list[i].start);
	pieces_close(&pieces);
	pieces_close(&spare);
	regex_scratch_close(s);
	pretokenizer_close(&p);
	json_decref(node);
	return result;
}

#define SPLIT(behavior, more) \
	"{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"" behavior "\"" more "}"

/* Goal: each behaviour joins matches with what it says. */
TEST(pretokenizer_run__split_behaviors)
{
	const char *text = "-a--b-";

	CHECK_TEXT(cut(SPLIT("Removed", ""), text), "a|b");
	CHECK_TEXT(cut(SPLIT("Isolated", ""), text), "-|a|-|-|b|-");
	CHECK_TEXT(cut(SPLIT("MergedWithPrevious", ""), text), "-|a-|-|b-");
	CHECK_TEXT(cut(SPLIT("MergedWithNext", ""), text), "-a|-|-b|-");
	CHECK_TEXT(cut(SPLIT("Contiguous", ""), text), "-|a|--|b|-");
	CHECK_TEXT(cut(SPLIT("Removed", ",\"invert\":true"), text), "-|-|-|-");
}

/* Goal: each kind of step cuts as its name says. */
TEST(pretokenizer_run__kinds)
{
	CHECK_TEXT(cut("null", "a b"), "a b");
	CHECK_TEXT(cut("null", ""), "");
	CHECK_TEXT(cut("{\"type\":\"Digits\",\"individual_digits\":true}", "a12"), "a|1|2");
	CHECK_TEXT(cut("{\"type\":\"Digits\"}", "a12b"), "a|12|b");
	CHECK_TEXT(cut("{\"type\":\"Punctuation\"}", "a,,b"), "a|,|,|b");
	CHECK_TEXT(cut("{\"type\":\"Whitespace\"}", "a_1 !? b"), "a_1|!?|b");
	CHECK_TEXT(cut("{\"type\":\"WhitespaceSplit\"}", " a!  b"), "a!|b");
	CHECK_TEXT(cut("{\"type\":\"ByteLevel\"}", "a b"), "\xC4\xA0" "a|\xC4\xA0" "b");
	CHECK_TEXT(cut("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
		       "a \xC3\xA4"), "a\xC4\xA0\xC3\x83\xC2\xA4");
}

