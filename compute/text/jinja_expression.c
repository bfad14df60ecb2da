/* jinja_expression.c - owns the grammar of expressions, one function for each
 * level of precedence, as Jinja orders them.
 */
#include "compute/text/jinja_parse.h"

#include <errno.h>
#include <string.h>

static struct node *parse_unary(struct parser *p, bool filters);

static struct node *binary(struct parser *p, enum node_kind kind, const struct token *at,
			   struct node *a, struct node *b)
{
	struct node *node = parse_node(p, kind, at);

	if (node) {
		node->a = a;
		node->b = b;
	}
	return node;
}

struct operator_row {
	const char *text;
	enum operator_kind operator;
};

/* A level whose operators group to the left. */
static struct node *parse_level(struct parser *p, const struct operator_row *rows,
				struct node *(*below)(struct parser *p))
{
	struct node *left = below(p);

	for (const struct operator_row *row = rows; row->text && !p->rc;) {
		const struct token *at = p->token;

		if (!parse_skip(p, TOKEN_OPERATOR, row->text)) {
			row++;
			continue;
		}
		left = binary(p, NODE_BINARY, at, left, below(p));
		if (left)
			left->operator = row->operator;
		row = rows;
	}
	return left;
}

static struct node *parse_signed(struct parser *p)
{
	return parse_unary(p, true);
}

static struct node *parse_power(struct parser *p)
{
	static const struct operator_row rows[] = { { "**", OPERATOR_POWER }, { NULL, 0 } };

	return parse_level(p, rows, parse_signed);
}

static struct node *parse_product(struct parser *p)
{
	static const struct operator_row rows[] = { { "*", OPERATOR_MULTIPLY },
						    { "/", OPERATOR_DIVIDE },
						    { "//", OPERATOR_FLOOR_DIVIDE },
						    { "%", OPERATOR_MODULO },
						    { NULL, 0 } };

	return parse_level(p, rows, parse_power);
}

static struct node *parse_join(struct parser *p)
{
	static const struct operator_row rows[] = { { "~", OPERATOR_JOIN }, { NULL, 0 } };

	return parse_level(p, rows, parse_product);
}

static struct node *parse_sum(struct parser *p)
{
	static const struct operator_row rows[] = { { "+", OPERATOR_ADD },
						    { "-", OPERATOR_SUBTRACT },
						    { NULL, 0 } };

	return parse_level(p, rows, parse_join);
}

static bool skip_comparison(struct parser *p, enum operator_kind *out)
{
	static const struct operator_row rows[] = {
		{ "==", OPERATOR_EQUAL },     { "!=", OPERATOR_NOT_EQUAL },
		{ "<", OPERATOR_LESS },       { "<=", OPERATOR_LESS_EQUAL },
		{ ">", OPERATOR_GREATER },    { ">=", OPERATOR_GREATER_EQUAL },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		if (parse_skip(p, TOKEN_OPERATOR, rows[i].text)) {
			*out = rows[i].operator;
			return true;
		}
	}
	if (parse_skip(p, TOKEN_NAME, "in")) {
		*out = OPERATOR_IN;
		return true;
	}
	if (parse_is(p, TOKEN_NAME, "not") && p->token[1].kind == TOKEN_NAME &&
	    text_is(p->token[1].text, "in")) {
		p->token += 2;
		*out = OPERATOR_NOT_IN;
		return true;
	}
	return false;
}

static struct node *parse_compare(struct parser *p)
{
	const struct token *start = p->token;
	struct node *left = parse_sum(p), *chain = NULL;
	struct node **tail = NULL;
	enum operator_kind operator;

	for (const struct token *at = p->token; !p->rc && skip_comparison(p, &operator);
	     at = p->token) {
		struct node *link = binary(p, NODE_COMPARE, at, parse_sum(p), NULL);

		if (!chain) {
			chain = binary(p, NODE_COMPARE, start, left, NULL);
			tail = chain ? &chain->first : NULL;
		}
		if (!link || !tail)
			return NULL;
		link->operator = operator;
		*tail = link;
		tail = &link->next;
	}
	return chain ? chain : left;
}

static struct node *parse_not(struct parser *p)
{
	const struct token *at = p->token;
	struct node *node;

	if (!parse_skip(p, TOKEN_NAME, "not"))
		return parse_compare(p);
	if (!parse_descend(p))
		return NULL;
	node = binary(p, NODE_NOT, at, parse_not(p), NULL);
	p->depth--;
	return node;
}

static struct node *parse_and(struct parser *p)
{
	struct node *left = parse_not(p);

	for (const struct token *at = p->token; !p->rc && parse_skip(p, TOKEN_NAME, "and");
	     at = p->token)
		left = binary(p, NODE_AND, at, left, parse_not(p));
	return left;
}

