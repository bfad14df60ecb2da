/* fields_test.c - tests of compute/text/fields.c. */
#include "compute/text/fields.h"

#include "tests/test.h"

/* Goal: members come out typed, with fallbacks, or as a sentence with a path. */
TEST(field_text__kinds)
{
	json_t *o = json_loads("{\"t\":\"x\",\"n\":null,\"f\":true,\"i\":-1,\"a\":[],\"o\":{}}", 0,
			       NULL);
	struct field_text text;
	const json_t *node;
	struct error e = { 0 };
	uint64_t count;
	bool flag;

	CHECK_OK(field_text(o, "t", "at", &text, &e), &e);
	CHECK_TEXT(text.data, "x");
	CHECK_OK(field_text_or_none(o, "n", "at", &text, &e), &e);
	CHECK(!text.data);
	CHECK(field_text(o, "n", "at", &text, &e) < 0);
	CHECK_TEXT(e.text, "at.n is null, expected a string");
	CHECK(field_text(o, "gone", "", &text, &e) < 0);
	CHECK_TEXT(e.text, "gone is missing, expected a string");
	CHECK_OK(field_flag(o, "f", "at", false, &flag, &e), &e);
	CHECK(flag);
	CHECK_OK(field_flag(o, "gone", "at", true, &flag, &e), &e);
	CHECK(flag);
	CHECK(field_flag(o, "t", "at", false, &flag, &e) < 0);
	CHECK_TEXT(e.text, "at.t is a string, expected true or false");
	CHECK(field_count(o, "i", "at", 9, &count, &e) < 0);
	CHECK_OK(field_array(o, "a", "at", &node, &e), &e);
	CHECK(field_array(o, "o", "at", &node, &e) < 0);
	CHECK_TEXT(e.text, "at.o is an object, expected an array");
	CHECK_OK(field_object(o, "o", "at", &node, &e), &e);
	json_decref(o);
}
