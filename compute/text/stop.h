/* stop.h - finds stop strings in text that arrives piece by piece.
 *
 * Text that can no longer become a stop string is passed on at once; the rest
 * is held back.  The match that ends first wins, the longest among those that
 * end together, so the result does not depend on how the text was cut
 * into pieces.  The stop string itself is never passed on.
 *
 * Threads    A matcher belongs to its holder.
 * Ownership  stop_open() copies the strings / stop_close().
 * Units      Bytes.
 * Errors     stop_open(): -ENOMEM; -EINVAL for an empty string, too many, or too long.
 */
#ifndef PETALS_COMPUTE_TEXT_STOP_H
#define PETALS_COMPUTE_TEXT_STOP_H

#include "dataplane/base/buffer.h"
#include "dataplane/base/error.h"

enum { STOP_STRINGS_MAX = 16, STOP_STRING_BYTES_MAX = 1024 };

struct stop;

int stop_open(struct stop **out, const char *const *strings, uint32_t count,
	      struct error *e);
void stop_close(struct stop *s);                         /* NULL is fine */

/* Appends what is surely no part of a stop string to out.  True: a stop string was
 * found, all text before it is out, and later pushes add nothing.
 */
bool stop_push(struct stop *s, const char *text, size_t bytes, struct buffer *out);
/* The text is over: passes on what was held back. */
void stop_finish(struct stop *s, struct buffer *out);
/* Which string was found, -1 while none was. */
int stop_found(const struct stop *s);
size_t stop_held(const struct stop *s);                  /* bytes held back */

#endif
