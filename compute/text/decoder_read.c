/* decoder_read.c - builds a decoder from tokenizer.json; refuses chains that
 * cannot be streamed token by token.
 */
#include "compute/text/decoder.h"

#include <errno.h>
#include <string.h>

#include "compute/text/fields.h"
#include "compute/text/parts.h"
#include "dataplane/base/memory.h"

enum { STRIP_MAX = 1 << 20 };

/* NULL when there are too many. */
static struct decoder_step *add_step(struct decoder *d, enum decoder_kind kind, const char *path,
				     struct error *e)
{
	if (d->count == DECODER_STEPS_MAX) {
		error_set(e, -ENOTSUP, "%s: more than %d decoders are not supported", path,
			  DECODER_STEPS_MAX);
		return NULL;
	}
	d->steps[d->count].kind = kind;
	return &d->steps[d->count++];
}

static int refuse_fused(const char *path, struct error *e)
{
	return error_set(e, -ENOTSUP, "%s: this decoder is not supported after tokens were joined",
			 path);
}

static int read_byte_level(struct decoder *d, const json_t *node, const char *path,
			   struct error *e)
{
	if (d->fused || d->byte_fallback || d->count == DECODER_STEPS_MAX)
		return refuse_fused(path, e);
	decoder_set_byte_level(d);
	return 0;
}

static int read_byte_fallback(struct decoder *d, const json_t *node, const char *path,
			      struct error *e)
{
	if (d->fused)
		return refuse_fused(path, e);
	d->byte_fallback = true;
	return 0;
}

static int read_fuse(struct decoder *d, const json_t *node, const char *path, struct error *e)
{
	d->fused = true;
	return 0;
}

static int read_replace(struct decoder *d, const json_t *node, const char *path, struct error *e)
{
	struct decoder_step *step = add_step(d, DECODE_REPLACE, path, e);
	struct field_text content;
	uint32_t c;
	int rc;

	if (!step)
		return -ENOTSUP;
	rc = pattern_read(&step->pattern, node, "pattern", path, e);
	if (rc == 0)
		rc = field_text(node, "content", path, &content, e);
	if (rc < 0)
		return rc;
	if (d->byte_level)
		return refuse_fused(path, e);
	/* A single character cannot be spread over two tokens. */
	if (d->fused && (step->pattern.regex || step->pattern.bytes == 0 ||
			 utf8_next(step->pattern.text, step->pattern.bytes, &c) !=
				 step->pattern.bytes))
		return refuse_fused(path, e);
	step->content = mem_strdup(content.data);
	return step->content ? 0 : error_errno(e, -ENOMEM, "%s", path);
}

static int read_strip(struct decoder *d, const json_t *node, const char *path, struct error *e)
{
	struct decoder_step *step;
	struct field_text content;
	uint64_t start = 0, stop = 0;
	uint32_t c;
	int rc = field_text(node, "content", path, &content, e);

	if (rc == 0)
		rc = field_count(node, "start", path, STRIP_MAX, &start, e);
	if (rc == 0)
		rc = field_count(node, "stop", path, STRIP_MAX, &stop, e);
	if (rc < 0)
		return rc;
	if (content.bytes == 0 || utf8_next(content.data, content.bytes, &c) != content.bytes)
		return error_set(e, -EINVAL, "%s.content is not one character", path);
	if (d->fused) {
		if (start > 1 || stop > 0 || d->first_differs || d->strip_first_bytes)
			return refuse_fused(path, e);
		memcpy(d->strip_first, content.data, content.bytes);
		d->strip_first_bytes = start ? content.bytes : 0;
		return 0;
	}
	step = add_step(d, DECODE_STRIP, path, e);
	if (!step)
		return -ENOTSUP;
	memcpy(step->character, content.data, content.bytes);
	step->character_bytes = content.bytes;
	step->start = (unsigned)start;
	step->stop = (unsigned)stop;
	return 0;
}

static int read_metaspace(struct decoder *d, const json_t *node, const char *path,
			  struct error *e)
{
	struct decoder_step *step;
	enum prepend_scheme prepend;
	int rc;

	if (d->fused)
		return refuse_fused(path, e);
	step = add_step(d, DECODE_METASPACE, path, e);
	if (!step)
		return -ENOTSUP;
	rc = metaspace_read(node, path, step->character, &step->character_bytes, &prepend, e);
	if (rc < 0)
		return rc;
	step->drops_first = prepend != PREPEND_NEVER;
	d->first_differs |= step->drops_first;
	return 0;
}

static const struct {
	const char *type;
	int (*read)(struct decoder *d, const json_t *node, const char *path, struct error *e);
} kinds[] = {
	{ "ByteLevel", read_byte_level },
	{ "ByteFallback", read_byte_fallback },
	{ "Fuse", read_fuse },
	{ "Replace", read_replace },
	{ "Strip", read_strip },
	{ "Metaspace", read_metaspace },
};

static int take_part(void *into, const char *type, const json_t *node, const char *path,
		     struct error *e)
{
	for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
		if (strcmp(kinds[i].type, type) == 0)
			return kinds[i].read(into, node, path, e);
	return part_refuse(type, path, e);
}

int decoder_read(struct decoder *d, const json_t *node, const char *path, struct error *e)
{
	if (!node || json_is_null(node))
		return 0;
	d->joined = true;
	return parts_read(d, take_part, node, "decoders", path, e);
}
