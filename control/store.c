/* store.c - which kind of store a --store value names.  Adding one: a row here. */
#include "control/store.h"

#include <errno.h>
#include <string.h>

static const struct store_ops *const stores[] = {
	&store_sqlite,          /* the one that plain file names mean */
};

int store_open(struct store **out, const struct store_ops **ops, const char *where,
	       struct error *e)
{
	const char *mark = strstr(where, "://");
	size_t i;

	*out = NULL;
	if (!mark) {
		*ops = stores[0];
		return stores[0]->open(out, where, e);
	}
	for (i = 0; i < ARRAY_LENGTH(stores); i++) {
		size_t length = strlen(stores[i]->scheme);

		if (length != (size_t)(mark - where) || strncmp(stores[i]->scheme, where, length))
			continue;
		*ops = stores[i];
		return stores[i]->open(out, mark + 3, e);
	}
	return error_set(e, -ENOTSUP, "store \"%s\": this build has no %.*s store; give a file "
			 "name, or :memory: to keep nothing", where, (int)(mark - where), where);
}
