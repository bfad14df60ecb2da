/* regex.h - a compiled regular expression in the dialect that tokenizer.json
 * files are written in (Oniguruma), run by PCRE2.
 *
 * What the two read differently is translated: nested character classes,
 * \s \w \h, property names, line anchors.  What cannot be expressed (class
 * intersections, negated classes inside classes) is refused.
 *
 * Threads    A regex may be used by any thread; a regex_scratch by one.
 * Ownership  regex_open() / regex_close(), regex_scratch_open() / _close().
 * Units      Bytes; texts must be valid UTF-8.
 * Errors     -EINVAL or -ENOTSUP with the offset inside the pattern;
 *            regex_find(): -E2BIG when a match would cost too many steps.
 */
#ifndef PETALS_COMPUTE_TEXT_REGEX_H
#define PETALS_COMPUTE_TEXT_REGEX_H

#include "dataplane/base/buffer.h"
#include "dataplane/base/error.h"

struct regex;
struct regex_scratch;

int regex_open(struct regex **out, const char *pattern, size_t bytes, struct error *e);
void regex_close(struct regex *r);                             /* NULL is fine */

int regex_scratch_open(struct regex_scratch **out, struct error *e);
void regex_scratch_close(struct regex_scratch *s);             /* NULL is fine */

struct regex_match {
	size_t start, end;
};

/* The first match at or after `from`: 1 found, 0 none, -errno. */
int regex_find(const struct regex *r, struct regex_scratch *s, const char *text, size_t bytes,
	       size_t from, struct regex_match *out, struct error *e);

/* regex_dialect.c: the pattern in PCRE2's dialect. */
int regex_translate(struct buffer *out, const char *pattern, size_t bytes, struct error *e);

#endif
