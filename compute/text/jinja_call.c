/* jinja_call.c - owns the grammar of calls: arguments, filters, tests; and the
 * check that what they name exists and takes what it is given.
 */
#include "compute/text/jinja_parse.h"

#include <stdio.h>

static struct argument *parse_arguments(struct parser *p)
{
	struct argument *first = NULL, **tail = &first;

	parse_expect(p, TOKEN_OPERATOR, "(");
	while (!p->rc && !parse_skip(p, TOKEN_OPERATOR, ")")) {
		struct argument *argument;

		if (first)
			parse_expect(p, TOKEN_OPERATOR, ",");
		if (first && parse_skip(p, TOKEN_OPERATOR, ")"))
			break;
		if (parse_is(p, TOKEN_OPERATOR, "*") || parse_is(p, TOKEN_OPERATOR, "**"))
			parse_fail(p, p->token, "*arguments are not supported");
		argument = bag_take(p->bag, sizeof(*argument));
		if (!argument) {
			parse_fail(p, p->token, "out of memory");
			break;
		}
		if (p->token->kind == TOKEN_NAME && p->token[1].kind == TOKEN_OPERATOR &&
		    text_is(p->token[1].text, "=")) {
			argument->name = p->token->text;
			p->token += 2;
		}
		argument->value = parse_expression(p);
		*tail = argument;
		tail = &argument->next;
	}
	for (struct argument *a = first; a && a->next && !p->rc; a = a->next)
		if (a->name.data && !a->next->name.data)
			parse_fail(p, p->token, "a positional argument follows a named one");
	return first;
}

static void check_arguments(struct parser *p, const struct token *at, const char *what,
			    const struct signature *s, const struct argument *arguments)
{
	size_t count = 0, given = 0;

	while (count < PARAMETERS_MAX && s->parameters[count])
		count++;
	for (const struct argument *a = arguments; a && !s->open; a = a->next, given++) {
		size_t i = a->name.data ? 0 : given;

		while (a->name.data && i < count && !text_is(a->name, s->parameters[i]))
			i++;
		if (i >= count)
			parse_fail(p, at, "%s has no such argument (number %zu)", what, given + 1);
	}
	if (!s->open && given < s->required)
		parse_fail(p, at, "%s needs %u arguments, not %zu", what, s->required, given);
}

struct node *parse_filter(struct parser *p, struct node *value)
{
	const struct token *at = p->token;
	struct text name = parse_name(p);
	struct node *node = parse_node(p, NODE_FILTER, at);
	char what[64];

	if (!node)
		return NULL;
	node->a = value;
	node->filter = find_filter(name);
	snprintf(what, sizeof(what), "filter \"%.*s\"", (int)MIN(name.bytes, (size_t)40),
		 name.data);
	if (!node->filter) {
		parse_fail(p, at, "%s is not known", what);
		return NULL;
	}
	if (parse_is(p, TOKEN_OPERATOR, "("))
		node->arguments = parse_arguments(p);
	check_arguments(p, at, what, &node->filter->signature, node->arguments);
	return node;
}

struct node *parse_filters(struct parser *p, struct node *value)
{
	while (!p->rc && parse_skip(p, TOKEN_OPERATOR, "|"))
		value = parse_filter(p, value);
	return value;
}

/* "is divisibleby 3": an argument without parentheses. */
static bool starts_argument(const struct parser *p)
{
	switch (p->token->kind) {
	case TOKEN_NAME:
		return !parse_is(p, TOKEN_NAME, "else") && !parse_is(p, TOKEN_NAME, "or") &&
		       !parse_is(p, TOKEN_NAME, "and") && !parse_is(p, TOKEN_NAME, "if") &&
		       !parse_is(p, TOKEN_NAME, "is") && !parse_is(p, TOKEN_NAME, "not") &&
		       !parse_is(p, TOKEN_NAME, "in");
	case TOKEN_STRING:
	case TOKEN_INTEGER:
	case TOKEN_FLOAT:
		return true;
	default:
		return parse_is(p, TOKEN_OPERATOR, "[") || parse_is(p, TOKEN_OPERATOR, "{");
	}
}

struct node *parse_test(struct parser *p, struct node *value)
{
	bool negated = parse_skip(p, TOKEN_NAME, "not");
	const struct token *at = p->token;
	struct node *node = parse_node(p, NODE_TEST, at);
	struct text name = parse_name(p);
	char what[64];

	if (!node || p->rc)
		return NULL;
	node->a = value;
	node->negated = negated;
	node->test = find_test(name);
	snprintf(what, sizeof(what), "test \"%.*s\"", (int)MIN(name.bytes, (size_t)40), name.data);
	if (!node->test) {
		parse_fail(p, at, "%s is not known", what);
		return NULL;
	}
	if (parse_is(p, TOKEN_OPERATOR, "(")) {
		node->arguments = parse_arguments(p);
	} else if (starts_argument(p)) {
		node->arguments = bag_take(p->bag, sizeof(*node->arguments));
		if (!node->arguments)
			parse_fail(p, at, "out of memory");
		else
			node->arguments->value = parse_postfix(p, parse_primary(p));
	}
	check_arguments(p, at, what, &node->test->signature, node->arguments);
	return node;
}

/* What is called must be known: a method, a function, or a macro, which may
 * be defined further down.
 */
static void check_callee(struct parser *p, const struct token *at, const struct node *call)
{
	const struct node *callee = call->a;
	const struct method_row *method;
	const struct function_row *function;
	struct called_name *called;

	if (!callee)
		return;
	if (callee->kind == NODE_ATTRIBUTE) {
		method = find_method(callee->text, -1);
		if (!method)
			parse_fail(p, at, "method \"%.*s\" is not known",
				   (int)MIN(callee->text.bytes, (size_t)40), callee->text.data);
		else
			check_arguments(p, at, "this method", &method->signature, call->arguments);
		return;
	}
	if (callee->kind != NODE_NAME)
		return;
	function = find_function(callee->text);
	if (function) {
		check_arguments(p, at, "this function", &function->signature, call->arguments);
		return;
	}
	called = bag_take(p->bag, sizeof(*called));
	if (!called) {
		parse_fail(p, at, "out of memory");
		return;
	}
	*called = (struct called_name){ at, p->called };
	p->called = called;
}

struct node *parse_call(struct parser *p, struct node *callee)
{
	const struct token *at = p->token - 1;
	struct node *node = parse_node(p, NODE_CALL, at);

	if (!node)
		return NULL;
	node->a = callee;
	node->arguments = parse_arguments(p);
	if (!p->rc)
		check_callee(p, at, node);
	return node;
}
