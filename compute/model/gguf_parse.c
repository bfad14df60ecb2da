/* gguf_parse.c - opens a GGUF file: walks it once and believes nothing in it.
 *
 *	"GGUF" | u32 version | u64 tensors | u64 keys
 *	keys x    { string key, u32 type, value }
 *	tensors x { string name, u32 dimensions, u64 shape[], u32 type, u64 offset }
 *	padding to general.alignment | tensor data
 *
 * A string is a u64 length and its bytes; an array is a u32 element type, a
 * u64 count and its elements.  All little-endian.  Version 2 differs from 3 only in
 * what 3 added (big-endian files), so both are read; version 1 had 32-bit counts.
 */
#include "compute/model/gguf_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/memory.h"

enum {
	ENTRIES_MAX = 1 << 20,         /* keys, and tensors */
	NAME_BYTES_MAX = 1024,
	ALIGNMENT_INITIAL = 32,
	ALIGNMENT_MAX = 1 << 20,
	KEY_BYTES_LEAST = 8 + 4 + 1,
	TENSOR_BYTES_LEAST = 8 + 4 + 8 + 4 + 8,
	SUBJECT_BYTES = 120,
};

/* Tensor types by their number in the file; DTYPE_COUNT: known, not read. */
static const struct { const char *name; enum dtype dtype; } tensor_types[] = {
	[0]  = { "F32", DTYPE_F32 },
	[1]  = { "F16", DTYPE_F16 },
	[2]  = { "Q4_0", DTYPE_Q4_0 },
	[3]  = { "Q4_1", DTYPE_Q4_1 },
	[6]  = { "Q5_0", DTYPE_COUNT },
	[7]  = { "Q5_1", DTYPE_COUNT },
	[8]  = { "Q8_0", DTYPE_Q8_0 },
	[9]  = { "Q8_1", DTYPE_COUNT },
	[10] = { "Q2_K", DTYPE_COUNT },
	[11] = { "Q3_K", DTYPE_COUNT },
	[12] = { "Q4_K", DTYPE_COUNT },
	[13] = { "Q5_K", DTYPE_COUNT },
	[14] = { "Q6_K", DTYPE_COUNT },
	[15] = { "Q8_K", DTYPE_COUNT },
	[16] = { "IQ2_XXS", DTYPE_COUNT },
	[17] = { "IQ2_XS", DTYPE_COUNT },
	[18] = { "IQ3_XXS", DTYPE_COUNT },
	[19] = { "IQ1_S", DTYPE_COUNT },
	[20] = { "IQ4_NL", DTYPE_COUNT },
	[21] = { "IQ3_S", DTYPE_COUNT },
	[22] = { "IQ2_S", DTYPE_COUNT },
	[23] = { "IQ4_XS", DTYPE_COUNT },
	[24] = { "I8", DTYPE_COUNT },
	[25] = { "I16", DTYPE_COUNT },
	[26] = { "I32", DTYPE_COUNT },
	[27] = { "I64", DTYPE_COUNT },
	[28] = { "F64", DTYPE_COUNT },
	[29] = { "IQ1_M", DTYPE_COUNT },
	[30] = { "BF16", DTYPE_BF16 },
	[34] = { "TQ1_0", DTYPE_COUNT },
	[35] = { "TQ2_0", DTYPE_COUNT },
	[39] = { "MXFP4", DTYPE_COUNT },
};

struct cursor {
	struct gguf *g;
	uint64_t at;                    /* offset of the next byte */
	char subject[SUBJECT_BYTES];    /* "key 'general.name'", for the sentence */
	struct error *e;
};

static uint64_t left(const struct cursor *c)
{
	return c->g->bytes - c->at;
}

/* The sentence, and the code in sight of the compiler. */
#define fail(c, code, ...) (error_set((c)->e, code, __VA_ARGS__), code)

/* Starts with file, offset, and the key or tensor being read. */
#define refuse(c, code, format, ...)                                           \
	fail(c, code, "%s: offset %" PRIu64 ": %s " format, (c)->g->path,      \
	     (c)->at, (c)->subject, __VA_ARGS__)

