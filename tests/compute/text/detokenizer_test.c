/* detokenizer_test.c - tests of compute/text/detokenizer.c. */
#include "compute/text/tokenizer.h"
#include "compute/text/utf8.h"
#include "dataplane/base/random.h"
#include "tests/support/text.h"
#include "tests/test.h"

static struct tokenizer *open_kind(const char *name)
{
	json_t *file = json_data(name);
	char *json = json_dumps(json_object_get(file, "tokenizer"), 0);
	struct tokenizer *t = NULL;
	struct error e = { 0 };

	CHECK_OK(tokenizer_open_json(&t, json, strlen(json), &e), &e);
	free(json);
	json_decref(file);
	return t;
}

/* Streams ids; every piece must be whole UTF-8, all of them the whole text. */
static void check_stream(const struct tokenizer *t, const uint32_t *ids, size_t count, bool skip)
{
	struct buffer whole = { 0 }, all = { 0 };
	struct detokenizer d;

	detokenizer_start(&d, t, skip);
	for (size_t i = 0; i <= count; i++) {
		struct buffer piece = { 0 };

		if (i < count)
			detokenizer_push(&d, ids[i], &piece);
		else
			detokenizer_finish(&d, &piece);
		CHECK(utf8_valid(buffer_string(&piece), piece.length));
		buffer_append(&all, buffer_string(&piece), piece.length);
		buffer_close(&piece);
	}
	CHECK_EQ(tokenizer_decode(t, ids, count, skip, &whole), 0);
	CHECK_EQ(all.length, whole.length);
	CHECK_BYTES(buffer_string(&all), buffer_string(&whole), all.length);
	buffer_close(&all);
	buffer_close(&whole);
}

/* Goal: any ids at all, in any vocabulary, stream in whole characters that add
 * up to the decoded text.
 */
TEST(detokenizer_push__random_ids)
{
	static const char *const kinds[] = { "tokenizers/smollm.json", "tokenizers/llama2.json",
					     "tokenizers/metaspace-first.json",
					     "tokenizers/no-decoder.json" };
	struct random r;

	random_seed(&r, test_seed());
	for (size_t k = 0; k < ARRAY_LENGTH(kinds); k++) {
		struct tokenizer *t = open_kind(kinds[k]);

		for (int round = 0; round < 200; round++) {
			uint32_t ids[24];
			size_t count = random_below(&r, ARRAY_LENGTH(ids));

			for (size_t i = 0; i < count; i++)
				ids[i] = (uint32_t)random_below(&r, tokenizer_size(t) + 2);
			check_stream(t, ids, count, round & 1);
		}
		tokenizer_close(t);
	}
}

static uint32_t id_of(const struct tokenizer *t, const char *token)
{
	int64_t id = tokenizer_id(t, token);

	CHECK(id >= 0);
	return (uint32_t)id;
}

static void check_text(const struct tokenizer *t, const uint32_t *ids, size_t count,
		       const char *text)
{
	struct buffer out = { 0 };

	CHECK_EQ(tokenizer_decode(t, ids, count, false, &out), 0);
	CHECK_TEXT(buffer_string(&out), text);
	buffer_close(&out);
}

/* Goal: bytes wait until they form a character; what never does is U+FFFD, one
 * per maximal subpart in byte-level vocabularies.
 */
TEST(detokenizer_push__byte_level)
{
	struct tokenizer *t = open_kind("tokenizers/gpt2.json");
	/* E2 82 AC, in the byte alphabet */
	uint32_t e2 = id_of(t, "\xC3\xA2"), b82 = id_of(t, "\xC4\xA4"), ac = id_of(t, "\xC2\xAC");
	uint32_t a = id_of(t, "a");
	struct buffer out = { 0 };
	struct detokenizer d;

	detokenizer_start(&d, t, false);
	detokenizer_push(&d, e2, &out);
	detokenizer_push(&d, b82, &out);
	CHECK_EQ(out.length, 0);
	detokenizer_push(&d, ac, &out);
	CHECK_TEXT(buffer_string(&out), "\xE2\x82\xAC");
	buffer_clear(&out);
	detokenizer_push(&d, e2, &out);
	detokenizer_push(&d, b82, &out);
	detokenizer_push(&d, a, &out);
	CHECK_TEXT(buffer_string(&out), "\xEF\xBF\xBD" "a");
	buffer_clear(&out);
	detokenizer_push(&d, e2, &out);
	detokenizer_finish(&d, &out);
	CHECK_TEXT(buffer_string(&out), "\xEF\xBF\xBD");
	buffer_close(&out);
	tokenizer_close(t);
}

/* Goal: with byte fallback each lost byte is one U+FFFD, and the space at the
 * very start goes once.
 */
TEST(detokenizer_push__byte_fallback)
{
	struct tokenizer *t = open_kind("tokenizers/mistral.json");
	uint32_t e2 = id_of(t, "<0xE2>"), b82 = id_of(t, "<0x82>"), ac = id_of(t, "<0xAC>");
	uint32_t space = id_of(t, "\xE2\x96\x81"), a = id_of(t, "a");
	const uint32_t whole[] = { space, e2, b82, ac, space, a };
	const uint32_t cut[] = { e2, b82, a };

	check_text(t, whole, 6, "\xE2\x82\xAC a");
	check_text(t, cut, 3, "\xEF\xBF\xBD\xEF\xBF\xBD" "a");
	tokenizer_close(t);
}

/* Goal: the bytes of single tokens, halves of characters included. */
TEST(tokenizer_token_bytes__halves)
{
	struct tokenizer *t = open_kind("tokenizers/gpt2.json");
	struct tokenizer *s = open_kind("tokenizers/mistral.json");
	struct buffer out = { 0 };

	tokenizer_token_bytes(t, id_of(t, "\xC3\xA2"), &out);
	CHECK_EQ(out.length, 1);
	CHECK_EQ((uint8_t)out.data[0], 0xE2);
	buffer_clear(&out);
	tokenizer_token_bytes(s, id_of(s, "<0x82>"), &out);
	CHECK_EQ((uint8_t)out.data[0], 0x82);
	buffer_clear(&out);
	tokenizer_token_bytes(s, id_of(s, "\xE2\x96\x81"), &out);
	CHECK_TEXT(buffer_string(&out), " ");
	buffer_clear(&out);
	tokenizer_token_bytes(s, tokenizer_size(s), &out);
	CHECK_EQ(out.length, 0);
	buffer_close(&out);
	tokenizer_close(t);
	tokenizer_close(s);
}
