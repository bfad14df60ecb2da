/* token_list.h - token ids, in order.
 *
 * Threads    One at a time.
 * Ownership  Starts as zeros; token_list_close() frees the ids.
 * Units      none.
 * Errors     -ENOMEM.
 */
#ifndef PETALS_COMPUTE_TEXT_TOKEN_LIST_H
#define PETALS_COMPUTE_TEXT_TOKEN_LIST_H

#include "dataplane/base/types.h"

struct token_list {
	uint32_t *ids;
	size_t count, capacity;
};

void token_list_close(struct token_list *l);
int token_list_push(struct token_list *l, uint32_t id);

#endif
