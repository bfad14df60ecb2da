/* safetensors_test.c - sound files answer, broken ones are refused by name,
 * an index and its shards must agree.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "compute/model/safetensors.h"
#include "dataplane/base/buffer.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

/* header and data bytes 0, 1, 2, ... as a file. */
static void make_file(struct buffer *b, const char *header, size_t data_bytes)
{
	uint64_t length = strlen(header);

	buffer_append(b, &length, sizeof(length));
	buffer_text(b, header);
	for (size_t i = 0; i < data_bytes; i++)
		buffer_char(b, (char)i);
}

static int open_copy(struct safetensors **out, const void *data, size_t bytes, struct error *e)
{
	uint8_t *copy = mem_alloc(bytes);
	int rc;

	memcpy(copy, data, bytes);
	rc = safetensors_open_bytes(out, copy, bytes, e);
	CHECK_EQ(rc == 0, *out != NULL);
	if (rc == 0)
		safetensors_close(*out);
	mem_free(copy);
	return rc;
}

static const char good[] =
	"{\"__metadata__\":{\"format\":\"pt\"},"
	"\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
	"\"mask\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
	"\"none\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[20,20]},"
	"\"scalar\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[20,22]}}   ";

/* Goal: names, dtypes, shapes and bytes are those of the file; a tensor in a
 * dtype that no weight has is known but left out.
 */
TEST(safetensors_open__sound_file)
{
	struct buffer b = { 0 };
	const struct safetensors_tensor *t;
	struct safetensors *s;
	struct error e;

	make_file(&b, good, 22);
	CHECK_OK(safetensors_open_bytes(&s, (const uint8_t *)b.data, b.length, &e), &e);
	CHECK_EQ(safetensors_count(s), 3);
	t = safetensors_tensor(s, "b");
	CHECK_TEXT(t->name, "b");
	CHECK_EQ(t->dtype, DTYPE_BF16);
	CHECK_EQ(t->dimensions, 2);
	CHECK_EQ(t->shape[0], 2);
	CHECK_EQ(t->shape[1], 3);
	CHECK_EQ(t->bytes, 12);
	CHECK_EQ(t->data[0], 8);
	CHECK_EQ(safetensors_tensor(s, "scalar")->dimensions, 0);
	CHECK_EQ(safetensors_tensor(s, "none")->bytes, 0);
	CHECK(safetensors_tensor(s, "mask") == NULL);
	CHECK_TEXT(safetensors_unreadable(s, "mask"), "I64");
	CHECK(safetensors_unreadable(s, "b") == NULL);
	CHECK(safetensors_unreadable(s, "nothing") == NULL);
	CHECK(safetensors_tensor(s, "__metadata__") == NULL);
	for (uint64_t i = 0; i < 3; i++)
		CHECK(safetensors_tensor(s, safetensors_at(s, i)->name) == safetensors_at(s, i));
	safetensors_close(s);
	buffer_close(&b);
}

/* Goal: a file that ends anywhere too early, or too late, is refused. */
TEST(safetensors_open__truncated_at_every_byte)
{
	struct buffer b = { 0 };
	struct safetensors *s;
	struct error e;

	make_file(&b, good, 22);
	for (size_t length = 0; length < b.length; length++) {
		e.text[0] = '\0';
		CHECK_EQ(open_copy(&s, b.data, length, &e), -EINVAL);
		CHECK(strstr(e.text, "safetensors bytes: ") == e.text);
	}
	CHECK_OK(open_copy(&s, b.data, b.length, &e), &e);
	buffer_char(&b, 'x');
	CHECK_EQ(open_copy(&s, b.data, b.length, &e), -EINVAL);
	CHECK(strstr(e.text, "the tensors end at 22 of 23 bytes") != NULL);
	buffer_close(&b);
}

