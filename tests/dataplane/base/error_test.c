/* error_test.c - sentences are kept, wrapped and bounded. */
#include "tests/test.h"

#include <errno.h>

#include "dataplane/base/error.h"

/* Goal: the code comes back and the sentence is kept. */
TEST(error_set__stores_code_and_sentence)
{
	struct error e = { 0 };

	CHECK_EQ(error_set(&e, -EINVAL, "line %d is %s", 3, "bad"), -EINVAL);
	CHECK_EQ(e.code, -EINVAL);
	CHECK_TEXT(e.text, "line 3 is bad");
}

/* Goal: nobody needs a struct error to learn that something failed. */
TEST(error_set__null_is_fine)
{
	CHECK_EQ(error_set(NULL, -ENOMEM, "unseen"), -ENOMEM);
	CHECK_EQ(error_errno(NULL, -ENOENT, "unseen"), -ENOENT);
	CHECK(error_wrap(NULL, "unseen") < 0);
}

/* Goal: context goes in front, from the inside out, and the code stays. */
TEST(error_wrap__puts_context_first)
{
	struct error e = { 0 };

	error_set(&e, -ERANGE, "too large");
	CHECK_EQ(error_wrap(&e, "row %d", 7), -ERANGE);
	CHECK_EQ(error_wrap(&e, "table"), -ERANGE);
	CHECK_TEXT(e.text, "table: row 7: too large");
}

/* Goal: the errno is said in words. */
TEST(error_errno__appends_words)
{
	struct error e = { 0 };

	CHECK_EQ(error_errno(&e, -ENOENT, "cannot open %s", "x"), -ENOENT);
	CHECK_TEXT(e.text, "cannot open x: no such file or directory");
}

/* Goal: a sentence longer than the struct is cut, not overrun. */
TEST(error_wrap__long_texts_are_cut)
{
	char longer[2 * ERROR_TEXT_BYTES];
	struct error e = { 0 };

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	error_set(&e, -EIO, "%s", longer);
	CHECK_EQ(strlen(e.text), ERROR_TEXT_BYTES - 1);
	error_wrap(&e, "%s", longer);
	CHECK_EQ(strlen(e.text), ERROR_TEXT_BYTES - 1);
	error_errno(&e, -EIO, "%s", longer);
	CHECK_EQ(strlen(e.text), ERROR_TEXT_BYTES - 1);
}

/* Goal: a peer's text cannot break a sentence over lines. */
TEST(error_set__stays_on_one_line)
{
	struct error e = { 0 };

	error_set(&e, -EPROTO, "got '%s'", "a\nb\x1b[2J");
	CHECK_TEXT(e.text, "got 'a b [2J'");
}

/* Goal: every number has words, either sign, known or not. */
TEST(error_describe__never_null)
{
	CHECK_TEXT(error_describe(-ECONNREFUSED), "connection refused");
	CHECK_TEXT(error_describe(ECONNREFUSED), "connection refused");
	CHECK_TEXT(error_describe(0), "no error");
	CHECK_TEXT(error_describe(-99999), "unknown error");
	for (int code = -200; code <= 200; code++)
		CHECK(error_describe(code)[0]);
	CHECK(error_describe(INT32_MIN)[0]);
}
