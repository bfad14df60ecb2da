/* unicode_form.c - decomposes, orders marks, composes.
 *
 * utf8proc has the tables and the composition.  Its own ordering of marks is
 * quadratic in the length of a run of them, which a hostile prompt can choose,
 * so runs are ordered here by counting.
 */
#include "compute/text/unicode_form.h"

#include <errno.h>
#include <string.h>
#include <utf8proc.h>

#include "compute/text/utf8.h"
#include "dataplane/base/memory.h"

enum {
	FIRST_CHARACTER_TO_CHANGE = 0x300,  /* in NFC; other forms: 0x80 */
	DECOMPOSITION_MAX = 32,             /* U+FDFA becomes 18 characters */
	CLASSES = 256,
};

static const utf8proc_option_t form_options[] = {
	[UNICODE_NFC] = UTF8PROC_DECOMPOSE,
	[UNICODE_NFD] = UTF8PROC_DECOMPOSE,
	[UNICODE_NFKC] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
	[UNICODE_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
};

struct characters {
	utf8proc_int32_t *list;
	size_t count, capacity;
};

static int push(struct characters *c, const utf8proc_int32_t *list, size_t count)
{
	if (c->count + count > c->capacity) {
		size_t capacity = MAX(c->capacity * 2, c->count + count + 64);
		void *grown = mem_realloc(c->list, capacity * sizeof(*c->list));

		if (!grown)
			return -ENOMEM;
		c->list = grown;
		c->capacity = capacity;
	}
	memcpy(c->list + c->count, list, count * sizeof(*list));
	c->count += count;
	return 0;
}

static bool is_settled(const char *text, size_t bytes, enum unicode_form form)
{
	uint32_t least = form == UNICODE_NFC ? FIRST_CHARACTER_TO_CHANGE : 0x80;
	uint32_t c;

	for (size_t at = 0; at < bytes;) {
		at += utf8_next(text + at, bytes - at, &c);
		if (c >= least)
			return false;
	}
	return true;
}

static int decompose(struct characters *out, const char *text, size_t bytes,
		     enum unicode_form form)
{
	utf8proc_int32_t parts[DECOMPOSITION_MAX];
	uint32_t c;
	int rc = 0;

	for (size_t at = 0; at < bytes && rc == 0;) {
		utf8proc_ssize_t n;
		int boundary = 0;

		at += utf8_next(text + at, bytes - at, &c);
		n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, DECOMPOSITION_MAX,
					    form_options[form], &boundary);
		assert(n > 0 && n <= DECOMPOSITION_MAX);
		rc = push(out, parts, (size_t)n);
	}
	return rc;
}

static unsigned class_of(utf8proc_int32_t c)
{
	return (unsigned)utf8proc_get_property(c)->combining_class & (CLASSES - 1);
}

/* Stable, by combining class. */
static void order_run(utf8proc_int32_t *run, size_t count, utf8proc_int32_t *spare)
{
	size_t first[CLASSES + 1] = { 0 };

	for (size_t i = 0; i < count; i++)
		first[class_of(run[i]) + 1]++;
	for (size_t i = 1; i <= CLASSES; i++)
		first[i] += first[i - 1];
	for (size_t i = 0; i < count; i++)
		spare[first[class_of(run[i])]++] = run[i];
	memcpy(run, spare, count * sizeof(*run));
}

static int order_marks(struct characters *c)
{
	utf8proc_int32_t *spare = mem_alloc(c->count * sizeof(*spare));
	size_t start = 0;

	if (!spare)
		return -ENOMEM;
	while (start < c->count) {
		size_t end = start;

		while (end < c->count && class_of(c->list[end]) != 0)
			end++;
		if (end - start > 1)
			order_run(c->list + start, end - start, spare);
		start = end + 1;
	}
	mem_free(spare);
	return 0;
}

int unicode_form_append(struct buffer *out, const char *text, size_t bytes,
			enum unicode_form form)
{
	struct characters c = { 0 };
	int rc;

	if (is_settled(text, bytes, form)) {
		buffer_append(out, text, bytes);
		return buffer_failed(out);
	}
	rc = decompose(&c, text, bytes, form);
	if (rc == 0)
		rc = order_marks(&c);
	if (rc == 0 && (form == UNICODE_NFC || form == UNICODE_NFKC))
		c.count = (size_t)utf8proc_normalize_utf32(c.list, (utf8proc_ssize_t)c.count,
							   UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	for (size_t i = 0; i < c.count && rc == 0; i++)
		utf8_append(out, (uint32_t)c.list[i]);
	mem_free(c.list);
	return rc < 0 ? rc : buffer_failed(out);
}
