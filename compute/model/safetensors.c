/* safetensors.c - reads safetensors files and the index of a sharded set.
 *
 *	u64 header bytes | JSON header | tensor data
 *
 * The header maps a name to { "dtype", "shape", "data_offsets": [begin, end) },
 * offsets counting from the end of the header; "__metadata__" is for people.
 * The format allows no gaps between ranges, so a wrong range is always noticed.
 */
#include "compute/model/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "compute/model/names.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

#define SINGLE_FILE "model.safetensors"
#define INDEX_FILE "model.safetensors.index.json"

enum {
	HEADER_BYTES_MAX = 32 << 20,
	INDEX_BYTES_MAX = 32 << 20,
	SHARDS_MAX = 4096,
};

/* Every dtype of the format, by its name there; DTYPE_COUNT: not a weight of
 * ours.  Checkpoints carry such tensors as buffers nobody needs, so they are checked
 * and kept aside instead of refusing the file.
 */
static const struct stored_dtype {
	const char *name;
	uint32_t bits;
	enum dtype dtype;
} stored_dtypes[] = {
	{ "F32", 32, DTYPE_F32 },      { "F16", 16, DTYPE_F16 },
	{ "BF16", 16, DTYPE_BF16 },    { "F64", 64, DTYPE_COUNT },
	{ "I64", 64, DTYPE_COUNT },    { "I32", 32, DTYPE_COUNT },
	{ "I16", 16, DTYPE_COUNT },    { "I8", 8, DTYPE_COUNT },
	{ "U64", 64, DTYPE_COUNT },    { "U32", 32, DTYPE_COUNT },
	{ "U16", 16, DTYPE_COUNT },    { "U8", 8, DTYPE_COUNT },
	{ "BOOL", 8, DTYPE_COUNT },    { "C64", 64, DTYPE_COUNT },
	{ "F8_E4M3", 8, DTYPE_COUNT }, { "F8_E5M2", 8, DTYPE_COUNT },
	{ "F8_E8M0", 8, DTYPE_COUNT }, { "F6_E2M3", 6, DTYPE_COUNT },
	{ "F6_E3M2", 6, DTYPE_COUNT }, { "F4", 4, DTYPE_COUNT },
};

struct shard {
	char *path;
	struct file_map map;
	const uint8_t *data;
	size_t bytes;
};

struct entry {
	struct safetensors_tensor tensor;
	char *name;
	const struct stored_dtype *stored;
	uint64_t begin, end;               /* in its shard's data */
};

struct safetensors {
	struct shard *shards;
	uint32_t shard_count;
	struct entry *entries;             /* readable ones first */
	uint32_t entry_count, readable_count;
	struct names names;
};

/* The sentence, and the code in sight of the compiler. */
#define fail(e, code, ...) (error_set(e, code, __VA_ARGS__), code)

static int out_of_memory(const char *path, struct error *e)
{
	error_errno(e, -ENOMEM, "cannot open %s", path);
	return -ENOMEM;
}

static const struct stored_dtype *find_dtype(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_LENGTH(stored_dtypes); i++)
		if (strcmp(stored_dtypes[i].name, name) == 0)
			return &stored_dtypes[i];
	return NULL;
}

static bool is_natural(const json_t *v)
{
	return json_is_integer(v) && json_integer_value(v) >= 0;
}

