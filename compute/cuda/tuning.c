/* tuning.c - owns the table and the file. */
#include "compute/cuda/tuning.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

enum { FILE_BYTES_MAX = 4 << 20, ENTRIES_MAX = 20000 };

static const char opening[] = "# petals: races that were run, and who won; safe to delete\n";

struct entry { char *key, *value; };

struct cuda_tuning {
	char *path;
	struct entry *entries;
	uint32_t count, room;
};

/* ---- the table ---- */

static struct entry *find(const struct cuda_tuning *t, const char *key)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (strcmp(t->entries[i].key, key) == 0)
			return &t->entries[i];
	return NULL;
}

static int grow(struct cuda_tuning *t)
{
	uint32_t room = MAX(64u, 2 * t->room);
	struct entry *grown;

	if (t->count < t->room)
		return 0;
	grown = t->count < ENTRIES_MAX ? mem_realloc(t->entries, room * sizeof(*grown)) : NULL;
	if (!grown)
		return -ENOMEM;
	t->entries = grown;
	t->room = room;
	return 0;
}

static int put(struct cuda_tuning *t, const char *key, const char *value)
{
	struct entry *known = find(t, key), fresh;

	fresh.value = mem_strdup(value);
	if (!fresh.value)
		return -ENOMEM;
	if (known) {
		mem_free(known->value);
		known->value = fresh.value;
		return 0;
	}
	fresh.key = mem_strdup(key);
	if (!fresh.key || grow(t) < 0) {
		mem_free(fresh.key);
		mem_free(fresh.value);
		return -ENOMEM;
	}
	t->entries[t->count++] = fresh;
	return 0;
}

/* ---- the file ---- */

static bool is_plain(const char *text, size_t length)
{
	if (length == 0 || length >= CUDA_TUNING_TEXT_BYTES)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

/* Takes a line whose key is not known yet. */
static int take_line(struct cuda_tuning *t, const char *line, size_t length)
{
	char key[CUDA_TUNING_TEXT_BYTES], value[CUDA_TUNING_TEXT_BYTES];
	const char *tab = memchr(line, '\t', length);
	size_t key_length = tab ? (size_t)(tab - line) : 0;

	if (!tab || line[0] == '#' || !is_plain(line, key_length) ||
	    !is_plain(tab + 1, length - key_length - 1))
		return 0;
	snprintf(key, sizeof(key), "%.*s", (int)key_length, line);
	snprintf(value, sizeof(value), "%.*s", (int)(length - key_length - 1), tab + 1);
	return find(t, key) ? 0 : put(t, key, value);
}

static int parse(struct cuda_tuning *t, const char *text, size_t bytes)
{
	int rc = 0;

	for (size_t at = 0; at < bytes && rc == 0;) {
		const char *end = memchr(text + at, '\n', bytes - at);
		size_t length = end ? (size_t)(end - text) - at : bytes - at;

		rc = take_line(t, text + at, length);
		at += length + 1;
	}
	return rc;
}

/* Adds what the file has and the table has not. */
static int read_file(struct cuda_tuning *t, struct error *e)
{
	char *text;
	size_t bytes;
	int rc;

	if (!file_exists(t->path))
		return 0;
	rc = file_read(t->path, FILE_BYTES_MAX, &text, &bytes, e);
	if (rc < 0)
		return rc;
	rc = parse(t, text, bytes);
	mem_free(text);
	return rc < 0 ? error_errno(e, rc, "the races of %s", t->path) : 0;
}

static int write_file(const struct cuda_tuning *t, struct error *e)
{
	struct buffer text = { 0 };
	int rc;

	buffer_text(&text, opening);
	for (uint32_t i = 0; i < t->count; i++)
		buffer_printf(&text, "%s\t%s\n", t->entries[i].key, t->entries[i].value);
	rc = buffer_failed(&text);
	if (rc < 0)
		rc = error_errno(e, rc, "the races of %s", t->path);
	else
		rc = file_write(t->path, buffer_string(&text), text.length, 0644, e);
	buffer_close(&text);
	return rc;
}

/* ---- the verbs ---- */

static int default_path(char *path, size_t room, struct error *e)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int rc;

	if (cache && *cache)
		snprintf(path, room, "%s/petals", cache);
	else if (home && *home)
		snprintf(path, room, "%s/.cache/petals", home);
	else
		return error_set(e, -EINVAL, "neither $XDG_CACHE_HOME nor $HOME says where to keep "
				 "who won a race");
	rc = file_make_folder(path, e);
	if (rc == 0)
		snprintf(path + strlen(path), room - strlen(path), "/cuda-tuning");
	return rc;
}

int cuda_tuning_open(struct cuda_tuning **out, const char *path, struct error *e)
{
	struct cuda_tuning *t;
	char usual[PATH_MAX];
	int rc = 0;

	*out = NULL;
	if (!path) {
		rc = default_path(usual, sizeof(usual), e);
		path = usual;
	}
	if (rc < 0)
		return rc;
	t = mem_calloc(1, sizeof(*t));
	if (t)
		t->path = mem_strdup(path);
	if (!t || !t->path) {
		mem_free(t);
		return error_set(e, -ENOMEM, "out of memory for a tuning table");
	}
	rc = read_file(t, e);
	if (rc < 0) {
		cuda_tuning_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void cuda_tuning_close(struct cuda_tuning *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->count; i++) {
		mem_free(t->entries[i].key);
		mem_free(t->entries[i].value);
	}
	mem_free(t->entries);
	mem_free(t->path);
	mem_free(t);
}

const char *cuda_tuning_find(const struct cuda_tuning *t, const char *key)
{
	const struct entry *known = find(t, key);

	return known ? known->value : NULL;
}

int cuda_tuning_add(struct cuda_tuning *t, const char *key, const char *value, struct error *e)
{
	int rc;

	assert(is_plain(key, strlen(key)) && is_plain(value, strlen(value)));
	rc = put(t, key, value);
	if (rc < 0)
		return error_errno(e, rc, "the races of %s", t->path);
	rc = read_file(t, e);
	return rc < 0 ? rc : write_file(t, e);
}
