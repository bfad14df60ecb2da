/* jinja_methods.c - the methods of texts and dicts that templates may call;
 * those that would change a value are not among them.
 */
#include "compute/text/jinja_table.h"

#include <errno.h>

#include "compute/text/jinja_eval.h"
#include "compute/text/jinja_format.h"
#include "compute/text/jinja_print.h"
#include "compute/text/jinja_text.h"

static struct value strip_ends(struct run *r, struct value self, const struct arguments *a,
			       unsigned ends)
{
	struct value chars = argument(a, 0, "chars");

	run_charge(r, self.text.bytes);
	if (chars.kind != VALUE_UNDEFINED && chars.kind != VALUE_NONE && chars.kind != VALUE_TEXT)
		run_fail(r, -EINVAL, "a %s cannot be stripped", value_type(chars));
	return value_text(text_strip(self.text, chars.kind == VALUE_TEXT ? &chars.text : NULL,
				     ends));
}

static struct value text_strip_both(struct run *r, struct value self, const struct arguments *a)
{
	return strip_ends(r, self, a, STRIP_LEFT | STRIP_RIGHT);
}

static struct value text_strip_left(struct run *r, struct value self, const struct arguments *a)
{
	return strip_ends(r, self, a, STRIP_LEFT);
}

static struct value text_strip_right(struct run *r, struct value self, const struct arguments *a)
{
	return strip_ends(r, self, a, STRIP_RIGHT);
}

static struct value split_with(struct run *r, struct value self, const struct arguments *a,
			       struct value (*split)(struct run *r, struct text t,
						     const struct text *separator, int64_t most))
{
	struct value separator = argument(a, 0, "sep");
	int64_t most = argument_whole(r, a, 1, "maxsplit", -1);

	if (separator.kind == VALUE_UNDEFINED || separator.kind == VALUE_NONE)
		return split(r, self.text, NULL, most);
	if (separator.kind != VALUE_TEXT) {
		run_fail(r, -EINVAL, "sep is a %s, expected a str", value_type(separator));
		return self;
	}
	return split(r, self.text, &separator.text, most);
}

static struct value method_split(struct run *r, struct value self, const struct arguments *a)
{
	return split_with(r, self, a, text_split);
}

static struct value method_rsplit(struct run *r, struct value self, const struct arguments *a)
{
	return split_with(r, self, a, text_split_last);
}

static struct value method_lines(struct run *r, struct value self, const struct arguments *a)
{
	return text_lines(r, self.text);
}

static struct value method_upper(struct run *r, struct value self, const struct arguments *a)
{
	return text_recase(r, self.text, CASE_UPPER);
}

static struct value method_lower(struct run *r, struct value self, const struct arguments *a)
{
	return text_recase(r, self.text, CASE_LOWER);
}

static struct value method_title(struct run *r, struct value self, const struct arguments *a)
{
	return text_recase(r, self.text, CASE_TITLE);
}

static struct value method_capitalize(struct run *r, struct value self, const struct arguments *a)
{
	return text_recase(r, self.text, CASE_CAPITALIZE);
}

/* A text, or a tuple of texts any of which will do. */
static struct value try_affixes(struct run *r, struct value self, const struct arguments *a,
				const char *name, bool (*has)(struct text t, struct text affix))
{
	struct value affix = argument(a, 0, name);
	bool any = false;

	if (affix.kind == VALUE_TEXT)
		return value_bool(has(self.text, affix.text));
	if (affix.kind != VALUE_TUPLE)
		run_fail(r, -EINVAL, "%s is a %s, expected a str", name, value_type(affix));
	for (size_t i = 0; affix.kind == VALUE_TUPLE && i < affix.list->count && !any; i++)
		any = affix.list->items[i].kind == VALUE_TEXT &&
		      has(self.text, affix.list->items[i].text);
	return value_bool(any);
}

static struct value method_starts(struct run *r, struct value self, const struct arguments *a)
{
	return try_affixes(r, self, a, "prefix", text_starts);
}

