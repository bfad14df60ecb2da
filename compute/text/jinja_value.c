/* jinja_value.c - owns containers, and what Python says about truth, equality
 * and order.
 */
#include "compute/text/jinja_value.h"

#include <errno.h>
#include <string.h>

#include "compute/text/jinja_run.h"
#include "compute/text/jinja_text.h"

bool text_equal(struct text a, struct text b)
{
	return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

bool text_is(struct text a, const char *b)
{
	return text_equal(a, (struct text){ b, strlen(b) });
}

struct value value_list(struct run *r, enum value_kind kind, size_t capacity)
{
	struct list *l = run_take(r, sizeof(*l));

	if (l && capacity > 0) {
		l->items = run_take(r, capacity * sizeof(*l->items));
		l->capacity = l->items ? capacity : 0;
	}
	return (struct value){ .kind = kind, .list = l };
}

struct value value_lazy_list(struct run *r)
{
	struct value v = value_list(r, VALUE_LIST, 0);

	if (v.list)
		v.list->lazy = true;
	return v;
}

struct value value_dict(struct run *r, enum value_kind kind)
{
	return (struct value){ .kind = kind, .dict = run_take(r, sizeof(struct dict)) };
}

/* Twice the room for `count` items of `bytes` each; NULL when memory ran out. */
static void *grow(struct run *r, const void *items, size_t count, size_t bytes, size_t *capacity)
{
	size_t wanted = MAX(*capacity * 2, (size_t)4);
	void *grown = run_take(r, wanted * bytes);

	if (!grown)
		return NULL;
	if (count)
		memcpy(grown, items, count * bytes);
	*capacity = wanted;
	return grown;
}

void value_list_push(struct run *r, struct list *l, struct value item)
{
	if (!l || run_failed(r))
		return;
	if (l->count == l->capacity) {
		void *grown = grow(r, l->items, l->count, sizeof(*l->items), &l->capacity);

		if (!grown)
			return;
		l->items = grown;
	}
	l->items[l->count++] = item;
}

static struct pair *find_pair(struct run *r, const struct dict *d, struct value key)
{
	run_charge(r, d->count);
	for (size_t i = 0; i < d->count && !run_failed(r); i++)
		if (value_equal(r, d->pairs[i].key, key))
			return &d->pairs[i];
	return NULL;
}

void value_dict_put(struct run *r, struct dict *d, struct value key, struct value value)
{
	struct pair *pair;

	if (!d || run_failed(r))
		return;
	if (!value_is_hashable(key)) {
		run_fail(r, -EINVAL, "a %s cannot be a key", value_type(key));
		return;
	}
	pair = find_pair(r, d, key);
	if (pair) {
		pair->value = value;
		return;
	}
	if (d->count == d->capacity) {
		void *grown = grow(r, d->pairs, d->count, sizeof(*d->pairs), &d->capacity);

		if (!grown)
			return;
		d->pairs = grown;
	}
	d->pairs[d->count++] = (struct pair){ key, value };
}

const struct value *value_dict_get(struct run *r, const struct dict *d, struct value key)
{
	struct pair *pair = d && !run_failed(r) ? find_pair(r, d, key) : NULL;

	return pair ? &pair->value : NULL;
}

const struct value *value_dict_get_text(struct run *r, const struct dict *d, struct text key)
{
	return value_dict_get(r, d, value_text(key));
}

const char *value_type(struct value v)
{
	static const char *const names[] = {
		[VALUE_UNDEFINED] = "Undefined",
		[VALUE_NONE] = "NoneType",
		[VALUE_BOOL] = "bool",
		[VALUE_INTEGER] = "int",
		[VALUE_FLOAT] = "float",
		[VALUE_TEXT] = "str",
		[VALUE_LIST] = "list",
		[VALUE_TUPLE] = "tuple",
		[VALUE_DICT] = "dict",
		[VALUE_NAMESPACE] = "Namespace",
		[VALUE_LOOP] = "LoopContext",
		[VALUE_MACRO] = "Macro",
		[VALUE_FUNCTION] = "function",
		[VALUE_METHOD] = "method",
	};

	return names[v.kind];
}

bool value_is_number(struct value v)
{
	return v.kind == VALUE_BOOL || v.kind == VALUE_INTEGER || v.kind == VALUE_FLOAT;
}

bool value_is_whole(struct value v)
{
	return v.kind == VALUE_BOOL || v.kind == VALUE_INTEGER;
}

bool value_is_hashable(struct value v)
{
	if (v.kind == VALUE_TUPLE)
		for (size_t i = 0; v.list && i < v.list->count; i++)
			if (v.list->items[i].kind == VALUE_TUPLE ||
			    !value_is_hashable(v.list->items[i]))
				return false;
	return v.kind != VALUE_DICT && (v.kind != VALUE_LIST || (v.list && v.list->lazy));
}

bool value_is_sequence(struct value v)
{
	return v.kind == VALUE_LIST || v.kind == VALUE_TUPLE;
}

int64_t value_whole(struct value v)
{
	return v.kind == VALUE_BOOL ? v.truth : v.integer;
}

double value_number(struct value v)
{
	return v.kind == VALUE_FLOAT ? v.number : (double)value_whole(v);
}

int64_t value_length(struct value v)
{
	switch (v.kind) {
	case VALUE_UNDEFINED:
		return 0;
	case VALUE_TEXT:
		return (int64_t)text_characters(v.text);
	case VALUE_LIST:
	case VALUE_TUPLE:
		return v.list ? (int64_t)v.list->count : 0;
	case VALUE_DICT:
		return v.dict ? (int64_t)v.dict->count : 0;
	default:
		return -1;
	}
}

bool value_truth(struct value v)
{
	switch (v.kind) {
	case VALUE_UNDEFINED:
	case VALUE_NONE:
		return false;
	case VALUE_BOOL:
		return v.truth;
	case VALUE_INTEGER:
		return v.integer != 0;
	case VALUE_FLOAT:
		return v.number != 0;
	case VALUE_TEXT:
		return v.text.bytes > 0;
	case VALUE_LIST:
	case VALUE_TUPLE:
		return v.list && (v.list->lazy || v.list->count > 0);
	case VALUE_DICT:
		return v.dict && v.dict->count > 0;
	default:
		return true;
	}
}

static bool lists_equal(struct run *r, const struct list *a, const struct list *b)
{
	if (!a || !b || a->count != b->count)
		return a == b;
	for (size_t i = 0; i < a->count; i++)
		if (!value_equal(r, a->items[i], b->items[i]))
			return false;
	return true;
}

static bool dicts_equal(struct run *r, const struct dict *a, const struct dict *b)
{
	if (!a || !b || a->count != b->count)
		return a == b;
	for (size_t i = 0; i < a->count; i++) {
		const struct value *other = value_dict_get(r, b, a->pairs[i].key);

		if (!other || !value_equal(r, a->pairs[i].value, *other))
			return false;
	}
	return true;
}

static bool numbers_equal(struct value a, struct value b)
{
	if (value_is_whole(a) && value_is_whole(b))
		return value_whole(a) == value_whole(b);
	return value_number(a) == value_number(b);
}

bool value_equal(struct run *r, struct value a, struct value b)
{
	bool equal = false;

	if (value_is_number(a) && value_is_number(b))
		return numbers_equal(a, b);
	if (a.kind != b.kind)
		return false;
	switch (a.kind) {
	case VALUE_UNDEFINED:
	case VALUE_NONE:
		return true;
	case VALUE_TEXT:
		return text_equal(a.text, b.text);
	case VALUE_LIST:
	case VALUE_TUPLE:
	case VALUE_DICT:
		if (!run_descend(r, NULL))
			return false;
		equal = a.kind == VALUE_DICT ? dicts_equal(r, a.dict, b.dict)
					     : lists_equal(r, a.list, b.list);
		run_ascend(r);
		return equal;
	case VALUE_NAMESPACE:
		return a.dict == b.dict;
	case VALUE_LOOP:
		return a.loop == b.loop;
	case VALUE_MACRO:
		return a.macro == b.macro;
	case VALUE_FUNCTION:
		return a.function == b.function;
	default:
		return false;
	}
}

static int compare_texts(struct text a, struct text b)
{
	size_t common = MIN(a.bytes, b.bytes);
	int order = common ? memcmp(a.data, b.data, common) : 0;

	return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_lists(struct run *r, const struct list *a, const struct list *b)
{
	size_t common = MIN(a->count, b->count);

	for (size_t i = 0; i < common && !run_failed(r); i++)
		if (!value_equal(r, a->items[i], b->items[i]))
			return value_compare(r, a->items[i], b->items[i]);
	return (a->count > b->count) - (a->count < b->count);
}

int value_compare(struct run *r, struct value a, struct value b)
{
	int order = 0;

	if (value_is_whole(a) && value_is_whole(b))
		return (value_whole(a) > value_whole(b)) - (value_whole(a) < value_whole(b));
	if (value_is_number(a) && value_is_number(b))
		return (value_number(a) > value_number(b)) - (value_number(a) < value_number(b));
	if (a.kind == VALUE_TEXT && b.kind == VALUE_TEXT) {
		run_charge(r, MIN(a.text.bytes, b.text.bytes));
		return compare_texts(a.text, b.text);
	}
	if (value_is_sequence(a) && a.kind == b.kind && a.list && b.list && run_descend(r, NULL)) {
		order = compare_lists(r, a.list, b.list);
		run_ascend(r);
		return order;
	}
	run_fail(r, -EINVAL, "a %s and a %s have no order", value_type(a), value_type(b));
	return 0;
}

bool value_contains(struct run *r, struct value container, struct value item)
{
	if (container.kind == VALUE_TEXT && item.kind == VALUE_TEXT) {
		run_charge(r, container.text.bytes);
		return item.text.bytes == 0 || text_find(container.text, item.text, 0) >= 0;
	}
	if (container.kind == VALUE_DICT) {
		if (!value_is_hashable(item))
			run_fail(r, -EINVAL, "a %s cannot be a key", value_type(item));
		return value_dict_get(r, container.dict, item) != NULL;
	}
	if (container.kind == VALUE_UNDEFINED)
		return false;
	if (!value_is_sequence(container)) {
		run_fail(r, -EINVAL, "a %s cannot be in a %s", value_type(item),
			 value_type(container));
		return false;
	}
	for (size_t i = 0; container.list && i < container.list->count && !run_failed(r); i++) {
		run_charge(r, 0);
		if (value_equal(r, container.list->items[i], item))
			return true;
	}
	return false;
}

const struct list *value_iterate(struct run *r, struct value v)
{
	static const struct list empty;
	struct value list;

	switch (v.kind) {
	case VALUE_UNDEFINED:
		return &empty;
	case VALUE_LIST:
	case VALUE_TUPLE:
		return v.list ? v.list : &empty;
	case VALUE_TEXT:
		list = value_list(r, VALUE_LIST, text_characters(v.text));
		for (size_t at = 0; at < v.text.bytes && !run_failed(r);) {
			size_t n = text_character(v.text, at);

			value_list_push(r, list.list,
				  value_text((struct text){ v.text.data + at, n }));
			at += n;
		}
		return list.list ? list.list : &empty;
	case VALUE_DICT:
		list = value_list(r, VALUE_LIST, v.dict ? v.dict->count : 0);
		for (size_t i = 0; v.dict && i < v.dict->count; i++)
			value_list_push(r, list.list, v.dict->pairs[i].key);
		return list.list ? list.list : &empty;
	default:
		run_fail(r, -EINVAL, "a %s cannot be iterated", value_type(v));
		return &empty;
	}
}

static struct value object_of_json(struct run *r, const json_t *json)
{
	struct value v = value_dict(r, VALUE_DICT);
	size_t count = json_object_size(json), bytes;
	const char *key;
	json_t *member;

	if (!v.dict)
		return v;
	/* Keys of an object are unique: no need to look for them. */
	v.dict->pairs = run_take(r, MAX(count, (size_t)1) * sizeof(*v.dict->pairs));
	v.dict->capacity = v.dict->pairs ? count : 0;
	json_object_keylen_foreach((json_t *)json, key, bytes, member) {
		struct pair pair = { value_text((struct text){ key, bytes }),
				     value_of_json(r, member) };

		if (run_failed(r))
			break;
		v.dict->pairs[v.dict->count++] = pair;
	}
	return v;
}

static struct value array_of_json(struct run *r, const json_t *json)
{
	struct value v = value_list(r, VALUE_LIST, json_array_size(json));

	for (size_t i = 0; i < json_array_size(json) && !run_failed(r); i++)
		value_list_push(r, v.list, value_of_json(r, json_array_get(json, i)));
	return v;
}

struct value value_of_json(struct run *r, const json_t *json)
{
	struct value v = value_none();

	if (!run_descend(r, NULL))
		return v;
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		v = object_of_json(r, json);
		break;
	case JSON_ARRAY:
		v = array_of_json(r, json);
		break;
	case JSON_STRING:
		v = value_text((struct text){ json_string_value(json), json_string_length(json) });
		break;
	case JSON_INTEGER:
		v = value_integer(json_integer_value(json));
		break;
	case JSON_REAL:
		v = value_float(json_real_value(json));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		v = value_bool(json_is_true(json));
		break;
	case JSON_NULL:
		break;
	}
	run_ascend(r);
	return v;
}
