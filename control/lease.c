/* lease.c - a flat table: a few hundred members, each touched a few times a second. */
#include "control/lease.h"

#include <errno.h>

#include "dataplane/base/memory.h"

struct lease {
	uint64_t id, ttl_ns, ends_ns;
};

struct leases {
	uint32_t count, capacity;
	uint64_t deadline_ns;           /* no lease ends before */
	struct lease entries[];
};

int leases_open(struct leases **out, uint32_t capacity)
{
	*out = mem_calloc(1, sizeof(**out) + capacity * sizeof(struct lease));
	if (!*out)
		return -ENOMEM;
	(*out)->capacity = capacity;
	(*out)->deadline_ns = UINT64_MAX;
	return 0;
}

void leases_close(struct leases *l)
{
	mem_free(l);
}

static struct lease *find(const struct leases *l, uint64_t id)
{
	uint32_t i;

	for (i = 0; i < l->count; i++)
		if (l->entries[i].id == id)
			return (struct lease *)&l->entries[i];
	return NULL;
}

int lease_grant(struct leases *l, uint64_t id, uint64_t ttl_ns, uint64_t now_ns)
{
	struct lease *entry = find(l, id);

	assert(id && ttl_ns);
	if (!entry && l->count == l->capacity)
		return -ENOSPC;
	if (!entry)
		entry = &l->entries[l->count++];
	*entry = (struct lease){ .id = id, .ttl_ns = ttl_ns, .ends_ns = now_ns + ttl_ns };
	l->deadline_ns = MIN(l->deadline_ns, entry->ends_ns);
	return 0;
}

void lease_revoke(struct leases *l, uint64_t id)
{
	struct lease *entry = find(l, id);

	if (entry)
		*entry = l->entries[--l->count];
}

uint64_t lease_ttl_ns(const struct leases *l, uint64_t id)
{
	const struct lease *entry = find(l, id);

	return entry ? entry->ttl_ns : 0;
}

uint64_t lease_expire(struct leases *l, uint64_t now_ns)
{
	const struct lease *ended = NULL;
	uint64_t deadline_ns = UINT64_MAX, id;
	uint32_t i;

	if (now_ns < l->deadline_ns)
		return 0;
	for (i = 0; i < l->count; i++) {
		const struct lease *entry = &l->entries[i];

		deadline_ns = MIN(deadline_ns, entry->ends_ns);
		if (entry->ends_ns > now_ns)
			continue;
		/* The one that ended first goes first; ids settle a tie. */
		if (!ended || entry->ends_ns < ended->ends_ns ||
		    (entry->ends_ns == ended->ends_ns && entry->id < ended->id))
			ended = entry;
	}
	l->deadline_ns = deadline_ns;
	if (!ended)
		return 0;
	id = ended->id;
	lease_revoke(l, id);
	return id;
}

void leases_hold(struct leases *l, uint64_t until_ns)
{
	uint32_t i;

	for (i = 0; i < l->count; i++)
		l->entries[i].ends_ns = MAX(l->entries[i].ends_ns, until_ns);
}

uint64_t leases_deadline(const struct leases *l)
{
	return l->deadline_ns;
}
