/* tokenizer_gguf_test.c - tests of compute/text/tokenizer_gguf.c. */
#include <stdlib.h>
#include <unistd.h>

#include "compute/text/tokenizer.h"
#include "dataplane/base/memory.h"
#include "tests/support/text.h"
#include "tests/test.h"

#ifdef PETALS_FAULTS
#include "dataplane/base/fault.h"
#endif

struct opened {
	struct gguf *gguf;
	struct tokenizer *tokenizer;
};

static struct opened open_file(const char *path)
{
	struct opened o = { 0 };
	struct error e = { 0 };

	CHECK_OK(gguf_open(&o.gguf, path, &e), &e);
	CHECK_OK(tokenizer_open_gguf(&o.tokenizer, o.gguf, &e), &e);
	return o;
}

static void close_file(struct opened *o)
{
	tokenizer_close(o->tokenizer);
	gguf_close(o->gguf);
}

/* The real model, where the operator or the demo put it; NULL: nowhere. */
static const char *find_smollm2(void)
{
	static char path[512];
	const char *home = getenv("HOME"), *given = getenv("PETALS_SMOLLM2");

	if (given && access(given, R_OK) == 0)
		return given;
	snprintf(path, sizeof(path), "%s/.cache/petals/SmolLM2-135M-Instruct.Q4_1.gguf",
		 home ? home : "");
	return access(path, R_OK) == 0 ? path : NULL;
}

/* Goal: a byte-level vocabulary ("smollm") gives its vectors. */
TEST(tokenizer_open_gguf__byte_level)
{
	struct opened o = open_file(test_data("gguf/llama-f32.gguf"));

	check_id_lines(o.tokenizer, test_data("gguf/tokenizer-vectors.jsonl"), 0);
	CHECK_TEXT(tokenizer_eos(o.tokenizer), "<|im_end|>");
	CHECK(tokenizer_chat_template(o.tokenizer));
	CHECK(tokenizer_is_special(o.tokenizer,
				   (uint32_t)tokenizer_id(o.tokenizer, "<|im_end|>")));
	close_file(&o);
}

/* Goal: a SentencePiece vocabulary gives its vectors, merged by score. */
TEST(tokenizer_open_gguf__sentence_piece)
{
	struct opened o = open_file(test_data("gguf/vocabulary-spm.gguf"));
	struct token_list l = { 0 };
	struct buffer text = { 0 };
	struct error e = { 0 };
	const char *said = "Hop to \xF0\x9F\xA6\x99!";

	check_id_lines(o.tokenizer, test_data("gguf/vocabulary-spm.jsonl"), 0);
	CHECK_OK(tokenizer_encode(o.tokenizer, said, strlen(said), ENCODE_SPECIALS, &l, &e), &e);
	CHECK_EQ(l.ids[0], tokenizer_id(o.tokenizer, "<s>"));
	CHECK_EQ(tokenizer_decode(o.tokenizer, l.ids, l.count, true, &text), 0);
	CHECK_TEXT(buffer_string(&text), said);
	buffer_close(&text);
	token_list_close(&l);
	close_file(&o);
}

/* Goal: the real SmolLM2 vocabulary gives its vectors, with special tokens
 * found and taken as plain text, and its golden texts.
 */
TEST(tokenizer_open_gguf__smollm2)
{
	const char *path = find_smollm2();
	struct opened o;
	json_t *golden, *prompt;
	size_t i;

	if (!path)
		SKIP("set PETALS_SMOLLM2 to SmolLM2-135M-Instruct.Q4_1.gguf, or run make demo");
	o = open_file(path);
	check_id_lines(o.tokenizer, test_data("smollm2/tokenizer-vectors.jsonl"), 0);
	check_id_lines(o.tokenizer, test_data("smollm2/tokenizer-plain.jsonl"), ENCODE_NO_ADDED);
	golden = json_data("smollm2/golden.json");
	json_array_foreach(json_object_get(golden, "prompts"), i, prompt) {
		const json_t *said = json_object_get(prompt, "prompt");
		const json_t *text = json_object_get(prompt, "text");

		check_ids(o.tokenizer, json_string_value(said), json_string_length(said), 0,
			  json_object_get(prompt, "ids"));
		check_decoded(o.tokenizer, json_object_get(prompt, "tokens"), false,
			      json_string_value(text), json_string_length(text));
	}
	json_decref(golden);
	close_file(&o);
}

/* A GGUF file of string and string-array metadata, written by hand. */
struct writer {
	struct buffer out;
	uint64_t keys;
};

static void put_text(struct buffer *b, const char *text)
{
	uint64_t bytes = strlen(text);

	buffer_append(b, &bytes, sizeof(bytes));
	buffer_text(b, text);
}

static void put_string(struct writer *w, const char *key, const char *value)
{
	uint32_t type = 8;

	put_text(&w->out, key);
	buffer_append(&w->out, &type, sizeof(type));
	put_text(&w->out, value);
	w->keys++;
}

