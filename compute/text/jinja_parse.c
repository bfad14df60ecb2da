/* jinja_parse.c - owns the grammar of statements. */
#include "compute/text/jinja_parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PARSE_DEPTH_MAX = 120 };

void parse_fail(struct parser *p, const struct token *at, const char *format, ...)
{
	char sentence[ERROR_TEXT_BYTES - 64];
	va_list args;

	if (p->rc)
		return;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	p->rc = p->bag->failed == -ENOMEM ? -ENOMEM : -EINVAL;
	error_set(p->error, p->rc, "line %u, column %u: %s", at->line, at->column, sentence);
}

struct node *parse_node(struct parser *p, enum node_kind kind, const struct token *at)
{
	struct node *node = p->rc ? NULL : bag_take(p->bag, sizeof(*node));

	if (!node) {
		parse_fail(p, at, "out of memory");
		return NULL;
	}
	node->kind = kind;
	node->line = at->line;
	node->column = at->column;
	return node;
}

bool parse_descend(struct parser *p)
{
	if (p->depth >= PARSE_DEPTH_MAX)
		parse_fail(p, p->token, "nested more than %d deep", PARSE_DEPTH_MAX);
	if (p->rc)
		return false;
	p->depth++;
	return true;
}

bool parse_is(const struct parser *p, enum token_kind kind, const char *text)
{
	return p->token->kind == kind && (!text || text_is(p->token->text, text));
}

bool parse_skip(struct parser *p, enum token_kind kind, const char *text)
{
	if (p->rc || !parse_is(p, kind, text))
		return false;
	p->token++;
	return true;
}

void parse_expect(struct parser *p, enum token_kind kind, const char *text)
{
	if (p->rc || parse_skip(p, kind, text))
		return;
	if (p->token->kind == TOKEN_END)
		parse_fail(p, p->token, "the template ends where %s is expected",
			   text ? text : "the end of a tag");
	else
		parse_fail(p, p->token, "expected %s, not \"%.*s\"",
			   text ? text : "the end of the tag",
			   (int)MIN(p->token->text.bytes, (size_t)40), p->token->text.data);
}

struct text parse_name(struct parser *p)
{
	struct text name = p->token->text;

	if (p->token->kind != TOKEN_NAME)
		parse_fail(p, p->token, "a name is expected");
	else
		p->token++;
	return name;
}

void parse_assign(struct parser *p, struct text name)
{
	struct assigned_name *assigned = p->rc ? NULL : bag_take(p->bag, sizeof(*assigned));

	if (!assigned) {
		parse_fail(p, p->token, "out of memory");
		return;
	}
	*assigned = (struct assigned_name){ name, p->assigned };
	p->assigned = assigned;
}

static struct node *parse_target_name(struct parser *p, bool attributes)
{
	const struct token *at = p->token;
	struct node *name = parse_node(p, NODE_NAME, at), *node;

	if (!name)
		return NULL;
	name->text = parse_name(p);
	for (const char *const *word = (const char *const[]){ "true", "false", "none", "True",
							      "False", "None", "not", "in", NULL };
	     *word; word++)
		if (text_is(name->text, *word))
			parse_fail(p, at, "\"%s\" cannot be assigned to", *word);
	if (!attributes || !parse_skip(p, TOKEN_OPERATOR, ".")) {
		parse_assign(p, name->text);
		return name;
	}
	node = parse_node(p, NODE_ATTRIBUTE, at);
	if (node) {
		node->a = name;
		node->text = parse_name(p);
	}
	return node;
}

struct node *parse_target(struct parser *p, bool attributes)
{
	const struct token *at = p->token;
	bool enclosed = parse_skip(p, TOKEN_OPERATOR, "(");
	struct node *node = parse_target_name(p, attributes && !enclosed), *tuple, **tail;

	if (!p->rc && parse_is(p, TOKEN_OPERATOR, ",") && node->kind == NODE_NAME) {
		tuple = parse_node(p, NODE_TUPLE, at);
		if (!tuple)
			return NULL;
		tuple->first = node;
		tail = &node->next;
		while (!p->rc && parse_skip(p, TOKEN_OPERATOR, ",") &&
		       parse_is(p, TOKEN_NAME, NULL) && !parse_is(p, TOKEN_NAME, "in")) {
			*tail = parse_target_name(p, false);
			if (*tail)
				tail = &(*tail)->next;
		}
		node = tuple;
	}
	if (enclosed)
		parse_expect(p, TOKEN_OPERATOR, ")");
	return node;
}

/* The statements up to a tag named in `ends` (or the end of the template when
 * that is NULL).  The tag's name is skipped and returned.
 */
static struct node *parse_body(struct parser *p, const char *const *ends, struct text *end);

static void end_tag(struct parser *p)
{
	parse_expect(p, TOKEN_BLOCK_END, NULL);
}

