/* parts.h - a component of tokenizer.json: one part, or a Sequence of them, nested as deep as
 * it likes up to a bound; read in order.
 *
 *	{ "type": "Sequence", "decoders": [ { "type": "Fuse" }, { "type": "Strip", ... } ] }
 *
 * Threads    Pure functions.
 * Ownership  Nothing is kept of the JSON.
 * Units      none.
 * Errors     -EINVAL, or what a part's reader says, with a sentence that starts with the path.
 */
#ifndef PETALS_COMPUTE_TEXT_PARTS_H
#define PETALS_COMPUTE_TEXT_PARTS_H

#include <jansson.h>

#include "dataplane/base/error.h"

/* Takes one part; its type is never "Sequence". */
typedef int part_reader(void *into, const char *type, const json_t *node, const char *path,
			struct error *e);

/* list: the member of a Sequence that holds its parts.  NULL and null have none. */
int parts_read(void *into, part_reader *read, const json_t *node, const char *list,
	       const char *path, struct error *e);
/* -ENOTSUP: a part of a type nobody reads. */
int part_refuse(const char *type, const char *path, struct error *e);

#endif
