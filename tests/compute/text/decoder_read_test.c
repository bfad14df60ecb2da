/* decoder_read_test.c - tests of compute/text/decoder_read.c. */
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

#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}"
#define STRIP(start, stop) \
	"{\"type\":\"Strip\",\"content\":\" \",\"start\":" start ",\"stop\":" stop "}"
#define CHAIN(steps) "{\"type\":\"Sequence\",\"decoders\":[" steps "]}"

/* Goal: chains that would need the whole text are refused with their path. */
TEST(decoder_read__refuses)
{
	static const struct {
		const char *json, *sentence;
	} rows[] = {
		{ "{\"type\":\"CTC\"}", "decoder.type \"CTC\"" },
		{ CHAIN("{\"type\":\"Fuse\"}," STRIP("2", "0")), "decoder.decoders[1]: " },
		{ CHAIN("{\"type\":\"Fuse\"}," STRIP("0", "1")), "decoder.decoders[1]: " },
		{ CHAIN("{\"type\":\"Fuse\"},{\"type\":\"ByteFallback\"}"),
		  "decoder.decoders[1]: " },
		{ CHAIN("{\"type\":\"ByteLevel\"}," REPLACE), "decoder.decoders[1]: " },
		{ STRIP("-1", "0"), "decoder.start is an integer, expected a non-negative" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct decoder d;
		struct error e = { 0 };

		CHECK(read_it(&d, rows[i].json, &e) < 0);
		decoder_close(&d);
		if (strstr(e.text, rows[i].sentence) != e.text)
			fail_msg("\"%s\" instead of \"%s\"", e.text, rows[i].sentence);
	}
}
