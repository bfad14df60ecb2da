/* jinja_invoke.c - owns calls: arguments, functions, methods, filters, macros. */
#include "compute/text/jinja_eval.h"

#include <errno.h>
#include <string.h>

static bool push_named(struct run *r, struct arguments *a, size_t room, struct text name,
		       struct value value)
{
	if (!a->named)
		a->named = run_take(r, room * sizeof(*a->named));
	if (!a->named)
		return false;
	a->named[a->named_count++] = (struct named_value){ name, value };
	return true;
}

struct arguments jinja_arguments(struct run *r, const struct argument *list)
{
	struct arguments a = { 0 };
	size_t room = 0;

	for (const struct argument *i = list; i; i = i->next)
		room++;
	if (room == 0)
		return a;
	a.positional = run_take(r, room * sizeof(*a.positional));
	for (const struct argument *i = list; i && !run_failed(r); i = i->next) {
		struct value value = jinja_evaluate(r, i->value);

		if (i->name.data)
			push_named(r, &a, room, i->name, value);
		else if (a.positional)
			a.positional[a.count++] = value;
	}
	return a;
}

static const struct value *find_argument(const struct arguments *a, size_t position,
					 const char *name)
{
	if (position < a->count)
		return &a->positional[position];
	for (size_t i = 0; i < a->named_count; i++)
		if (text_is(a->named[i].name, name))
			return &a->named[i].value;
	return NULL;
}

bool argument_given(const struct arguments *a, size_t position, const char *name)
{
	return find_argument(a, position, name) != NULL;
}

struct value argument(const struct arguments *a, size_t position, const char *name)
{
	const struct value *found = find_argument(a, position, name);

	return found ? *found : value_undefined((struct text){ name, strlen(name) });
}

int64_t argument_whole(struct run *r, const struct arguments *a, size_t position,
		       const char *name, int64_t fallback)
{
	const struct value *found = find_argument(a, position, name);

	if (!found)
		return fallback;
	if (!value_is_whole(*found)) {
		run_fail(r, -EINVAL, "%s is a %s, expected an int", name, value_type(*found));
		return fallback;
	}
	return value_whole(*found);
}

bool argument_truth(const struct arguments *a, size_t position, const char *name, bool fallback)
{
	const struct value *found = find_argument(a, position, name);

	return found ? value_truth(*found) : fallback;
}

struct text argument_text(struct run *r, const struct arguments *a, size_t position,
			  const char *name, struct text fallback)
{
	const struct value *found = find_argument(a, position, name);

	if (!found)
		return fallback;
	if (found->kind != VALUE_TEXT) {
		run_fail(r, -EINVAL, "%s is a %s, expected a str", name, value_type(*found));
		return fallback;
	}
	return found->text;
}

/* Parameters take arguments by position, then by name, then their default. */
static void bind_parameters(struct run *r, const struct macro *m, const struct arguments *a)
{
	size_t position = 0, used = 0;

	for (const struct node *p = m->parameters; p && !run_failed(r); p = p->next, position++) {
		struct value value = value_undefined(p->text);
		bool given = position < a->count;

		if (given)
			value = a->positional[position];
		for (size_t i = 0; i < a->named_count && !given; i++) {
			if (text_equal(a->named[i].name, p->text)) {
				value = a->named[i].value;
				given = true;
				used++;
			}
		}
		if (!given && p->a)
			value = jinja_evaluate(r, p->a);
		scope_set(r, r->scope, p->text, value);
	}
	if (a->count > position || a->named_count > used)
		run_fail(r, -EINVAL, "macro \"%.*s\" does not take all of these arguments",
			 (int)MIN(m->name.bytes, (size_t)80), m->name.data);
}

static struct value call_macro(struct run *r, const struct macro *m, const struct arguments *a,
			       const struct value *caller)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX }, *outer_out = r->out;
	struct scope *outer = r->scope;

	r->scope = scope_open(r, m->scope);
	r->out = &out;
	if (r->scope)
		bind_parameters(r, m, a);
	if (caller)
		scope_set(r, r->scope, TEXT("caller"), *caller);
	if (!run_failed(r))
		jinja_execute(r, m->body);
	r->out = outer_out;
	r->scope = outer;
	return run_text(r, &out);
}

static struct value call_value(struct run *r, struct value callee, const struct arguments *a,
			       const struct value *caller)
{
	switch (callee.kind) {
	case VALUE_MACRO:
		return call_macro(r, callee.macro, a, caller);
	case VALUE_FUNCTION:
		return callee.function->call(r, callee, a);
	case VALUE_METHOD:
		return callee.method->row->call(r, callee.method->self, a);
	case VALUE_UNDEFINED:
		run_fail(r, -EINVAL, "\"%.*s\" is undefined",
			 (int)MIN(callee.text.bytes, (size_t)80), callee.text.data);
		return callee;
	default:
		run_fail(r, -EINVAL, "a %s cannot be called", value_type(callee));
		return callee;
	}
}

struct value jinja_call(struct run *r, const struct node *node, const struct value *caller)
{
	struct value callee = jinja_evaluate(r, node->a);
	struct arguments a;

	if (run_failed(r))
		return callee;
	a = jinja_arguments(r, node->arguments);
	if (run_failed(r))
		return callee;
	r->line = node->line;
	r->column = node->column;
	return call_value(r, callee, &a, caller);
}

/* input: what a filter block holds; the innermost filter has no value node. */
struct value jinja_filter(struct run *r, const struct node *node, const struct value *input)
{
	struct value subject;
	struct arguments a;

	if (!run_descend(r, node))
		return value_none();
	if (node->kind != NODE_FILTER)
		subject = jinja_evaluate(r, node);
	else if (node->a)
		subject = jinja_filter(r, node->a, input);
	else
		subject = *input;
	if (!run_failed(r) && node->kind == NODE_FILTER) {
		a = jinja_arguments(r, node->arguments);
		r->line = node->line;
		r->column = node->column;
		if (!run_failed(r))
			subject = node->filter->call(r, subject, &a);
	}
	run_ascend(r);
	return subject;
}
