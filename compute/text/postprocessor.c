/* postprocessor.c - owns the ids around a text, out of "single" templates. */
#include "compute/text/postprocessor.h"

#include <errno.h>
#include <string.h>

#include "compute/text/fields.h"
#include "compute/text/parts.h"

/* What one template adds; a sequence of templates wraps outwards. */
struct wrapping {
	uint32_t before[POSTPROCESSOR_IDS_MAX], after[POSTPROCESSOR_IDS_MAX];
	unsigned before_count, after_count;
	bool inside;                 /* the text itself has been seen */
};

static int add_id(struct wrapping *w, const json_t *id, const char *path, const struct vocab *v,
		  struct error *e)
{
	unsigned *count = w->inside ? &w->after_count : &w->before_count;
	json_int_t value = json_integer_value(id);

	if (!json_is_integer(id) || value < 0 || value > UINT32_MAX ||
	    !vocab_has(v, (uint32_t)value))
		return error_set(e, -EINVAL, "%s.id does not stand for a token we have", path);
	if (*count == POSTPROCESSOR_IDS_MAX)
		return error_set(e, -ENOTSUP, "%s: more than %d added ids are not supported", path,
				 POSTPROCESSOR_IDS_MAX);
	(w->inside ? w->after : w->before)[(*count)++] = (uint32_t)value;
	return 0;
}

/* A special token of the template: its ids stand in special_tokens. */
static int add_special(struct wrapping *w, const json_t *node, const json_t *special,
		       const char *path, const struct vocab *v, struct error *e)
{
	struct field_text name;
	const json_t *ids;
	int rc = field_text(special, "id", path, &name, e);

	if (rc < 0)
		return rc;
	ids = json_object_get(json_object_get(json_object_get(node, "special_tokens"), name.data),
			      "ids");
	if (!json_is_array(ids))
		return error_set(e, -EINVAL, "%s.id \"%.40s\" has no ids in special_tokens", path,
				 name.data);
	for (size_t i = 0; rc == 0 && i < json_array_size(ids); i++)
		rc = add_id(w, json_array_get(ids, i), path, v, e);
	return rc;
}

static int add_piece(struct wrapping *w, const json_t *node, const json_t *piece,
		     const char *path, const struct vocab *v, struct error *e)
{
	const json_t *special = json_object_get(piece, "SpecialToken");
	const json_t *sequence = json_object_get(piece, "Sequence");
	const char *id = json_string_value(json_object_get(sequence, "id"));

	if (special)
		return add_special(w, node, special, path, v, e);
	if (!id || strcmp(id, "A") != 0 || w->inside)
		return error_set(e, -ENOTSUP, "%s is neither a special token nor sequence A, once",
				 path);
	w->inside = true;
	return 0;
}

static int wrap(struct postprocessor *p, const struct wrapping *w, const char *path,
		struct error *e)
{
	if (p->before_count + w->before_count > POSTPROCESSOR_IDS_MAX ||
	    p->after_count + w->after_count > POSTPROCESSOR_IDS_MAX)
		return error_set(e, -ENOTSUP, "%s: more than %d added ids are not supported", path,
				 POSTPROCESSOR_IDS_MAX);
	memmove(p->before + w->before_count, p->before, p->before_count * sizeof(*p->before));
	memcpy(p->before, w->before, w->before_count * sizeof(*p->before));
	memcpy(p->after + p->after_count, w->after, w->after_count * sizeof(*p->after));
	p->before_count += w->before_count;
	p->after_count += w->after_count;
	return 0;
}

static int read_template(struct postprocessor *p, const json_t *node, const char *path,
			 const struct vocab *v, struct error *e)
{
	char below[FIELD_PATH_BYTES];
	struct wrapping w = { 0 };
	const json_t *single;
	int rc = field_array(node, "single", path, &single, e);

	for (size_t i = 0; rc == 0 && i < json_array_size(single); i++) {
		snprintf(below, sizeof(below), "%s.single[%zu]", path, i);
		rc = add_piece(&w, node, json_array_get(single, i), below, v, e);
	}
	if (rc == 0 && !w.inside)
		rc = error_set(e, -ENOTSUP, "%s.single leaves the text out", path);
	return rc < 0 ? rc : wrap(p, &w, path, e);
}

struct reading {
	struct postprocessor *p;
	const struct vocab *v;
};

static int take_part(void *into, const char *type, const json_t *node, const char *path,
		     struct error *e)
{
	const struct reading *r = into;

	if (strcmp(type, "ByteLevel") == 0)     /* that one moves offsets only */
		return 0;
	if (strcmp(type, "TemplateProcessing") == 0)
		return read_template(r->p, node, path, r->v, e);
	return part_refuse(type, path, e);
}

int postprocessor_read(struct postprocessor *p, const json_t *node, const char *path,
		       const struct vocab *v, struct error *e)
{
	struct reading r = { .p = p, .v = v };

	return parts_read(&r, take_part, node, "processors", path, e);
}
