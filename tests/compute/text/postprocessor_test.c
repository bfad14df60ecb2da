/* postprocessor_test.c - tests of compute/text/postprocessor.c. */
#include "compute/text/postprocessor.h"

#include "tests/test.h"

#define TEMPLATE(single)                                                           \
	"{\"type\":\"TemplateProcessing\",\"single\":[" single "],\"special_tokens\":{" \
	"\"<s>\":{\"ids\":[0]},\"</s>\":{\"ids\":[1,0]},\"<x>\":{\"ids\":[7]}}}"
#define SPECIAL(name) "{\"SpecialToken\":{\"id\":\"" name "\",\"type_id\":0}}"
#define TEXT_ITSELF "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"

static int read_it(struct postprocessor *p, const char *json, struct error *e)
{
	json_t *node = json_loads(json, JSON_DECODE_ANY, NULL);
	struct vocab *v;
	int rc;

	CHECK(node);
	CHECK_EQ(vocab_open(&v, 2), 0);
	CHECK_EQ(vocab_add(v, 0, "<s>", 3), 0);
	CHECK_EQ(vocab_add(v, 1, "</s>", 4), 0);
	*p = (struct postprocessor){ 0 };
	rc = postprocessor_read(p, node, "post_processor", v, e);
	vocab_close(v);
	json_decref(node);
	return rc;
}

/* Goal: ids stand before and after the text as the template has them;
 * sequences wrap outwards.
 */
TEST(postprocessor_read__templates)
{
	struct postprocessor p;
	struct error e = { 0 };

	CHECK_OK(read_it(&p, "null", &e), &e);
	CHECK_EQ(p.before_count + p.after_count, 0);
	CHECK_OK(read_it(&p, TEMPLATE(SPECIAL("<s>") "," TEXT_ITSELF "," SPECIAL("</s>")), &e), &e);
	CHECK_EQ(p.before_count, 1);
	CHECK_EQ(p.after_count, 2);
	CHECK_EQ(p.after[0], 1);
	CHECK_OK(read_it(&p, "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
			 TEMPLATE(SPECIAL("<s>") "," TEXT_ITSELF) ","
			 TEMPLATE(SPECIAL("</s>") "," TEXT_ITSELF) "]}", &e), &e);
	CHECK_EQ(p.before_count, 3);
	CHECK_EQ(p.before[0], 1);
	CHECK_EQ(p.before[2], 0);
}

/* Goal: templates that make no sense are refused with their path. */
TEST(postprocessor_read__refuses)
{
	static const struct {
		const char *json, *sentence;
	} rows[] = {
		{ "[]", "post_processor is an array" },
		{ "{\"type\":\"Bert\"}", "post_processor.type \"Bert\"" },
		{ TEMPLATE(SPECIAL("<s>")), "post_processor.single leaves the text out" },
		{ TEMPLATE(TEXT_ITSELF "," TEXT_ITSELF), "post_processor.single[1] is neither" },
		{ TEMPLATE(SPECIAL("<y>")), "post_processor.single[0].id \"<y>\" has no ids" },
		{ TEMPLATE(SPECIAL("<x>")), "post_processor.single[0].id does not stand" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct postprocessor p;
		struct error e = { 0 };

		CHECK(read_it(&p, rows[i].json, &e) < 0);
		if (strstr(e.text, rows[i].sentence) != e.text)
			fail_msg("\"%s\" instead of \"%s\"", e.text, rows[i].sentence);
	}
}
