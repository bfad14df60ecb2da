/* decoder_test.c - tests of compute/text/decoder.c. */
#include "compute/text/decoder.h"

#include "tests/test.h"

static int read_it(struct decoder *d, const char *json, struct error *e)
{
	json_t *node = json_loads(json, JSON_DECODE_ANY, NULL);
	int rc;

	CHECK(node);
	*d = (struct decoder){ 0 };
	rc = decoder_read(d, node, "decoder", e);
	json_decref(node);
	return rc;
}

static void check_token(const char *json, const char *token, bool first, const char *text)
{
	struct decoder d;
	struct vocab *v;
	struct error e = { 0 };
	const char *decoded;
	size_t bytes;

	CHECK_EQ(vocab_open(&v, 1), 0);
	CHECK_EQ(vocab_add(v, 0, token, strlen(token)), 0);
	CHECK_OK(read_it(&d, json, &e), &e);
	CHECK_OK(decoder_prepare(&d, v, &e), &e);
	decoded = decoder_text(&d, 0, first, &bytes);
	CHECK_EQ(bytes, strlen(text));
	CHECK_BYTES(decoded, text, bytes);
	decoder_close(&d);
	vocab_close(v);
}

#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}"
#define STRIP(start, stop) \
	"{\"type\":\"Strip\",\"content\":\" \",\"start\":" start ",\"stop\":" stop "}"
#define CHAIN(steps) "{\"type\":\"Sequence\",\"decoders\":[" steps "]}"

/* Goal: steps turn a token into its text, each token alone. */
TEST(decoder_prepare__steps)
{
	check_token("null", "a", false, "a");
	check_token("{\"type\":\"ByteLevel\"}", "\xC4\xA0" "a", false, " a");
	check_token("{\"type\":\"ByteLevel\"}", "<|\xE2\x96\x81|>", false, "<|\xE2\x96\x81|>");
	check_token(REPLACE, "_a_", false, " a ");
	check_token(CHAIN(REPLACE "," STRIP("1", "2")), "__a___", false, " a ");
	check_token("{\"type\":\"Metaspace\",\"replacement\":\"_\"}", "_a_b", false, " a b");
	check_token("{\"type\":\"Metaspace\",\"replacement\":\"_\"}", "_a_b", true, "ab");
}

/* Goal: only "<0xXX>" is a byte. */
TEST(byte_fallback_value__form)
{
	CHECK_EQ(byte_fallback_value("<0x41>", 6), 0x41);
	CHECK_EQ(byte_fallback_value("<0xfF>", 6), 0xFF);
	CHECK_EQ(byte_fallback_value("<0x4g>", 6), -1);
	CHECK_EQ(byte_fallback_value("<0x41>>", 7), -1);
}
