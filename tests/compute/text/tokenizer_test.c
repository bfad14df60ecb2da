/* tokenizer_test.c - tests of compute/text/tokenizer.c. */
#include "compute/text/tokenizer.h"

#include <pthread.h>

#include "dataplane/base/memory.h"
#include "tests/support/text.h"
#include "tests/test.h"

#ifdef PETALS_FAULTS
#include "dataplane/base/fault.h"
#endif

static struct tokenizer *open_shared(const char *name)
{
	const char *dir = test_shared(name);
	struct tokenizer *t = NULL;
	struct error e = { 0 };

	if (!dir)
		SKIP("there is no ../shared/%s", name);
	CHECK_OK(tokenizer_open_hf(&t, dir, &e), &e);
	return t;
}

static void check_shared(const char *dir, const char *vectors)
{
	struct tokenizer *t = open_shared(dir);

	check_id_lines(t, test_shared(vectors), 0);
	tokenizer_close(t);
}

/* Goal: published vectors of real vocabularies come out exactly. */
TEST(tokenizer_encode__gpt2_vectors)
{
	check_shared("tokenizers/gpt2", "tokenizers/gpt2/vectors.jsonl");
}

/* Goal: the same for a chain of pre-tokenizers over byte-level text. */
TEST(tokenizer_encode__falcon_vectors)
{
	check_shared("tokenizers/falcon", "tokenizers/falcon/vectors.jsonl");
}

/* Goal: the same with NFC and the larger expression. */
TEST(tokenizer_encode__qwen2_vectors)
{
	check_shared("tokenizers/qwen2", "tokenizers/qwen2/vectors.jsonl");
}

/* Goal: the same in SentencePiece style with byte fallback. */
TEST(tokenizer_encode__mistral_vectors)
{
	check_shared("tokenizers/mistral-7b-v0.1", "tokenizers/mistral-7b-v0.1/vectors.jsonl");
}

/* Goal: bos goes before a text only when it is asked for. */
TEST(tokenizer_encode__specials_on_request)
{
	struct tokenizer *t = open_shared("models/stories260k");
	struct token_list l = { 0 };
	struct error e = { 0 };

	CHECK_OK(tokenizer_encode(t, "Once", 4, ENCODE_SPECIALS, &l, &e), &e);
	CHECK_EQ(l.ids[0], 1);
	l.count = 0;
	CHECK_OK(tokenizer_encode(t, "Once", 4, 0, &l, &e), &e);
	CHECK(l.ids[0] != 1);
	CHECK_TEXT(tokenizer_bos(t), "<s>");
	CHECK_TEXT(tokenizer_eos(t), "</s>");
	CHECK(!tokenizer_chat_template(t));
	token_list_close(&l);
	tokenizer_close(t);
}

/* A byte-level tokenizer of 256 bytes, a few merges and one special token. */
static struct tokenizer *open_bytes(void)
{
	json_t *file = json_data("tokenizers/smollm.json");
	char *json = json_dumps(json_object_get(file, "tokenizer"), 0);
	struct tokenizer *t = NULL;
	struct error e = { 0 };

	CHECK_OK(tokenizer_open_json(&t, json, strlen(json), &e), &e);
	free(json);
	json_decref(file);
	return t;
}

/* Goal: special tokens in a text are found, or taken as plain text. */
TEST(tokenizer_encode__no_added)
{
	struct tokenizer *t = open_bytes();
	struct token_list found = { 0 }, plain = { 0 };
	const char *text = "<|im_start|>";
	struct error e = { 0 };
	int64_t id = tokenizer_id(t, text);

	CHECK(id > 0 && tokenizer_is_special(t, (uint32_t)id));
	CHECK_OK(tokenizer_encode(t, text, 12, 0, &found, &e), &e);
	CHECK_OK(tokenizer_encode(t, text, 12, ENCODE_NO_ADDED, &plain, &e), &e);
	CHECK_EQ(found.count, 1);
	CHECK_EQ(found.ids[0], id);
	CHECK(plain.count > 1);
	CHECK_TEXT(tokenizer_token(t, (uint32_t)id), text);
	CHECK_TEXT(tokenizer_token(t, tokenizer_size(t)), "");
	CHECK_EQ(tokenizer_id(t, "no such token"), -1);
	token_list_close(&found);
	token_list_close(&plain);
	tokenizer_close(t);
}

