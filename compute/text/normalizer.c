/* normalizer.c - owns the steps that rewrite text before it is cut. */
#include "compute/text/normalizer.h"

#include <errno.h>
#include <string.h>
#include <utf8proc.h>

#include "compute/text/fields.h"
#include "compute/text/parts.h"
#include "compute/text/unicode_form.h"
#include "compute/text/utf8.h"
#include "dataplane/base/memory.h"

static const struct {
	const char *type;
	enum normalizer_kind kind;
} kinds[] = {
	{ "NFC", NORMALIZE_NFC },
	{ "NFD", NORMALIZE_NFD },
	{ "NFKC", NORMALIZE_NFKC },
	{ "NFKD", NORMALIZE_NFKD },
	{ "Lowercase", NORMALIZE_LOWERCASE },
	{ "Replace", NORMALIZE_REPLACE },
	{ "Prepend", NORMALIZE_PREPEND },
	{ "Strip", NORMALIZE_STRIP },
};

static int read_content(struct normalizer_step *step, const json_t *node, const char *key,
			const char *path, struct error *e)
{
	struct field_text text;
	int rc = field_text(node, key, path, &text, e);

	if (rc < 0)
		return rc;
	step->content = mem_strdup(text.data);
	return step->content ? 0 : error_errno(e, -ENOMEM, "%s", path);
}

static int read_step(struct normalizer_step *step, const json_t *node, const char *path,
		     struct error *e)
{
	int rc;

	switch (step->kind) {
	case NORMALIZE_REPLACE:
		rc = pattern_read(&step->pattern, node, "pattern", path, e);
		return rc < 0 ? rc : read_content(step, node, "content", path, e);
	case NORMALIZE_PREPEND:
		return read_content(step, node, "prepend", path, e);
	case NORMALIZE_STRIP:
		rc = field_flag(node, "strip_left", path, true, &step->left, e);
		return rc < 0 ? rc
			      : field_flag(node, "strip_right", path, true, &step->right, e);
	default:
		return 0;
	}
}

static int take_part(void *into, const char *type, const json_t *node, const char *path,
		     struct error *e)
{
	struct normalizer *n = into;

	if (n->count == NORMALIZER_STEPS_MAX)
		return error_set(e, -ENOTSUP, "%s: more than %d normalizers are not supported",
				 path, NORMALIZER_STEPS_MAX);
	for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
		if (strcmp(kinds[i].type, type) == 0) {
			n->steps[n->count].kind = kinds[i].kind;
			return read_step(&n->steps[n->count++], node, path, e);
		}
	}
	return part_refuse(type, path, e);
}

int normalizer_read(struct normalizer *n, const json_t *node, const char *path, struct error *e)
{
	return parts_read(n, take_part, node, "normalizers", path, e);
}

int normalizer_add(struct normalizer *n, enum normalizer_kind kind, const char *find,
		   const char *content)
{
	struct normalizer_step *step = &n->steps[n->count];

	assert(n->count < NORMALIZER_STEPS_MAX && kind != NORMALIZE_STRIP);
	n->count++;
	step->kind = kind;
	if (find && pattern_set_text(&step->pattern, find, strlen(find)) < 0)
		return -ENOMEM;
	if (content && !(step->content = mem_strdup(content)))
		return -ENOMEM;
	return 0;
}

void normalizer_close(struct normalizer *n)
{
	for (unsigned i = 0; i < n->count; i++) {
		pattern_close(&n->steps[i].pattern);
		mem_free(n->steps[i].content);
	}
	*n = (struct normalizer){ 0 };
}

static void lowercase(struct buffer *out, const char *text, size_t bytes)
{
	uint32_t c;

	for (size_t at = 0; at < bytes;) {
		at += utf8_next(text + at, bytes - at, &c);
		if (c == 0x130) {            /* the one that becomes two characters */
			utf8_append(out, 'i');
			utf8_append(out, 0x307);
		} else {
			utf8_append(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
		}
	}
}

static void strip(struct buffer *out, const char *text, size_t bytes, bool left, bool right)
{
	size_t start = 0, end = bytes;
	uint32_t c;

	while (left && start < end) {
		size_t n = utf8_next(text + start, end - start, &c);

		if (!character_is_space(c))
			break;
		start += n;
	}
	while (right && end > start) {
		size_t before = utf8_before(text, end);

		utf8_next(text + before, end - before, &c);
		if (!character_is_space(c))
			break;
		end = before;
	}
	buffer_append(out, text + start, end - start);
}

static int run_step(const struct normalizer_step *step, struct regex_scratch *s,
		    const struct buffer *text, struct buffer *out, struct error *e)
{
	const char *data = buffer_string(text);

	switch (step->kind) {
	case NORMALIZE_NFC:
		return unicode_form_append(out, data, text->length, UNICODE_NFC);
	case NORMALIZE_NFD:
		return unicode_form_append(out, data, text->length, UNICODE_NFD);
	case NORMALIZE_NFKC:
		return unicode_form_append(out, data, text->length, UNICODE_NFKC);
	case NORMALIZE_NFKD:
		return unicode_form_append(out, data, text->length, UNICODE_NFKD);
	case NORMALIZE_LOWERCASE:
		lowercase(out, data, text->length);
		return 0;
	case NORMALIZE_REPLACE:
		return pattern_replace(&step->pattern, s, data, text->length, step->content, out,
				       e);
	case NORMALIZE_PREPEND:
		if (text->length > 0)
			buffer_text(out, step->content);
		buffer_append(out, data, text->length);
		return 0;
	case NORMALIZE_STRIP:
		strip(out, data, text->length, step->left, step->right);
		return 0;
	}
	return 0;
}

int normalizer_run(const struct normalizer *n, struct regex_scratch *s, struct buffer *text,
		   struct buffer *spare, struct error *e)
{
	int rc = 0;

	for (unsigned i = 0; i < n->count && rc == 0; i++) {
		struct buffer swap;

		buffer_clear(spare);
		rc = run_step(&n->steps[i], s, text, spare, e);
		if (rc == -ENOMEM || (rc == 0 && buffer_failed(spare)))
			return error_errno(e, -ENOMEM, "normalising %zu bytes", text->length);
		swap = *text;
		*text = *spare;
		*spare = swap;
	}
	return rc;
}
