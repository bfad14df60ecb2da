/* unicode_form_test.c - tests of compute/text/unicode_form.c. */
#include "compute/text/unicode_form.h"

#include "dataplane/base/memory.h"
#include "tests/test.h"

static void check_form(enum unicode_form form, const char *text, const char *expected)
{
	struct buffer out = { 0 };

	CHECK_EQ(unicode_form_append(&out, text, strlen(text), form), 0);
	CHECK_TEXT(buffer_string(&out), expected);
	buffer_close(&out);
}

/* Goal: each form of the standard's own small examples. */
TEST(unicode_form_append__forms)
{
	check_form(UNICODE_NFC, "plain \xC3\xA4", "plain \xC3\xA4");
	check_form(UNICODE_NFC, "a\xCC\x88", "\xC3\xA4");
	check_form(UNICODE_NFD, "\xC3\xA4", "a\xCC\x88");
	check_form(UNICODE_NFKC, "\xEF\xAC\x81\xE2\x91\xA0", "fi1");
	check_form(UNICODE_NFKD, "\xEF\xBC\xA1\xC3\xA4", "Aa\xCC\x88");
	check_form(UNICODE_NFC, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81");
	/* marks in the wrong order: below goes before above */
	check_form(UNICODE_NFC, "a\xCC\x81\xCC\xA3", "\xE1\xBA\xA1\xCC\x81");
	check_form(UNICODE_NFC, "", "");
}

/* Goal: a long run of marks in alternating order takes linear time. */
TEST(unicode_form_append__hostile_marks)
{
	enum { PAIRS = 100000 };
	char *text = mem_alloc(PAIRS * 4);
	struct buffer out = { 0 };

	for (size_t i = 0; i < PAIRS; i++)
		memcpy(text + i * 4, "\xCC\x81\xCC\xA3", 4);
	CHECK_EQ(unicode_form_append(&out, text, PAIRS * 4, UNICODE_NFC), 0);
	CHECK_EQ(out.length, PAIRS * 4);
	CHECK_BYTES(out.data, "\xCC\xA3\xCC\xA3", 4);
	CHECK_BYTES(out.data + PAIRS * 4 - 4, "\xCC\x81\xCC\x81", 4);
	buffer_close(&out);
	mem_free(text);
}
