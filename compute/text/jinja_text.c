/* jinja_text.c - owns texts seen as Python sees them. */
#include "compute/text/jinja_text.h"

#include <errno.h>
#include <string.h>
#include <utf8proc.h>

#include "compute/text/utf8.h"

size_t text_characters(struct text t)
{
	size_t count = 0;

	for (size_t i = 0; i < t.bytes; i++)
		count += ((uint8_t)t.data[i] & 0xC0) != 0x80;
	return count;
}

size_t text_character(struct text t, size_t at)
{
	uint32_t c;

	return utf8_next(t.data + at, t.bytes - at, &c);
}

size_t text_offset(struct text t, size_t characters)
{
	size_t at = 0;

	while (characters > 0 && at < t.bytes) {
		at += text_character(t, at);
		characters--;
	}
	return at;
}

int64_t text_find(struct text t, struct text what, size_t from)
{
	const char *found;

	if (from > t.bytes)
		return -1;
	if (what.bytes == 0)
		return (int64_t)from;
	found = t.bytes ? memmem(t.data + from, t.bytes - from, what.data, what.bytes) : NULL;
	return found ? found - t.data : -1;
}

int64_t text_find_last(struct text t, struct text what)
{
	if (what.bytes > t.bytes)
		return -1;
	for (size_t at = t.bytes - what.bytes + 1; at-- > 0;)
		if (memcmp(t.data + at, what.data, what.bytes) == 0)
			return (int64_t)at;
	return -1;
}

bool text_starts(struct text t, struct text with)
{
	return with.bytes <= t.bytes &&
	       (with.bytes == 0 || memcmp(t.data, with.data, with.bytes) == 0);
}

bool text_ends(struct text t, struct text with)
{
	return with.bytes <= t.bytes &&
	       (with.bytes == 0 ||
		memcmp(t.data + t.bytes - with.bytes, with.data, with.bytes) == 0);
}

/* Python counts the separators U+001C to U+001F as white space. */
bool text_is_space(uint32_t c)
{
	return character_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

static bool belongs(struct text t, size_t at, size_t n, const struct text *characters)
{
	uint32_t c;

	if (characters)
		return text_find(*characters, (struct text){ t.data + at, n }, 0) >= 0;
	utf8_next(t.data + at, n, &c);
	return text_is_space(c);
}

struct text text_strip(struct text t, const struct text *characters, unsigned ends)
{
	while ((ends & STRIP_LEFT) && t.bytes > 0) {
		size_t n = text_character(t, 0);

		if (!belongs(t, 0, n, characters))
			break;
		t.data += n;
		t.bytes -= n;
	}
	while ((ends & STRIP_RIGHT) && t.bytes > 0) {
		size_t at = utf8_before(t.data, t.bytes);

		if (!belongs(t, at, t.bytes - at, characters))
			break;
		t.bytes = at;
	}
	return t;
}

static void append_upper(struct buffer *out, uint32_t c)
{
	if (c == 0xDF)               /* its capital is two letters */
		buffer_text(out, "SS");
	else
		utf8_append(out, (uint32_t)utf8proc_toupper((utf8proc_int32_t)c));
}

static void append_lower(struct buffer *out, uint32_t c)
{
	if (c == 0x130)
		buffer_text(out, "i\xCC\x87");
	else
		utf8_append(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

static bool is_cased(uint32_t c)
{
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
		return true;
	default:
		return false;
	}
}

/* What separates words for Jinja's title filter. */
static bool separates(uint32_t c)
{
	return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || text_is_space(c);
}

static bool wants_upper(enum text_case how, bool first, uint32_t previous)
{
	switch (how) {
	case CASE_UPPER:
		return true;
	case CASE_LOWER:
		return false;
	case CASE_CAPITALIZE:
		return first;
	case CASE_TITLE:
		return first || !is_cased(previous);
	case CASE_TITLE_FILTER:
		return first || separates(previous);
	}
	return false;
}

struct value text_recase(struct run *r, struct text t, enum text_case how)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	uint32_t c, previous = 0;

	run_charge(r, t.bytes);
	for (size_t at = 0; at < t.bytes && !run_failed(r);) {
		bool first = at == 0;

		at += utf8_next(t.data + at, t.bytes - at, &c);
		if (wants_upper(how, first, previous))
			append_upper(&out, c);
		else
			append_lower(&out, c);
		previous = c;
	}
	return run_text(r, &out);
}

struct value text_replace(struct run *r, struct text t, struct text old, struct text by,
			  int64_t most)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	size_t at = 0;

	run_charge(r, t.bytes);
	while (most != 0 && !run_failed(r) && !buffer_failed(&out)) {
		int64_t found = text_find(t, old, at);

		if (found < 0)
			break;
		buffer_append(&out, t.data + at, (size_t)found - at);
		buffer_append(&out, by.data, by.bytes);
		at = (size_t)found + old.bytes;
		most -= most > 0;
		if (old.bytes == 0) {        /* between all characters */
			size_t n;

			if (at >= t.bytes)
				break;
			n = text_character(t, at);
			buffer_append(&out, t.data + at, n);
			at += n;
		}
	}
	buffer_append(&out, t.data + at, t.bytes - at);
	return run_text(r, &out);
}

