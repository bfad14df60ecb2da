/* jinja_eval.c - owns the walk over expressions and statements. */
#include "compute/text/jinja_eval.h"

#include <errno.h>

#include "compute/text/jinja_print.h"

struct scope *scope_open(struct run *r, struct scope *outer)
{
	struct scope *s = run_take(r, sizeof(*s));

	if (s)
		s->outer = outer;
	return s;
}

/* Failures from here on are the node's own, not those of its parts. */
static void stand_at(struct run *r, const struct node *node)
{
	r->line = node->line;
	r->column = node->column;
}

static struct value evaluate_name(struct run *r, struct text name)
{
	const struct variable *variable = scope_find(r->scope, name);
	const struct function_row *function;

	if (variable)
		return variable->value;
	function = find_function(name);
	/* Without a clock there is no such function; see jinja_functions.c. */
	if (function && !text_is(name, "strftime_now"))
		return (struct value){ .kind = VALUE_FUNCTION, .function = function };
	return value_undefined(name);
}

static struct value evaluate_items(struct run *r, const struct node *node)
{
	struct value v = value_list(r, node->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, 0);

	for (const struct node *i = node->first; i && !run_failed(r); i = i->next)
		value_list_push(r, v.list, jinja_evaluate(r, i));
	return v;
}

static struct value evaluate_dict(struct run *r, const struct node *node)
{
	struct value v = value_dict(r, VALUE_DICT);

	for (const struct node *i = node->first; i && !run_failed(r); i = i->next->next) {
		struct value key = jinja_evaluate(r, i);

		value_dict_put(r, v.dict, key, jinja_evaluate(r, i->next));
	}
	return v;
}

static struct value evaluate_compare(struct run *r, const struct node *node)
{
	struct value left = jinja_evaluate(r, node->a), result = value_bool(true);

	for (const struct node *i = node->first; i && !run_failed(r); i = i->next) {
		struct value right = jinja_evaluate(r, i->a);

		if (run_failed(r))
			break;
		result = jinja_operate(r, i->operator, left, right);
		if (!value_truth(result))
			break;
		left = right;
	}
	return result;
}

static struct value evaluate_slice(struct run *r, const struct node *node)
{
	const struct node *nodes[3] = { node->b, node->c, node->d };
	struct value base = jinja_evaluate(r, node->a), parts[3];

	for (int i = 0; i < 3; i++)
		parts[i] = nodes[i] ? jinja_evaluate(r, nodes[i]) : value_none();
	stand_at(r, node);
	return run_failed(r) ? base : jinja_slice(r, base, parts);
}

static struct value evaluate_test(struct run *r, const struct node *node)
{
	struct value subject = jinja_evaluate(r, node->a);
	struct arguments a;

	if (run_failed(r))
		return subject;
	a = jinja_arguments(r, node->arguments);
	if (run_failed(r))
		return subject;
	return value_bool(node->test->call(r, subject, &a) != node->negated);
}

static struct value evaluate_two(struct run *r, const struct node *node)
{
	struct value a = jinja_evaluate(r, node->a);
	struct value b = run_failed(r) ? a : jinja_evaluate(r, node->b);

	if (run_failed(r))
		return a;
	stand_at(r, node);
	return node->kind == NODE_ITEM ? jinja_item(r, a, b)
				       : jinja_operate(r, node->operator, a, b);
}

static struct value evaluate_plus(struct run *r, const struct node *node)
{
	struct value v = jinja_evaluate(r, node->a);

	if (!run_failed(r) && !value_is_number(v))
		run_fail(r, -EINVAL, "a %s has no sign", value_type(v));
	return v.kind == VALUE_BOOL ? value_integer(v.truth) : v;
}

static struct value evaluate_condition(struct run *r, const struct node *node)
{
	if (value_truth(jinja_evaluate(r, node->b)))
		return jinja_evaluate(r, node->a);
	return node->c ? jinja_evaluate(r, node->c) : value_undefined(TEXT("the other case"));
}

static struct value evaluate_kind(struct run *r, const struct node *node)
{
	struct value v;

