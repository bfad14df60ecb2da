/* pattern.h - what a tokenizer.json calls a pattern: a literal text or a
 * regular expression, {"String": "..."} or {"Regex": "..."}.
 *
 * Threads    Read-only once built.
 * Ownership  A zeroed pattern never matches; pattern_close() frees.
 * Units      Bytes of valid UTF-8.
 * Errors     As regex.h, with the JSON path before the sentence.
 */
#ifndef PETALS_COMPUTE_TEXT_PATTERN_H
#define PETALS_COMPUTE_TEXT_PATTERN_H

#include <jansson.h>

#include "compute/text/regex.h"

struct pattern {
	struct regex *regex;         /* NULL: literal text */
	char *text;
	size_t bytes;
};

/* object[key] is the pattern. */
int pattern_read(struct pattern *p, const json_t *object, const char *key, const char *path,
		 struct error *e);
int pattern_set_text(struct pattern *p, const char *text, size_t bytes);
int pattern_set_regex(struct pattern *p, const char *regex, struct error *e);
void pattern_close(struct pattern *p);

/* The first match at or after `from`: 1 found, 0 none, -errno. */
int pattern_find(const struct pattern *p, struct regex_scratch *s, const char *text,
		 size_t bytes, size_t from, struct regex_match *out, struct error *e);
/* Appends text with every match replaced by content. */
int pattern_replace(const struct pattern *p, struct regex_scratch *s, const char *text,
		    size_t bytes, const char *content, struct buffer *out, struct error *e);

#endif
