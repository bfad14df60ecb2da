/* jinja_list_filters.c - filters over items: choosing, ordering, mapping. */
#include "compute/text/jinja_table.h"

#include <errno.h>

#include "compute/text/jinja_eval.h"
#include "compute/text/jinja_print.h"
#include "compute/text/jinja_text.h"

static struct value filter_length(struct run *r, struct value v, const struct arguments *a)
{
	int64_t length = value_length(v);

	run_charge(r, v.kind == VALUE_TEXT ? v.text.bytes : 0);
	if (length < 0)
		run_fail(r, -EINVAL, "a %s has no length", value_type(v));
	return value_integer(length);
}

static struct value filter_list(struct run *r, struct value v, const struct arguments *a)
{
	const struct list *items = value_iterate(r, v);
	struct value out = value_list(r, VALUE_LIST, items->count);

	for (size_t i = 0; i < items->count && !run_failed(r); i++)
		value_list_push(r, out.list, items->items[i]);
	return out;
}

static struct value filter_first(struct run *r, struct value v, const struct arguments *a)
{
	const struct list *items = value_iterate(r, v);

	return items->count ? items->items[0] : value_undefined(TEXT("first item"));
}

static struct value filter_last(struct run *r, struct value v, const struct arguments *a)
{
	const struct list *items = value_iterate(r, v);

	return items->count ? items->items[items->count - 1] : value_undefined(TEXT("last item"));
}

static struct value filter_reverse(struct run *r, struct value v, const struct arguments *a)
{
	const struct list *items = value_iterate(r, v);
	struct buffer text = { .bound = RUN_OUTPUT_BYTES_MAX };
	struct value out;

	if (v.kind == VALUE_TEXT) {
		for (size_t i = items->count; i-- > 0;)
			buffer_append(&text, items->items[i].text.data, items->items[i].text.bytes);
		return run_text(r, &text);
	}
	out = value_lazy_list(r);
	for (size_t i = items->count; i-- > 0 && !run_failed(r);)
		value_list_push(r, out.list, items->items[i]);
	return out;
}

static struct value filter_join(struct run *r, struct value v, const struct arguments *a)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX };
	const struct list *items = value_iterate(r, v);
	struct text between = argument_given(a, 0, "d") ? text_of(r, argument(a, 0, "d"))
							: TEXT("");

	for (size_t i = 0; i < items->count && !run_failed(r); i++) {
		struct value item = items->items[i];

		if (i > 0)
			buffer_append(&out, between.data, between.bytes);
		if (argument_given(a, 1, "attribute"))
			item = jinja_pick(r, item, argument(a, 1, "attribute"));
		print_value(r, &out, item);
	}
	return run_text(r, &out);
}

static struct value filter_items(struct run *r, struct value v, const struct arguments *a)
{
	struct value out = value_lazy_list(r), pair;

	if (v.kind == VALUE_UNDEFINED)
		return out;
	if (v.kind != VALUE_DICT) {
		run_fail(r, -EINVAL, "a %s has no items", value_type(v));
		return out;
	}
	for (size_t i = 0; v.dict && i < v.dict->count && !run_failed(r); i++) {
		pair = value_list(r, VALUE_TUPLE, 2);
		value_list_push(r, pair.list, v.dict->pairs[i].key);
		value_list_push(r, pair.list, v.dict->pairs[i].value);
		value_list_push(r, out.list, pair);
	}
	return out;
}

/* What items are compared by: texts without regard to case, unless asked. */
static struct value sort_key(struct run *r, struct value v, bool case_sensitive)
{
	if (v.kind == VALUE_TEXT && !case_sensitive)
		return text_recase(r, v.text, CASE_LOWER);
	return v;
}

/* Stable, by keys[]; a merge sort, since comparing may fail. */
static void sort_range(struct run *r, struct value *keys, struct value *items,
		       struct value *spare_keys, struct value *spare_items, size_t count,
		       bool reversed)
{
	size_t half = count / 2, left = 0, right = half;

	if (count < 2 || run_failed(r))
		return;
	sort_range(r, keys, items, spare_keys, spare_items, half, reversed);
	sort_range(r, keys + half, items + half, spare_keys + half, spare_items + half,
		   count - half, reversed);
	for (size_t i = 0; i < count && !run_failed(r); i++) {
		size_t from;

		if (left < half && right < count) {
			int order = value_compare(r, keys[left], keys[right]);

			from = (reversed ? order >= 0 : order <= 0) ? left++ : right++;
		} else {
			from = left < half ? left++ : right++;
		}
		run_charge(r, 0);
		spare_keys[i] = keys[from];
		spare_items[i] = items[from];
	}
	for (size_t i = 0; i < count && !run_failed(r); i++) {
		keys[i] = spare_keys[i];
		items[i] = spare_items[i];
	}
}

