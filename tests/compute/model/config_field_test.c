/* config_field_test.c - bounds of single fields and the rules between them. */
#include "tests/test.h"

#include <errno.h>
#include <math.h>

#include "compute/model/config_field.h"

/* Goal: both ends of every field's range hold, one beyond does not. */
TEST(config_put__bounds)
{
	static const struct { enum config_field field; int64_t most; } cases[] = {
		{ FIELD_BLOCKS, CONFIG_BLOCKS_MAX },         { FIELD_HIDDEN, CONFIG_HIDDEN_MAX },
		{ FIELD_HEADS, CONFIG_HEADS_MAX },           { FIELD_KV_HEADS, CONFIG_HEADS_MAX },
		{ FIELD_HEAD_DIM, CONFIG_HEAD_DIM_MAX },     { FIELD_EMBED, CONFIG_HIDDEN_MAX },
		{ FIELD_INTERMEDIATE, CONFIG_INTERMEDIATE_MAX },
		{ FIELD_VOCABULARY, CONFIG_VOCABULARY_MAX },
		{ FIELD_POSITIONS, CONFIG_POSITIONS_MAX },
		{ FIELD_WINDOW, CONFIG_POSITIONS_MAX },
	};
	struct model_config c;
	struct error e;

	CHECK_EQ(ARRAY_LENGTH(cases), FIELD_COUNT);
	config_begin(&c, arch_by_name("llama"));
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		CHECK_EQ(config_put(&c, cases[i].field, 1, "f", "k", &e), 0);
		CHECK_EQ(config_put(&c, cases[i].field, cases[i].most, "f", "k", &e), 0);
		CHECK_EQ(config_put(&c, cases[i].field, cases[i].most + 1, "f", "k", &e), -EINVAL);
		CHECK_EQ(config_put(&c, cases[i].field, 0, "f", "k", &e), -EINVAL);
		CHECK_EQ(config_put(&c, cases[i].field, INT64_MIN, "f", "k", &e), -EINVAL);
	}
	CHECK_TEXT(e.text, "f: k is -9223372036854775808, expected 1 to 134217728");
	CHECK_EQ(c.window, CONFIG_POSITIONS_MAX);
	CHECK_EQ(c.blocks, CONFIG_BLOCKS_MAX);
}

/* Goal: numbers that are none, or beyond, are refused. */
TEST(config_put_real__finite_and_within)
{
	static const double bad[] = { NAN, INFINITY, -INFINITY, -1, 0.5, 10.5 };
	struct error e;
	float out = 3;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		CHECK_EQ(config_put_real(&out, bad[i], 1, 10, "f", "k", &e), -EINVAL);
	CHECK(out == 3);
	CHECK_EQ(config_put_real(&out, 10, 1, 10, "f", "k", &e), 0);
	CHECK(out == 10);
}

/* Goal: fused families have as many KV heads as heads, and rotating heads are even. */
TEST(config_finish__rules)
{
	struct model_config c;
	struct error e;

	config_begin(&c, arch_by_name("bloom"));
	c.hidden = 48;
	c.heads = 6;
	CHECK_OK(config_finish(&c, "f", &e), &e);
	CHECK_EQ(c.kv_heads, 6);
	CHECK_EQ(c.intermediate, 192);
	CHECK_EQ(c.embed, 48);
	CHECK_EQ(c.positions, 2048);
	CHECK_EQ(c.rope.dims, 0);
	c.kv_heads = 2;
	CHECK_EQ(config_finish(&c, "f", &e), -EINVAL);
	CHECK_TEXT(e.text, "f: bloom has as many key and value heads as heads, found 2 and 6");
	config_begin(&c, arch_by_name("llama"));
	c.hidden = 12;
	c.heads = 4;
	CHECK_EQ(config_finish(&c, "f", &e), -EINVAL);
	CHECK_TEXT(e.text, "f: head size 3 is odd, rotary positions need an even one");
	config_begin(&c, arch_by_name("llama"));
	c.hidden = 131072;
	c.heads = 1;
	CHECK_EQ(config_finish(&c, "f", &e), -EINVAL);
	CHECK(strstr(e.text, "is 131072, expected 1 to 1024") != NULL);
}
