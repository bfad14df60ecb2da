/* pretokenizer_read_test.c - tests of compute/text/pretokenizer_read.c. */
#include "compute/text/pretokenizer.h"

#include "tests/support/text.h"
#include "tests/test.h"

#define SPLIT(behavior, more) \
	"{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"" behavior "\"" more "}"

/* Goal: Metaspace in its old and new spelling; "first" is the input's start. */
TEST(metaspace_read__spellings)
{
	CHECK_TEXT(cuts_of("{\"type\":\"Metaspace\",\"replacement\":\"_\"}", "a b"), "_a|_b");
	CHECK_TEXT(cuts_of("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"str_rep\":\"_\","
		       "\"add_prefix_space\":false}", "a b"), "a|_b");
	CHECK_TEXT(cuts_of("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"split\":false}", "a b"),
		   "_a_b");
	CHECK_TEXT(cuts_of("{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("Isolated", "")
		       ",{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":"
		       "\"first\"}]}", "a-b"), "_a|-|b");
}

/* Goal: what is unknown or broken is refused with its path. */
TEST(pretokenizer_read__refuses)
{
	static const struct {
		const char *json, *sentence;
	} rows[] = {
		{ "7", "p is an integer, expected an object" },
		{ "{}", "p.type is missing" },
		{ "{\"type\":\"Bert\"}", "p.type \"Bert\" is not supported" },
		{ "{\"type\":\"Digits\",\"individual_digits\":1}", "p.individual_digits is" },
		{ "{\"type\":\"Metaspace\",\"replacement\":\"ab\"}", "p.replacement is not" },
		{ "{\"type\":\"Metaspace\",\"prepend_scheme\":\"x\"}", "p.prepend_scheme \"x\"" },
		{ "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\"}]}",
		  "p.pretokenizers[0].pattern is missing" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		json_t *node = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);
		struct pretokenizer p = { 0 };
		struct error e = { 0 };

		CHECK(pretokenizer_read(&p, node, "p", &e) < 0);
		pretokenizer_close(&p);
		json_decref(node);
		if (strstr(e.text, rows[i].sentence) != e.text)
			fail_msg("\"%s\" instead of \"%s\"", e.text, rows[i].sentence);
	}
}