static int out_of_memory(struct cursor *c)
{
	error_errno(c->e, -ENOMEM, "cannot open %s", c->g->path);
	return -ENOMEM;
}

static int take(struct cursor *c, uint64_t bytes, const uint8_t **out)
{
	if (bytes > left(c))
		return refuse(c, -EINVAL, "needs %" PRIu64 " bytes, the file has %" PRIu64 " left",
			      bytes, left(c));
	*out = c->g->data + c->at;
	c->at += bytes;
	return 0;
}

static int take_u32(struct cursor *c, uint32_t *out)
{
	const uint8_t *p;
	int rc = take(c, sizeof(*out), &p);

	if (rc < 0)
		return rc;
	memcpy(out, p, sizeof(*out));
	return 0;
}

static int take_u64(struct cursor *c, uint64_t *out)
{
	const uint8_t *p;
	int rc = take(c, sizeof(*out), &p);

	if (rc < 0)
		return rc;
	memcpy(out, p, sizeof(*out));
	return 0;
}

static int take_text(struct cursor *c, struct gguf_text *out)
{
	const uint8_t *p;
	int rc = take_u64(c, &out->length);

	if (rc == 0)
		rc = take(c, out->length, &p);
	if (rc == 0)
		out->data = (const char *)p;
	return rc;
}

/* A key's or tensor's name; the sentences that follow speak of it. */
static int take_name(struct cursor *c, const char *kind, uint32_t index, struct gguf_text *out)
{
	int rc;

	snprintf(c->subject, sizeof(c->subject), "%s %" PRIu32, kind, index);
	rc = take_text(c, out);
	if (rc < 0)
		return rc;
	if (out->length == 0 || out->length > NAME_BYTES_MAX)
		return refuse(c, -EINVAL, "has a name of %" PRIu64 " bytes, expected 1 to %d",
			      out->length, NAME_BYTES_MAX);
	if (memchr(out->data, '\0', out->length))
		return refuse(c, -EINVAL, "has a NUL byte in its name '%.60s'", out->data);
	snprintf(c->subject, sizeof(c->subject), "%s '%.*s'", kind, (int)MIN(out->length, 80),
		 out->data);
	return 0;
}

