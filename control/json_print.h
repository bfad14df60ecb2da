/* json_print.h - JSON written straight into a buffer, where building a tree for every token
 * would cost more than the token's text.
 *
 * Threads    Pure functions over the caller's buffer.
 * Ownership  Appends to a buffer that is the caller's.
 * Units      Bytes.
 * Errors     Kept by the buffer: buffer_failed().
 */
#ifndef PETALS_CONTROL_JSON_PRINT_H
#define PETALS_CONTROL_JSON_PRINT_H

#include "dataplane/base/buffer.h"

/* A quoted, escaped string; what is not UTF-8 becomes U+FFFD. */
void json_print_text(struct buffer *out, const char *text, size_t bytes);
void json_print_string(struct buffer *out, const char *text);       /* NULL: null */
/* The shortest of 9 digits that reads back as the same float; JSON has no infinities, so
 * those become +-9999, as OpenAI's own API writes them.
 */
void json_print_float(struct buffer *out, float value);
/* "[1,2,3]" */
void json_print_ids(struct buffer *out, const uint32_t *ids, size_t count);
/* {"error": {"message", "type", "param", "code"}}; param and code may be NULL. */
void json_print_error(struct buffer *out, const char *message, const char *type,
		      const char *param, const char *code);

#endif
