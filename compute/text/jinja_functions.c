/* jinja_functions.c - the functions that every template may call.
 *
 * strftime_now() exists only when the caller's variables have a
 * "strftime_now": the time in seconds since 1970, printed as UTC.
 */
#include "compute/text/jinja_table.h"

#include <errno.h>
#include <time.h>

#include "compute/text/jinja_print.h"

enum { RANGE_MAX = 100000 };

static struct value call_raise(struct run *r, struct value self, const struct arguments *a)
{
	run_raise(r, text_of(r, argument(a, 0, "message")));
	return value_none();
}

static struct value call_range(struct run *r, struct value self, const struct arguments *a)
{
	int64_t first = argument_whole(r, a, 0, "start", 0);
	int64_t stop = argument_whole(r, a, 1, "stop", 0);
	int64_t step = argument_whole(r, a, 2, "step", 1);
	struct value out;

	if (a->count == 1) {
		stop = first;
		first = 0;
	}
	if (step == 0)
		run_fail(r, -EINVAL, "the step of range is zero");
	out = value_list(r, VALUE_LIST, 0);
	while (!run_failed(r) && (step > 0 ? first < stop : first > stop)) {
		value_list_push(r, out.list, value_integer(first));
		run_charge(r, 0);
		if (!run_failed(r) && out.list->count > RANGE_MAX)
			run_fail(r, -EINVAL, "range has more than %d items", RANGE_MAX);
		if (__builtin_add_overflow(first, step, &first))
			break;
	}
	return out;
}

static struct value fill(struct run *r, enum value_kind kind, const struct arguments *a)
{
	struct value out = value_dict(r, kind);

	if (a->count > 1 || (a->count == 1 && a->positional[0].kind != VALUE_DICT)) {
		run_fail(r, -EINVAL, "this takes a dict or named values");
		return out;
	}
	for (size_t i = 0; a->count == 1 && i < a->positional[0].dict->count; i++)
		value_dict_put(r, out.dict, a->positional[0].dict->pairs[i].key,
			 a->positional[0].dict->pairs[i].value);
	for (size_t i = 0; i < a->named_count; i++)
		value_dict_put(r, out.dict, value_text(a->named[i].name), a->named[i].value);
	return out;
}

static struct value call_namespace(struct run *r, struct value self, const struct arguments *a)
{
	return fill(r, VALUE_NAMESPACE, a);
}

static struct value call_dict(struct run *r, struct value self, const struct arguments *a)
{
	return fill(r, VALUE_DICT, a);
}

static struct value call_strftime(struct run *r, struct value self, const struct arguments *a)
{
	struct text format = argument_text(r, a, 0, "format", TEXT(""));
	struct buffer out = { 0 }, pattern = { 0 };
	time_t now = (time_t)r->now_s;
	char text[256];
	struct tm parts;

	buffer_append(&pattern, format.data, format.bytes);
	if (!gmtime_r(&now, &parts) ||
	    (format.bytes > 0 &&
	     strftime(text, sizeof(text), buffer_string(&pattern), &parts) == 0))
		run_fail(r, -EINVAL, "this time cannot be written");
	else
		buffer_text(&out, format.bytes > 0 ? text : "");
	buffer_close(&pattern);
	return run_text(r, &out);
}

const struct function_row jinja_functions[] = {
	{ "raise_exception", call_raise, { { "message" }, 1, false } },
	{ "range", call_range, { { "start", "stop", "step" }, 1, false } },
	{ "namespace", call_namespace, { { NULL }, 0, true } },
	{ "dict", call_dict, { { NULL }, 0, true } },
	{ "strftime_now", call_strftime, { { "format" }, 1, false } },
	{ NULL, NULL, { { NULL }, 0, false } },
};
