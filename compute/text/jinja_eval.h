/* jinja_eval.h - runs nodes: expressions to values, statements to text.
 *
 * Threads    As jinja_run.h.
 * Ownership  Everything lives in the run's bag.
 * Units      As jinja_run.h.
 * Errors     The run's.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_EVAL_H
#define PETALS_COMPUTE_TEXT_JINJA_EVAL_H

#include "compute/text/jinja_node.h"
#include "compute/text/jinja_table.h"

/* What "loop" is inside a for loop. */
struct loop {
	const struct list *items;
	size_t index;                /* from 0 */
	unsigned depth;              /* 1: the outermost */
};

struct macro {
	struct text name;
	const struct node *parameters, *body;
	struct scope *scope;         /* where it was defined */
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

struct value jinja_evaluate(struct run *r, const struct node *node);
enum flow jinja_execute(struct run *r, const struct node *list);

/* The output of a list of statements, in a scope of its own. */
struct value jinja_capture(struct run *r, const struct node *list, struct scope *outer);
struct scope *scope_open(struct run *r, struct scope *outer);

/* jinja_operators.c */
struct value jinja_operate(struct run *r, enum operator_kind operator, struct value a,
			   struct value b);
struct value jinja_negate(struct run *r, struct value v);
struct value jinja_slice(struct run *r, struct value v, const struct value parts[3]);

/* jinja_access.c */
struct value jinja_attribute(struct run *r, struct value base, struct text name);
struct value jinja_item(struct run *r, struct value base, struct value key);

/* jinja_invoke.c */
struct value jinja_call(struct run *r, const struct node *node, const struct value *caller);
struct arguments jinja_arguments(struct run *r, const struct argument *list);
struct value jinja_filter(struct run *r, const struct node *node, const struct value *input);

#endif