static struct node *parse_or(struct parser *p)
{
	struct node *left = parse_and(p);

	for (const struct token *at = p->token; !p->rc && parse_skip(p, TOKEN_NAME, "or");
	     at = p->token)
		left = binary(p, NODE_OR, at, left, parse_and(p));
	return left;
}

struct node *parse_expression(struct parser *p)
{
	const struct token *at;
	struct node *node;

	if (!parse_descend(p))
		return NULL;
	node = parse_or(p);
	for (at = p->token; !p->rc && parse_skip(p, TOKEN_NAME, "if"); at = p->token) {
		node = binary(p, NODE_CONDITION, at, node, parse_or(p));
		if (node && parse_skip(p, TOKEN_NAME, "else"))
			node->c = parse_expression(p);
	}
	p->depth--;
	return node;
}

/* Where a tuple without parentheses ends. */
static bool tuple_ends(const struct parser *p)
{
	return p->token->kind == TOKEN_PRINT_END || p->token->kind == TOKEN_BLOCK_END ||
	       parse_is(p, TOKEN_OPERATOR, ")") || parse_is(p, TOKEN_OPERATOR, "=");
}

struct node *parse_tuple(struct parser *p, bool conditions)
{
	const struct token *at = p->token;
	struct node *node = conditions ? parse_expression(p) : parse_or(p);
	struct node *tuple, **tail;

	if (p->rc || !parse_is(p, TOKEN_OPERATOR, ","))
		return node;
	tuple = parse_node(p, NODE_TUPLE, at);
	if (!tuple)
		return NULL;
	tuple->first = node;
	tail = &node->next;
	while (!p->rc && parse_skip(p, TOKEN_OPERATOR, ",") && !tuple_ends(p)) {
		node = conditions ? parse_expression(p) : parse_or(p);
		*tail = node;
		if (node)
			tail = &node->next;
	}
	return tuple;
}

/* Items up to `close`, pairs with ':' between when `pairs`. */
static struct node *parse_items(struct parser *p, enum node_kind kind, const char *close,
				bool pairs)
{
	struct node *list = parse_node(p, kind, p->token++);
	struct node **tail = list ? &list->first : NULL;

	while (list && !p->rc && !parse_skip(p, TOKEN_OPERATOR, close)) {
		if (list->first) {
			parse_expect(p, TOKEN_OPERATOR, ",");
			if (parse_skip(p, TOKEN_OPERATOR, close))
				break;
		}
		for (int half = 0; half < 1 + pairs && !p->rc; half++) {
			if (half == 1)
				parse_expect(p, TOKEN_OPERATOR, ":");
			*tail = parse_expression(p);
			if (*tail)
				tail = &(*tail)->next;
		}
	}
	return list;
}

static struct node *constant(struct parser *p, const struct token *at, struct value value)
{
	struct node *node = parse_node(p, NODE_CONSTANT, at);

	if (node)
		node->constant = value;
	return node;
}

/* Strings that stand side by side are one. */
static struct node *parse_string(struct parser *p)
{
	const struct token *at = p->token;
	struct text text = p->token++->text;

	while (p->token->kind == TOKEN_STRING) {
		struct text more = p->token++->text;
		char *joined = bag_take(p->bag, text.bytes + more.bytes);

		if (!joined) {
			parse_fail(p, at, "out of memory");
			return NULL;
		}
		memcpy(joined, text.data, text.bytes);
		memcpy(joined + text.bytes, more.data, more.bytes);
		text = (struct text){ joined, text.bytes + more.bytes };
	}
	return constant(p, at, value_text(text));
}

static struct node *parse_parentheses(struct parser *p)
{
	const struct token *at = p->token++;
	struct node *node;

	if (parse_skip(p, TOKEN_OPERATOR, ")"))
		return parse_node(p, NODE_TUPLE, at);
	node = parse_tuple(p, true);
	parse_expect(p, TOKEN_OPERATOR, ")");
	return node;
}

static struct node *parse_word(struct parser *p)
{
	static const struct {
		const char *name;
		struct value value;
	} words[] = {
		{ "true", { .kind = VALUE_BOOL, .truth = true } },
		{ "True", { .kind = VALUE_BOOL, .truth = true } },
		{ "false", { .kind = VALUE_BOOL } },
		{ "False", { .kind = VALUE_BOOL } },
		{ "none", { .kind = VALUE_NONE } },
		{ "None", { .kind = VALUE_NONE } },
	};
	/* jinja2's other globals, which would only seem to be undefined. */
	static const char *const missing[] = { "joiner", "cycler", "lipsum" };
	const struct token *at = p->token++;
	struct node *node;

