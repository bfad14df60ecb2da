/* jinja_access.c - owns what is found behind a dot or in brackets. */
#include "compute/text/jinja_eval.h"

#include <errno.h>

#include "compute/text/jinja_text.h"

static struct value loop_neighbour(const struct loop *l, size_t index, struct text name)
{
	return index < l->items->count ? l->items->items[index] : value_undefined(name);
}

static struct value loop_attribute(const struct loop *l, struct text name)
{
	int64_t index = (int64_t)l->index, length = (int64_t)l->items->count;

	if (text_is(name, "index"))
		return value_integer(index + 1);
	if (text_is(name, "index0"))
		return value_integer(index);
	if (text_is(name, "revindex"))
		return value_integer(length - index);
	if (text_is(name, "revindex0"))
		return value_integer(length - index - 1);
	if (text_is(name, "first"))
		return value_bool(index == 0);
	if (text_is(name, "last"))
		return value_bool(index == length - 1);
	if (text_is(name, "length"))
		return value_integer(length);
	if (text_is(name, "previtem"))
		return loop_neighbour(l, l->index - 1, name);
	if (text_is(name, "nextitem"))
		return loop_neighbour(l, l->index + 1, name);
	if (text_is(name, "depth"))
		return value_integer(l->depth);
	if (text_is(name, "depth0"))
		return value_integer((int64_t)l->depth - 1);
	return value_undefined(name);
}

static void fail_undefined(struct run *r, struct value base)
{
	run_fail(r, -EINVAL, "\"%.*s\" is undefined", (int)MIN(base.text.bytes, (size_t)80),
		 base.text.data);
}

/* The method of a value as a value of its own; undefined when it has none. */
static struct value method_of(struct run *r, struct value base, struct text name)
{
	const struct method_row *row = find_method(name, (int)base.kind);
	struct bound_method *bound;

	if (!row)
		return value_undefined(name);
	bound = run_take(r, sizeof(*bound));
	if (!bound)
		return value_none();
	*bound = (struct bound_method){ base, row };
	return (struct value){ .kind = VALUE_METHOD, .method = bound };
}

struct value jinja_attribute(struct run *r, struct value base, struct text name)
{
	const struct value *found;
	struct value method;

	switch (base.kind) {
	case VALUE_UNDEFINED:
		fail_undefined(r, base);
		return base;
	case VALUE_LOOP:
		method = method_of(r, base, name);
		return method.kind == VALUE_METHOD ? method : loop_attribute(base.loop, name);
	case VALUE_DICT:
		/* Python's own attributes come before the keys. */
		method = method_of(r, base, name);
		if (method.kind == VALUE_METHOD)
			return method;
		/* fallthrough */
	case VALUE_NAMESPACE:
		found = value_dict_get_text(r, base.dict, name);
		return found ? *found : value_undefined(name);
	default:
		return method_of(r, base, name);
	}
}

static struct value text_item(struct text t, int64_t index)
{
	int64_t length = (int64_t)text_characters(t);
	size_t at;

	if (index < 0)
		index += length;
	if (index < 0 || index >= length)
		return value_undefined(TEXT("index"));
	at = text_offset(t, (size_t)index);
	return value_text((struct text){ t.data + at, text_character(t, at) });
}

struct value jinja_item(struct run *r, struct value base, struct value key)
{
	const struct value *found;
	int64_t index, length;

	if (base.kind == VALUE_UNDEFINED) {
		fail_undefined(r, base);
		return base;
	}
	if (base.kind == VALUE_DICT) {
		found = value_dict_get(r, base.dict, key);
		if (found)
			return *found;
	}
	if (key.kind == VALUE_TEXT)
		return base.kind == VALUE_DICT ? method_of(r, base, key.text)
					       : jinja_attribute(r, base, key.text);
	if (base.kind == VALUE_TEXT && value_is_whole(key)) {
		run_charge(r, base.text.bytes);
		return text_item(base.text, value_whole(key));
	}
	if (!value_is_sequence(base) || !value_is_whole(key))
		return value_undefined(TEXT("item"));
	index = value_whole(key);
	length = value_length(base);
	if (index < 0)
		index += length;
	if (index < 0 || index >= length)
		return value_undefined(TEXT("item"));
	return base.list->items[index];
}

/* "a.b.0": each part an attribute or, in digits, an item. */
struct value jinja_pick(struct run *r, struct value item, struct value path)
{
	struct text rest;

	if (path.kind != VALUE_TEXT)
		return jinja_item(r, item, path);
	rest = path.text;
	while (!run_failed(r)) {
		int64_t dot = text_find(rest, TEXT("."), 0);
		struct text part = { rest.data, dot < 0 ? rest.bytes : (size_t)dot };
		bool digits = part.bytes > 0 && part.bytes < 10;
		int64_t index = 0;

		for (size_t i = 0; i < part.bytes && digits; i++) {
			digits = part.data[i] >= '0' && part.data[i] <= '9';
			index = index * 10 + (part.data[i] - '0');
		}
		item = jinja_item(r, item, digits ? value_integer(index) : value_text(part));
		if (dot < 0)
			break;
		rest.data += dot + 1;
		rest.bytes -= (size_t)dot + 1;
	}
	return item;
}
