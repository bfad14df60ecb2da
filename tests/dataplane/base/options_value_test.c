/* options_value_test.c - each kind from text and back, and each refusal. */
#include "tests/test.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "dataplane/base/options_parts.h"

/* One field of any kind. */
union value {
	bool flag;
	int64_t integer;
	double real;
	char *text;
	int choice;
	uint64_t amount;
	struct option_span span;
};

static const struct option plain[] = {
	[OPTION_FLAG] = { .name = "flag", .kind = OPTION_FLAG },
	[OPTION_INTEGER] = { .name = "integer", .kind = OPTION_INTEGER, .least = -5, .most = 1000 },
	[OPTION_REAL] = { .name = "real", .kind = OPTION_REAL, .least = 0, .most = 2 },
	[OPTION_TEXT] = { .name = "text", .kind = OPTION_TEXT },
	[OPTION_CHOICE] = { .name = "choice", .kind = OPTION_CHOICE, .choices = "cpu|cuda|cpu2" },
	[OPTION_DURATION] = { .name = "duration", .kind = OPTION_DURATION },
	[OPTION_BYTES] = { .name = "bytes", .kind = OPTION_BYTES, .most = 1e15 },
	[OPTION_ADDRESS] = { .name = "address", .kind = OPTION_ADDRESS },
	[OPTION_SPAN] = { .name = "span", .kind = OPTION_SPAN },
};

