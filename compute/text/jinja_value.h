/* jinja_value.h - the values that templates compute with, as Python has them.
 *
 * Values are small and passed by value; what they point to lives in the
 * bag of the rendering (or of the template, for constants) and is never
 * changed once others can see it, except namespaces.
 *
 * Threads    Values belong to one rendering.
 * Ownership  The bag's; nothing is freed alone.
 * Units      Text lengths are bytes; Python's lengths and indices are characters.
 * Errors     Functions that take a run leave failures in it (jinja_run.h).
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_VALUE_H
#define PETALS_COMPUTE_TEXT_JINJA_VALUE_H

#include <jansson.h>

#include "dataplane/base/types.h"

struct run;
struct loop;                         /* jinja_loop.c */
struct macro;                        /* jinja_macro.c */
struct function_row;                 /* jinja_functions.c */
struct method_row;                   /* jinja_methods.c */

struct text {
	const char *data;            /* not NUL-terminated */
	size_t bytes;
};

#define TEXT(literal) ((struct text){ literal, sizeof(literal) - 1 })

enum value_kind {
	VALUE_UNDEFINED,             /* .text: the name that was not there */
	VALUE_NONE,
	VALUE_BOOL,
	VALUE_INTEGER,
	VALUE_FLOAT,
	VALUE_TEXT,
	VALUE_LIST,
	VALUE_TUPLE,                 /* .list as well */
	VALUE_DICT,
	VALUE_NAMESPACE,             /* .dict as well */
	VALUE_LOOP,
	VALUE_MACRO,
	VALUE_FUNCTION,
	VALUE_METHOD,
};

struct value {
	enum value_kind kind;
	union {
		bool truth;
		int64_t integer;
		double number;
		struct text text;
		struct list *list;
		struct dict *dict;
		struct loop *loop;
		struct macro *macro;
		const struct function_row *function;
		const struct bound_method *method;
	};
};

struct list {
	struct value *items;
	size_t count, capacity;
	bool lazy;                   /* stands for a Python generator: always true */
};

struct pair {
	struct value key, value;
};

struct dict {
	struct pair *pairs;          /* in order of insertion */
	size_t count, capacity;
};

struct bound_method {
	struct value self;
	const struct method_row *row;
};

static inline struct value value_undefined(struct text name)
{
	return (struct value){ .kind = VALUE_UNDEFINED, .text = name };
}

static inline struct value value_none(void)
{
	return (struct value){ .kind = VALUE_NONE };
}

static inline struct value value_bool(bool truth)
{
	return (struct value){ .kind = VALUE_BOOL, .truth = truth };
}

static inline struct value value_integer(int64_t integer)
{
	return (struct value){ .kind = VALUE_INTEGER, .integer = integer };
}

static inline struct value value_float(double number)
{
	return (struct value){ .kind = VALUE_FLOAT, .number = number };
}

static inline struct value value_text(struct text text)
{
	return (struct value){ .kind = VALUE_TEXT, .text = text };
}

bool text_equal(struct text a, struct text b);
bool text_is(struct text a, const char *b);

/* Empty containers; .list or .dict is NULL when memory ran out. */
struct value value_list(struct run *r, enum value_kind kind, size_t capacity);
struct value value_lazy_list(struct run *r);
struct value value_dict(struct run *r, enum value_kind kind);
void value_list_push(struct run *r, struct list *l, struct value item);
void value_dict_put(struct run *r, struct dict *d, struct value key, struct value value);
const struct value *value_dict_get(struct run *r, const struct dict *d, struct value key);
const struct value *value_dict_get_text(struct run *r, const struct dict *d, struct text key);

/* "str", "int", "dict", ... for sentences. */
const char *value_type(struct value v);
bool value_is_number(struct value v);                 /* bool, int or float */
bool value_is_whole(struct value v);                  /* bool or int */
bool value_is_sequence(struct value v);               /* list or tuple */
bool value_is_hashable(struct value v);               /* may be a key; no nested tuples */
double value_number(struct value v);                  /* of a number */
int64_t value_whole(struct value v);                  /* of a bool or int */
bool value_truth(struct value v);
bool value_equal(struct run *r, struct value a, struct value b);
/* <0, 0, >0; fails when Python could not order them. */
int value_compare(struct run *r, struct value a, struct value b);
bool value_contains(struct run *r, struct value container, struct value item);
/* The items that a for loop sees; fails when there are none to see. */
const struct list *value_iterate(struct run *r, struct value v);
/* Characters, items or pairs; -1: it has no length. */
int64_t value_length(struct value v);

/* A deep copy of JSON data; texts are borrowed. */
struct value value_of_json(struct run *r, const json_t *json);

#endif
