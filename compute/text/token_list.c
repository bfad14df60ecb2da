/* token_list.c - a list that grows by doubling. */
#include "compute/text/token_list.h"

#include <errno.h>

#include "dataplane/base/memory.h"

void token_list_close(struct token_list *l)
{
	mem_free(l->ids);
	*l = (struct token_list){ 0 };
}

int token_list_push(struct token_list *l, uint32_t id)
{
	if (l->count == l->capacity) {
		size_t capacity = MAX(l->capacity * 2, (size_t)32);
		void *grown = mem_realloc(l->ids, capacity * sizeof(*l->ids));

		if (!grown)
			return -ENOMEM;
		l->ids = grown;
		l->capacity = capacity;
	}
	l->ids[l->count++] = id;
	return 0;
}