static int parse_strings(struct cursor *c, struct gguf_value *v)
{
	struct gguf_text text;
	int rc;

	v->marks = mem_calloc(v->count / GGUF_MARK_STRIDE + 1, sizeof(*v->marks));
	if (!v->marks)
		return out_of_memory(c);
	for (uint64_t i = 0; i < v->count; i++) {
		if (i % GGUF_MARK_STRIDE == 0)
			v->marks[i / GGUF_MARK_STRIDE] = c->g->data + c->at;
		rc = take_text(c, &text);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int parse_array(struct cursor *c, struct gguf_value *v)
{
	uint32_t element, bytes;
	int rc = take_u32(c, &element);

	if (rc == 0)
		rc = take_u64(c, &v->count);
	if (rc < 0)
		return rc;
	if (element >= GGUF_TYPE_COUNT)
		return refuse(c, -EINVAL, "is an array of unknown type %" PRIu32, element);
	if (element == GGUF_ARRAY)
		return refuse(c, -ENOTSUP, "is an array of %s, which is not supported", "arrays");
	v->element = element;
	/* Before count sizes anything: its elements must fit what is left. */
	bytes = element == GGUF_STRING ? sizeof(uint64_t) : gguf_types[element].bytes;
	if (v->count > left(c) / bytes)
		return refuse(c, -EINVAL, "is an array of %" PRIu64 " x %s, the file has %"
			      PRIu64 " bytes left", v->count, gguf_types[element].name, left(c));
	if (element == GGUF_STRING)
		return parse_strings(c, v);
	return take(c, v->count * bytes, &v->data);
}

static int parse_value(struct cursor *c, struct gguf_value *v)
{
	struct gguf_text text;
	uint32_t type;
	int rc = take_u32(c, &type);

	if (rc < 0)
		return rc;
	if (type >= GGUF_TYPE_COUNT)
		return refuse(c, -EINVAL, "has unknown type %" PRIu32 ", expected 0 to %d",
			      type, GGUF_TYPE_COUNT - 1);
	v->type = type;
	v->count = 1;
	if (type == GGUF_ARRAY)
		return parse_array(c, v);
	if (type == GGUF_STRING) {
		rc = take_text(c, &text);
		if (rc == 0) {
			v->data = (const uint8_t *)text.data;
			v->count = text.length;
		}
		return rc;
	}
	rc = take(c, gguf_types[type].bytes, &v->data);
	if (rc == 0 && type == GGUF_BOOL && v->data[0] > 1)
		rc = refuse(c, -EINVAL, "is a bool of value %u, expected 0 or 1", v->data[0]);
	return rc;
}

static int parse_keys(struct cursor *c, uint64_t count)
{
	struct gguf *g = c->g;
	const struct name *twice;
	int rc;

	g->values = mem_calloc(count, sizeof(*g->values));
	if (!g->values || names_open(&g->keys, (uint32_t)count) < 0)
		return out_of_memory(c);
	for (uint32_t i = 0; i < count; i++) {
		struct gguf_value *v = &g->values[i];

		g->value_count = i + 1;
		rc = take_name(c, "key", i, &v->key);
		if (rc == 0)
			rc = parse_value(c, v);
		if (rc < 0)
			return rc;
		names_add(&g->keys, v->key.data, v->key.length, i);
	}
	twice = names_sort(&g->keys);
	if (twice)
		return fail(c, -EINVAL, "%s: key '%.*s' occurs twice", g->path,
				 (int)MIN(twice->length, 80), twice->data);
	return 0;
}

/* Shape and type of a tensor; its bytes follow from them. */
static int parse_extent(struct cursor *c, struct gguf_tensor *t)
{
	uint64_t rows = 1;
	uint32_t type;
	int rc = take_u32(c, &t->dimensions);

	if (rc < 0)
		return rc;
	if (t->dimensions < 1 || t->dimensions > ARRAY_LENGTH(t->shape))
		return refuse(c, -EINVAL, "has %" PRIu32 " dimensions, expected 1 to %zu",
			      t->dimensions, ARRAY_LENGTH(t->shape));
	for (uint32_t i = 0; i < t->dimensions; i++) {
		rc = take_u64(c, &t->shape[i]);
		if (rc < 0)
			return rc;
		if (t->shape[i] == 0 || t->shape[i] > INT64_MAX ||
		    (i > 0 && __builtin_mul_overflow(rows, t->shape[i], &rows)))
			return refuse(c, -EINVAL, "has %" PRIu64 " elements in dimension %" PRIu32,
				      t->shape[i], i);
	}
	rc = take_u32(c, &type);
	if (rc < 0)
		return rc;
	if (type >= ARRAY_LENGTH(tensor_types) || !tensor_types[type].name)
		return refuse(c, -EINVAL, "has unknown type %" PRIu32, type);
	if (tensor_types[type].dtype == DTYPE_COUNT)
		return refuse(c, -ENOTSUP, "is stored as %s; accepted are F32, F16, BF16, Q8_0, "
			      "Q4_0 and Q4_1", tensor_types[type].name);
	t->dtype = tensor_types[type].dtype;
	if (t->shape[0] % dtypes[t->dtype].group)
		return refuse(c, -EINVAL, "has rows of %" PRIu64 " elements, %s needs multiples "
			      "of %" PRIu32, t->shape[0], tensor_types[type].name,
			      dtypes[t->dtype].group);
	if (__builtin_mul_overflow(t->shape[0] / dtypes[t->dtype].group,
				   (uint64_t)dtypes[t->dtype].group_bytes, &t->bytes) ||
	    __builtin_mul_overflow(t->bytes, rows, &t->bytes))
		return refuse(c, -EINVAL, "has %s", "more bytes than can be counted");
	return 0;
}

static int by_data(const void *a, const void *b)
{
	const struct gguf_tensor *const *x = a, *const *y = b;

	return ((*x)->data > (*y)->data) - ((*x)->data < (*y)->data);
}

static int check_overlap(struct cursor *c)
{
	struct gguf *g = c->g;
	const struct gguf_tensor **order = mem_calloc(g->tensor_count, sizeof(*order));
	int rc = 0;

	if (!order)
		return out_of_memory(c);
	for (uint32_t i = 0; i < g->tensor_count; i++)
		order[i] = &g->tensors[i];
	qsort(order, g->tensor_count, sizeof(*order), by_data);
	for (uint32_t i = 1; i < g->tensor_count && rc == 0; i++)
		if (order[i - 1]->data + order[i - 1]->bytes > order[i]->data)
			rc = fail(c, -EINVAL, "%s: offset %td: tensors '%.80s' and '%.80s' "
				       "overlap", g->path, order[i]->data - g->data,
				       order[i - 1]->name.data, order[i]->name.data);
	mem_free(order);
	return rc;
}

/* Gives every name a NUL, which messages and other formats rely on. */
static int copy_names(struct cursor *c)
{
	struct gguf *g = c->g;
	const struct name *twice;
	size_t bytes = 0;
	char *at;

	for (uint32_t i = 0; i < g->tensor_count; i++)
		bytes += g->tensors[i].name.length + 1;
	g->name_block = mem_alloc(bytes);
	if (!g->name_block || names_open(&g->tensor_names, g->tensor_count) < 0)
		return out_of_memory(c);
	at = g->name_block;
	for (uint32_t i = 0; i < g->tensor_count; i++) {
		struct gguf_text *name = &g->tensors[i].name;

		memcpy(at, name->data, name->length);
		at[name->length] = '\0';
		name->data = at;
		at += name->length + 1;
		names_add(&g->tensor_names, name->data, name->length, i);
	}
	twice = names_sort(&g->tensor_names);
	if (twice)
		return fail(c, -EINVAL, "%s: tensor '%.80s' occurs twice", g->path,
				 twice->data);
	return 0;
}

static int parse_alignment(struct cursor *c, uint64_t *out)
{
	int64_t alignment = ALIGNMENT_INITIAL;

	if (gguf_has(c->g, "general.alignment") &&
	    !gguf_integer(c->g, "general.alignment", &alignment))
		return fail(c, -EINVAL, "%s: key 'general.alignment' is not an integer",
				 c->g->path);
	if (alignment < 1 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)))
		return fail(c, -EINVAL, "%s: key 'general.alignment' is %" PRId64
				 ", expected a power of two up to %d", c->g->path, alignment,
				 ALIGNMENT_MAX);
	*out = (uint64_t)alignment;
	return 0;
}