	switch (node->kind) {
	case NODE_CONSTANT:
		return node->constant;
	case NODE_NAME:
		return evaluate_name(r, node->text);
	case NODE_LIST:
	case NODE_TUPLE:
		return evaluate_items(r, node);
	case NODE_DICT:
		return evaluate_dict(r, node);
	case NODE_ATTRIBUTE:
		v = jinja_evaluate(r, node->a);
		stand_at(r, node);
		return run_failed(r) ? v : jinja_attribute(r, v, node->text);
	case NODE_ITEM:
	case NODE_BINARY:
		return evaluate_two(r, node);
	case NODE_SLICE:
		return evaluate_slice(r, node);
	case NODE_CALL:
		return jinja_call(r, node, NULL);
	case NODE_FILTER:
		return jinja_filter(r, node, NULL);
	case NODE_TEST:
		return evaluate_test(r, node);
	case NODE_NEGATE:
		v = jinja_evaluate(r, node->a);
		stand_at(r, node);
		return run_failed(r) ? v : jinja_negate(r, v);
	case NODE_PLUS:
		return evaluate_plus(r, node);
	case NODE_NOT:
		return value_bool(!value_truth(jinja_evaluate(r, node->a)));
	case NODE_AND:
		v = jinja_evaluate(r, node->a);
		return value_truth(v) ? jinja_evaluate(r, node->b) : v;
	case NODE_OR:
		v = jinja_evaluate(r, node->a);
		return value_truth(v) ? v : jinja_evaluate(r, node->b);
	case NODE_COMPARE:
		return evaluate_compare(r, node);
	case NODE_CONDITION:
		return evaluate_condition(r, node);
	default:
		break;
	}
	assert(!"a statement is no expression");
	return value_none();
}

struct value jinja_evaluate(struct run *r, const struct node *node)
{
	struct value v;

	if (!run_descend(r, node))
		return value_none();
	v = evaluate_kind(r, node);
	run_ascend(r);
	return v;
}

static void assign(struct run *r, const struct node *target, struct value value);

static void unpack(struct run *r, const struct node *target, struct value value)
{
	const struct list *items = value_iterate(r, value);
	size_t i = 0;

	for (const struct node *t = target->first; t && !run_failed(r); t = t->next, i++) {
		if (i == items->count) {
			run_fail(r, -EINVAL, "there are only %zu values to unpack", items->count);
			return;
		}
		assign(r, t, items->items[i]);
	}
	if (i < items->count && !run_failed(r))
		run_fail(r, -EINVAL, "there are %zu values to unpack, more than %zu",
			 items->count, i);
}

static void assign(struct run *r, const struct node *target, struct value value)
{
	const struct variable *variable;

	if (run_failed(r))
		return;
	if (target->kind == NODE_NAME) {
		scope_set(r, r->scope, target->text, value);
		return;
	}
	if (target->kind == NODE_TUPLE) {
		unpack(r, target, value);
		return;
	}
	variable = scope_find(r->scope, target->a->text);
	if (!variable || variable->value.kind != VALUE_NAMESPACE) {
		run_fail(r, -EINVAL, "\"%.*s\" is not a namespace",
			 (int)MIN(target->a->text.bytes, (size_t)80), target->a->text.data);
		return;
	}
	value_dict_put(r, variable->value.dict, value_text(target->text), value);
}

struct value jinja_capture(struct run *r, const struct node *list, struct scope *outer)
{
	struct buffer out = { .bound = RUN_OUTPUT_BYTES_MAX }, *outer_out = r->out;
	struct scope *before = r->scope;

	r->scope = scope_open(r, outer);
	r->out = &out;
	if (r->scope)
		jinja_execute(r, list);
	r->out = outer_out;
	r->scope = before;
	return run_text(r, &out);
}

/* The items that pass the loop's own condition. */
static const struct list *filter_items(struct run *r, const struct node *node,
				       const struct list *items)
{
	struct scope *before = r->scope;
	struct value kept = value_list(r, VALUE_LIST, 0);

	for (size_t i = 0; i < items->count && !run_failed(r); i++) {
		r->scope = scope_open(r, before);
		if (!r->scope)
			break;
		assign(r, node->a, items->items[i]);
		if (!run_failed(r) && value_truth(jinja_evaluate(r, node->c)))
			value_list_push(r, kept.list, items->items[i]);
	}
	r->scope = before;
	return run_failed(r) ? items : kept.list;
}

static unsigned loop_depth(const struct run *r)
{
	const struct variable *outer = scope_find(r->scope, TEXT("loop"));

	return outer && outer->value.kind == VALUE_LOOP ? outer->value.loop->depth : 0;
}

/* Every round has a scope of its own: what is set in one is gone in the next. */
static enum flow execute_for(struct run *r, const struct node *node)
{
	struct scope *before = r->scope;
	struct value iterable = jinja_evaluate(r, node->b);
	const struct list *items;
	enum flow flow = FLOW_ON;
	unsigned depth;