/* The bits that shape and dtype ask for; sentences name file and tensor. */
static int read_shape(struct entry *n, const json_t *value, uint64_t *bits, struct error *e)
{
	struct safetensors_tensor *t = &n->tensor;
	const json_t *shape = json_object_get(value, "shape");
	const char *dtype = json_string_value(json_object_get(value, "dtype"));

	n->stored = find_dtype(dtype);
	if (!n->stored)
		return fail(e, -ENOTSUP, "%s: tensor '%.80s': dtype is '%.40s', expected F32, F16 "
			    "or BF16", t->file, t->name, dtype ? dtype : "(no text)");
	if (!json_is_array(shape) || json_array_size(shape) > ARRAY_LENGTH(t->shape))
		return fail(e, -EINVAL, "%s: tensor '%.80s': shape is no array of up to %zu "
			    "integers", t->file, t->name, ARRAY_LENGTH(t->shape));
	t->dtype = n->stored->dtype;
	t->dimensions = (uint32_t)json_array_size(shape);
	*bits = n->stored->bits;
	for (uint32_t i = 0; i < t->dimensions; i++) {
		const json_t *size = json_array_get(shape, i);

		if (!is_natural(size))
			return fail(e, -EINVAL, "%s: tensor '%.80s': shape[%" PRIu32 "] is no "
				    "integer of 0 or more", t->file, t->name, i);
		t->shape[i] = (uint64_t)json_integer_value(size);
		if (__builtin_mul_overflow(*bits, t->shape[i], bits))
			return fail(e, -EINVAL, "%s: tensor '%.80s': its shape has more elements "
				    "than can be counted", t->file, t->name);
	}
	return 0;
}

static int read_entry(struct entry *n, const json_t *value, const uint8_t *data,
		      uint64_t data_bytes, struct error *e)
{
	struct safetensors_tensor *t = &n->tensor;
	const json_t *offsets = json_object_get(value, "data_offsets");
	uint64_t bits;
	int rc;

	if (!json_is_object(value))
		return fail(e, -EINVAL, "%s: tensor '%.80s': its entry is no JSON object", t->file,
			    t->name);
	rc = read_shape(n, value, &bits, e);
	if (rc < 0)
		return rc;
	if (json_array_size(offsets) != 2 || !is_natural(json_array_get(offsets, 0)) ||
	    !is_natural(json_array_get(offsets, 1)))
		return fail(e, -EINVAL, "%s: tensor '%.80s': data_offsets are no two integers of "
			    "0 or more", t->file, t->name);
	n->begin = (uint64_t)json_integer_value(json_array_get(offsets, 0));
	n->end = (uint64_t)json_integer_value(json_array_get(offsets, 1));
	if (n->begin > n->end || n->end > data_bytes)
		return fail(e, -EINVAL, "%s: tensor '%.80s': data_offsets are [%" PRIu64 ", %"
			    PRIu64 "), the file holds %" PRIu64 " bytes of data: it is truncated "
			    "or corrupt", t->file, t->name, n->begin, n->end, data_bytes);
	if (bits % 8 || bits / 8 != n->end - n->begin)
		return fail(e, -EINVAL, "%s: tensor '%.80s': shape and dtype ask for %" PRIu64
			    " bytes, data_offsets span %" PRIu64, t->file, t->name,
			    bits / 8 + (bits % 8 != 0), n->end - n->begin);
	t->data = data + n->begin;
	t->bytes = n->end - n->begin;
	return 0;
}

static int by_range(const void *a, const void *b)
{
	const struct entry *const *x = a, *const *y = b;

	if ((*x)->begin != (*y)->begin)
		return (*x)->begin > (*y)->begin ? 1 : -1;
	return ((*x)->end > (*y)->end) - ((*x)->end < (*y)->end);
}

/* The ranges of one shard's entries follow each other without overlap or gap. */
static int check_ranges(const struct entry *entries, uint32_t count, uint64_t data_bytes,
			const char *path, struct error *e)
{
	const struct entry **order = mem_calloc(count, sizeof(*order));
	uint64_t at = 0;
	int rc = 0;

	if (!order)
		return out_of_memory(path, e);
	for (uint32_t i = 0; i < count; i++)
		order[i] = &entries[i];
	qsort(order, count, sizeof(*order), by_range);
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		if (order[i]->begin < at)
			rc = fail(e, -EINVAL, "%s: tensors '%.80s' and '%.80s' overlap", path,
				  order[i - 1]->name, order[i]->name);
		else if (order[i]->begin > at)
			rc = fail(e, -EINVAL, "%s: tensor '%.80s' begins at %" PRIu64 " of the "
				  "data, expected %" PRIu64 ": the format allows no gaps", path,
				  order[i]->name, order[i]->begin, at);
		at = order[i]->end;
	}
	if (rc == 0 && at != data_bytes)
		rc = fail(e, -EINVAL, "%s: the tensors end at %" PRIu64 " of %" PRIu64 " bytes of "
			  "data", path, at, data_bytes);
	mem_free(order);
	return rc;
}

