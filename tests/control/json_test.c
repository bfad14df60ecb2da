/* json_test.c - the reader names the path of the first fault and yields zeros after. */
#include "control/json.h"

#include <errno.h>

#include "tests/test.h"

static json_t *parse(const char *text)
{
	json_error_t fault;
	json_t *j = json_loads(text, JSON_DECODE_ANY, &fault);

	if (!j)
		fail_msg("the test's own JSON is wrong: %s", fault.text);
	return j;
}

/* Goal: what fits its bounds is read as it stands. */
TEST(json_read__takes_what_fits)
{
	json_t *j = parse("{\"n\": 7, \"yes\": true, \"id\": \"00000000000000ff\","
			  "\"name\": \"abc\", \"kind\": \"b\", \"list\": [{\"x\": 1}, {\"x\": 2}],"
			  "\"in\": {\"y\": 3}, \"nothing\": null}");
	const char *const kinds[] = { "a", "b" };
	struct json_reader r, child;
	struct error e;
	char name[4];

	json_read_open(&r, j, "top", &e);
	CHECK_EQ(json_read_u64(&r, "n", 7, 7), 7);
	CHECK(json_read_bool(&r, "yes"));
	CHECK_EQ(json_read_id(&r, "id"), 255);
	json_read_text(&r, "name", false, name, sizeof(name));
	CHECK_TEXT(name, "abc");
	CHECK_EQ(json_read_choice(&r, "kind", kinds, 2), 1);
	CHECK_EQ(json_read_length(&r, "list", 2), 2);
	child = json_read_element(&r, "list", 1);
	CHECK_EQ(json_read_u64(&child, "x", 0, 9), 2);
	child = json_read_object(&r, "in");
	CHECK_EQ(json_read_u64(&child, "y", 0, 9), 3);
	CHECK(json_read_has(&r, "n"));
	CHECK(!json_read_has(&r, "nothing"));
	CHECK(!json_read_has(&r, "absent"));
	CHECK_EQ(json_read_result(&r), 0);
	json_decref(j);
}

static void read_u64(struct json_reader *r)
{
	json_read_u64(r, "n", 2, 9);
}

static void read_bool(struct json_reader *r)
{
	json_read_bool(r, "n");
}

static void read_id(struct json_reader *r)
{
	json_read_id(r, "n");
}

static void read_text(struct json_reader *r)
{
	char text[5];

	json_read_text(r, "n", false, text, sizeof(text));
}

static void read_choice(struct json_reader *r)
{
	const char *const names[] = { "red", "green" };

	json_read_choice(r, "n", names, 2);
}

static void read_list(struct json_reader *r)
{
	json_read_length(r, "n", 1);
}

static void read_within(struct json_reader *r)
{
	struct json_reader child = json_read_object(r, "n");

	json_read_u64(&child, "deep", 0, 1);
	r->rc = child.rc;
}

static void read_element(struct json_reader *r)
{
	struct json_reader child = json_read_element(r, "n", 1);

	json_read_bool(&child, "x");
	r->rc = child.rc;
}

