/* pattern.c - owns literal and regular patterns behind one find. */
#include "compute/text/pattern.h"

#include <errno.h>
#include <string.h>

#include "compute/text/fields.h"
#include "compute/text/utf8.h"
#include "dataplane/base/memory.h"

int pattern_set_text(struct pattern *p, const char *text, size_t bytes)
{
	p->text = mem_alloc(bytes + 1);
	if (!p->text)
		return -ENOMEM;
	memcpy(p->text, text, bytes);
	p->text[bytes] = '\0';
	p->bytes = bytes;
	return 0;
}

int pattern_set_regex(struct pattern *p, const char *regex, struct error *e)
{
	return regex_open(&p->regex, regex, strlen(regex), e);
}

int pattern_read(struct pattern *p, const json_t *object, const char *key, const char *path,
		 struct error *e)
{
	char below[FIELD_PATH_BYTES];
	struct field_text text, regex;
	const json_t *node;
	int rc;

	rc = field_object(object, key, path, &node, e);
	if (rc < 0)
		return rc;
	snprintf(below, sizeof(below), "%s.%s", path, key);
	rc = field_text_or_none(node, "String", below, &text, e);
	if (rc < 0)
		return rc;
	rc = field_text_or_none(node, "Regex", below, &regex, e);
	if (rc < 0)
		return rc;
	if (text.data) {
		rc = pattern_set_text(p, text.data, text.bytes);
		return rc < 0 ? error_errno(e, rc, "%s", below) : 0;
	}
	if (!regex.data)
		return error_set(e, -EINVAL, "%s has neither String nor Regex", below);
	rc = regex_open(&p->regex, regex.data, regex.bytes, e);
	return rc < 0 ? error_wrap(e, "%s.Regex", below) : 0;
}

void pattern_close(struct pattern *p)
{
	regex_close(p->regex);
	mem_free(p->text);
	*p = (struct pattern){ 0 };
}

int pattern_find(const struct pattern *p, struct regex_scratch *s, const char *text, size_t bytes,
		 size_t from, struct regex_match *out, struct error *e)
{
	const char *found;

	if (p->regex)
		return regex_find(p->regex, s, text, bytes, from, out, e);
	if (p->bytes == 0 || from > bytes)
		return 0;
	found = memmem(text + from, bytes - from, p->text, p->bytes);
	if (!found)
		return 0;
	out->start = (size_t)(found - text);
	out->end = out->start + p->bytes;
	return 1;
}

int pattern_replace(const struct pattern *p, struct regex_scratch *s, const char *text,
		    size_t bytes, const char *content, struct buffer *out, struct error *e)
{
	struct regex_match m;
	size_t copied = 0, from = 0;
	uint32_t c;
	int rc;

	while ((rc = pattern_find(p, s, text, bytes, from, &m, e)) > 0) {
		buffer_append(out, text + copied, m.start - copied);
		buffer_text(out, content);
		copied = m.end;
		from = m.end;
		if (m.end == bytes)
			break;
		if (m.start == m.end)
			from += utf8_next(text + from, bytes - from, &c);
	}
	if (rc < 0)
		return rc;
	buffer_append(out, text + copied, bytes - copied);
	return 0;
}