static int read_entries(struct safetensors *s, const struct shard *shard, const json_t *header,
			const uint8_t *data, uint64_t data_bytes, struct error *e)
{
	uint32_t first = s->entry_count;
	size_t more = json_object_size(header);
	struct entry *grown;
	const char *name;
	json_t *value;

	if (more > UINT32_MAX / 2 - first)
		return fail(e, -EINVAL, "%s: too many tensors", shard->path);
	grown = mem_realloc(s->entries, (first + more) * sizeof(*grown));
	if (!grown)
		return out_of_memory(shard->path, e);
	s->entries = grown;
	json_object_foreach((json_t *)header, name, value) {
		struct entry *n = &s->entries[s->entry_count];
		int rc;

		if (strcmp(name, "__metadata__") == 0)
			continue;
		*n = (struct entry){ .name = mem_strdup(name) };
		if (!n->name)
			return out_of_memory(shard->path, e);
		s->entry_count++;
		n->tensor.name = n->name;
		n->tensor.file = shard->path;
		rc = read_entry(n, value, data, data_bytes, e);
		if (rc < 0)
			return rc;
	}
	return check_ranges(s->entries + first, s->entry_count - first, data_bytes, shard->path,
			    e);
}

static int read_shard(struct safetensors *s, const struct shard *shard, struct error *e)
{
	uint64_t header_bytes, data_bytes;
	json_error_t problem;
	json_t *header;
	int rc;

	if (shard->bytes < sizeof(header_bytes))
		return fail(e, -EINVAL, "%s: has %zu bytes, too few for a safetensors file",
			    shard->path, shard->bytes);
	memcpy(&header_bytes, shard->data, sizeof(header_bytes));
	data_bytes = shard->bytes - sizeof(header_bytes);
	if (header_bytes > data_bytes || header_bytes > HEADER_BYTES_MAX)
		return fail(e, -EINVAL, "%s: announces a header of %" PRIu64 " bytes, the file has "
			    "%" PRIu64 " left and %d are accepted: it is truncated or no "
			    "safetensors file", shard->path, header_bytes, data_bytes,
			    HEADER_BYTES_MAX);
	data_bytes -= header_bytes;
	header = json_loadb((const char *)shard->data + sizeof(header_bytes), header_bytes,
			    JSON_REJECT_DUPLICATES, &problem);
	if (!header)
		return fail(e, -EINVAL, "%s: header, line %d, column %d: %s", shard->path,
			    problem.line, problem.column, problem.text);
	if (json_is_object(header))
		rc = read_entries(s, shard, header,
				  shard->data + sizeof(header_bytes) + header_bytes, data_bytes, e);
	else
		rc = fail(e, -EINVAL, "%s: the header is no JSON object", shard->path);
	json_decref(header);
	return rc;
}

/* Readable entries to the front; then names can be found. */
static int finish(struct safetensors *s, const char *path, struct error *e)
{
	const struct name *twice;

	for (uint32_t i = 0; i < s->entry_count; i++) {
		struct entry n = s->entries[i];

		if (n.stored->dtype == DTYPE_COUNT)
			continue;
		s->entries[i] = s->entries[s->readable_count];
		s->entries[s->readable_count++] = n;
	}
	if (names_open(&s->names, s->entry_count) < 0)
		return out_of_memory(path, e);
	for (uint32_t i = 0; i < s->entry_count; i++)
		names_add(&s->names, s->entries[i].name, strlen(s->entries[i].name), i);
	twice = names_sort(&s->names);
	if (twice)
		return fail(e, -EINVAL, "%s: tensor '%.80s' occurs twice", path, twice->data);
	return 0;
}

