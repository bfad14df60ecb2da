/* normalizer_test.c - tests of compute/text/normalizer.c. */
#include "compute/text/normalizer.h"

#include "tests/test.h"

static const char *normalized(const char *json, const char *text)
{
	static char result[256];
	json_t *node = json_loads(json, JSON_DECODE_ANY, NULL);
	struct buffer in = { 0 }, spare = { 0 };
	struct normalizer n = { 0 };
	struct regex_scratch *s;
	struct error e = { 0 };

	CHECK(node);
	CHECK_OK(normalizer_read(&n, node, "normalizer", &e), &e);
	CHECK_OK(regex_scratch_open(&s, &e), &e);
	buffer_text(&in, text);
	CHECK_OK(normalizer_run(&n, s, &in, &spare, &e), &e);
	snprintf(result, sizeof(result), "%s", buffer_string(&in));
	buffer_close(&in);
	buffer_close(&spare);
	regex_scratch_close(s);
	normalizer_close(&n);
	json_decref(node);
	return result;
}

/* Goal: each kind does its one thing. */
TEST(normalizer_run__each_kind)
{
	CHECK_TEXT(normalized("null", " x "), " x ");
	CHECK_TEXT(normalized("{\"type\":\"NFC\"}", "a\xCC\x88"), "\xC3\xA4");
	CHECK_TEXT(normalized("{\"type\":\"NFKD\"}", "\xEF\xAC\x81"), "fi");
	CHECK_TEXT(normalized("{\"type\":\"Lowercase\"}", "\xC3\x84\xC4\xB0Z"),
		   "\xC3\xA4i\xCC\x87z");
	CHECK_TEXT(normalized("{\"type\":\"Prepend\",\"prepend\":\"_\"}", "x"), "_x");
	CHECK_TEXT(normalized("{\"type\":\"Prepend\",\"prepend\":\"_\"}", ""), "");
	CHECK_TEXT(normalized("{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
			      "\"content\":\"_\"}", "a b c"), "a_b_c");
	CHECK_TEXT(normalized("{\"type\":\"Strip\"}", "\xE3\x80\x80 a b\n"), "a b");
	CHECK_TEXT(normalized("{\"type\":\"Strip\",\"strip_left\":false}", " a "), " a");
}

/* Goal: steps run in the order they stand in. */
TEST(normalizer_run__in_order)
{
	CHECK_TEXT(normalized("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
			      "\"prepend\":\" \"},{\"type\":\"Replace\",\"pattern\":{\"String\":"
			      "\" \"},\"content\":\"_\"}]}", "a b"), "_a_b");
}
