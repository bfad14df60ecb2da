/* jinja_parse.h - tokens to nodes.
 *
 * Unknown tags, filters, tests, methods and functions are refused here, so
 * that a template fails when it is opened and not in the middle of a chat.
 *
 * Threads    Pure, apart from the bag.
 * Ownership  Nodes live in the bag; they view the source.
 * Units      Lines and columns count from 1.
 * Errors     -EINVAL with "line 3, column 14: ..."; -ENOMEM.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_PARSE_H
#define PETALS_COMPUTE_TEXT_JINJA_PARSE_H

#include "compute/text/jinja_lex.h"
#include "compute/text/jinja_node.h"
#include "compute/text/jinja_table.h"

struct called_name {                 /* a call that must find a macro */
	const struct token *token;
	struct called_name *next;
};

struct assigned_name {
	struct text name;
	struct assigned_name *next;
};

struct parser {
	const struct token *token;   /* the next one */
	struct bag *bag;
	struct error *error;
	int rc;                      /* the first failure, 0 */
	unsigned depth, loops;
	struct called_name *called;
	struct assigned_name *assigned;
};

/* The whole template as a list of statements (NULL when it is empty). */
int jinja_parse(struct node **out, const struct token *tokens, struct bag *bag,
		struct error *e);

/* For jinja_expression.c and jinja_parse.c. */
void parse_fail(struct parser *p, const struct token *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
struct node *parse_node(struct parser *p, enum node_kind kind, const struct token *at);
bool parse_is(const struct parser *p, enum token_kind kind, const char *text);
bool parse_skip(struct parser *p, enum token_kind kind, const char *text);
void parse_expect(struct parser *p, enum token_kind kind, const char *text);
struct text parse_name(struct parser *p);
bool parse_descend(struct parser *p);

struct node *parse_expression(struct parser *p);
/* "a, b" is a tuple; `conditions`: may contain "x if y else z". */
struct node *parse_tuple(struct parser *p, bool conditions);
/* "x", "x, y" or "ns.x". */
struct node *parse_target(struct parser *p, bool attributes);
/* "| a | b(1)" behind value, which may be NULL. */
struct node *parse_filters(struct parser *p, struct node *value);
/* jinja_call.c: behind value "|", behind value "is", behind callee "(". */
struct node *parse_filter(struct parser *p, struct node *value);
struct node *parse_test(struct parser *p, struct node *value);
struct node *parse_call(struct parser *p, struct node *callee);
struct node *parse_primary(struct parser *p);
struct node *parse_postfix(struct parser *p, struct node *node);
void parse_assign(struct parser *p, struct text name);

#endif
