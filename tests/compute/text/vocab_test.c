/* vocab_test.c - tests of compute/text/vocab.c. */
#include "compute/text/vocab.h"

#include <errno.h>

#include "tests/test.h"

/* Goal: many tokens are found by text and id, whatever room was asked for. */
TEST(vocab_add__finds_all_again)
{
	struct vocab *v;
	char text[16];

	CHECK_EQ(vocab_open(&v, 0), 0);
	for (uint32_t id = 0; id < 5000; id++) {
		snprintf(text, sizeof(text), "t%u", id * 7);
		CHECK_EQ(vocab_add(v, id, text, strlen(text)), 0);
	}
	CHECK_EQ(vocab_size(v), 5000);
	for (uint32_t id = 0; id < 5000; id++) {
		snprintf(text, sizeof(text), "t%u", id * 7);
		CHECK_EQ(vocab_find(v, text, strlen(text)), id);
		CHECK_TEXT(vocab_text(v, id, NULL), text);
	}
	CHECK_EQ(vocab_find(v, "t1", 2), -1);
	vocab_close(v);
}

/* Goal: ids and texts are taken once; bytes count, not NULs. */
TEST(vocab_add__refuses_twice)
{
	struct vocab *v;
	size_t bytes;

	CHECK_EQ(vocab_open(&v, 4), 0);
	CHECK_EQ(vocab_add(v, 9, "a\0b", 3), 0);
	CHECK_EQ(vocab_add(v, 9, "c", 1), -EEXIST);
	CHECK_EQ(vocab_add(v, 3, "a\0b", 3), -EEXIST);
	CHECK_EQ(vocab_add(v, VOCAB_TOKENS_MAX, "d", 1), -ERANGE);
	CHECK_EQ(vocab_size(v), 10);
	CHECK(vocab_has(v, 9) && !vocab_has(v, 3) && !vocab_has(v, 10));
	CHECK_TEXT(vocab_text(v, 9, &bytes), "a");
	CHECK_EQ(bytes, 3);
	vocab_text(v, 3, &bytes);
	CHECK_EQ(bytes, 0);
	vocab_close(v);
}

/* Goal: added tokens are none of the model's. */
TEST(vocab_find_model__leaves_added_out)
{
	struct vocab *v;

	CHECK_EQ(vocab_open(&v, 4), 0);
	CHECK_EQ(vocab_add(v, 0, "a", 1), 0);
	CHECK_EQ(vocab_add(v, 1, "<s>", 3), 0);
	vocab_mark(v, 1, VOCAB_ADDED);
	vocab_mark(v, 1, VOCAB_SPECIAL);
	CHECK_EQ(vocab_find(v, "<s>", 3), 1);
	CHECK_EQ(vocab_find_model(v, "<s>", 3), -1);
	CHECK_EQ(vocab_find_model(v, "a", 1), 0);
	CHECK(vocab_is_special(v, 1) && !vocab_is_special(v, 0) && !vocab_is_special(v, 2));
	vocab_close(v);
}
