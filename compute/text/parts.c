/* parts.c - walks nested sequences. */
#include "compute/text/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compute/text/fields.h"

enum { SEQUENCE_DEPTH_MAX = 8 };

struct walk {
	void *into;
	part_reader *read;
	const char *list;
};

static int read_node(const struct walk *w, const json_t *node, const char *path, int depth,
		     struct error *e);

static int read_sequence(const struct walk *w, const json_t *node, const char *path, int depth,
			 struct error *e)
{
	char below[FIELD_PATH_BYTES];
	const json_t *parts;
	int rc = field_array(node, w->list, path, &parts, e);

	if (rc == 0 && depth == SEQUENCE_DEPTH_MAX)
		rc = error_set(e, -EINVAL, "%s nests sequences too deeply", path);
	for (size_t i = 0; rc == 0 && i < json_array_size(parts); i++) {
		snprintf(below, sizeof(below), "%s.%s[%zu]", path, w->list, i);
		rc = read_node(w, json_array_get(parts, i), below, depth + 1, e);
	}
	return rc;
}

static int read_node(const struct walk *w, const json_t *node, const char *path, int depth,
		     struct error *e)
{
	struct field_text type;
	int rc;

	if (!json_is_object(node))
		return error_set(e, -EINVAL, "%s is %s, expected an object", path,
				 field_kind(node));
	rc = field_text(node, "type", path, &type, e);
	if (rc < 0)
		return rc;
	if (strcmp(type.data, "Sequence") == 0)
		return read_sequence(w, node, path, depth, e);
	return w->read(w->into, type.data, node, path, e);
}

int parts_read(void *into, part_reader *read, const json_t *node, const char *list,
	       const char *path, struct error *e)
{
	const struct walk w = { .into = into, .read = read, .list = list };

	if (!node || json_is_null(node))
		return 0;
	return read_node(&w, node, path, 0, e);
}

int part_refuse(const char *type, const char *path, struct error *e)
{
	return error_set(e, -ENOTSUP, "%s.type \"%.40s\" is not supported", path, type);
}