static struct node *parse_if(struct parser *p, const struct token *at)
{
	static const char *const ends[] = { "elif", "else", "endif", NULL };
	static const char *const last[] = { "endif", NULL };
	struct node *node = parse_node(p, NODE_IF, at);
	struct text end;

	if (!node || !parse_descend(p))
		return NULL;
	node->a = parse_tuple(p, false);
	end_tag(p);
	node->body = parse_body(p, ends, &end);
	if (!p->rc && text_is(end, "elif")) {
		node->otherwise = parse_if(p, p->token - 1);
	} else if (!p->rc && text_is(end, "else")) {
		end_tag(p);
		node->otherwise = parse_body(p, last, &end);
		end_tag(p);
	} else {
		end_tag(p);
	}
	p->depth--;
	return node;
}

static struct node *parse_for(struct parser *p, const struct token *at)
{
	static const char *const ends[] = { "else", "endfor", NULL };
	static const char *const last[] = { "endfor", NULL };
	struct node *node = parse_node(p, NODE_FOR, at);
	struct text end;

	if (!node)
		return NULL;
	node->a = parse_target(p, false);
	parse_expect(p, TOKEN_NAME, "in");
	if (!p->rc)
		node->b = parse_tuple(p, false);
	if (parse_skip(p, TOKEN_NAME, "if"))
		node->c = parse_expression(p);
	if (parse_is(p, TOKEN_NAME, "recursive"))
		parse_fail(p, p->token, "recursive loops are not supported");
	end_tag(p);
	p->loops++;
	node->body = parse_body(p, ends, &end);
	p->loops--;
	if (!p->rc && text_is(end, "else")) {
		end_tag(p);
		node->otherwise = parse_body(p, last, &end);
	}
	end_tag(p);
	return node;
}

static struct node *parse_set(struct parser *p, const struct token *at)
{
	static const char *const ends[] = { "endset", NULL };
	struct node *node = parse_node(p, NODE_SET, at);
	struct text end;

	if (!node)
		return NULL;
	node->a = parse_target(p, true);
	if (parse_skip(p, TOKEN_OPERATOR, "=")) {
		node->b = parse_tuple(p, true);
		end_tag(p);
		return node;
	}
	node->kind = NODE_SET_BLOCK;
	node->b = parse_filters(p, NULL);
	end_tag(p);
	node->body = parse_body(p, ends, &end);
	end_tag(p);
	return node;
}

/* "(a, b=1)" */
static struct node *parse_parameters(struct parser *p)
{
	struct node *first = NULL, **tail = &first;

	parse_expect(p, TOKEN_OPERATOR, "(");
	while (!p->rc && !parse_skip(p, TOKEN_OPERATOR, ")")) {
		struct node *node;

		if (first) {
			parse_expect(p, TOKEN_OPERATOR, ",");
			if (parse_skip(p, TOKEN_OPERATOR, ")"))
				break;
		}
		node = parse_node(p, NODE_PARAMETER, p->token);
		if (!node)
			break;
		node->text = parse_name(p);
		parse_assign(p, node->text);
		if (parse_skip(p, TOKEN_OPERATOR, "="))
			node->a = parse_expression(p);
		*tail = node;
		tail = &node->next;
	}
	return first;
}

/* The body of something that loops outside cannot be left from. */
static struct node *parse_closed_body(struct parser *p, const char *name)
{
	const char *const ends[] = { name, NULL };
	unsigned loops = p->loops;
	struct node *body;
	struct text end;

	end_tag(p);
	p->loops = 0;
	body = parse_body(p, ends, &end);
	p->loops = loops;
	end_tag(p);
	return body;
}

static struct node *parse_macro(struct parser *p, const struct token *at)
{
	struct node *node = parse_node(p, NODE_MACRO, at);

	if (!node)
		return NULL;
	node->text = parse_name(p);
	parse_assign(p, node->text);
	node->first = parse_parameters(p);
	node->body = parse_closed_body(p, "endmacro");
	return node;
}

static struct node *parse_call_block(struct parser *p, const struct token *at)
{
	struct node *node = parse_node(p, NODE_CALL_BLOCK, at);

	if (!node)
		return NULL;
	if (parse_is(p, TOKEN_OPERATOR, "("))
		node->first = parse_parameters(p);
	node->a = parse_expression(p);
	if (!p->rc && node->a->kind != NODE_CALL)
		parse_fail(p, at, "a call block needs a call");
	node->body = parse_closed_body(p, "endcall");
	return node;
}

static struct node *parse_filter_block(struct parser *p, const struct token *at)
{
	struct node *node = parse_node(p, NODE_FILTER_BLOCK, at);

	if (!node)
		return NULL;
	node->a = parse_filters(p, parse_filter(p, NULL));
	node->body = parse_closed_body(p, "endfilter");
	return node;
}

