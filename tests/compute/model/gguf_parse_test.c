/* gguf_parse_test.c - broken and hostile GGUF files are refused with a
 * sentence that names key or tensor; none is read past its end.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include "compute/model/gguf.h"
#include "dataplane/base/memory.h"
#include "tests/compute/model/gguf_make.h"

/* Opens an exact copy, so that a byte too many is seen by the sanitizer. */
static int open_copy(const void *data, size_t bytes, struct error *e)
{
	uint8_t *copy = mem_alloc(bytes);
	struct gguf *g;
	int rc;

	memcpy(copy, data, bytes);
	rc = gguf_open_bytes(&g, copy, bytes, e);
	CHECK_EQ(rc == 0, g != NULL);
	gguf_close(g);
	mem_free(copy);
	return rc;
}

/* Opens what b holds, empties it, and wants this code and these words. */
static void check_refused(struct buffer *b, int code, const char *words)
{
	struct error e = { 0 };
	int rc = open_copy(b->data, b->length, &e);

	if (rc != code || !strstr(e.text, words))
		fail_msg("%d, '%s'; expected %d, '...%s...'", rc, e.text, code, words);
	buffer_clear(b);
}

/* Goal: a file that ends anywhere too early is refused. */
TEST(gguf_parse__truncated_at_every_byte)
{
	struct buffer b = { 0 };
	struct error e;

	make_sample(&b);
	CHECK_OK(open_copy(b.data, b.length, &e), &e);
	for (size_t length = 0; length < b.length; length++) {
		e.text[0] = '\0';
		CHECK_EQ(open_copy(b.data, length, &e), -EINVAL);
		CHECK(strstr(e.text, "GGUF bytes: ") == e.text);
	}
	buffer_close(&b);
}

/* Goal: any byte changed to any of some values leaves a file or a refusal, no
 * crash; the sanitizers watch.
 */
TEST(gguf_parse__every_byte_changed)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	struct buffer b = { 0 };
	struct error e;

	make_sample(&b);
	for (size_t at = 0; at < b.length; at++) {
		char kept = b.data[at];

		for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
			b.data[at] = (char)values[i];
			open_copy(b.data, b.length, &e);
		}
		b.data[at] = kept;
	}
	buffer_close(&b);
}

/* Goal: what is no GGUF file of a version we know is refused. */
TEST(gguf_parse__header)
{
	struct buffer b = { 0 };
	struct error e;

	make_bytes(&b, "GGML", 4);
	check_refused(&b, -EINVAL, "begins with 47 47 4d 4c");
	make_header(&b, 0, 0);
	b.data[4] = 1;
	check_refused(&b, -ENOTSUP, "GGUF version 1; accepted are 2 and 3");
	make_header(&b, 0, 0);
	memcpy(b.data + 4, "\0\0\0\3", 4);
	check_refused(&b, -ENOTSUP, "a big-endian file");
	make_header(&b, 0, 0);
	b.data[4] = 2;
	CHECK_OK(open_copy(b.data, b.length, &e), &e);
	buffer_clear(&b);
	make_header(&b, 0, UINT64_MAX);
	check_refused(&b, -EINVAL, "the header announces 18446744073709551615 keys");
	make_header(&b, 1ull << 61, 0);
	check_refused(&b, -EINVAL, "announces 2305843009213693952 tensors");
	buffer_close(&b);
}

/* Goal: broken keys are refused by name. */
TEST(gguf_parse__keys)
{
	struct buffer b = { 0 };

	make_header(&b, 0, 1);
	make_key(&b, "thing", 13);
	make_u64(&b, 0);
	check_refused(&b, -EINVAL, "key 'thing' has unknown type 13");
	make_header(&b, 0, 1);
	make_key(&b, "thing", MAKE_TEXT);
	make_u64(&b, UINT64_MAX - 7);
	check_refused(&b, -EINVAL, "key 'thing' needs 18446744073709551608 bytes");
	make_header(&b, 0, 1);
	make_array(&b, "thing", MAKE_F64, 1ull << 61);
	check_refused(&b, -EINVAL, "is an array of 2305843009213693952 x f64");
	make_header(&b, 0, 1);
	make_array(&b, "thing", MAKE_TEXT, 1ull << 61);
	check_refused(&b, -EINVAL, "is an array of 2305843009213693952 x string");
	make_header(&b, 0, 1);
	make_array(&b, "thing", MAKE_ARRAY, 0);
	check_refused(&b, -ENOTSUP, "array of arrays");
	make_header(&b, 0, 1);
	make_array(&b, "thing", 77, 0);
	check_refused(&b, -EINVAL, "array of unknown type 77");
	make_header(&b, 0, 1);
	make_key(&b, "thing", MAKE_BOOL);
	make_bytes(&b, "\2", 1);
	check_refused(&b, -EINVAL, "bool of value 2");
	make_header(&b, 0, 2);
	make_key_u32(&b, "thing", 1);
	make_key_text(&b, "thing", "x");
	check_refused(&b, -EINVAL, "key 'thing' occurs twice");
	make_header(&b, 0, 1);
	make_key_u32(&b, "", 1);
	check_refused(&b, -EINVAL, "has a name of 0 bytes");
	make_header(&b, 0, 1);
	make_u64(&b, 3);
	make_bytes(&b, "a\0b", 3);
	make_u32(&b, MAKE_BOOL);
	make_bytes(&b, "\1", 1);
	check_refused(&b, -EINVAL, "NUL byte in its name 'a'");
	make_header(&b, 0, 1);
	make_key_u32(&b, "general.alignment", 24);
	check_refused(&b, -EINVAL, "'general.alignment' is 24, expected a power of two");
	make_header(&b, 0, 1);
	make_key_text(&b, "general.alignment", "32");
	check_refused(&b, -EINVAL, "'general.alignment' is not an integer");
	buffer_close(&b);
}

