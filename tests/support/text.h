/* text.h - helpers of the tests in tests/compute/text: vectors, renderings.
 *
 * Threads    One test at a time.
 * Ownership  rendered(), cuts_of() and matches() lend their text until their next call.
 * Units      None.
 * Errors     Fail the test.
 */
#ifndef PETALS_TESTS_TEXT_H
#define PETALS_TESTS_TEXT_H

#include <jansson.h>

#include "compute/text/tokenizer.h"

/* Encodes text and checks the ids. */
void check_ids(const struct tokenizer *t, const char *text, size_t bytes, unsigned flags,
	       const json_t *ids);
/* Every line {"text", "ids"} of a file. */
void check_id_lines(const struct tokenizer *t, const char *path, unsigned flags);
/* tokenizer_decode() gives text, and so do all ids one by one. */
void check_decoded(const struct tokenizer *t, const json_t *ids, bool skip_special,
		   const char *text, size_t bytes);

/* What a template renders to with variables (JSON text), else "error: ...". */
const char *rendered(const char *template, const char *variables);
/* Every case of a templates file (tests/golden/README.md). */
void check_renderings(const char *path);

/* The pieces that a pre-tokenizer (JSON text) cuts text into, joined by '|'. */
const char *cuts_of(const char *json, const char *text);
/* All matches of pattern in text, each in brackets. */
const char *matches(const char *pattern, const char *text);

/* tests/data/NAME parsed; fails the test when it is not there. */
json_t *json_data(const char *name);

#endif