static void push_view(struct run *r, struct list *l, struct text t, size_t start, size_t end)
{
	value_list_push(r, l, value_text((struct text){ t.data + start, end - start }));
}

static struct value split_spaces(struct run *r, struct text t, int64_t most)
{
	struct value list = value_list(r, VALUE_LIST, 0);

	t = text_strip(t, NULL, STRIP_LEFT);
	while (t.bytes > 0 && !run_failed(r)) {
		size_t at = 0;

		if (most == 0) {
			value_list_push(r, list.list, value_text(text_strip(t, NULL, STRIP_RIGHT)));
			break;
		}
		while (at < t.bytes && !belongs(t, at, text_character(t, at), NULL))
			at += text_character(t, at);
		push_view(r, list.list, t, 0, at);
		t = text_strip((struct text){ t.data + at, t.bytes - at }, NULL, STRIP_LEFT);
		most -= most > 0;
	}
	return list;
}

struct value text_split(struct run *r, struct text t, const struct text *separator, int64_t most)
{
	struct value list;
	size_t at = 0;

	run_charge(r, t.bytes);
	if (!separator)
		return split_spaces(r, t, most);
	list = value_list(r, VALUE_LIST, 0);
	if (separator->bytes == 0)
		run_fail(r, -EINVAL, "split by an empty separator");
	while (most != 0 && !run_failed(r)) {
		int64_t found = text_find(t, *separator, at);

		if (found < 0)
			break;
		push_view(r, list.list, t, at, (size_t)found);
		at = (size_t)found + separator->bytes;
		most -= most > 0;
	}
	push_view(r, list.list, t, at, t.bytes);
	return list;
}

struct value text_split_last(struct run *r, struct text t, const struct text *separator,
			     int64_t most)
{
	struct value list, backwards;
	size_t end = t.bytes;

	run_charge(r, t.bytes);
	if (most < 0)
		return text_split(r, t, separator, most);
	list = value_list(r, VALUE_LIST, 0);
	backwards = value_list(r, VALUE_LIST, 0);
	if (!separator || separator->bytes == 0) {
		run_fail(r, -ENOTSUP, "rsplit with a limit needs a separator");
		return list;
	}
	while (most-- > 0 && !run_failed(r)) {
		int64_t found = text_find_last((struct text){ t.data, end }, *separator);

		run_charge(r, end);
		if (found < 0)
			break;
		push_view(r, backwards.list, t, (size_t)found + separator->bytes, end);
		end = (size_t)found;
	}
	push_view(r, list.list, t, 0, end);
	for (size_t i = backwards.list ? backwards.list->count : 0; i-- > 0;)
		value_list_push(r, list.list, backwards.list->items[i]);
	return list;
}

/* Where the line end at `at` stops; `at` when there is none. */
static size_t line_end(struct text t, size_t at)
{
	uint32_t c;
	size_t n = utf8_next(t.data + at, t.bytes - at, &c);

	if (c == '\r' && at + 1 < t.bytes && t.data[at + 1] == '\n')
		return at + 2;
	if ((c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
	    c == 0x2029)
		return at + n;
	return at;
}

struct value text_lines(struct run *r, struct text t)
{
	struct value list = value_list(r, VALUE_LIST, 0);
	size_t start = 0, at = 0;

	run_charge(r, t.bytes);
	while (at < t.bytes && !run_failed(r)) {
		size_t end = line_end(t, at);

		if (end == at) {
			at += text_character(t, at);
			continue;
		}
		push_view(r, list.list, t, start, at);
		start = at = end;
	}
	if (start < t.bytes)
		push_view(r, list.list, t, start, t.bytes);
	return list;
}
