/* pattern_test.c - tests of compute/text/pattern.c. */
#include "compute/text/pattern.h"

#include "tests/test.h"

static const char *replaced(const char *json, const char *text, const char *content)
{
	static char result[256];
	json_t *object = json_loads(json, 0, NULL);
	struct regex_scratch *s;
	struct pattern p = { 0 };
	struct buffer out = { 0 };
	struct error e = { 0 };

	CHECK(object);
	CHECK_OK(pattern_read(&p, object, "pattern", "at", &e), &e);
	CHECK_OK(regex_scratch_open(&s, &e), &e);
	CHECK_OK(pattern_replace(&p, s, text, strlen(text), content, &out, &e), &e);
	snprintf(result, sizeof(result), "%s", buffer_string(&out));
	buffer_close(&out);
	regex_scratch_close(s);
	pattern_close(&p);
	json_decref(object);
	return result;
}

/* Goal: texts and expressions are both replaced, all over. */
TEST(pattern_replace__both_kinds)
{
	CHECK_TEXT(replaced("{\"pattern\":{\"String\":\"ab\"}}", "abxabab", "-"), "-x--");
	CHECK_TEXT(replaced("{\"pattern\":{\"String\":\"\"}}", "abc", "-"), "abc");
	CHECK_TEXT(replaced("{\"pattern\":{\"Regex\":\"\\\\d+\"}}", "a12b3", "#"), "a#b#");
	CHECK_TEXT(replaced("{\"pattern\":{\"Regex\":\"x*\"}}", "\xC3\xA4x", "-"), "-\xC3\xA4-");
}

/* Goal: what is no pattern is refused with its path. */
TEST(pattern_read__refuses)
{
	static const struct {
		const char *json, *sentence;
	} rows[] = {
		{ "{}", "at.pattern is missing" },
		{ "{\"pattern\":{}}", "at.pattern has neither String nor Regex" },
		{ "{\"pattern\":{\"String\":1}}", "at.pattern.String is an integer" },
		{ "{\"pattern\":{\"Regex\":\"(\"}}", "at.pattern.Regex: " },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		json_t *object = json_loads(rows[i].json, 0, NULL);
		struct pattern p = { 0 };
		struct error e = { 0 };

		CHECK(pattern_read(&p, object, "pattern", "at", &e) < 0);
		CHECK(strstr(e.text, rows[i].sentence) == e.text);
		pattern_close(&p);
		json_decref(object);
	}
}