/* Sorts list by an attribute of each item (undefined: by the item). */
static void sort_list(struct run *r, struct list *l, struct value attribute, bool case_sensitive,
		      bool reversed)
{
	size_t bytes = (l ? l->count : 0) * sizeof(struct value);
	struct value *keys = run_take(r, bytes), *spare_keys = run_take(r, bytes);
	struct value *spare_items = run_take(r, bytes);

	for (size_t i = 0; l && i < l->count && !run_failed(r); i++) {
		if (attribute.kind == VALUE_UNDEFINED || attribute.kind == VALUE_NONE) {
			keys[i] = sort_key(r, l->items[i], case_sensitive);
			continue;
		}
		/* In a list of one, what is equal needs no order. */
		keys[i] = value_list(r, VALUE_LIST, 1);
		value_list_push(r, keys[i].list,
			  sort_key(r, jinja_pick(r, l->items[i], attribute), case_sensitive));
	}
	if (l && !run_failed(r))
		sort_range(r, keys, l->items, spare_keys, spare_items, l->count, reversed);
}

static struct value filter_sort(struct run *r, struct value v, const struct arguments *a)
{
	struct value out = filter_list(r, v, a);

	sort_list(r, out.list, argument(a, 2, "attribute"),
		  argument_truth(a, 1, "case_sensitive", false),
		  argument_truth(a, 0, "reverse", false));
	return out;
}

/* The item whose key is least (sign < 0) or greatest, the first of equals. */
static struct value pick_extreme(struct run *r, struct value v, const struct arguments *a,
				 int sign)
{
	const struct list *items = value_iterate(r, v);
	bool case_sensitive = argument_truth(a, 0, "case_sensitive", false);
	struct value best = value_undefined(TEXT("extreme")), best_key = best;

	for (size_t i = 0; i < items->count && !run_failed(r); i++) {
		struct value key = items->items[i];

		if (argument_given(a, 1, "attribute"))
			key = jinja_pick(r, key, argument(a, 1, "attribute"));
		key = sort_key(r, key, case_sensitive);
		if (i == 0 || value_compare(r, key, best_key) * sign > 0) {
			best = items->items[i];
			best_key = key;
		}
	}
	return best;
}

static struct value filter_min(struct run *r, struct value v, const struct arguments *a)
{
	return pick_extreme(r, v, a, -1);
}

static struct value filter_max(struct run *r, struct value v, const struct arguments *a)
{
	return pick_extreme(r, v, a, 1);
}

static struct value filter_sum(struct run *r, struct value v, const struct arguments *a)
{
	const struct list *items = value_iterate(r, v);
	struct value sum = argument_given(a, 1, "start") ? argument(a, 1, "start")
							 : value_integer(0);
	struct value path = argument(a, 0, "attribute");

	for (size_t i = 0; i < items->count && !run_failed(r); i++) {
		struct value item = items->items[i];

		if (path.kind != VALUE_UNDEFINED && path.kind != VALUE_NONE)
			item = jinja_pick(r, item, path);
		sum = jinja_operate(r, OPERATOR_ADD, sum, item);
	}
	return sum;
}

static struct value filter_dictsort(struct run *r, struct value v, const struct arguments *a)
{
	struct text by = argument_text(r, a, 1, "by", TEXT("key"));
	struct value out = filter_items(r, v, a);

	if (v.kind != VALUE_DICT)
		run_fail(r, -EINVAL, "a %s cannot be sorted by key", value_type(v));
	if (!text_is(by, "key") && !text_is(by, "value"))
		run_fail(r, -EINVAL, "by must be key or value");
	if (out.list)
		out.list->lazy = false;
	sort_list(r, out.list, value_integer(text_is(by, "value")),
		  argument_truth(a, 0, "case_sensitive", false),
		  argument_truth(a, 2, "reverse", false));
	return out;
}

static struct value filter_unique(struct run *r, struct value v, const struct arguments *a)
{
	const struct list *items = value_iterate(r, v);
	struct value out = value_lazy_list(r), seen = value_list(r, VALUE_LIST, 0);
	bool case_sensitive = argument_truth(a, 0, "case_sensitive", false);

	for (size_t i = 0; i < items->count && !run_failed(r); i++) {
		struct value key = items->items[i];

		if (argument_given(a, 1, "attribute"))
			key = jinja_pick(r, key, argument(a, 1, "attribute"));
		key = sort_key(r, key, case_sensitive);
		if (!value_is_hashable(key))
			run_fail(r, -EINVAL, "a %s cannot be unique", value_type(key));
		if (run_failed(r) || value_contains(r, seen, key))
			continue;
		value_list_push(r, seen.list, key);
		value_list_push(r, out.list, items->items[i]);
	}
	return out;
}

/* The arguments behind the first `skip`: those of a filter or test by name. */
static struct arguments rest_of(const struct arguments *a, size_t skip)
{
	struct arguments rest = *a;

	skip = MIN(skip, a->count);
	if (skip > 0)                   /* positional is NULL when there are none */
		rest.positional += skip;
	rest.count -= skip;
	return rest;
}

