/* bag.h - many small blocks that are given back together.
 *
 * Threads    An bag belongs to its holder.
 * Ownership  A zeroed bag is empty and unbounded; bag_close() frees every block.
 * Units      Bytes.
 * Errors     NULL; `failed` then holds -ENOMEM, or -EMSGSIZE past the bound.
 */
#ifndef PETALS_COMPUTE_TEXT_BAG_H
#define PETALS_COMPUTE_TEXT_BAG_H

#include "dataplane/base/types.h"

struct bag_chunk;

struct bag {
	struct bag_chunk *newest;
	size_t used;                 /* bytes handed out, over all chunks */
	size_t bound;                /* most bytes to hand out, 0: no bound */
	int failed;                  /* the first failure */
};

void bag_close(struct bag *a);
void *bag_take(struct bag *a, size_t bytes);      /* zeroed */
char *bag_copy(struct bag *a, const char *text, size_t bytes); /* NUL-terminated */

#endif