/* Goal: what a header must not say is refused, with the tensor's name. */
TEST(safetensors_open__hostile_headers)
{
#define ENTRY(dtype, shape, offsets) \
	"{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
	static const struct { const char *header; int code; const char *words; } cases[] = {
		{ "[]", -EINVAL, "the header is no JSON object" },
		{ "", -EINVAL, "header, line 1" },
		{ "{\"w\":3}", -EINVAL, "tensor 'w': its entry is no JSON object" },
		{ "{\"w\":{},\"w\":{}}", -EINVAL, "duplicate object key" },
		{ "{\"w\":{}}", -ENOTSUP, "tensor 'w': dtype is '(no text)'" },
		{ ENTRY("\"F33\"", "[4]", "[0,16]"), -ENOTSUP, "dtype is 'F33', expected F32" },
		{ ENTRY("7", "[4]", "[0,16]"), -ENOTSUP, "dtype is '(no text)'" },
		{ ENTRY("\"F32\"", "4", "[0,16]"), -EINVAL, "shape is no array" },
		{ ENTRY("\"F32\"", "[1,1,1,1,4]", "[0,16]"), -EINVAL,
		  "shape is no array of up to 4" },
		{ ENTRY("\"F32\"", "[-4]", "[0,16]"), -EINVAL, "shape[0] is no integer" },
		{ ENTRY("\"F32\"", "[4.0]", "[0,16]"), -EINVAL, "shape[0] is no integer" },
		{ ENTRY("\"F32\"", "[4611686018427387904,4611686018427387904]", "[0,16]"), -EINVAL,
		  "more elements than can be counted" },
		{ ENTRY("\"F32\"", "[99999999999999999999]", "[0,16]"), -EINVAL,
		  "too big integer" },
		{ ENTRY("\"F32\"", "[4]", "[0,15]"), -EINVAL,
		  "shape and dtype ask for 16 bytes, data_offsets span 15" },
		{ ENTRY("\"F32\"", "[4]", "[16,0]"), -EINVAL, "data_offsets are [16, 0)" },
		{ ENTRY("\"F32\"", "[4]", "[1,17]"), -EINVAL, "the file holds 16 bytes of data" },
		{ ENTRY("\"F32\"", "[4]", "[0]"), -EINVAL, "data_offsets are no two integers" },
		{ ENTRY("\"F32\"", "[4]", "[-16,0]"), -EINVAL, "data_offsets are no two integers" },
		{ ENTRY("\"F32\"", "[3]", "[4,16]"), -EINVAL,
		  "begins at 4 of the data, expected 0" },
		{ ENTRY("\"F4\"", "[3]", "[0,2]"), -EINVAL, "ask for 2 bytes" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
		  "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
		  -EINVAL, "tensors 'a' and 'b' overlap" },
		{ "{\"w\\u0000\":{}}", -EINVAL, "header, line 1" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct buffer b = { 0 };
		struct error e = { 0 };
		struct safetensors *s;
		int rc;

		make_file(&b, cases[i].header, 16);
		rc = open_copy(&s, b.data, b.length, &e);
		if (rc != cases[i].code || !strstr(e.text, cases[i].words))
			fail_msg("%s: %d, '%s'; expected %d, '...%s...'", cases[i].header, rc,
				 e.text, cases[i].code, cases[i].words);
		buffer_close(&b);
	}
}

/* Goal: absurd header lengths and bottomless nesting are refused. */
TEST(safetensors_open__absurd_headers)
{
	struct buffer b = { 0 };
	struct safetensors *s;
	struct error e;
	uint64_t length = UINT64_MAX;

	buffer_append(&b, &length, sizeof(length));
	buffer_text(&b, "{}");
	CHECK_EQ(open_copy(&s, b.data, b.length, &e), -EINVAL);
	CHECK(strstr(e.text, "a header of 18446744073709551615 bytes") != NULL);
	buffer_clear(&b);
	length = 100000;
	buffer_append(&b, &length, sizeof(length));
	for (uint64_t i = 0; i < length; i++)
		buffer_char(&b, '[');
	CHECK_EQ(open_copy(&s, b.data, b.length, &e), -EINVAL);
	CHECK(strstr(e.text, "maximum parsing depth") != NULL);
	buffer_close(&b);
}

/* ---- sharded sets ---- */

static void put_file(const char *dir, const char *name, const void *data, size_t bytes)
{
	char *path = file_join(dir, name);
	FILE *out = fopen(path, "wb");

	CHECK(out != NULL);
	CHECK_EQ(fwrite(data, 1, bytes, out), bytes);
	CHECK_EQ(fclose(out), 0);
	mem_free(path);
}

/* Two shards, "a" in one and "b" in the other, and this index. */
static int open_set(const char *index, struct error *e)
{
	static const char *const names[] = { "1.safetensors", "2.safetensors",
					     "model.safetensors.index.json" };
	static const char *const headers[] = {
		"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}",
		"{\"b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
	};
	char dir[] = "/tmp/petals-safetensors-test-XXXXXX";
	struct safetensors *s;
	int rc;

	CHECK(mkdtemp(dir) != NULL);
	for (int i = 0; i < 2; i++) {
		struct buffer b = { 0 };

		make_file(&b, headers[i], i ? 2 : 4);
		put_file(dir, names[i], b.data, b.length);
		buffer_close(&b);
	}
	put_file(dir, names[2], index, strlen(index));
	rc = safetensors_open(&s, dir, e);
	if (rc == 0) {
		CHECK_EQ(safetensors_count(s), 2);
		CHECK_EQ(safetensors_tensor(s, "a")->bytes, 4);
		CHECK(strstr(safetensors_tensor(s, "b")->file, "/2.safetensors") != NULL);
	}
	safetensors_close(s);
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		char *path = file_join(dir, names[i]);

		unlink(path);
		mem_free(path);
	}
	CHECK_EQ(rmdir(dir), 0);
	return rc;
}