static struct value map_attribute(struct run *r, const struct list *items,
				  const struct arguments *a)
{
	struct value out = value_lazy_list(r), fallback = argument(a, SIZE_MAX, "default");
	struct value path = argument(a, SIZE_MAX, "attribute");

	for (size_t i = 0; i < items->count && !run_failed(r); i++) {
		struct value item = jinja_pick(r, items->items[i], path);

		if (item.kind == VALUE_UNDEFINED && argument_given(a, SIZE_MAX, "default"))
			item = fallback;
		value_list_push(r, out.list, item);
	}
	return out;
}

static struct value filter_map(struct run *r, struct value v, const struct arguments *a)
{
	const struct list *items = value_truth(v) ? value_iterate(r, v) : NULL;
	struct value name = argument(a, 0, "filter"), out;
	struct arguments rest = rest_of(a, 1);
	const struct filter_row *row;

	if (!items)
		return value_lazy_list(r);
	if (a->count == 0 && argument_given(a, SIZE_MAX, "attribute"))
		return map_attribute(r, items, a);
	row = name.kind == VALUE_TEXT ? find_filter(name.text) : NULL;
	if (!row) {
		run_fail(r, -EINVAL, "map needs attribute= or the name of a filter");
		return v;
	}
	out = value_lazy_list(r);
	for (size_t i = 0; i < items->count && !run_failed(r); i++)
		value_list_push(r, out.list, row->call(r, items->items[i], &rest));
	return out;
}

/* Keeps the items (or those whose attribute) passes a test by name. */
static struct value choose(struct run *r, struct value v, const struct arguments *a,
			   bool by_attribute, bool keep)
{
	const struct list *items = value_truth(v) ? value_iterate(r, v) : NULL;
	struct value path = argument(a, 0, "attribute");
	struct value name = argument(a, by_attribute ? 1 : 0, "test");
	struct arguments rest = rest_of(a, by_attribute ? 2 : 1);
	const struct test_row *row = name.kind == VALUE_TEXT ? find_test(name.text) : NULL;
	struct value out = value_lazy_list(r);

	if ((!row && name.kind != VALUE_UNDEFINED) ||
	    (by_attribute && path.kind == VALUE_UNDEFINED)) {
		run_fail(r, -EINVAL, by_attribute && path.kind == VALUE_UNDEFINED
					     ? "the attribute is missing"
					     : "this needs the name of a test");
		return out;
	}
	for (size_t i = 0; items && i < items->count && !run_failed(r); i++) {
		struct value item = items->items[i];
		bool passes;

		if (by_attribute)
			item = jinja_pick(r, item, path);
		if (run_failed(r))
			break;
		run_charge(r, 0);
		passes = row ? row->call(r, item, &rest) : value_truth(item);
		if (passes == keep)
			value_list_push(r, out.list, items->items[i]);
	}
	return out;
}

static struct value filter_select(struct run *r, struct value v, const struct arguments *a)
{
	return choose(r, v, a, false, true);
}

static struct value filter_reject(struct run *r, struct value v, const struct arguments *a)
{
	return choose(r, v, a, false, false);
}

static struct value filter_selectattr(struct run *r, struct value v, const struct arguments *a)
{
	return choose(r, v, a, true, true);
}

static struct value filter_rejectattr(struct run *r, struct value v, const struct arguments *a)
{
	return choose(r, v, a, true, false);
}

const struct filter_row jinja_list_filters[] = {
	{ "length", filter_length, { { NULL }, 0, false } },
	{ "count", filter_length, { { NULL }, 0, false } },
	{ "list", filter_list, { { NULL }, 0, false } },
	{ "first", filter_first, { { NULL }, 0, false } },
	{ "last", filter_last, { { NULL }, 0, false } },
	{ "reverse", filter_reverse, { { NULL }, 0, false } },
	{ "join", filter_join, { { "d", "attribute" }, 0, false } },
	{ "items", filter_items, { { NULL }, 0, false } },
	{ "sort", filter_sort, { { "reverse", "case_sensitive", "attribute" }, 0, false } },
	{ "min", filter_min, { { "case_sensitive", "attribute" }, 0, false } },
	{ "max", filter_max, { { "case_sensitive", "attribute" }, 0, false } },
	{ "sum", filter_sum, { { "attribute", "start" }, 0, false } },
	{ "dictsort", filter_dictsort, { { "case_sensitive", "by", "reverse" }, 0, false } },
	{ "unique", filter_unique, { { "case_sensitive", "attribute" }, 0, false } },
	{ "map", filter_map, { { NULL }, 0, true } },
	{ "select", filter_select, { { NULL }, 0, true } },
	{ "reject", filter_reject, { { NULL }, 0, true } },
	{ "selectattr", filter_selectattr, { { NULL }, 1, true } },
	{ "rejectattr", filter_rejectattr, { { NULL }, 1, true } },
	{ NULL, NULL, { { NULL }, 0, false } },
};