/* One tensor entry and 64 bytes of data behind it. */
static void one_tensor(struct buffer *b, uint64_t columns, uint64_t rows, uint32_t type,
		       uint64_t offset)
{
	make_header(b, 1, 0);
	make_tensor(b, "w", columns, rows, type, offset);
	make_padding(b, 32);
	for (int i = 0; i < 64; i++)
		make_bytes(b, "", 1);
}

/* Goal: broken tensors are refused by name. */
TEST(gguf_parse__tensors)
{
	struct buffer b = { 0 };
	struct error e;

	one_tensor(&b, 4, 4, 0, 0);
	CHECK_OK(open_copy(b.data, b.length, &e), &e);
	buffer_clear(&b);
	one_tensor(&b, 4, 5, 0, 0);
	check_refused(&b, -EINVAL,
		      "tensor 'w' needs 80 bytes from 0 of the data, the file holds 64");
	one_tensor(&b, 4, 3, 0, 32);
	check_refused(&b, -EINVAL, "tensor 'w' needs 48 bytes from 32");
	one_tensor(&b, 4, 1, 0, 4);
	check_refused(&b, -EINVAL, "begins at 4 of the data, expected a multiple of 32");
	one_tensor(&b, 4, 1, 0, UINT64_MAX - 31);
	check_refused(&b, -EINVAL, "from 18446744073709551584");
	one_tensor(&b, 1ull << 40, 1ull << 40, 0, 0);
	check_refused(&b, -EINVAL, "tensor 'w' has more bytes than can be counted");
	one_tensor(&b, 1ull << 62, 0, 0, 0);
	check_refused(&b, -EINVAL, "more bytes than can be counted");
	one_tensor(&b, UINT64_MAX, 1, 0, 0);
	check_refused(&b, -EINVAL, "has 18446744073709551615 elements in dimension 0");
	one_tensor(&b, 0, 1, 0, 0);
	check_refused(&b, -EINVAL, "has 0 elements in dimension 0");
	one_tensor(&b, 48, 1, 3, 0);
	check_refused(&b, -EINVAL, "rows of 48 elements, Q4_1 needs multiples of 32");
	one_tensor(&b, 256, 1, 14, 0);
	check_refused(&b, -ENOTSUP, "tensor 'w' is stored as Q6_K; accepted are F32");
	one_tensor(&b, 256, 1, 4, 0);
	check_refused(&b, -EINVAL, "tensor 'w' has unknown type 4");
	one_tensor(&b, 256, 1, 4000000000u, 0);
	check_refused(&b, -EINVAL, "tensor 'w' has unknown type 4000000000");
	make_header(&b, 1, 0);
	make_text(&b, "w");
	make_u32(&b, 5);
	make_padding(&b, 256);
	check_refused(&b, -EINVAL, "has 5 dimensions, expected 1 to 4");
	buffer_close(&b);
}

/* Goal: two tensors of one name, or sharing bytes, are refused. */
TEST(gguf_parse__tensor_pairs)
{
	static const struct { const char *name; uint64_t offset; const char *words; } cases[] = {
		{ "a", 64, "tensor 'a' occurs twice" },
		{ "b", 32, "'a' and 'b' overlap" },
		{ "b", 0, "overlap" },
	};
	struct buffer b = { 0 };

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		make_header(&b, 2, 0);
		make_tensor(&b, "a", 16, 0, 0, 0);
		make_tensor(&b, cases[i].name, 8, 0, 0, cases[i].offset);
		make_padding(&b, 32);
		for (int k = 0; k < 96; k++)
			make_bytes(&b, "", 1);
		check_refused(&b, -EINVAL, cases[i].words);
	}
	buffer_close(&b);
}

/* Goal: a great many keys with one long common beginning are no problem of
 * time (a quadratic reader would take minutes).
 */
TEST(gguf_parse__many_keys)
{
	enum { COUNT = 100000 };
	struct buffer b = { 0 };
	struct error e;
	char name[64];

	make_header(&b, 0, COUNT);
	for (uint32_t i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "a.very.long.common.beginning.of.a.key.%u", i);
		make_key_bool(&b, name, false);
	}
	CHECK_OK(open_copy(b.data, b.length, &e), &e);
	buffer_close(&b);
}