/* Goal: an index that agrees opens; one that does not is refused, and no file
 * outside of the folder is ever asked for.
 */
TEST(safetensors_open__index_and_shards)
{
#define MAP(a, b) "{\"weight_map\":{\"a\":" a ",\"b\":" b "}}"
	static const struct { const char *index; int code; const char *words; } cases[] = {
		{ MAP("\"1.safetensors\"", "\"2.safetensors\""), 0, "" },
		{ MAP("\"2.safetensors\"", "\"1.safetensors\""), -EINVAL, "the index says" },
		{ MAP("\"1.safetensors\"", "\"1.safetensors\""), -EINVAL,
		  "tensor 'b' is not in 1.safetensors" },
		{ "{\"weight_map\":{\"b\":\"2.safetensors\",\"c\":\"2.safetensors\"}}", -EINVAL,
		  "tensor 'c' is not in 2.safetensors" },
		{ "{\"weight_map\":{\"b\":\"2.safetensors\",\"c\":\"1.safetensors\"}}", -EINVAL,
		  "the index says 'nothing of it'" },
		{ MAP("\"1.safetensors\"", "\"../2.safetensors\""), -EINVAL,
		  "tensor 'b' is in '../2.safetensors', expected the name of a" },
		{ MAP("\"1.safetensors\"", "\"/etc/x.safetensors\""), -EINVAL,
		  "expected the name" },
		{ MAP("\"1.safetensors\"", "\"pytorch_model.bin\""), -EINVAL, "expected the name" },
		{ MAP("\"1.safetensors\"", "5"), -EINVAL, "is in '(no text)'" },
		{ MAP("\"1.safetensors\"", "\"3.safetensors\""), -ENOENT, "3.safetensors" },
		{ "{\"weight_map\":{}}", -EINVAL, "names 0 files" },
		{ "{}", -EINVAL, "has no object \"weight_map\"" },
		{ "{", -EINVAL, "line 1" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct error e = { 0 };
		int rc = open_set(cases[i].index, &e);

		if (rc != cases[i].code || !strstr(e.text, cases[i].words))
			fail_msg("%s: %d, '%s'; expected %d, '...%s...'", cases[i].index, rc,
				 e.text, cases[i].code, cases[i].words);
	}
}

/* Goal: a folder without safetensors says so; a pickle is not an offer. */
TEST(safetensors_open__nothing_there)
{
	char dir[] = "/tmp/petals-safetensors-test-XXXXXX", *pickle;
	struct safetensors *s;
	struct error e;

	CHECK(mkdtemp(dir) != NULL);
	CHECK_EQ(safetensors_open(&s, dir, &e), -ENOENT);
	CHECK(strstr(e.text, "has neither model.safetensors nor") != NULL);
	CHECK(strstr(e.text, "pickle") == NULL);
	put_file(dir, "pytorch_model.bin", "x", 1);
	CHECK_EQ(safetensors_open(&s, dir, &e), -ENOENT);
	CHECK(strstr(e.text, "pytorch_model.bin is a pickle, which is never read") != NULL);
	pickle = file_join(dir, "pytorch_model.bin");
	unlink(pickle);
	mem_free(pickle);
	CHECK_EQ(rmdir(dir), 0);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, opening gives everything back. */
TEST(safetensors_open__unwinds_every_failure)
{
	int nth;

	for (nth = 1;; nth++) {
		uint64_t live = mem_live_blocks();
		struct error e = { 0 };
		struct safetensors *s;
		int rc;

		fault_arm(nth);
		rc = safetensors_open(&s, test_data("llama-gqa-tied-sharded"), &e);
		fault_disarm();
		safetensors_close(s);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK(rc < 0 && e.text[0]);
	}
	CHECK(nth > 10);
}
#endif
