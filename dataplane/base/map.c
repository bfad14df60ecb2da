/* map.c - linear probing over a table at most half full; removal shifts the
 * rest of the run back, so there are no tombstones and lookups stay short.
 */
#include "dataplane/base/map.h"

#include <errno.h>

#include "dataplane/base/memory.h"

struct slot {
	uint64_t id;
	void *value;             /* NULL: empty */
};

struct map {
	struct slot *slots;
	uint32_t mask;           /* slots - 1; a power of two less one */
	uint32_t capacity;       /* most entries */
	uint32_t length;
};

int map_open(struct map **out, uint32_t capacity)
{
	uint64_t slots = 2;
	struct map *m;

	*out = NULL;
	while (slots < 2 * (uint64_t)capacity)
		slots *= 2;
	if (slots > (uint64_t)1 << 31)
		return -ENOMEM;
	m = mem_calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->slots = mem_calloc(slots, sizeof(*m->slots));
	if (!m->slots)
		goto err;
	m->mask = (uint32_t)slots - 1;
	m->capacity = capacity;
	*out = m;
	return 0;

err:
	mem_free(m);
	return -ENOMEM;
}

void map_close(struct map *m)
{
	if (!m)
		return;
	mem_free(m->slots);
	mem_free(m);
}

/* Ids may be consecutive or share their low bits; mix them all. */
static uint32_t home(const struct map *m, uint64_t id)
{
	id ^= id >> 32;
	id *= 0xd6e8feb86659fd93ull;
	id ^= id >> 32;
	return (uint32_t)id & m->mask;
}

/* The slot that holds id, or the empty one where it would go. */
static uint32_t find(const struct map *m, uint64_t id)
{
	uint32_t i = home(m, id);

	while (m->slots[i].value && m->slots[i].id != id)
		i = (i + 1) & m->mask;
	return i;
}

int map_put(struct map *m, uint64_t id, void *value)
{
	uint32_t i = find(m, id);

	assert(value);
	if (m->slots[i].value)
		return -EEXIST;
	if (m->length == m->capacity)
		return -ENOSPC;
	m->slots[i] = (struct slot){ id, value };
	m->length++;
	return 0;
}

void *map_get(const struct map *m, uint64_t id)
{
	return m->slots[find(m, id)].value;
}

void *map_remove(struct map *m, uint64_t id)
{
	uint32_t hole = find(m, id);
	void *value = m->slots[hole].value;

	if (!value)
		return NULL;
	for (uint32_t i = (hole + 1) & m->mask; m->slots[i].value; i = (i + 1) & m->mask) {
		uint32_t from_home = (i - home(m, m->slots[i].id)) & m->mask;
		uint32_t from_hole = (i - hole) & m->mask;

		if (from_home < from_hole)
			continue;    /* it would end up before its home */
		m->slots[hole] = m->slots[i];
		hole = i;
	}
	m->slots[hole].value = NULL;
	m->length--;
	return value;
}

uint32_t map_length(const struct map *m)
{
	return m->length;
}

void *map_next(const struct map *m, uint32_t *cursor)
{
	while (*cursor <= m->mask) {
		void *value = m->slots[(*cursor)++].value;

		if (value)
			return value;
	}
	return NULL;
}
