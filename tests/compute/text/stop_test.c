/* stop_test.c - stop strings against the obvious search over the whole text. */
#include "compute/text/stop.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

/* Where the text before the match that ends first ends; -1: no match. */
static long search(const char *text, size_t bytes, const char *const *strings, uint32_t count)
{
	for (size_t end = 1; end <= bytes; end++) {
		long first = -1;

		for (uint32_t i = 0; i < count; i++) {
			size_t length = strlen(strings[i]);

			if (length > end || memcmp(text + end - length, strings[i], length) != 0)
				continue;
			if (first < 0 || (long)(end - length) < first)
				first = (long)(end - length);
		}
		if (first >= 0)
			return first;
	}
	return -1;
}

/* Goal: however text is cut, the output is the text before the first match. */
TEST(stop_push__agrees_with_a_plain_search)
{
	struct random r;
	int found = 0;

	random_seed(&r, test_seed());
	for (int round = 0; round < 3000; round++) {
		char strings_text[4][8], text[64];
		const char *strings[4];
		uint32_t count = 1 + (uint32_t)random_below(&r, 4);
		size_t bytes = random_below(&r, sizeof(text)), at = 0;
		struct buffer out = { 0 };
		struct stop *s;
		long expect;

		for (uint32_t i = 0; i < count; i++) {
			size_t length = 1 + random_below(&r, 6);

			for (size_t j = 0; j < length; j++)
				strings_text[i][j] = (char)('a' + random_below(&r, 2));
			strings_text[i][length] = '\0';
			strings[i] = strings_text[i];
		}
		for (size_t j = 0; j < bytes; j++)
			text[j] = random_chance(&r, 0.2) ? 'c' : (char)('a' + random_below(&r, 2));
		CHECK_EQ(stop_open(&s, strings, count, NULL), 0);
		while (at < bytes) {
			size_t most = 1 + random_below(&r, 5), piece = MIN(most, bytes - at);

			/* Nothing is held back longer than a stop string. */
			CHECK(stop_held(s) < 6);
			CHECK_EQ(out.length + stop_held(s), stop_found(s) < 0 ? at : out.length);
			if (stop_push(s, text + at, piece, &out))
				break;
			at += piece;
		}
		stop_finish(s, &out);
		expect = search(text, bytes, strings, count);
		CHECK_EQ(out.length, expect < 0 ? (long)bytes : expect);
		CHECK_EQ(memcmp(buffer_string(&out), text, out.length), 0);
		CHECK_EQ(stop_found(s) >= 0, expect >= 0);
		found += expect >= 0;
		stop_close(s);
		buffer_close(&out);
	}
	CHECK(found > 500 && found < 2900);
}

/* Goal: text that cannot become a stop string is not held back. */
TEST(stop_push__holds_only_what_may_match)
{
	const char *strings[] = { "\nUser:", "###" };
	struct buffer out = { 0 };
	struct stop *s;

	CHECK_EQ(stop_open(&s, strings, 2, NULL), 0);
	CHECK(!stop_push(s, "Hello\n", 6, &out));
	CHECK_TEXT(buffer_string(&out), "Hello");
	CHECK(!stop_push(s, "Us", 2, &out));
	CHECK_TEXT(buffer_string(&out), "Hello");
	CHECK(!stop_push(s, "age ##", 6, &out));
	CHECK_TEXT(buffer_string(&out), "Hello\nUsage ");
	CHECK_EQ(stop_held(s), 2);
	CHECK(stop_push(s, "# more", 6, &out));
	CHECK_TEXT(buffer_string(&out), "Hello\nUsage ");
	CHECK_EQ(stop_found(s), 1);
	CHECK(stop_push(s, "later", 5, &out));
	stop_finish(s, &out);
	CHECK_TEXT(buffer_string(&out), "Hello\nUsage ");
	buffer_close(&out);
	stop_close(s);
}

/* Goal: without stop strings text passes through. */
TEST(stop_push__no_strings)
{
	struct buffer out = { 0 };
	struct stop *s;

	CHECK_EQ(stop_open(&s, NULL, 0, NULL), 0);
	CHECK(!stop_push(s, "abc", 3, &out));
	stop_finish(s, &out);
	CHECK_TEXT(buffer_string(&out), "abc");
	CHECK_EQ(stop_held(s), 0);
	buffer_close(&out);
	stop_close(s);
}

/* Goal: absurd stop strings are refused with a sentence. */
TEST(stop_open__refuses)
{
	static char long_text[STOP_STRING_BYTES_MAX + 2];
	const char *empty[] = { "a", "" }, *longs[] = { long_text };
	const char *many[STOP_STRINGS_MAX + 1];
	struct error e = { 0 };
	struct stop *s;

	memset(long_text, 'x', sizeof(long_text) - 1);
	for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
		many[i] = "a";
	CHECK_EQ(stop_open(&s, empty, 2, &e), -EINVAL);
	CHECK_TEXT(e.text, "stop string 1 is empty");
	CHECK_EQ(stop_open(&s, longs, 1, &e), -EINVAL);
	CHECK(strstr(e.text, "1025 bytes"));
	CHECK_EQ(stop_open(&s, many, ARRAY_LENGTH(many), &e), -EINVAL);
	CHECK(strstr(e.text, "17 stop strings"));
	CHECK_EQ(stop_open(&s, many, STOP_STRINGS_MAX, &e), 0);
	stop_close(s);
}

#ifdef PETALS_FAULTS
/* Goal: no memory is an error, not a crash. */
TEST(stop_open__unwinds_every_failure)
{
	const char *strings[] = { "abc" };
	uint64_t live = mem_live_blocks();
	struct stop *s;

	fault_arm(1);
	CHECK_EQ(stop_open(&s, strings, 1, NULL), -ENOMEM);
	fault_disarm();
	CHECK_EQ(mem_live_blocks(), live);
}
#endif
