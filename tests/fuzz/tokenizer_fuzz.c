/* tokenizer_fuzz.c - feeds bytes to the tokenizer.json reader; what opens must
 * encode any text, and decode what it encoded, in one go or token by token.
 */
#include <string.h>

#include "compute/text/tokenizer.h"
#include "compute/text/utf8.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\xE2\x96\x81\":3,\"<0xC3>\":4,\"<0xA4>\":5," \
	      "\"\xC4\xA0\":6,\"<unk>\":7,\"1\":8,\"\xC4\xA0" "a\":9,\"c\":10}"
#define MERGES "\"merges\":[\"a b\",[\"\xC4\xA0\",\"a\"]]"

static const char *const seeds[] = {
	"{\"model\":{\"type\":\"BPE\"," VOCAB "," MERGES "},"
	"\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},"
	"\"decoder\":{\"type\":\"ByteLevel\"},\"post_processor\":{\"type\":\"ByteLevel\"},"
	"\"added_tokens\":[{\"id\":11,\"content\":\"<s>\",\"special\":true,\"lstrip\":true},"
	"{\"id\":12,\"content\":\"ab c\",\"normalized\":true,"
	"\"rstrip\":true,\"single_word\":true}]}",

	"{\"model\":{" VOCAB "," MERGES ",\"unk_token\":\"<unk>\",\"fuse_unk\":true,"
	"\"byte_fallback\":true},\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
	"{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":"
	"{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}]},\"decoder\":{\"type\":\"Sequence\","
	"\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":"
	"\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
	"{\"type\":\"Strip\",\"content\":\" \","
	"\"start\":1,\"stop\":0}]},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
	"{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}}],"
	"\"special_tokens\":{\"x\":"
	"{\"ids\":[0,1]}}}}",

	"{\"model\":{" VOCAB "," MERGES ",\"ignore_merges\":true},"
	"\"normalizer\":{\"type\":\"NFKD\"},"
	"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
	"{\"type\":\"Split\",\"pattern\":"
	"{\"Regex\":\"(?i:'s)|[^\\\\s[.]]+|\\\\s+(?!\\\\S)|\\\\p{N}{1,3}\"},\"behavior\":"
	"\"MergedWithNext\",\"invert\":true},{\"type\":\"Digits\",\"individual_digits\":true},"
	"{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}]}}",

	"{\"model\":{" VOCAB "," MERGES "},\"normalizer\":{\"type\":\"Lowercase\"},"
	"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\","
	"\"prepend_scheme\":\"first\"},"
	"\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"_\"}}",
};

static const char *const texts[] = {
	"", "a", "ab abab  <s> ab c 123", "\xC3\xA4 \xE4\xB8\xAD\xF0\x9F\x99\x82 don't\n\n x ",
	"\xFF\xC3(", "\xCC\x81\xCC\xA3\xE1\x84\x80\xE1\x85\xA1",
};

static void use(const struct tokenizer *t, const char *text, unsigned flags)
{
	struct buffer whole = { 0 }, streamed = { 0 };
	struct token_list l = { 0 };
	struct detokenizer d;
	struct error e;

	if (tokenizer_encode(t, text, strlen(text), flags, &l, &e) == 0) {
		detokenizer_start(&d, t, false);
		for (size_t i = 0; i < l.count; i++) {
			assert(l.ids[i] < tokenizer_size(t));
			detokenizer_push(&d, l.ids[i], &streamed);
			assert(utf8_valid(buffer_string(&streamed), streamed.length));
		}
		detokenizer_finish(&d, &streamed);
		assert(tokenizer_decode(t, l.ids, l.count, false, &whole) == 0);
		assert(whole.length == streamed.length);
		assert(memcmp(buffer_string(&whole), buffer_string(&streamed), whole.length) == 0);
	}
	token_list_close(&l);
	buffer_close(&whole);
	buffer_close(&streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tokenizer *t;
	struct error e = { 0 };

	if (tokenizer_open_json(&t, (const char *)data, size, &e) < 0) {
		assert(e.text[0]);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
		use(t, texts[i], (unsigned)i & (ENCODE_SPECIALS | ENCODE_NO_ADDED));
	tokenizer_close(t);
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	return text_seed(seeds, ARRAY_LENGTH(seeds), index, out, capacity);
}
