/* buffer.h - a growable run of bytes with a bound, for text and JSON.
 *
 * Always NUL-terminated.  A failed append sets `failed` and is otherwise
 * ignored, so a writer checks once, at the end.
 *
 * Threads    A buffer belongs to its holder.
 * Ownership  buffer_close() frees; a zeroed struct is an empty buffer without
 *            a bound.
 * Units      Bytes.
 * Errors     buffer_failed(): -ENOMEM, -EMSGSIZE past the bound, or 0.
 */
#ifndef PETALS_BASE_BUFFER_H
#define PETALS_BASE_BUFFER_H

#include <stdarg.h>

#include "dataplane/base/types.h"

struct buffer {
	char *data;          /* NUL-terminated; NULL while empty and unused */
	size_t length;
	size_t capacity;
	size_t bound;        /* most bytes it may hold, 0: no bound */
	int failed;          /* first error, 0 */
};

void buffer_close(struct buffer *b);
void buffer_clear(struct buffer *b);              /* keeps the memory */
void buffer_append(struct buffer *b, const void *data, size_t bytes);
void buffer_text(struct buffer *b, const char *text);
void buffer_char(struct buffer *b, char c);
void buffer_printf(struct buffer *b, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void buffer_vprintf(struct buffer *b, const char *format, va_list args);
const char *buffer_string(const struct buffer *b); /* "" when empty */
int buffer_failed(const struct buffer *b);
char *buffer_take(struct buffer *b);               /* caller mem_free()s; resets b */

#endif
