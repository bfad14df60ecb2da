/* json_print_test.c - what is printed reads back as what it was. */
#include "control/json_print.h"

#include <jansson.h>
#include <math.h>

#include "dataplane/base/random.h"
#include "tests/test.h"

static json_t *parse(const struct buffer *b)
{
	json_error_t fault;
	json_t *j = json_loadb(buffer_string(b), b->length, JSON_DECODE_ANY | JSON_ALLOW_NUL,
			       &fault);

	if (!j)
		fail_msg("%s: %s", buffer_string(b), fault.text);
	return j;
}

static void check_text(const char *text, size_t bytes, const char *expected, size_t expected_bytes)
{
	struct buffer b = { 0 };
	json_t *j;

	json_print_text(&b, text, bytes);
	j = parse(&b);
	CHECK_EQ(json_string_length(j), expected_bytes);
	CHECK_BYTES(json_string_value(j), expected, expected_bytes);
	json_decref(j);
	buffer_close(&b);
}

/* Goal: every text reads back as itself; what is not UTF-8 as U+FFFD. */
TEST(json_print_text__reads_back)
{
	static const char odd[] = "a\"b\\c\n\t\r\x01\x7f/\0z \xC3\xA9 \xF0\x9F\x98\x80";

	check_text("", 0, "", 0);
	check_text(odd, sizeof(odd) - 1, odd, sizeof(odd) - 1);
	check_text("x\xFFy", 3, "x\xEF\xBF\xBDy", 5);
	check_text("\xF0\x9F", 2, "\xEF\xBF\xBD", 3);
	check_text("\xED\xA0\x80", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", 9);
}

/* Goal: random bytes are always valid JSON. */
TEST(json_print_text__takes_any_bytes)
{
	struct random r;
	char bytes[40];

	random_seed(&r, test_seed());
	for (int i = 0; i < 2000; i++) {
		struct buffer b = { 0 };
		size_t count = random_below(&r, sizeof(bytes));

		for (size_t k = 0; k < count; k++)
			bytes[k] = (char)random_below(&r, 256);
		json_print_text(&b, bytes, count);
		json_decref(parse(&b));
		buffer_close(&b);
	}
}

/* Goal: a float reads back as the same bits, and always as a JSON real. */
TEST(json_print_float__reads_back)
{
	struct random r;

	random_seed(&r, test_seed());
	for (int i = 0; i < 5000; i++) {
		struct buffer b = { 0 };
		float value = (float)((random_unit(&r) - 0.5) * pow(10, random_unit(&r) * 20 - 10));
		json_t *j;

		if (i == 0)
			value = 0;
		if (i == 1)
			value = -12;
		json_print_float(&b, value);
		j = parse(&b);
		CHECK(json_is_real(j));
		CHECK((float)json_real_value(j) == value);
		json_decref(j);
		buffer_close(&b);
	}
}

/* Goal: what JSON has no words for is written as OpenAI's clients expect it. */
TEST(json_print_float__odd_ones)
{
	struct buffer b = { 0 };

	json_print_float(&b, -INFINITY);
	buffer_char(&b, ' ');
	json_print_float(&b, INFINITY);
	buffer_char(&b, ' ');
	json_print_float(&b, NAN);
	CHECK_TEXT(buffer_string(&b), "-9999.0 9999.0 null");
	buffer_close(&b);
}

/* Goal: the error envelope has its four keys, absent ones null. */
TEST(json_print_error__has_four_keys)
{
	struct buffer b = { 0 };

	json_print_error(&b, "say \"no\"", "invalid_request_error", "n", NULL);
	CHECK_TEXT(buffer_string(&b), "{\"error\":{\"message\":\"say \\\"no\\\"\","
		   "\"type\":\"invalid_request_error\",\"param\":\"n\",\"code\":null}}");
	buffer_clear(&b);
	json_print_ids(&b, (const uint32_t[]){ 3, 0, 4294967295u }, 3);
	json_print_ids(&b, NULL, 0);
	CHECK_TEXT(buffer_string(&b), "[3,0,4294967295][]");
	buffer_close(&b);
}