static struct value method_ends(struct run *r, struct value self, const struct arguments *a)
{
	return try_affixes(r, self, a, "suffix", text_ends);
}

static struct value method_remove_prefix(struct run *r, struct value self,
					 const struct arguments *a)
{
	struct text t = self.text, prefix = argument_text(r, a, 0, "prefix", TEXT(""));

	if (text_starts(t, prefix))
		t = (struct text){ t.data + prefix.bytes, t.bytes - prefix.bytes };
	return value_text(t);
}

static struct value method_remove_suffix(struct run *r, struct value self,
					 const struct arguments *a)
{
	struct text t = self.text, suffix = argument_text(r, a, 0, "suffix", TEXT(""));

	if (text_ends(t, suffix))
		t.bytes -= suffix.bytes;
	return value_text(t);
}

static struct value method_replace(struct run *r, struct value self, const struct arguments *a)
{
	struct text old = argument_text(r, a, 0, "old", TEXT(""));
	struct text by = argument_text(r, a, 1, "new", TEXT(""));

	return text_replace(r, self.text, old, by, argument_whole(r, a, 2, "count", -1));
}

static struct value method_find(struct run *r, struct value self, const struct arguments *a)
{
	int64_t at = text_find(self.text, argument_text(r, a, 0, "sub", TEXT("")), 0);

	run_charge(r, self.text.bytes);
	if (at > 0)
		at = (int64_t)text_characters((struct text){ self.text.data, (size_t)at });
	return value_integer(at);
}

static struct value method_index(struct run *r, struct value self, const struct arguments *a)
{
	struct value at = method_find(r, self, a);

	if (at.integer < 0)
		run_fail(r, -EINVAL, "the text to find is not there");
	return at;
}

static struct value method_count(struct run *r, struct value self, const struct arguments *a)
{
	struct text what = argument_text(r, a, 0, "sub", TEXT(""));
	int64_t count = 0, at = 0;

	run_charge(r, self.text.bytes);
	if (what.bytes == 0)
		return value_integer((int64_t)text_characters(self.text) + 1);
	while ((at = text_find(self.text, what, (size_t)at)) >= 0) {
		at += (int64_t)what.bytes;
		count++;
	}
	return value_integer(count);
}

static struct value method_list_count(struct run *r, struct value self, const struct arguments *a)
{
	int64_t count = 0;

	for (size_t i = 0; self.list && i < self.list->count; i++)
		count += value_equal(r, self.list->items[i], argument(a, 0, "value"));
	return value_integer(count);
}

static struct value method_list_index(struct run *r, struct value self, const struct arguments *a)
{
	for (size_t i = 0; self.list && i < self.list->count; i++)
		if (value_equal(r, self.list->items[i], argument(a, 0, "value")))
			return value_integer((int64_t)i);
	run_fail(r, -EINVAL, "the item to find is not there");
	return self;
}

static struct value method_join(struct run *r, struct value self, const struct arguments *a)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	const struct list *items = value_iterate(r, argument(a, 0, "iterable"));

	for (size_t i = 0; i < items->count && !run_failed(r); i++) {
		if (items->items[i].kind != VALUE_TEXT)
			run_fail(r, -EINVAL, "item %zu to join is a %s, expected a str", i,
				 value_type(items->items[i]));
		if (i > 0)
			buffer_append(&out, self.text.data, self.text.bytes);
		print_value(r, &out, items->items[i]);
	}
	return run_text(r, &out);
}

static struct value dict_view(struct run *r, const struct dict *d, bool keys, bool values)
{
	struct value out = value_list(r, VALUE_LIST, d ? d->count : 0), pair;

	for (size_t i = 0; d && i < d->count && !run_failed(r); i++) {
		pair = keys ? d->pairs[i].key : d->pairs[i].value;
		if (keys && values) {
			pair = value_list(r, VALUE_TUPLE, 2);
			value_list_push(r, pair.list, d->pairs[i].key);
			value_list_push(r, pair.list, d->pairs[i].value);
		}
		value_list_push(r, out.list, pair);
	}
	return out;
}