static struct node *parse_with(struct parser *p, const struct token *at)
{
	static const char *const ends[] = { "endwith", NULL };
	struct node *node = parse_node(p, NODE_WITH, at);
	struct node **tail = node ? &node->first : NULL;
	struct text end;

	while (!p->rc && !parse_is(p, TOKEN_BLOCK_END, NULL)) {
		struct node *set = parse_node(p, NODE_SET, p->token);

		if (node->first)
			parse_expect(p, TOKEN_OPERATOR, ",");
		if (!set)
			break;
		set->a = parse_target(p, false);
		parse_expect(p, TOKEN_OPERATOR, "=");
		set->b = p->rc ? NULL : parse_expression(p);
		*tail = set;
		tail = &set->next;
	}
	if (!node)
		return NULL;
	end_tag(p);
	node->body = parse_body(p, ends, &end);
	end_tag(p);
	return node;
}

/* Marks what the assistant said, for training; rendering just goes through. */
static struct node *parse_generation(struct parser *p, const struct token *at)
{
	struct node *node = parse_node(p, NODE_SCOPE, at);

	if (node)
		node->body = parse_closed_body(p, "endgeneration");
	return node;
}

static struct node *parse_jump(struct parser *p, const struct token *at)
{
	bool leaves = text_is(at->text, "break");

	if (p->loops == 0)
		parse_fail(p, at, "\"%s\" stands outside of a loop",
			   leaves ? "break" : "continue");
	end_tag(p);
	return parse_node(p, leaves ? NODE_BREAK : NODE_CONTINUE, at);
}

static const struct {
	const char *name;
	struct node *(*parse)(struct parser *p, const struct token *at);
} tags[] = {
	{ "if", parse_if },
	{ "for", parse_for },
	{ "set", parse_set },
	{ "macro", parse_macro },
	{ "call", parse_call_block },
	{ "filter", parse_filter_block },
	{ "with", parse_with },
	{ "generation", parse_generation },
	{ "break", parse_jump },
	{ "continue", parse_jump },
};

static struct node *parse_tag(struct parser *p)
{
	const struct token *at = p->token;
	struct text name = parse_name(p);

	for (size_t i = 0; i < ARRAY_LENGTH(tags) && !p->rc; i++)
		if (text_is(name, tags[i].name))
			return tags[i].parse(p, at);
	parse_fail(p, at, "tag \"%.*s\" is not known here", (int)MIN(name.bytes, (size_t)40),
		   name.data);
	return NULL;
}

static struct node *parse_statement(struct parser *p)
{
	const struct token *at = p->token++;
	struct node *node;

	switch (at->kind) {
	case TOKEN_DATA:
		node = parse_node(p, NODE_DATA, at);
		if (node)
			node->text = at->text;
		return node;
	case TOKEN_PRINT_BEGIN:
		node = parse_node(p, NODE_PRINT, at);
		if (node) {
			node->a = parse_tuple(p, true);
			parse_expect(p, TOKEN_PRINT_END, NULL);
		}
		return node;
	default:
		return parse_tag(p);
	}
}

/* Skips the name of the tag that ends a body, if it is next. */
static bool body_ends(struct parser *p, const char *const *ends, struct text *end)
{
	if (p->token->kind == TOKEN_END) {
		if (ends)
			parse_fail(p, p->token, "the template ends where \"%s\" is expected",
				   ends[0]);
		return true;
	}
	if (!ends || p->token->kind != TOKEN_BLOCK_BEGIN || p->token[1].kind != TOKEN_NAME)
		return false;
	for (; *ends; ends++) {
		if (text_is(p->token[1].text, *ends)) {
			*end = p->token[1].text;
			p->token += 2;
			return true;
		}
	}
	return false;
}

static struct node *parse_body(struct parser *p, const char *const *ends, struct text *end)
{
	struct node *first = NULL, **tail = &first;

	*end = (struct text){ NULL, 0 };
	if (!parse_descend(p))
		return NULL;
	while (!p->rc && !body_ends(p, ends, end)) {
		*tail = parse_statement(p);
		if (*tail)
			tail = &(*tail)->next;
	}
	p->depth--;
	return first;
}

/* A called name that nothing in the template defines could only be a variable,
 * and variables are data.
 */
static void check_called(struct parser *p)
{
	for (struct called_name *c = p->called; c && !p->rc; c = c->next) {
		const struct assigned_name *a = p->assigned;

		while (a && !text_equal(a->name, c->token->text))
			a = a->next;
		if (!a && !text_is(c->token->text, "caller"))
			parse_fail(p, c->token, "function \"%.*s\" is not known",
				   (int)MIN(c->token->text.bytes, (size_t)40), c->token->text.data);
	}
}

int jinja_parse(struct node **out, const struct token *tokens, struct bag *bag,
		struct error *e)
{
	struct parser p = { .token = tokens, .bag = bag, .error = e };
	struct text end;

	*out = parse_body(&p, NULL, &end);
	check_called(&p);
	return p.rc;
}