	for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
		if (text_is(at->text, words[i].name))
			return constant(p, at, words[i].value);
	for (size_t i = 0; i < ARRAY_LENGTH(missing); i++)
		if (text_is(at->text, missing[i]))
			parse_fail(p, at, "\"%s\" is not supported", missing[i]);
	node = parse_node(p, NODE_NAME, at);
	if (node)
		node->text = at->text;
	return node;
}

struct node *parse_primary(struct parser *p)
{
	const struct token *at = p->token;

	switch (at->kind) {
	case TOKEN_NAME:
		return parse_word(p);
	case TOKEN_STRING:
		return parse_string(p);
	case TOKEN_INTEGER:
		p->token++;
		return constant(p, at, value_integer(at->integer));
	case TOKEN_FLOAT:
		p->token++;
		return constant(p, at, value_float(at->number));
	default:
		break;
	}
	if (parse_is(p, TOKEN_OPERATOR, "("))
		return parse_parentheses(p);
	if (parse_is(p, TOKEN_OPERATOR, "["))
		return parse_items(p, NODE_LIST, "]", false);
	if (parse_is(p, TOKEN_OPERATOR, "{"))
		return parse_items(p, NODE_DICT, "}", true);
	if (at->kind == TOKEN_PRINT_END || at->kind == TOKEN_BLOCK_END || at->kind == TOKEN_END)
		parse_fail(p, at, "an expression is missing");
	else
		parse_fail(p, at, "unexpected \"%.*s\"", (int)MIN(at->text.bytes, (size_t)40),
			   at->text.data);
	return NULL;
}

/* "[b]" or "[b:c:d]" */
static struct node *parse_brackets(struct parser *p, struct node *base)
{
	const struct token *at = p->token - 1;
	struct node *parts[3] = { NULL }, *node;
	unsigned colons = 0;

	while (!p->rc && !parse_is(p, TOKEN_OPERATOR, "]")) {
		if (parse_skip(p, TOKEN_OPERATOR, ":")) {
			if (++colons > 2)
				parse_fail(p, at, "a slice has at most three parts");
			continue;
		}
		if (parts[colons])
			parse_fail(p, p->token, "unexpected \"%.*s\" in an index",
				   (int)MIN(p->token->text.bytes, (size_t)40), p->token->text.data);
		else
			parts[colons] = parse_expression(p);
	}
	parse_expect(p, TOKEN_OPERATOR, "]");
	if (!p->rc && colons == 0 && !parts[0])
		parse_fail(p, at, "an index is missing");
	node = binary(p, colons ? NODE_SLICE : NODE_ITEM, at, base, parts[0]);
	if (node) {
		node->c = parts[1];
		node->d = parts[2];
	}
	return node;
}

/* ".name" or ".0" */
static struct node *parse_attribute(struct parser *p, struct node *base)
{
	const struct token *at = p->token;
	struct node *node;

	if (at->kind == TOKEN_INTEGER) {
		p->token++;
		return binary(p, NODE_ITEM, at, base, constant(p, at, value_integer(at->integer)));
	}
	node = binary(p, NODE_ATTRIBUTE, at, base, NULL);
	if (node)
		node->text = parse_name(p);
	return node;
}

struct node *parse_postfix(struct parser *p, struct node *node)
{
	while (!p->rc) {
		if (parse_skip(p, TOKEN_OPERATOR, "."))
			node = parse_attribute(p, node);
		else if (parse_skip(p, TOKEN_OPERATOR, "["))
			node = parse_brackets(p, node);
		else if (parse_is(p, TOKEN_OPERATOR, "("))
			node = parse_call(p, node);
		else
			break;
	}
	return node;
}

static struct node *parse_unary(struct parser *p, bool filters)
{
	const struct token *at = p->token;
	struct node *node;

	if (!parse_descend(p))
		return NULL;
	if (parse_skip(p, TOKEN_OPERATOR, "-"))
		node = binary(p, NODE_NEGATE, at, parse_unary(p, false), NULL);
	else if (parse_skip(p, TOKEN_OPERATOR, "+"))
		node = binary(p, NODE_PLUS, at, parse_unary(p, false), NULL);
	else
		node = parse_primary(p);
	node = parse_postfix(p, node);
	while (filters && !p->rc) {
		if (parse_is(p, TOKEN_OPERATOR, "|"))
			node = parse_filters(p, node);
		else if (parse_skip(p, TOKEN_NAME, "is"))
			node = parse_test(p, node);
		else if (parse_is(p, TOKEN_OPERATOR, "("))
			node = parse_call(p, node);
		else
			break;
	}
	p->depth--;
	return node;
}
