/* parts_test.c - tests of compute/text/parts.c. */
#include "compute/text/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"

/* "TYPE@PATH " of every part that was read, in order. */
static int take(void *into, const char *type, const json_t *node, const char *path,
		struct error *e)
{
	char *read = into;
	size_t n = strlen(read);

	CHECK(json_is_object(node));
	if (strcmp(type, "Strange") == 0)
		return part_refuse(type, path, e);
	snprintf(read + n, 512 - n, "%s@%s ", type, path);
	return 0;
}

static int read_text(const char *json, char read[512], struct error *e)
{
	json_t *node = json_loads(json, JSON_DECODE_ANY, NULL);
	int rc;

	CHECK(node);
	read[0] = '\0';
	rc = parts_read(read, take, node, "steps", "decoder", e);
	json_decref(node);
	return rc;
}

/* Goal: the parts of nested sequences come in order, with their paths; no component, no part. */
TEST(parts_read__in_order)
{
	char read[512];
	struct error e;

	CHECK_OK(read_text("{\"type\":\"A\"}", read, &e), &e);
	CHECK_TEXT(read, "A@decoder ");
	CHECK_OK(read_text("{\"type\":\"Sequence\",\"steps\":[{\"type\":\"A\"},"
			   "{\"type\":\"Sequence\",\"steps\":[{\"type\":\"B\"}]},"
			   "{\"type\":\"C\"}]}", read, &e), &e);
	CHECK_TEXT(read, "A@decoder.steps[0] B@decoder.steps[1].steps[0] C@decoder.steps[2] ");
	CHECK_OK(read_text("null", read, &e), &e);
	CHECK_OK(parts_read(read, take, NULL, "steps", "decoder", &e), &e);
	CHECK_TEXT(read, "");
}

/* Goal: what is no component is refused, and told where it stands. */
TEST(parts_read__refused)
{
	static const struct {
		const char *json, *says;
		int rc;
	} cases[] = {
		{ "3", "decoder is an integer, expected an object", -EINVAL },
		{ "{}", "decoder.type", -EINVAL },
		{ "{\"type\":\"Sequence\"}", "decoder.steps", -EINVAL },
		{ "{\"type\":\"Sequence\",\"steps\":[[]]}", "decoder.steps[0] is an array",
		  -EINVAL },
		{ "{\"type\":\"Sequence\",\"steps\":[{\"type\":\"A\"},{\"type\":\"Strange\"}]}",
		  "decoder.steps[1].type \"Strange\" is not supported", -ENOTSUP },
	};
	char read[512];
	struct error e;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		CHECK_EQ(read_text(cases[i].json, read, &e), cases[i].rc);
		CHECK(strstr(e.text, cases[i].says));
	}
}

/* Goal: a hostile depth is refused, not recursed into. */
TEST(parts_read__depth_is_bounded)
{
	json_t *node = json_pack("{s:s}", "type", "A");
	char read[512] = "";
	struct error e;

	for (int i = 0; i < 9; i++)
		node = json_pack("{s:s, s:[o]}", "type", "Sequence", "steps", node);
	CHECK_EQ(parts_read(read, take, node, "steps", "decoder", &e), -EINVAL);
	CHECK(strstr(e.text, "nests sequences too deeply"));
	CHECK_TEXT(read, "");
	json_decref(node);
}