/* Goal: each kind of fault is -EINVAL with the path and what would be right. */
TEST(json_read__names_the_fault)
{
	static const struct {
		const char *json;
		void (*read)(struct json_reader *r);
		const char *sentence;
	} faults[] = {
		{ "{}", read_u64, "top.n is missing" },
		{ "{\"n\": 1}", read_u64, "top.n must be a whole number from 2 to 9" },
		{ "{\"n\": 10}", read_u64, "top.n must be a whole number from 2 to 9" },
		{ "{\"n\": -3}", read_u64, "top.n must be a whole number from 2 to 9" },
		{ "{\"n\": 2.5}", read_u64, "top.n must be a whole number from 2 to 9" },
		{ "{\"n\": \"2\"}", read_u64, "top.n must be a whole number from 2 to 9" },
		{ "{\"n\": 1}", read_bool, "top.n must be true or false" },
		{ "{\"n\": \"ff\"}", read_id, "top.n must be an id: 16 digits 0-9a-f, not all 0" },
		{ "{\"n\": \"0000000000000000\"}", read_id,
		  "top.n must be an id: 16 digits 0-9a-f, not all 0" },
		{ "{\"n\": \"00000000000000FF\"}", read_id,
		  "top.n must be an id: 16 digits 0-9a-f, not all 0" },
		{ "{\"n\": 255}", read_id, "top.n must be an id: 16 digits 0-9a-f, not all 0" },
		{ "{\"n\": 1}", read_text, "top.n must be text" },
		{ "{\"n\": \"\"}", read_text, "top.n must not be empty" },
		{ "{\"n\": \"abcde\"}", read_text, "top.n is 5 bytes long, the most is 4" },
		{ "{\"n\": \"a\\nb\"}", read_text, "top.n holds control characters" },
		{ "{\"n\": \"blue\"}", read_choice, "top.n must be one of: red, green" },
		{ "{\"n\": 0}", read_choice, "top.n must be one of: red, green" },
		{ "{\"n\": [1, 2]}", read_list, "top.n must be an array of at most 1 elements" },
		{ "{\"n\": {}}", read_list, "top.n must be an array of at most 1 elements" },
		{ "{\"n\": 4}", read_within, "top.n must be an object" },
		{ "{\"n\": {}}", read_within, "top.n.deep is missing" },
		{ "{\"n\": [0, 1]}", read_element, "top.n[1] must be an object" },
		{ "{\"n\": [0, {}]}", read_element, "top.n[1].x is missing" },
		{ "[]", read_u64, "top must be an object" },
	};
	size_t i;

	for (i = 0; i < ARRAY_LENGTH(faults); i++) {
		json_t *j = parse(faults[i].json);
		struct json_reader r;
		struct error e;

		json_read_open(&r, j, "top", &e);
		faults[i].read(&r);
		CHECK_EQ(json_read_result(&r), -EINVAL);
		CHECK_TEXT(e.text, faults[i].sentence);
		json_decref(j);
	}
}

/* Goal: the first fault stays, and reading on is harmless. */
TEST(json_read__keeps_the_first_fault)
{
	json_t *j = parse("{\"b\": 3}");
	struct json_reader r, child;
	struct error e;
	char text[8] = "before";

	json_read_open(&r, j, "top", &e);
	CHECK_EQ(json_read_u64(&r, "a", 0, 9), 0);
	CHECK_EQ(json_read_u64(&r, "b", 0, 9), 0);
	json_read_text(&r, "c", true, text, sizeof(text));
	CHECK_TEXT(text, "");
	child = json_read_object(&r, "b");
	CHECK_EQ(json_read_id(&child, "x"), 0);
	CHECK_EQ(json_read_length(&r, "b", 9), 0);
	CHECK_TEXT(e.text, "top.a is missing");
	json_decref(j);
}

/* Goal: no JSON at all is a fault like any other. */
TEST(json_read__no_value)
{
	struct json_reader r;
	struct error e;

	json_read_open(&r, NULL, "params", &e);
	CHECK_EQ(json_read_u64(&r, "a", 0, 9), 0);
	CHECK_EQ(json_read_result(&r), -EINVAL);
	CHECK(strstr(e.text, "params") && strstr(e.text, "must be an object"));
}

/* Goal: writing keeps a bound, and ids go there and back. */
TEST(json_write__bounds)
{
	json_t *j = json_pack("{s:o}", "id", json_id(0xfedcba9876543210ull));
	struct buffer text = { 0 }, small = { .bound = 10 };
	struct json_reader r;
	struct error e;

	CHECK_EQ(json_write(j, &text), 0);
	CHECK_TEXT(buffer_string(&text), "{\"id\":\"fedcba9876543210\"}");
	CHECK_EQ(json_write(j, &small), -EMSGSIZE);
	json_read_open(&r, j, "top", &e);
	CHECK(json_read_id(&r, "id") == 0xfedcba9876543210ull);
	buffer_close(&text);
	buffer_close(&small);
	json_decref(j);
}