/* Places every tensor: offsets count from the aligned end of the directory. */
static int place(struct cursor *c, const uint64_t *offsets, uint64_t alignment)
{
	struct gguf *g = c->g;
	uint64_t start = align_up(c->at, alignment);
	uint64_t available = start < g->bytes ? g->bytes - start : 0;

	for (uint32_t i = 0; i < g->tensor_count; i++) {
		struct gguf_tensor *t = &g->tensors[i];

		if (offsets[i] % alignment)
			return fail(c, -EINVAL, "%s: tensor '%.80s' begins at %" PRIu64
					 " of the data, expected a multiple of %" PRIu64, g->path,
					 t->name.data, offsets[i], alignment);
		if (offsets[i] > available || t->bytes > available - offsets[i])
			return fail(c, -EINVAL, "%s: tensor '%.80s' needs %" PRIu64
					 " bytes from %" PRIu64 " of the data, the file holds %"
					 PRIu64 ": it is truncated or corrupt", g->path,
					 t->name.data, t->bytes, offsets[i], available);
		t->data = g->data + start + offsets[i];
	}
	return 0;
}

static int parse_tensors(struct cursor *c, uint64_t count)
{
	struct gguf *g = c->g;
	uint64_t *offsets = mem_calloc(count, sizeof(*offsets));
	uint64_t alignment;
	int rc;

	g->tensors = mem_calloc(count, sizeof(*g->tensors));
	rc = offsets && g->tensors ? 0 : out_of_memory(c);
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		g->tensor_count = i + 1;
		rc = take_name(c, "tensor", i, &g->tensors[i].name);
		if (rc == 0)
			rc = parse_extent(c, &g->tensors[i]);
		if (rc == 0)
			rc = take_u64(c, &offsets[i]);
	}
	if (rc == 0)
		rc = copy_names(c);
	if (rc == 0)
		rc = parse_alignment(c, &alignment);
	if (rc == 0)
		rc = place(c, offsets, alignment);
	if (rc == 0)
		rc = check_overlap(c);
	mem_free(offsets);
	return rc;
}