static int open_shard(struct safetensors *s, const char *dir, const char *file, struct error *e)
{
	struct shard *shard = &s->shards[s->shard_count];
	int rc;

	shard->path = file_join(dir, file);
	if (!shard->path)
		return out_of_memory(file, e);
	s->shard_count++;
	rc = file_map(&shard->map, shard->path, e);
	if (rc < 0)
		return rc;
	shard->data = shard->map.data;
	shard->bytes = shard->map.bytes;
	return read_shard(s, shard, e);
}

/* An index names files beside itself and nothing else on the host. */
static bool is_shard_name(const char *file)
{
	size_t length = strlen(file), end = strlen(".safetensors");

	return length > end && length < 256 && file[0] != '.' && !strchr(file, '/') &&
	       strcmp(file + length - end, ".safetensors") == 0;
}

/* The set of files the index speaks of, as the keys of an object. */
static int collect_files(const json_t *map, json_t *files, const char *index, struct error *e)
{
	const char *name, *file;
	json_t *value;

	json_object_foreach((json_t *)map, name, value) {
		file = json_string_value(value);
		if (!file || !is_shard_name(file))
			return fail(e, -EINVAL, "%s: tensor '%.80s' is in '%.80s', expected the "
				    "name of a .safetensors file beside the index", index, name,
				    file ? file : "(no text)");
		if (json_object_set_new(files, file, json_true()) < 0)
			return out_of_memory(index, e);
	}
	if (json_object_size(files) == 0 || json_object_size(files) > SHARDS_MAX)
		return fail(e, -EINVAL, "%s: weight_map names %zu files, expected 1 to %d", index,
			    json_object_size(files), SHARDS_MAX);
	return 0;
}

/* Every tensor lies where the index says, and none is missing. */
static int check_index(const struct safetensors *s, const json_t *map, const char *dir,
		       const char *index, struct error *e)
{
	size_t skip = strlen(dir) + (*dir && dir[strlen(dir) - 1] != '/');
	const char *name, *file;
	json_t *value;

	for (uint32_t i = 0; i < s->entry_count; i++) {
		file = json_string_value(json_object_get(map, s->entries[i].name));
		if (!file || strcmp(file, s->entries[i].tensor.file + skip) != 0)
			return fail(e, -EINVAL, "%s: tensor '%.80s' is in %s, the index says "
				    "'%.80s'", index, s->entries[i].name, s->entries[i].tensor.file,
				    file ? file : "nothing of it");
	}
	json_object_foreach((json_t *)map, name, value)
		if (names_find(&s->names, name, strlen(name)) == NAMES_NONE)
			return fail(e, -EINVAL, "%s: tensor '%.80s' is not in %.80s, where the "
				    "index says it is", index, name, json_string_value(value));
	return 0;
}

static int open_set(struct safetensors *s, const char *dir, const json_t *root, const char *index,
		    struct error *e)
{
	const json_t *map = json_object_get(root, "weight_map");
	json_t *files = json_object(), *value;
	const char *file;
	int rc;

	if (!json_is_object(map))
		rc = fail(e, -EINVAL, "%s: has no object \"weight_map\"", index);
	else
		rc = files ? collect_files(map, files, index, e) : out_of_memory(index, e);
	if (rc == 0) {
		s->shards = mem_calloc(json_object_size(files), sizeof(*s->shards));
		rc = s->shards ? 0 : out_of_memory(index, e);
	}
	if (rc == 0) {
		json_object_foreach(files, file, value) {
			rc = open_shard(s, dir, file, e);
			if (rc < 0)
				break;
		}
	}
	if (rc == 0)
		rc = finish(s, index, e);
	if (rc == 0)
		rc = check_index(s, map, dir, index, e);
	json_decref(files);
	return rc;
}

