/* utf8_test.c - tests of compute/text/utf8.c. */
#include "compute/text/utf8.h"

#include "tests/test.h"

/* Goal: every character survives writing and reading. */
TEST(utf8_write__round_trip)
{
	for (uint32_t c = 0; c <= 0x10FFFF; c++) {
		char text[UTF8_MOST_BYTES];
		enum utf8_state how;
		uint32_t back;
		size_t n;

		if (c >= 0xD800 && c < 0xE000)
			continue;
		n = utf8_write(c, text);
		CHECK_EQ(utf8_read(text, n, &back, &how), n);
		CHECK_EQ(how, UTF8_WHOLE);
		CHECK_EQ(back, c);
		CHECK_EQ(utf8_before(text, n), 0);
	}
}

/* Goal: broken and cut sequences take their maximal subpart, no more. */
TEST(utf8_read__maximal_subparts)
{
	static const struct {
		const char *text;
		size_t bytes, takes;
		enum utf8_state state;
	} rows[] = {
		{ "\x80", 1, 1, UTF8_BROKEN },           { "\xC0\xAF", 2, 1, UTF8_BROKEN },
		{ "\xE0\x80\xAF", 3, 1, UTF8_BROKEN },   { "\xED\xA0\x80", 3, 1, UTF8_BROKEN },
		{ "\xF4\x90\x80\x80", 4, 1, UTF8_BROKEN }, { "\xF5", 1, 1, UTF8_BROKEN },
		{ "\xE2\x82" "a", 3, 2, UTF8_BROKEN },   { "\xF0\x9F\x98" "a", 4, 3, UTF8_BROKEN },
		{ "\xE2\x82", 2, 2, UTF8_CUT },          { "\xF0", 1, 1, UTF8_CUT },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		enum utf8_state how;
		uint32_t c;

		CHECK_EQ(utf8_read(rows[i].text, rows[i].bytes, &c, &how), rows[i].takes);
		CHECK_EQ(how, rows[i].state);
		CHECK_EQ(c, UTF8_REPLACEMENT);
		CHECK(!utf8_valid(rows[i].text, rows[i].bytes));
	}
}

/* Goal: repair keeps what is good. */
TEST(utf8_append_repaired__keeps_the_rest)
{
	struct buffer out = { 0 };

	utf8_append_repaired(&out, "a\xFF\xE2\x82z", 5);
	CHECK_TEXT(buffer_string(&out), "a\xEF\xBF\xBD\xEF\xBF\xBDz");
	buffer_close(&out);
}

/* Goal: the classes are those tokenizers mean. */
TEST(character_is__classes)
{
	CHECK(character_is_space(' ') && character_is_space(0x3000) && !character_is_space(0x180E));
	CHECK(character_is_numeric('7') && character_is_numeric(0xBD));
	CHECK(!character_is_numeric('x'));
	CHECK(character_is_punctuation('$') && character_is_punctuation(0x3002));
	CHECK(!character_is_punctuation(0x20AC));
	CHECK(character_is_word('_') && character_is_word(0x24B6) && !character_is_word('-'));
}
