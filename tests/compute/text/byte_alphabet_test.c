/* byte_alphabet_test.c - tests of compute/text/byte_alphabet.c. */
#include "compute/text/byte_alphabet.h"

#include "compute/text/utf8.h"
#include "tests/test.h"

/* Goal: 256 different characters, none of them blank, and back again. */
TEST(byte_alphabet_character__is_a_bijection)
{
	bool seen[0x200] = { false };

	for (unsigned byte = 0; byte < 256; byte++) {
		uint32_t c = byte_alphabet_character((uint8_t)byte);

		CHECK(c > 0x20 && c < 0x200 && !seen[c]);
		seen[c] = true;
		CHECK_EQ(byte_alphabet_byte(c), byte);
	}
	CHECK_EQ(byte_alphabet_character(' '), 0x120);
	CHECK_EQ(byte_alphabet_character('\n'), 0x10A);
	CHECK_EQ(byte_alphabet_byte(' '), -1);
	CHECK_EQ(byte_alphabet_byte(0x4E00), -1);
	CHECK_EQ(byte_alphabet_byte(0x144), -1);
}

/* Goal: a text with a foreign character is not restored at all. */
TEST(byte_alphabet_restore__all_or_nothing)
{
	struct buffer out = { 0 }, back = { 0 };

	byte_alphabet_append(&out, "a \xFF", 3);
	CHECK_TEXT(buffer_string(&out), "a\xC4\xA0\xC3\xBF");
	CHECK(byte_alphabet_restore(&back, out.data, out.length));
	CHECK_BYTES(back.data, "a \xFF", 3);
	buffer_clear(&back);
	CHECK(!byte_alphabet_restore(&back, "a b", 3));
	CHECK_EQ(back.length, 0);
	buffer_close(&out);
	buffer_close(&back);
}