	if (run_failed(r))
		return FLOW_ON;
	items = value_iterate(r, iterable);
	if (node->c && !run_failed(r))
		items = filter_items(r, node, items);
	if (items->count == 0 && !run_failed(r)) {
		r->scope = scope_open(r, before);
		flow = jinja_execute(r, node->otherwise);
		r->scope = before;
		return flow;
	}
	depth = loop_depth(r) + 1;
	for (size_t i = 0; i < items->count && flow != FLOW_BREAK && !run_failed(r); i++) {
		struct loop *loop = run_take(r, sizeof(*loop));

		r->scope = scope_open(r, before);
		if (!loop || !r->scope)
			break;
		*loop = (struct loop){ items, i, depth };
		scope_set(r, r->scope, TEXT("loop"),
			  (struct value){ .kind = VALUE_LOOP, .loop = loop });
		assign(r, node->a, items->items[i]);
		flow = jinja_execute(r, node->body);
	}
	r->scope = before;
	return FLOW_ON;
}

static struct value make_macro(struct run *r, const struct node *node, struct text name)
{
	struct macro *m = run_take(r, sizeof(*m));

	if (m)
		*m = (struct macro){ name, node->first, node->body, r->scope };
	return m ? (struct value){ .kind = VALUE_MACRO, .macro = m } : value_none();
}

static void print(struct run *r, struct value v)
{
	if (run_failed(r))
		return;
	print_value(r, r->out, v);
	if (buffer_failed(r->out) == -EMSGSIZE)
		run_fail(r, -EMSGSIZE, "the output grows beyond %zu bytes", r->out->bound);
	else if (buffer_failed(r->out))
		run_fail(r, -ENOMEM, "out of memory");
}

static enum flow execute_with(struct run *r, const struct node *node)
{
	struct scope *before = r->scope, *inner = scope_open(r, before);
	enum flow flow;

	for (const struct node *set = node->first; set && !run_failed(r); set = set->next) {
		struct value value = jinja_evaluate(r, set->b);

		r->scope = inner;
		assign(r, set->a, value);
		r->scope = before;
	}
	if (run_failed(r))
		return FLOW_ON;
	r->scope = inner;
	flow = jinja_execute(r, node->body);
	r->scope = before;
	return flow;
}

static void execute_set_block(struct run *r, const struct node *node)
{
	struct value text = jinja_capture(r, node->body, r->scope);

	if (node->b && !run_failed(r))
		text = jinja_filter(r, node->b, &text);
	assign(r, node->a, text);
}

static enum flow execute_statement(struct run *r, const struct node *node)
{
	struct value v;

	switch (node->kind) {
	case NODE_DATA:
		print(r, value_text(node->text));
		return FLOW_ON;
	case NODE_PRINT:
		print(r, jinja_evaluate(r, node->a));
		return FLOW_ON;
	case NODE_IF:
		v = jinja_evaluate(r, node->a);
		if (run_failed(r))
			return FLOW_ON;
		return jinja_execute(r, value_truth(v) ? node->body : node->otherwise);
	case NODE_FOR:
		return execute_for(r, node);
	case NODE_SET:
		v = jinja_evaluate(r, node->b);
		assign(r, node->a, v);
		return FLOW_ON;
	case NODE_SET_BLOCK:
		execute_set_block(r, node);
		return FLOW_ON;
	case NODE_MACRO:
		scope_set(r, r->scope, node->text, make_macro(r, node, node->text));
		return FLOW_ON;
	case NODE_CALL_BLOCK:
		v = make_macro(r, node, TEXT("caller"));
		print(r, jinja_call(r, node->a, &v));
		return FLOW_ON;
	case NODE_FILTER_BLOCK:
		v = jinja_capture(r, node->body, r->scope);
		print(r, run_failed(r) ? v : jinja_filter(r, node->a, &v));
		return FLOW_ON;
	case NODE_WITH:
		return execute_with(r, node);
	case NODE_SCOPE:
		print(r, jinja_capture(r, node->body, r->scope));
		return FLOW_ON;
	case NODE_BREAK:
		return FLOW_BREAK;
	case NODE_CONTINUE:
		return FLOW_CONTINUE;
	default:
		break;
	}
	assert(!"an expression is no statement");
	return FLOW_ON;
}

enum flow jinja_execute(struct run *r, const struct node *list)
{
	enum flow flow = FLOW_ON;

	for (; list && flow == FLOW_ON && !run_failed(r); list = list->next) {
		if (!run_descend(r, list))
			break;
		flow = execute_statement(r, list);
		run_ascend(r);
	}
	return flow;
}
