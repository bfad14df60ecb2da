/* jinja_format.h - Python's two ways to fill a text with values.
 *
 * Threads    As jinja_run.h.
 * Ownership  Results live in the run's bag.
 * Units      Bytes.
 * Errors     The run's; what is not implemented is refused.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_FORMAT_H
#define PETALS_COMPUTE_TEXT_JINJA_FORMAT_H

#include "compute/text/jinja_table.h"

/* "{} {0} {name}".format(...), without format specifications. */
struct value format_braces(struct run *r, struct value self, const struct arguments *a);
/* "%s %d %5.2f" % values (a tuple, or one value): the conversions s, r, d, i,
 * f and x, with flags, width and precision.
 */
struct value format_percent(struct run *r, struct text format, struct value values);

#endif
