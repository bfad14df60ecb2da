/* tokenizer_json_test.c - tests of compute/text/tokenizer_json.c. */
#include <dirent.h>

#include "compute/text/tokenizer.h"
#include "dataplane/base/memory.h"
#include "tests/support/text.h"
#include "tests/test.h"

#ifdef PETALS_FAULTS
#include "dataplane/base/fault.h"
#endif

/* The sentence with which a tokenizer.json is refused; "" when it opens. */
static const char *refusal(const char *json)
{
	static struct error e;
	struct tokenizer *t;

	e = (struct error){ 0 };
	if (tokenizer_open_json(&t, json, strlen(json), &e) == 0)
		tokenizer_close(t);
	else
		CHECK(!t);
	return e.text;
}

#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}"
#define MODEL "\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"a b\"]}"

static void check_file(const char *name)
{
	char path[512];
	json_t *file, *one;
	struct tokenizer *t;
	struct error e = { 0 };
	char *json;
	size_t i;

	snprintf(path, sizeof(path), "tokenizers/%s", name);
	file = json_data(path);
	json = json_dumps(json_object_get(file, "tokenizer"), 0);
	CHECK_OK(tokenizer_open_json(&t, json, strlen(json), &e), &e);
	json_array_foreach(json_object_get(file, "vectors"), i, one) {
		const json_t *text = json_object_get(one, "text");
		const json_t *decoded = json_object_get(one, "decoded");
		bool specials = json_is_true(json_object_get(one, "specials"));
		bool plain = json_is_true(json_object_get(one, "plain"));
		unsigned flags = (specials ? ENCODE_SPECIALS : 0u) | (plain ? ENCODE_NO_ADDED : 0u);

		check_ids(t, json_string_value(text), json_string_length(text), flags,
			  json_object_get(one, "ids"));
		check_decoded(t, json_object_get(one, "ids"),
			      json_is_true(json_object_get(one, "skip")),
			      json_string_value(decoded), json_string_length(decoded));
	}
	CHECK(i > 10);
	tokenizer_close(t);
	free(json);
	json_decref(file);
}

/* Goal: every kind of step gives the ids and texts that Hugging Face's library
 * gives (tests/golden/tokenizer_kinds.py).
 */
TEST(tokenizer_open_json__every_kind)
{
	DIR *dir = opendir(test_data("tokenizers"));
	const struct dirent *entry;
	unsigned files = 0;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		check_file(entry->d_name);
		files++;
	}
	closedir(dir);
	CHECK(files > 20);
}

/* Goal: merges are pairs in either spelling; a missing model.type is BPE. */
TEST(tokenizer_open_json__spellings)
{
	const char *variants[] = {
		"{" MODEL "}",
		"{\"model\":{" VOCAB ",\"merges\":[[\"a\",\"b\"]]}}",
	};
	json_t *ids = json_pack("[i]", 2);

	for (size_t i = 0; i < ARRAY_LENGTH(variants); i++) {
		struct tokenizer *t;
		struct error e = { 0 };

		CHECK_OK(tokenizer_open_json(&t, variants[i], strlen(variants[i]), &e), &e);
		CHECK_EQ(tokenizer_size(t), 3);
		check_ids(t, "ab", 2, 0, ids);
		tokenizer_close(t);
	}
	json_decref(ids);
}

/* Goal: what is broken or unknown is refused with its JSON path. */
TEST(tokenizer_open_json__refuses)
{
	static const struct {
		const char *json, *sentence;
	} rows[] = {
		{ "{", "line 1, column 1: " },
		{ "[]", "it is an array, expected an object" },
		{ "{}", "model is missing, expected an object" },
		{ "{\"model\":{\"type\":\"Unigram\"}}", "model.type \"Unigram\"" },
		{ "{\"model\":{\"vocab\":{\"a\":0}}}", "model.merges is missing" },
		{ "{\"model\":{\"merges\":[]}}", "model.vocab is missing" },
		{ "{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "model.vocab[\"a\"]" },
		{ "{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}",
		  "model.vocab[\"b\"]: id 0 is taken" },
		{ "{\"model\":{" VOCAB ",\"merges\":[\"a b\",\"a c\"]}}",
		  "model.merges[1]: \"c\" is not in the vocabulary" },
		{ "{\"model\":{" VOCAB ",\"merges\":[\"a b\",7]}}",
		  "model.merges[1] is not a pair" },
		{ "{\"model\":{" VOCAB ",\"merges\":[],\"unk_token\":\"x\"}}",
		  "model.unk_token \"x\"" },
		{ "{\"model\":{" VOCAB ",\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}",
		  "model.end_of_word_suffix" },
		{ "{\"model\":{" VOCAB ",\"merges\":[],\"dropout\":0.1}}", "model.dropout" },
		{ "{\"model\":{" VOCAB ",\"merges\":[],\"fuse_unk\":1}}",
		  "model.fuse_unk is an integer" },
		{ "{" MODEL ",\"normalizer\":{\"type\":\"Nmt\"}}", "normalizer.type \"Nmt\"" },
		{ "{" MODEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
		  "\"NFC\"},{\"type\":\"Prepend\"}]}}",
		  "normalizer.normalizers[1].prepend is missing" },
		{ "{" MODEL ",\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}",
		  "pre_tokenizer.type \"UnicodeScripts\"" },
		{ "{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
		  "\"behavior\":\"Isolated\"}}", "pre_tokenizer.pattern.Regex: PCRE2 refuses" },
		{ "{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},"
		  "\"behavior\":\"Sideways\"}}", "pre_tokenizer.behavior \"Sideways\"" },
		{ "{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
		  "{\"SpecialToken\":{\"id\":\"<s>\"}}]}}", "post_processor.single[0].id \"<s>\"" },
		{ "{" MODEL ",\"decoder\":{\"type\":\"CTC\"}}", "decoder.type \"CTC\"" },
		{ "{" MODEL ",\"added_tokens\":[{\"id\":1,\"content\":\"<s>\"}]}",
		  "added_tokens[0]: id 1 of \"<s>\" is taken by \"b\"" },
		{ "{" MODEL ",\"added_tokens\":[{\"id\":-1,\"content\":\"<s>\"}]}",
		  "added_tokens[0].id" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		const char *sentence = refusal(rows[i].json);

		if (strncmp(sentence, rows[i].sentence, strlen(rows[i].sentence)) != 0)
			fail_msg("%s\n-- gives \"%s\" instead of \"%s\"", rows[i].json, sentence,
				 rows[i].sentence);
	}
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, nothing is left over. */
TEST(tokenizer_open_json__unwinds_every_failure)
{
	static const char json[] =
		"{" MODEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
		"{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},"
		"\"content\":\"y\"}]},"
		"\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},"
		"\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"_\"},"
		"\"added_tokens\":[{\"id\":3,\"content\":\"x\",\"normalized\":true}]}";
	uint64_t live = mem_live_blocks();

	for (int nth = 1;; nth++) {
		struct tokenizer *t;
		struct error e = { 0 };
		bool fired;
		int rc;

		fault_arm(nth);
		rc = tokenizer_open_json(&t, json, sizeof(json) - 1, &e);
		fired = fault_fired();
		CHECK((rc < 0) == (t == NULL));
		if (rc < 0)
			CHECK(e.text[0]);
		tokenizer_close(t);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fired)
			break;
	}
	fault_disarm();
}
#endif