static int open_sharded(struct safetensors *s, const char *dir, const char *index, struct error *e)
{
	json_error_t problem;
	json_t *root;
	size_t bytes;
	char *text;
	int rc = file_read(index, INDEX_BYTES_MAX, &text, &bytes, e);

	if (rc < 0)
		return rc;
	root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &problem);
	mem_free(text);
	if (!root)
		return fail(e, -EINVAL, "%s, line %d, column %d: %s", index, problem.line,
			    problem.column, problem.text);
	rc = open_set(s, dir, root, index, e);
	json_decref(root);
	return rc;
}

static int open_single(struct safetensors *s, const char *dir, const char *path, struct error *e)
{
	int rc;

	s->shards = mem_calloc(1, sizeof(*s->shards));
	if (!s->shards)
		return out_of_memory(path, e);
	rc = open_shard(s, dir, SINGLE_FILE, e);
	return rc < 0 ? rc : finish(s, path, e);
}

static int nothing_there(const char *dir, struct error *e)
{
	char *pickle = file_join(dir, "pytorch_model.bin");
	bool has_pickle = pickle && file_exists(pickle);

	mem_free(pickle);
	return fail(e, -ENOENT, "%s: has neither " SINGLE_FILE " nor " INDEX_FILE "%s", dir,
		    has_pickle ? "; pytorch_model.bin is a pickle, which is never read: convert it"
			       : "");
}

int safetensors_open(struct safetensors **out, const char *dir, struct error *e)
{
	struct safetensors *s = mem_calloc(1, sizeof(*s));
	char *single = file_join(dir, SINGLE_FILE), *index = file_join(dir, INDEX_FILE);
	int rc;

	*out = NULL;
	if (!s || !single || !index)
		rc = out_of_memory(dir, e);
	else if (file_exists(single))
		rc = open_single(s, dir, single, e);
	else if (file_exists(index))
		rc = open_sharded(s, dir, index, e);
	else
		rc = nothing_there(dir, e);
	mem_free(single);
	mem_free(index);
	if (rc < 0) {
		safetensors_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

int safetensors_open_bytes(struct safetensors **out, const uint8_t *data, size_t bytes,
			   struct error *e)
{
	struct safetensors *s = mem_calloc(1, sizeof(*s));
	int rc = 0;

	*out = NULL;
	if (!s)
		return out_of_memory("safetensors bytes", e);
	s->shards = mem_calloc(1, sizeof(*s->shards));
	if (s->shards)
		s->shards[0].path = mem_strdup("safetensors bytes");
	if (!s->shards || !s->shards[0].path) {
		rc = out_of_memory("safetensors bytes", e);
		goto err;
	}
	s->shard_count = 1;
	s->shards[0].data = data;
	s->shards[0].bytes = bytes;
	rc = read_shard(s, &s->shards[0], e);
	if (rc == 0)
		rc = finish(s, s->shards[0].path, e);
	if (rc < 0)
		goto err;
	*out = s;
	return 0;

err:
	safetensors_close(s);
	return rc;
}

void safetensors_close(struct safetensors *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->entry_count; i++)
		mem_free(s->entries[i].name);
	mem_free(s->entries);
	for (uint32_t i = 0; s->shards && i < s->shard_count; i++) {
		file_unmap(&s->shards[i].map);
		mem_free(s->shards[i].path);
	}
	mem_free(s->shards);
	names_close(&s->names);
	mem_free(s);
}

uint64_t safetensors_count(const struct safetensors *s)
{
	return s->readable_count;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *s, uint64_t index)
{
	assert(index < s->readable_count);
	return &s->entries[index].tensor;
}

const struct safetensors_tensor *safetensors_tensor(const struct safetensors *s, const char *name)
{
	uint32_t id = names_find(&s->names, name, strlen(name));

	return id < s->readable_count ? &s->entries[id].tensor : NULL;
}

const char *safetensors_unreadable(const struct safetensors *s, const char *name)
{
	uint32_t id = names_find(&s->names, name, strlen(name));

	return id != NAMES_NONE && id >= s->readable_count ? s->entries[id].stored->name : NULL;
}
