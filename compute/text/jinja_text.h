/* jinja_text.h - what Python's str does: characters, white space, case, splits.
 *
 * Threads    Pure functions, apart from the run they allocate in.
 * Ownership  Results are views of their argument, or live in the run's bag.
 * Units      Bytes, unless "characters" is said.
 * Errors     -1: not found; failures are the run's.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_TEXT_H
#define PETALS_COMPUTE_TEXT_JINJA_TEXT_H

#include "compute/text/jinja_run.h"

enum strip_ends { STRIP_LEFT = 1 << 0, STRIP_RIGHT = 1 << 1 };

size_t text_characters(struct text t);
size_t text_character(struct text t, size_t at);      /* bytes of the one at `at` */
/* The byte where the nth character starts; t.bytes when there are fewer. */
size_t text_offset(struct text t, size_t characters);
int64_t text_find(struct text t, struct text what, size_t from);
int64_t text_find_last(struct text t, struct text what);
bool text_starts(struct text t, struct text with);
bool text_ends(struct text t, struct text with);
/* characters NULL: white space. */
struct text text_strip(struct text t, const struct text *characters, unsigned ends);

enum text_case { CASE_UPPER, CASE_LOWER, CASE_CAPITALIZE, CASE_TITLE, CASE_TITLE_FILTER };
struct value text_recase(struct run *r, struct text t, enum text_case how);
/* At most `most` replacements; -1: all. */
struct value text_replace(struct run *r, struct text t, struct text old, struct text by,
			  int64_t most);
/* separator NULL: runs of white space. */
struct value text_split(struct run *r, struct text t, const struct text *separator,
			int64_t most);
struct value text_split_last(struct run *r, struct text t, const struct text *separator,
			     int64_t most);
struct value text_lines(struct run *r, struct text t);
bool text_is_space(uint32_t c);

#endif