static struct value method_items(struct run *r, struct value self, const struct arguments *a)
{
	return dict_view(r, self.dict, true, true);
}

static struct value method_keys(struct run *r, struct value self, const struct arguments *a)
{
	return dict_view(r, self.dict, true, false);
}

static struct value method_values(struct run *r, struct value self, const struct arguments *a)
{
	return dict_view(r, self.dict, false, true);
}

static struct value method_get(struct run *r, struct value self, const struct arguments *a)
{
	struct value key = argument(a, 0, "key");
	const struct value *found = value_dict_get(r, self.dict, key);

	if (!value_is_hashable(key))
		run_fail(r, -EINVAL, "a %s cannot be a key", value_type(key));
	if (found)
		return *found;
	return argument_given(a, 1, "default") ? argument(a, 1, "default") : value_none();
}

static struct value method_cycle(struct run *r, struct value self, const struct arguments *a)
{
	if (a->count == 0) {
		run_fail(r, -EINVAL, "cycle needs items");
		return self;
	}
	return a->positional[self.loop->index % a->count];
}

#define OF_TEXT (1u << VALUE_TEXT)
#define OF_LIST (1u << VALUE_LIST | 1u << VALUE_TUPLE)
#define OF_DICT (1u << VALUE_DICT)
#define OF_LOOP (1u << VALUE_LOOP)

const struct method_row jinja_methods[] = {
	{ "strip", OF_TEXT, text_strip_both, { { "chars" }, 0, false } },
	{ "lstrip", OF_TEXT, text_strip_left, { { "chars" }, 0, false } },
	{ "rstrip", OF_TEXT, text_strip_right, { { "chars" }, 0, false } },
	{ "split", OF_TEXT, method_split, { { "sep", "maxsplit" }, 0, false } },
	{ "rsplit", OF_TEXT, method_rsplit, { { "sep", "maxsplit" }, 0, false } },
	{ "splitlines", OF_TEXT, method_lines, { { NULL }, 0, false } },
	{ "upper", OF_TEXT, method_upper, { { NULL }, 0, false } },
	{ "lower", OF_TEXT, method_lower, { { NULL }, 0, false } },
	{ "title", OF_TEXT, method_title, { { NULL }, 0, false } },
	{ "capitalize", OF_TEXT, method_capitalize, { { NULL }, 0, false } },
	{ "startswith", OF_TEXT, method_starts, { { "prefix" }, 1, false } },
	{ "endswith", OF_TEXT, method_ends, { { "suffix" }, 1, false } },
	{ "removeprefix", OF_TEXT, method_remove_prefix, { { "prefix" }, 1, false } },
	{ "removesuffix", OF_TEXT, method_remove_suffix, { { "suffix" }, 1, false } },
	{ "replace", OF_TEXT, method_replace, { { "old", "new", "count" }, 2, false } },
	{ "find", OF_TEXT, method_find, { { "sub" }, 1, false } },
	{ "index", OF_TEXT, method_index, { { "sub" }, 1, false } },
	{ "count", OF_TEXT, method_count, { { "sub" }, 1, false } },
	{ "count", OF_LIST, method_list_count, { { "value" }, 1, false } },
	{ "index", OF_LIST, method_list_index, { { "value" }, 1, false } },
	{ "join", OF_TEXT, method_join, { { "iterable" }, 1, false } },
	{ "format", OF_TEXT, format_braces, { { NULL }, 0, true } },
	{ "items", OF_DICT, method_items, { { NULL }, 0, false } },
	{ "keys", OF_DICT, method_keys, { { NULL }, 0, false } },
	{ "values", OF_DICT, method_values, { { NULL }, 0, false } },
	{ "get", OF_DICT, method_get, { { "key", "default" }, 1, false } },
	{ "cycle", OF_LOOP, method_cycle, { { NULL }, 0, true } },
	{ NULL, 0, NULL, { { NULL }, 0, false } },
};