/* Goal: what is accepted prints as below, and that reads back as the same. */
TEST(option_store__round_trips)
{
	static const struct {
		enum option_kind kind;
		const char *text, *printed;
	} cases[] = {
		{ OPTION_FLAG, "yes", "true" }, { OPTION_FLAG, "off", "false" },
		{ OPTION_INTEGER, "-5", "-5" }, { OPTION_INTEGER, "1000", "1000" },
		{ OPTION_REAL, "0.1", "0.1" }, { OPTION_REAL, "1e-3", "0.001" },
		{ OPTION_TEXT, "plain", "plain" }, { OPTION_TEXT, "", "\"\"" },
		{ OPTION_TEXT, " a # \"b\" \\ \n", "\" a # \\\"b\\\" \\\\ \\n\"" },
		{ OPTION_CHOICE, "cuda", "cuda" }, { OPTION_CHOICE, "cpu2", "cpu2" },
		{ OPTION_DURATION, "250ms", "250ms" }, { OPTION_DURATION, "1.5s", "1500ms" },
		{ OPTION_DURATION, "120s", "2m" }, { OPTION_DURATION, "1h", "1h" },
		{ OPTION_DURATION, "48h", "2d" }, { OPTION_DURATION, "90d", "90d" },
		{ OPTION_DURATION, "0", "0s" }, { OPTION_DURATION, "7us", "7us" },
		{ OPTION_BYTES, "64k", "64k" }, { OPTION_BYTES, "1024K", "1M" },
		{ OPTION_BYTES, "2GiB", "2G" }, { OPTION_BYTES, "1000", "1000" },
		{ OPTION_BYTES, "0.5M", "512k" }, { OPTION_BYTES, "0", "0" },
		{ OPTION_ADDRESS, "[::1]:80", "[::1]:80" },
		{ OPTION_SPAN, "0:10", "0:10" }, { OPTION_SPAN, "3:4294967295", "3:4294967295" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		const struct option *o = &plain[cases[i].kind];
		struct buffer out = { 0 };
		union value v = { .span = { 0 } };
		struct error e = { 0 };

		CHECK_OK(option_store(o, &v, cases[i].text, &e), &e);
		option_print(o, &v, &out);
		CHECK_TEXT(buffer_string(&out), cases[i].printed);
		buffer_close(&out);
		option_release(o, &v);
	}
}

/* Goal: each bad text is refused, unchanged field, with the text and the
 * accepted form in the sentence.
 */
TEST(option_store__says_what_is_wrong)
{
	static const struct {
		enum option_kind kind;
		const char *text, *sentence;
	} cases[] = {
		{ OPTION_FLAG, "maybe", "'maybe' is neither true nor false" },
		{ OPTION_INTEGER, "12x", "'12x' is not a whole number" },
		{ OPTION_INTEGER, "", "'' is not a whole number" },
		{ OPTION_INTEGER, " 1", "' 1' is not a whole number" },
		{ OPTION_INTEGER, "1001", "'1001' is out of bounds: -5 to 1000 is accepted" },
		{ OPTION_INTEGER, "99999999999999999999",
		  "'99999999999999999999' does not fit into 64 bits" },
		{ OPTION_REAL, "nan", "'nan' is not a number" },
		{ OPTION_REAL, "2.5", "'2.5' is out of bounds: 0 to 2 is accepted" },
		{ OPTION_CHOICE, "cud", "'cud' is none of cpu|cuda|cpu2" },
		{ OPTION_CHOICE, "cpu|cuda", "'cpu|cuda' is none of cpu|cuda|cpu2" },
		{ OPTION_DURATION, "10", "'10' is not a time (such as 250ms, 10s, 2m or 1h)" },
		{ OPTION_DURATION, "-1s", "'-1s' is not a time (such as 250ms, 10s, 2m or 1h)" },
		{ OPTION_DURATION, "1e3s", "'1e3s' is not a time (such as 250ms, 10s, 2m or 1h)" },
		{ OPTION_DURATION, "1.2.3s",
		  "'1.2.3s' is not a time (such as 250ms, 10s, 2m or 1h)" },
		{ OPTION_DURATION, "99999999999h",
		  "'99999999999h' is not a time (such as 250ms, 10s, 2m or 1h)" },
		{ OPTION_BYTES, "5x", "'5x' is not a size (such as 64k, 16M or 2G)" },
		{ OPTION_BYTES, "5kB", "'5kB' is not a size (such as 64k, 16M or 2G)" },
		{ OPTION_SPAN, "5", "'5' is not FIRST:END (such as 0:10)" },
		{ OPTION_SPAN, "5:5", "'5:5' is empty: FIRST must be below END" },
		{ OPTION_SPAN, "0:4294967296", "'0:4294967296' is not FIRST:END (such as 0:10)" },
		{ OPTION_SPAN, "-1:4", "'-1:4' is not FIRST:END (such as 0:10)" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		const struct option *o = &plain[cases[i].kind];
		union value v = { .span = { 0 } }, zero = { .span = { 0 } };
		struct error e = { 0 };

		CHECK_EQ(option_store(o, &v, cases[i].text, &e), -EINVAL);
		CHECK_TEXT(e.text, cases[i].sentence);
		CHECK_BYTES(&v, &zero, sizeof(v));
	}
}

/* Goal: storing again replaces the text; nothing leaks. */
TEST(option_store__replaces_text)
{
	uint64_t before = mem_live_blocks();
	union value v = { .text = NULL };

	CHECK_EQ(option_store(&plain[OPTION_TEXT], &v, "one", NULL), 0);
	CHECK_EQ(option_store(&plain[OPTION_TEXT], &v, "two", NULL), 0);
	CHECK_TEXT(v.text, "two");
	option_release(&plain[OPTION_TEXT], &v);
	option_release(&plain[OPTION_TEXT], &v);
	CHECK_EQ(mem_live_blocks(), before);
}

/* Goal: bounds are said in the unit of the option. */
TEST(option_print_bounds__uses_the_options_unit)
{
	static const struct {
		struct option option;
		const char *text;
	} cases[] = {
		{ { .name = "a", .kind = OPTION_DURATION, .least = 0.5, .most = 60 },
		  "500ms to 1m" },
		{ { .name = "b", .kind = OPTION_BYTES, .least = 65536, .most = 0x1p60 },
		  "at least 64k" },
		{ { .name = "c", .kind = OPTION_INTEGER, .least = 1, .most = 256 }, "1 to 256" },
		{ { .name = "d", .kind = OPTION_INTEGER }, "" },
		{ { .name = "e", .kind = OPTION_TEXT, .least = 1, .most = 2 }, "" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct buffer out = { 0 };

		option_print_bounds(&cases[i].option, &out);
		CHECK_TEXT(buffer_string(&out), cases[i].text);
		buffer_close(&out);
	}
}
