/* gguf.c - answers questions about a file that gguf_parse.c found sound.  Nothing
 * here checks lengths again.
 */
#include "compute/model/gguf_format.h"

#include <errno.h>

#include "dataplane/base/memory.h"

const struct gguf_type_row gguf_types[GGUF_TYPE_COUNT] = {
	[GGUF_U8]     = { "u8", 1 },
	[GGUF_I8]     = { "i8", 1 },
	[GGUF_U16]    = { "u16", 2 },
	[GGUF_I16]    = { "i16", 2 },
	[GGUF_U32]    = { "u32", 4 },
	[GGUF_I32]    = { "i32", 4 },
	[GGUF_F32]    = { "f32", 4 },
	[GGUF_BOOL]   = { "bool", 1 },
	[GGUF_STRING] = { "string", 0 },
	[GGUF_ARRAY]  = { "array", 0 },
	[GGUF_U64]    = { "u64", 8 },
	[GGUF_I64]    = { "i64", 8 },
	[GGUF_F64]    = { "f64", 8 },
};

void gguf_close(struct gguf *g)
{
	if (!g)
		return;
	for (uint32_t i = 0; i < g->value_count; i++)
		mem_free(g->values[i].marks);
	mem_free(g->values);
	mem_free(g->tensors);
	mem_free(g->name_block);
	names_close(&g->keys);
	names_close(&g->tensor_names);
	file_unmap(&g->map);
	mem_free(g->path);
	mem_free(g);
}

const char *gguf_path(const struct gguf *g)
{
	return g->path;
}

const struct gguf_value *gguf_value(const struct gguf *g, const char *key)
{
	uint32_t id = names_find(&g->keys, key, strlen(key));

	return id == NAMES_NONE ? NULL : &g->values[id];
}

bool gguf_has(const struct gguf *g, const char *key)
{
	return gguf_value(g, key) != NULL;
}

#define LOAD(type, at)                            \
	({                                        \
		type loaded;                      \
		memcpy(&loaded, at, sizeof(loaded)); \
		loaded;                           \
	})

static bool load_integer(enum gguf_type type, const uint8_t *at, int64_t *out)
{
	uint64_t large;

	switch (type) {
	case GGUF_U8:
		*out = LOAD(uint8_t, at);
		return true;
	case GGUF_I8:
		*out = LOAD(int8_t, at);
		return true;
	case GGUF_U16:
		*out = LOAD(uint16_t, at);
		return true;
	case GGUF_I16:
		*out = LOAD(int16_t, at);
		return true;
	case GGUF_U32:
		*out = LOAD(uint32_t, at);
		return true;
	case GGUF_I32:
		*out = LOAD(int32_t, at);
		return true;
	case GGUF_I64:
		*out = LOAD(int64_t, at);
		return true;
	case GGUF_U64:
		large = LOAD(uint64_t, at);
		if (large > INT64_MAX)
			return false;
		*out = (int64_t)large;
		return true;
	default:
		return false;
	}
}

static bool load_real(enum gguf_type type, const uint8_t *at, double *out)
{
	int64_t integer;

	if (type == GGUF_F32)
		*out = LOAD(float, at);
	else if (type == GGUF_F64)
		*out = LOAD(double, at);
	else if (load_integer(type, at, &integer))
		*out = (double)integer;
	else
		return false;
	return true;
}

bool gguf_integer(const struct gguf *g, const char *key, int64_t *out)
{
	const struct gguf_value *v = gguf_value(g, key);

	return v && load_integer(v->type, v->data, out);
}

bool gguf_real(const struct gguf *g, const char *key, double *out)
{
	const struct gguf_value *v = gguf_value(g, key);

	return v && load_real(v->type, v->data, out);
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out)
{
	const struct gguf_value *v = gguf_value(g, key);

	if (!v || v->type != GGUF_BOOL)
		return false;
	*out = v->data[0] != 0;
	return true;
}

bool gguf_string(const struct gguf *g, const char *key, struct gguf_text *out)
{
	const struct gguf_value *v = gguf_value(g, key);

	if (!v || v->type != GGUF_STRING)
		return false;
	*out = (struct gguf_text){ (const char *)v->data, v->count };
	return true;
}

int64_t gguf_array_length(const struct gguf *g, const char *key)
{
	const struct gguf_value *v = gguf_value(g, key);

	return v && v->type == GGUF_ARRAY ? (int64_t)v->count : -1;
}

/* The array if it has that element, else NULL. */
static const struct gguf_value *array_with(const struct gguf *g, const char *key, uint64_t index)
{
	const struct gguf_value *v = gguf_value(g, key);

	return v && v->type == GGUF_ARRAY && index < v->count ? v : NULL;
}

bool gguf_array_string(const struct gguf *g, const char *key, uint64_t index,
		       struct gguf_text *out)
{
	const struct gguf_value *v = array_with(g, key, index);
	const uint8_t *at;

	if (!v || v->element != GGUF_STRING)
		return false;
	at = v->marks[index / GGUF_MARK_STRIDE];
	for (uint64_t i = index % GGUF_MARK_STRIDE; i; i--)
		at += sizeof(uint64_t) + LOAD(uint64_t, at);
	*out = (struct gguf_text){ (const char *)at + sizeof(uint64_t), LOAD(uint64_t, at) };
	return true;
}

/* An array's element of fixed size, NULL when there is none. */
static const uint8_t *number_at(const struct gguf *g, const char *key, uint64_t index,
				enum gguf_type *element)
{
	const struct gguf_value *v = array_with(g, key, index);

	if (!v || v->element == GGUF_STRING)
		return NULL;
	*element = v->element;
	return v->data + index * gguf_types[v->element].bytes;
}

bool gguf_array_integer(const struct gguf *g, const char *key, uint64_t index, int64_t *out)
{
	enum gguf_type element;
	const uint8_t *at = number_at(g, key, index, &element);

	return at && load_integer(element, at, out);
}

bool gguf_array_real(const struct gguf *g, const char *key, uint64_t index, double *out)
{
	enum gguf_type element;
	const uint8_t *at = number_at(g, key, index, &element);

	return at && load_real(element, at, out);
}

uint64_t gguf_tensor_count(const struct gguf *g)
{
	return g->tensor_count;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, uint64_t index)
{
	assert(index < g->tensor_count);
	return &g->tensors[index];
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name)
{
	uint32_t id = names_find(&g->tensor_names, name, strlen(name));

	return id == NAMES_NONE ? NULL : &g->tensors[id];
}
