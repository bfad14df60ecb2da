/* gguf_test.c - what a sound GGUF file says. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include "compute/model/gguf.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/compute/model/gguf_make.h"

static struct gguf *open_buffer(const struct buffer *b)
{
	struct error e;
	struct gguf *g;

	CHECK_OK(gguf_open_bytes(&g, (const uint8_t *)b->data, b->length, &e), &e);
	return g;
}

static bool text_is(struct gguf_text t, const char *wanted)
{
	return t.length == strlen(wanted) && memcmp(t.data, wanted, t.length) == 0;
}

/* Goal: each kind of key answers to its reader and to no other. */
TEST(gguf_keys__kinds)
{
	struct buffer b = { 0 };
	struct gguf *g;
	struct gguf_text text;
	int64_t integer;
	double real;
	bool yes = false;

	make_sample(&b);
	g = open_buffer(&b);
	CHECK(gguf_integer(g, "u32", &integer));
	CHECK_EQ(integer, 7);
	CHECK(gguf_integer(g, "i64", &integer));
	CHECK_EQ(integer, -5);
	CHECK(gguf_integer(g, "i32", &integer));
	CHECK_EQ(integer, -6);
	CHECK(!gguf_integer(g, "u64", &integer));       /* does not fit */
	CHECK(!gguf_integer(g, "f32", &integer));
	CHECK(!gguf_integer(g, "texts", &integer));
	CHECK(!gguf_integer(g, "no such key", &integer));
	CHECK(gguf_has(g, "u64") && !gguf_has(g, "u6") && !gguf_has(g, "u640"));
	CHECK(gguf_real(g, "f32", &real) && real == 1.5);
	CHECK(gguf_real(g, "f64", &real) && real == 0.1);
	CHECK(gguf_real(g, "i32", &real) && real == -6);
	CHECK(!gguf_real(g, "yes", &real));
	CHECK(gguf_bool(g, "yes", &yes) && yes);
	CHECK(!gguf_bool(g, "u32", &yes));
	CHECK(gguf_string(g, "general.architecture", &text) && text_is(text, "llama"));
	CHECK(!gguf_string(g, "texts", &text));
	gguf_close(g);
	buffer_close(&b);
}

/* Goal: any element of an array is found, in any order; none beyond its end. */
TEST(gguf_arrays__elements)
{
	struct buffer b = { 0 };
	struct gguf *g;
	struct gguf_text text;
	int64_t integer;
	double real;

	make_sample(&b);
	g = open_buffer(&b);
	CHECK_EQ(gguf_array_length(g, "texts"), 40);
	CHECK_EQ(gguf_array_length(g, "empty"), 0);
	CHECK_EQ(gguf_array_length(g, "u32"), -1);
	CHECK_EQ(gguf_array_length(g, "none"), -1);
	for (uint64_t i = 40; i-- > 0;) {
		CHECK(gguf_array_string(g, "texts", i, &text));
		CHECK(text_is(text, &"0123456789012345678901234567890123456789"[39 - i]));
	}
	CHECK(!gguf_array_string(g, "texts", 40, &text));
	CHECK(!gguf_array_string(g, "texts", UINT64_MAX, &text));
	CHECK(!gguf_array_string(g, "empty", 0, &text));
	CHECK(!gguf_array_string(g, "integers", 0, &text));
	CHECK(gguf_array_integer(g, "integers", 0, &integer));
	CHECK_EQ(integer, -1);
	CHECK(gguf_array_integer(g, "integers", 2, &integer));
	CHECK_EQ(integer, 1);
	CHECK(!gguf_array_integer(g, "integers", 3, &integer));
	CHECK(!gguf_array_integer(g, "texts", 0, &integer));
	CHECK(!gguf_array_integer(g, "reals", 0, &integer));
	CHECK(gguf_array_real(g, "reals", 0, &real) && real == -0.5);
	CHECK(gguf_array_real(g, "integers", 0, &real) && real == -1);
	CHECK(!gguf_array_real(g, "reals", 2, &real));
	gguf_close(g);
	buffer_close(&b);
}

/* Goal: tensors are found with shape, type and bytes. */
TEST(gguf_tensors__directory)
{
	struct buffer b = { 0 };
	const struct gguf_tensor *t;
	struct gguf *g;

	make_sample(&b);
	g = open_buffer(&b);
	CHECK_EQ(gguf_tensor_count(g), 2);
	t = gguf_tensor(g, "first");
	CHECK(t == gguf_tensor_at(g, 0));
	CHECK_EQ(t->dtype, DTYPE_F32);
	CHECK_EQ(t->dimensions, 2);
	CHECK_EQ(t->shape[0], 4);
	CHECK_EQ(t->shape[1], 3);
	CHECK_EQ(t->bytes, 48);
	CHECK_EQ(t->data[5], 5);
	t = gguf_tensor(g, "second");
	CHECK_TEXT(t->name.data, "second");
	CHECK_EQ(t->dtype, DTYPE_Q8_0);
	CHECK_EQ(t->bytes, 34);
	CHECK_EQ(t->data[0], 64);
	CHECK(t->data + t->bytes == (const uint8_t *)b.data + b.length);
	CHECK(gguf_tensor(g, "third") == NULL);
	gguf_close(g);
	buffer_close(&b);
}

/* Goal: a missing file is named; files open like bytes. */
TEST(gguf_open__files)
{
	struct error e;
	struct gguf *g;

	CHECK_EQ(gguf_open(&g, "/nowhere/x.gguf", &e), -ENOENT);
	CHECK(g == NULL && strstr(e.text, "/nowhere/x.gguf"));
	CHECK_OK(gguf_open(&g, test_data("gguf/llama-q4_1.gguf"), &e), &e);
	CHECK_EQ(gguf_tensor(g, "blk.0.attn_q.weight")->dtype, DTYPE_Q4_1);
	CHECK_TEXT(gguf_path(g), test_data("gguf/llama-q4_1.gguf"));
	gguf_close(g);
	gguf_close(NULL);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, gguf_open() gives everything back. */
TEST(gguf_open__unwinds_every_failure)
{
	int nth;

	for (nth = 1;; nth++) {
		uint64_t live = mem_live_blocks();
		struct error e = { 0 };
		struct gguf *g;
		int rc;

		fault_arm(nth);
		rc = gguf_open(&g, test_data("gguf/llama-f32.gguf"), &e);
		fault_disarm();
		gguf_close(g);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK(rc < 0 && e.text[0]);
	}
	CHECK(nth > 5);
}
#endif
