/* jinja_value_test.c - tests of compute/text/jinja_value.c. */
#include "compute/text/jinja_value.h"

#include "compute/text/jinja_run.h"
#include "tests/test.h"

/* Goal: JSON becomes values of the same kinds, keys in order. */
TEST(value_of_json__kinds)
{
	json_t *json = json_loads("{\"b\":[null,true,7,1.5,\"x\"],\"a\":{}}", 0, NULL);
	struct error e = { 0 };
	struct value v;
	struct run r;

	run_open(&r, &e);
	v = value_of_json(&r, json);
	CHECK_EQ(v.kind, VALUE_DICT);
	CHECK_EQ(v.dict->count, 2);
	CHECK(text_is(v.dict->pairs[0].key.text, "b"));
	v = *value_dict_get_text(&r, v.dict, TEXT("b"));
	CHECK_EQ(value_length(v), 5);
	CHECK_EQ(v.list->items[0].kind, VALUE_NONE);
	CHECK_EQ(v.list->items[2].integer, 7);
	CHECK(value_truth(v.list->items[1]) && !value_truth(v.list->items[0]));
	CHECK_EQ(run_failed(&r), 0);
	run_close(&r);
	json_decref(json);
}

/* Goal: a dict keeps order, replaces, and takes what Python can hash. */
TEST(dict_put__keys)
{
	struct error e = { 0 };
	struct value d;
	struct run r;

	run_open(&r, &e);
	d = value_dict(&r, VALUE_DICT);
	for (int64_t i = 0; i < 50; i++)
		value_dict_put(&r, d.dict, value_integer(i), value_integer(i));
	value_dict_put(&r, d.dict, value_float(3.0), value_none());
	CHECK_EQ(d.dict->count, 50);
	CHECK_EQ(value_dict_get(&r, d.dict, value_integer(3))->kind, VALUE_NONE);
	CHECK(!value_dict_get(&r, d.dict, value_text(TEXT("3"))));
	CHECK_EQ(run_failed(&r), 0);
	value_dict_put(&r, d.dict, value_dict(&r, VALUE_DICT), value_none());
	CHECK(run_failed(&r) < 0);
	run_close(&r);
}
