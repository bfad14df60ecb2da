/* jinja_print.h - values as text: Python's str() and repr(), and json.dumps().
 *
 * Threads    As jinja_run.h.
 * Ownership  Appends to the caller's buffer.
 * Units      Bytes.
 * Errors     The run's.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_PRINT_H
#define PETALS_COMPUTE_TEXT_JINJA_PRINT_H

#include "compute/text/jinja_run.h"

void print_value(struct run *r, struct buffer *out, struct value v);    /* str() */
void print_repr(struct run *r, struct buffer *out, struct value v);
/* str() as a value; a text is itself. */
struct text text_of(struct run *r, struct value v);

struct json_style {
	bool ascii;                  /* \uXXXX for everything beyond ASCII */
	bool sorted;                 /* keys in order */
	const struct text *indent;   /* one level; NULL: all on one line */
	struct text item, key;       /* separators */
};

void print_json(struct run *r, struct buffer *out, struct value v, const struct json_style *s);

#endif