static void put_strings(struct writer *w, const char *key, const char *const *values)
{
	uint32_t types[2] = { 9, 8 };
	uint64_t count = 0;

	while (values[count])
		count++;
	put_text(&w->out, key);
	buffer_append(&w->out, types, sizeof(types));
	buffer_append(&w->out, &count, sizeof(count));
	for (uint64_t i = 0; i < count; i++)
		put_text(&w->out, values[i]);
	w->keys++;
}

/* Opens what was written; the sentence of the refusal, "" when it opens. */
static const char *outcome(struct writer *w)
{
	static struct error e;
	uint64_t header[3] = { 0x0000000346554747ull, 0, w->keys };
	struct tokenizer *t = NULL;
	struct buffer file = { 0 };
	struct gguf *g;

	e = (struct error){ 0 };
	buffer_append(&file, header, sizeof(header));
	buffer_append(&file, w->out.data, w->out.length);
	CHECK_OK(gguf_open_bytes(&g, (const uint8_t *)file.data, file.length, &e), &e);
	if (tokenizer_open_gguf(&t, g, &e) == 0)
		tokenizer_close(t);
	gguf_close(g);
	buffer_close(&file);
	buffer_close(&w->out);
	return e.text;
}

static const char *const tokens[] = { "a", "b", "ab", NULL };
static const char *const merges[] = { "a b", NULL };

/* Goal: an unknown `pre` or model is refused by name, with the known ones. */
TEST(tokenizer_open_gguf__unknown_names)
{
	struct writer w = { 0 };
	const char *sentence;

	put_string(&w, "tokenizer.ggml.model", "gpt2");
	put_string(&w, "tokenizer.ggml.pre", "martian");
	sentence = outcome(&w);
	CHECK(strstr(sentence, "tokenizer.ggml.pre \"martian\""));
	CHECK(strstr(sentence, "smollm") && strstr(sentence, "qwen2"));
	w = (struct writer){ 0 };
	put_string(&w, "tokenizer.ggml.model", "bert");
	CHECK(strstr(outcome(&w), "tokenizer.ggml.model \"bert\""));
	w = (struct writer){ 0 };
	put_string(&w, "general.name", "x");
	CHECK(strstr(outcome(&w), "tokenizer.ggml.model is missing"));
}

/* Goal: every named way to cut text compiles. */
TEST(tokenizer_open_gguf__known_names)
{
	static const char *const names[] = {
		"default", "gpt-2", "phi-2", "smollm", "starcoder", "command-r", "llama-bpe",
		"llama3", "qwen2", "stablelm2", "falcon", "bloom",
	};

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		struct writer w = { 0 };

		put_string(&w, "tokenizer.ggml.model", "gpt2");
		put_string(&w, "tokenizer.ggml.pre", names[i]);
		put_strings(&w, "tokenizer.ggml.tokens", tokens);
		put_strings(&w, "tokenizer.ggml.merges", merges);
		CHECK_TEXT(outcome(&w), "");
	}
}

/* Goal: broken vocabularies are refused with key and index. */
TEST(tokenizer_open_gguf__broken)
{
	static const char *const twice[] = { "a", "a", NULL };
	static const char *const strange[] = { "a b", "a c", NULL };
	static const char *const alone[] = { "ab", NULL };
	static const char *const bytes[] = { "a", "\xFF", NULL };
	static const struct {
		const char *const *tokens, *const *merges;
		const char *sentence;
	} rows[] = {
		{ twice, merges, "tokenizer.ggml.tokens[1] repeats \"a\"" },
		{ bytes, merges, "tokenizer.ggml.tokens[1] is not UTF-8" },
		{ tokens, strange, "tokenizer.ggml.merges[1] \"a c\"" },
		{ tokens, alone, "tokenizer.ggml.merges[0] is not a pair" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct writer w = { 0 };
		const char *sentence;

		put_string(&w, "tokenizer.ggml.model", "gpt2");
		put_string(&w, "tokenizer.ggml.pre", "gpt-2");
		put_strings(&w, "tokenizer.ggml.tokens", rows[i].tokens);
		put_strings(&w, "tokenizer.ggml.merges", rows[i].merges);
		sentence = outcome(&w);
		if (!strstr(sentence, rows[i].sentence))
			fail_msg("\"%s\" instead of \"%s\"", sentence, rows[i].sentence);
	}
}

#ifdef PETALS_FAULTS
static void sweep(const char *name)
{
	struct gguf *g;
	struct error e = { 0 };
	uint64_t live;

	CHECK_OK(gguf_open(&g, test_data(name), &e), &e);
	live = mem_live_blocks();
	for (int nth = 1;; nth++) {
		struct tokenizer *t;
		bool fired;
		int rc;

		fault_arm(nth);
		rc = tokenizer_open_gguf(&t, g, &e);
		fired = fault_fired();
		CHECK((rc < 0) == (t == NULL));
		tokenizer_close(t);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fired)
			break;
	}
	fault_disarm();
	gguf_close(g);
}

/* Goal: whichever allocation fails, nothing is left over. */
TEST(tokenizer_open_gguf__unwinds_every_failure)
{
	sweep("gguf/llama-f32.gguf");
	sweep("gguf/vocabulary-spm.gguf");
}
#endif
