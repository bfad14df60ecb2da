/* gguf_make.h - writes GGUF bytes, sound or broken, for tests and fuzz seeds.
 *
 * Threads    A maker belongs to its caller.
 * Ownership  gguf_make_close() frees.
 * Units      Bytes; shapes innermost first, as GGUF has them.
 * Errors     Asserts; memory does not run out in tests.
 */
#ifndef PETALS_TESTS_COMPUTE_MODEL_GGUF_MAKE_H
#define PETALS_TESTS_COMPUTE_MODEL_GGUF_MAKE_H

#include <string.h>

#include "dataplane/base/buffer.h"

enum { MAKE_U32 = 4, MAKE_I32 = 5, MAKE_F32 = 6, MAKE_BOOL = 7, MAKE_TEXT = 8, MAKE_ARRAY = 9,
       MAKE_U64 = 10, MAKE_I64 = 11, MAKE_F64 = 12 };

static inline void make_bytes(struct buffer *b, const void *data, size_t bytes)
{
	buffer_append(b, data, bytes);
}

static inline void make_u32(struct buffer *b, uint32_t v)
{
	make_bytes(b, &v, sizeof(v));
}

static inline void make_u64(struct buffer *b, uint64_t v)
{
	make_bytes(b, &v, sizeof(v));
}

static inline void make_f32(struct buffer *b, float v)
{
	make_bytes(b, &v, sizeof(v));
}

static inline void make_text(struct buffer *b, const char *text)
{
	make_u64(b, strlen(text));
	make_bytes(b, text, strlen(text));
}

static inline void make_header(struct buffer *b, uint64_t tensors, uint64_t keys)
{
	make_bytes(b, "GGUF", 4);
	make_u32(b, 3);
	make_u64(b, tensors);
	make_u64(b, keys);
}

static inline void make_key(struct buffer *b, const char *key, uint32_t type)
{
	make_text(b, key);
	make_u32(b, type);
}

static inline void make_key_u32(struct buffer *b, const char *key, uint32_t v)
{
	make_key(b, key, MAKE_U32);
	make_u32(b, v);
}

static inline void make_key_f32(struct buffer *b, const char *key, float v)
{
	make_key(b, key, MAKE_F32);
	make_f32(b, v);
}

static inline void make_key_bool(struct buffer *b, const char *key, bool v)
{
	make_key(b, key, MAKE_BOOL);
	make_bytes(b, &(uint8_t){ v }, 1);
}

static inline void make_key_text(struct buffer *b, const char *key, const char *text)
{
	make_key(b, key, MAKE_TEXT);
	make_text(b, text);
}

static inline void make_array(struct buffer *b, const char *key, uint32_t element, uint64_t count)
{
	make_key(b, key, MAKE_ARRAY);
	make_u32(b, element);
	make_u64(b, count);
}

/* A directory entry; rows 0: a vector of `columns`. */
static inline void make_tensor(struct buffer *b, const char *name, uint64_t columns, uint64_t rows,
			       uint32_t type, uint64_t offset)
{
	make_text(b, name);
	make_u32(b, rows ? 2 : 1);
	make_u64(b, columns);
	if (rows)
		make_u64(b, rows);
	make_u32(b, type);
	make_u64(b, offset);
}

static inline void make_padding(struct buffer *b, uint64_t alignment)
{
	while (b->length % alignment)
		make_bytes(b, "", 1);
}

/* A whole file with a key of most kinds and two tensors: "first", F32 of 3 rows
 * of 4, and "second", one Q8_0 row; their bytes count up from 0.
 */
static inline void make_sample(struct buffer *b)
{
	make_header(b, 2, 12);
	make_key_text(b, "general.architecture", "llama");
	make_key_u32(b, "u32", 7);
	make_key(b, "u64", MAKE_U64);
	make_u64(b, UINT64_MAX);
	make_key(b, "i64", MAKE_I64);
	make_u64(b, (uint64_t)-5);
	make_key(b, "i32", MAKE_I32);
	make_u32(b, (uint32_t)-6);
	make_key_f32(b, "f32", 1.5f);
	make_key(b, "f64", MAKE_F64);
	make_bytes(b, &(double){ 0.1 }, sizeof(double));
	make_key_bool(b, "yes", true);
	make_array(b, "texts", MAKE_TEXT, 40);
	for (int i = 0; i < 40; i++)
		make_text(b, &"0123456789012345678901234567890123456789"[39 - i]);
	make_array(b, "integers", MAKE_I32, 3);
	for (int i = 0; i < 3; i++)
		make_u32(b, (uint32_t)(i - 1));
	make_array(b, "reals", MAKE_F32, 2);
	make_f32(b, -0.5f);
	make_f32(b, 2);
	make_array(b, "empty", MAKE_TEXT, 0);
	make_tensor(b, "first", 4, 3, 0, 0);
	make_tensor(b, "second", 32, 0, 8, 64);
	make_padding(b, 32);
	for (int i = 0; i < 64 + 34; i++)
		make_bytes(b, &(uint8_t){ (uint8_t)i }, 1);
}

#endif