static int check_count(struct cursor *c, const char *what, uint64_t count, uint64_t least_bytes)
{
	if (count > ENTRIES_MAX || count > left(c) / least_bytes)
		return refuse(c, -EINVAL, "announces %" PRIu64 " %s, the file has %" PRIu64
			      " bytes left and %d are accepted", count, what, left(c),
			      ENTRIES_MAX);
	return 0;
}

/* Checks all of g->data and fills the rest of g, which gguf_close() frees in any case. */
static int parse(struct gguf *g, struct error *e)
{
	struct cursor c = { .g = g, .subject = "the header", .e = e };
	uint64_t tensors, keys;
	const uint8_t *magic;
	uint32_t version;
	int rc = take(&c, 4, &magic);

	if (rc < 0)
		return rc;
	if (memcmp(magic, "GGUF", 4) != 0)
		return fail(&c, -EINVAL, "%s: begins with %02x %02x %02x %02x, expected "
				 "\"GGUF\"", g->path, magic[0], magic[1], magic[2], magic[3]);
	rc = take_u32(&c, &version);
	if (rc < 0)
		return rc;
	if (version != 2 && version != 3)
		return fail(&c, -ENOTSUP, "%s: GGUF version %" PRIu32 "%s; accepted are 2 "
				 "and 3", g->path, version,
				 version << 8 == 0 && version ? " (a big-endian file)" : "");
	rc = take_u64(&c, &tensors);
	if (rc == 0)
		rc = take_u64(&c, &keys);
	if (rc == 0)
		rc = check_count(&c, "keys", keys, KEY_BYTES_LEAST);
	if (rc == 0)
		rc = check_count(&c, "tensors", tensors, TENSOR_BYTES_LEAST);
	if (rc == 0)
		rc = parse_keys(&c, keys);
	if (rc == 0)
		rc = parse_tensors(&c, tensors);
	return rc;
}

static int open_view(struct gguf **out, const char *path, const uint8_t *data, size_t bytes,
		     struct error *e)
{
	struct gguf *g = mem_calloc(1, sizeof(*g));
	int rc;

	*out = NULL;
	if (!g)
		return error_errno(e, -ENOMEM, "cannot open %s", path);
	g->path = mem_strdup(path);
	if (!g->path) {
		rc = error_errno(e, -ENOMEM, "cannot open %s", path);
		goto err;
	}
	g->data = data;
	g->bytes = bytes;
	if (!data) {
		rc = file_map(&g->map, path, e);
		if (rc < 0)
			goto err;
		g->data = g->map.data;
		g->bytes = g->map.bytes;
	}
	rc = parse(g, e);
	if (rc < 0)
		goto err;
	*out = g;
	return 0;

err:
	gguf_close(g);
	return rc;
}

int gguf_open(struct gguf **out, const char *path, struct error *e)
{
	return open_view(out, path, NULL, 0, e);
}

int gguf_open_bytes(struct gguf **out, const uint8_t *data, size_t bytes, struct error *e)
{
	return open_view(out, "GGUF bytes", data ? data : (const uint8_t *)"", bytes, e);
}
