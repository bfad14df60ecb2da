/* jinja_node.h - a compiled template: a tree of nodes.
 *
 * Which fields a kind uses stands beside it; lists hang on `first` and go on
 * through `next`.
 *
 * Threads    Read-only once parsed.
 * Ownership  The template's bag.
 * Units      Lines and columns count from 1.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_NODE_H
#define PETALS_COMPUTE_TEXT_JINJA_NODE_H

#include "compute/text/jinja_value.h"

enum node_kind {
	/* expressions */
	NODE_CONSTANT,               /* constant */
	NODE_NAME,                   /* text */
	NODE_LIST,                   /* first.. */
	NODE_TUPLE,                  /* first.. */
	NODE_DICT,                   /* first..: key, value, key, value */
	NODE_ATTRIBUTE,              /* a . text */
	NODE_ITEM,                   /* a [ b ] */
	NODE_SLICE,                  /* a [ b : c : d ], each may be NULL */
	NODE_CALL,                   /* a ( arguments ) */
	NODE_FILTER,                 /* a | row (arguments); a is NULL in a filter block */
	NODE_TEST,                   /* a is [not] row (arguments); negated */
	NODE_NEGATE,                 /* - a */
	NODE_PLUS,                   /* + a */
	NODE_NOT,                    /* not a */
	NODE_AND,                    /* a and b */
	NODE_OR,                     /* a or b */
	NODE_BINARY,                 /* a operator b */
	NODE_COMPARE,                /* a, then first..: NODE_COMPARE operator a */
	NODE_CONDITION,              /* a if b else c, c may be NULL */
	/* statements */
	NODE_DATA,                   /* text */
	NODE_PRINT,                  /* a */
	NODE_IF,                     /* a: condition, body, otherwise (a NODE_IF for elif) */
	NODE_FOR,                    /* a: target, b: items, c: filter, body, otherwise */
	NODE_SET,                    /* a: target, b: value */
	NODE_SET_BLOCK,              /* a: target, b: filters or NULL, body */
	NODE_MACRO,                  /* text, first..: NODE_PARAMETER, body */
	NODE_PARAMETER,              /* text, a: default or NULL */
	NODE_CALL_BLOCK,             /* a: the call, first..: NODE_PARAMETER, body */
	NODE_FILTER_BLOCK,           /* a: filters, body */
	NODE_WITH,                   /* first..: NODE_SET, body */
	NODE_SCOPE,                  /* body */
	NODE_BREAK,
	NODE_CONTINUE,
};

enum operator_kind {
	OPERATOR_ADD,
	OPERATOR_SUBTRACT,
	OPERATOR_MULTIPLY,
	OPERATOR_DIVIDE,
	OPERATOR_FLOOR_DIVIDE,
	OPERATOR_MODULO,
	OPERATOR_POWER,
	OPERATOR_JOIN,               /* ~ */
	OPERATOR_EQUAL,
	OPERATOR_NOT_EQUAL,
	OPERATOR_LESS,
	OPERATOR_LESS_EQUAL,
	OPERATOR_GREATER,
	OPERATOR_GREATER_EQUAL,
	OPERATOR_IN,
	OPERATOR_NOT_IN,
};

struct argument {
	struct text name;            /* .data NULL: positional */
	struct node *value;
	struct argument *next;
};

struct filter_row;
struct test_row;

struct node {
	enum node_kind kind;
	enum operator_kind operator;
	unsigned line, column;
	bool negated;
	struct text text;
	struct value constant;
	struct node *a, *b, *c, *d;
	struct node *first, *next;
	struct node *body, *otherwise;
	struct argument *arguments;
	const struct filter_row *filter;
	const struct test_row *test;
};

#endif