/* Goal: bytes that are no UTF-8 read as U+FFFD, one per maximal subpart. */
TEST(tokenizer_encode__repairs_bad_utf8)
{
	struct tokenizer *t = open_bytes();
	const char bad[] = "a\xE2\x82" "b\xFF\xC3";
	const char good[] = "a\xEF\xBF\xBD" "b\xEF\xBF\xBD\xEF\xBF\xBD";
	struct token_list x = { 0 }, y = { 0 };
	struct error e = { 0 };

	CHECK_OK(tokenizer_encode(t, bad, sizeof(bad) - 1, 0, &x, &e), &e);
	CHECK_OK(tokenizer_encode(t, good, sizeof(good) - 1, 0, &y, &e), &e);
	CHECK_EQ(x.count, y.count);
	CHECK_BYTES(x.ids, y.ids, x.count * sizeof(*x.ids));
	token_list_close(&x);
	token_list_close(&y);
	tokenizer_close(t);
}

/* Goal: what is encoded is appended. */
TEST(tokenizer_encode__appends)
{
	struct tokenizer *t = open_bytes();
	struct token_list l = { 0 };
	struct error e = { 0 };

	CHECK_EQ(token_list_push(&l, 7), 0);
	CHECK_OK(tokenizer_encode(t, "", 0, 0, &l, &e), &e);
	CHECK_EQ(l.count, 1);
	CHECK_OK(tokenizer_encode(t, "x", 1, 0, &l, &e), &e);
	CHECK_EQ(l.count, 2);
	CHECK_EQ(l.ids[0], 7);
	token_list_close(&l);
	tokenizer_close(t);
}

/* Goal: a very long text without a space is cut in a moment; were merging
 * quadratic this would take minutes.
 */
TEST(tokenizer_encode__long_word)
{
	enum { BYTES = 1 << 17 };
	struct tokenizer *t = open_bytes();
	struct token_list l = { 0 };
	struct buffer out = { 0 };
	struct error e = { 0 };
	char *text = mem_alloc(BYTES);

	for (size_t i = 0; i < BYTES; i++)
		text[i] = "theserversession"[(i * 7 + i / 31) % 16];
	CHECK_OK(tokenizer_encode(t, text, BYTES, 0, &l, &e), &e);
	CHECK_EQ(tokenizer_decode(t, l.ids, l.count, false, &out), 0);
	CHECK_EQ(out.length, BYTES);
	CHECK_BYTES(out.data, text, BYTES);
	buffer_close(&out);
	token_list_close(&l);
	mem_free(text);
	tokenizer_close(t);
}

struct worker {
	const struct tokenizer *tokenizer;
	pthread_t thread;
	struct token_list list;
	struct buffer text;
	int rc;
};

static void *work(void *context)
{
	struct worker *w = context;
	const char *text = "Hello <|im_start|>don't 123  gr\xC3\xBCn [X] ";
	struct error e = { 0 };

	for (int i = 0; i < 50 && w->rc == 0; i++)
		w->rc = tokenizer_encode(w->tokenizer, text, strlen(text), 0, &w->list, &e);
	if (w->rc == 0)
		w->rc = tokenizer_decode(w->tokenizer, w->list.ids, w->list.count, false, &w->text);
	return NULL;
}

/* Goal: any number of threads encode and decode at once, each the same. */
TEST(tokenizer_encode__threads)
{
	struct tokenizer *t = open_bytes();
	struct worker workers[4];

	for (size_t i = 0; i < ARRAY_LENGTH(workers); i++) {
		workers[i] = (struct worker){ .tokenizer = t };
		CHECK_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(workers); i++)
		CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(workers); i++) {
		CHECK_EQ(workers[i].rc, 0);
		CHECK_EQ(workers[i].list.count, workers[0].list.count);
		CHECK_BYTES(workers[i].list.ids, workers[0].list.ids,
			    workers[0].list.count * sizeof(uint32_t));
		CHECK_TEXT(buffer_string(&workers[i].text), buffer_string(&workers[0].text));
	}
	for (size_t i = 0; i < ARRAY_LENGTH(workers); i++) {
		token_list_close(&workers[i].list);
		buffer_close(&workers[i].text);
	}
	tokenizer_close(t);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, encode says so, keeps what was there and
 * leaks nothing.
 */
TEST(tokenizer_encode__survives_every_failure)
{
	struct tokenizer *t = open_bytes();
	const char *text = "Hello <|im_start|> 123 grün \xFF <a>  x";
	struct token_list l = { 0 };
	uint64_t live;

	CHECK_EQ(token_list_push(&l, 7), 0);
	live = mem_live_blocks();
	for (int nth = 1;; nth++) {
		struct error e = { 0 };
		int rc;

		fault_arm(nth);
		rc = tokenizer_encode(t, text, strlen(text), ENCODE_SPECIALS, &l, &e);
		if (!fault_fired()) {
			CHECK_OK(rc, &e);
			break;
		}
		if (rc < 0) {
			CHECK(e.text[0]);
			CHECK_EQ(l.count, 1);
		}
		l.count = 1;
		CHECK_EQ(mem_live_blocks(), live);
	}
	fault_disarm();
	token_list_close(&l);
	tokenizer_close(t);
}
#endif
