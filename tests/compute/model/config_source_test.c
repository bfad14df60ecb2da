/* config_source_test.c - typed reading of keys, and its sentences. */
#include "tests/test.h"

#include <errno.h>

#include "compute/model/config_source.h"

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static json_t *root;

static struct source open_source(struct error *e)
{
	root = json_loads("{\"integer\":7,\"real\":0.5,\"yes\":true,\"text\":\"abc\",\"null\":null,"
			  "\"list\":[1111111111,222222222,3333333333,44444444,55555555555,"
			  "66666666,777777777],\"long\":\"" HUNDRED "\"}", 0, NULL);
	CHECK(root != NULL);
	*e = (struct error){ 0 };
	return (struct source){ root, "file.json", "inner.", e };
}

/* Goal: a key of the right kind is read, null is as good as absent. */
TEST(source__reads)
{
	struct error e;
	struct source s = open_source(&e);
	int64_t integer = 0;
	float real = 0;
	bool yes = false;
	const char *text = NULL;

	CHECK_EQ(source_integer(&s, "integer", &integer), 1);
	CHECK_EQ(integer, 7);
	CHECK_EQ(source_real(&s, "real", 0, 1, &real), 1);
	CHECK(real == 0.5f);
	CHECK_EQ(source_real(&s, "integer", 0, 10, &real), 1);
	CHECK(real == 7);
	CHECK_EQ(source_bool(&s, "yes", &yes), 1);
	CHECK(yes);
	CHECK_EQ(source_text(&s, "text", &text), 1);
	CHECK_TEXT(text, "abc");
	CHECK(source_find(&s, "null") == NULL && source_find(&s, "none") == NULL);
	CHECK_EQ(source_integer(&s, "null", &integer), 0);
	CHECK_EQ(source_real(&s, "none", 0, 1, &real), 0);
	CHECK_EQ(source_bool(&s, "null", &yes), 0);
	CHECK_EQ(source_text(&s, "none", &text), 0);
	s.object = NULL;
	CHECK_EQ(source_integer(&s, "integer", &integer), 0);
	json_decref(root);
}

/* Goal: a key of another kind is named with file, value and what is expected;
 * a long value is cut.
 */
TEST(source__refuses)
{
	struct error e;
	struct source s = open_source(&e);
	int64_t integer;
	float real;
	bool yes;
	const char *text;

	CHECK_EQ(source_integer(&s, "real", &integer), -EINVAL);
	CHECK_TEXT(e.text, "file.json: inner.real is 0.5, expected an integer");
	CHECK_EQ(source_real(&s, "text", 0, 1, &real), -EINVAL);
	CHECK_TEXT(e.text, "file.json: inner.text is \"abc\", expected a number");
	CHECK_EQ(source_real(&s, "integer", 0, 1, &real), -EINVAL);
	CHECK_TEXT(e.text, "file.json: inner.integer is 7, expected 0 to 1");
	CHECK_EQ(source_bool(&s, "integer", &yes), -EINVAL);
	CHECK_TEXT(e.text, "file.json: inner.integer is 7, expected true or false");
	CHECK_EQ(source_text(&s, "list", &text), -EINVAL);
	CHECK_TEXT(e.text, "file.json: inner.list is [1111111111,222222222,3333333333,44444444,"
			   "55555555555,66666666,, expected a text");
	CHECK_EQ(source_integer(&s, "long", &integer), -EINVAL);
	CHECK_TEXT(e.text, "file.json: inner.long is \"" TEN TEN TEN TEN TEN
			   "\", expected an integer");
	json_decref(root);
}
