/* owners.c - a name for each lease. */
#include "control/owners.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/map.h"
#include "dataplane/base/memory.h"

struct owners {
	struct map *names;              /* char * by lease */
};

int owners_open(struct owners **out, uint32_t capacity)
{
	struct owners *o = mem_calloc(1, sizeof(*o));
	int rc = o ? map_open(&o->names, capacity) : -ENOMEM;

	*out = rc < 0 ? NULL : o;
	if (rc < 0)
		mem_free(o);
	return rc;
}

void owners_close(struct owners *o)
{
	uint32_t cursor = 0;
	char *name;

	if (!o)
		return;
	while ((name = map_next(o->names, &cursor)))
		mem_free(name);
	map_close(o->names);
	mem_free(o);
}

int owners_check(const struct owners *o, uint64_t id, const struct principal *p,
		 struct error *e)
{
	const char *name = map_get(o->names, id);

	if (!p || !name || !strcmp(name, p->name))
		return 0;
	return error_set(e, -EPERM, "that lease is %s's, not %s's", name, p->name);
}

int owners_claim(struct owners *o, uint64_t id, const struct principal *p)
{
	char *name;
	int rc;

	if (!p || map_get(o->names, id))
		return 0;
	name = mem_strdup(p->name);
	if (!name)
		return -ENOMEM;
	rc = map_put(o->names, id, name);
	if (rc < 0)
		mem_free(name);
	return rc;
}

void owners_forget(struct owners *o, uint64_t id)
{
	mem_free(map_remove(o->names, id));
}
