/* map.h - from a 64-bit id to a pointer, with a fixed capacity.
 *
 * Open addressing with linear probing and backward-shift deletion; never
 * allocates after map_open().
 *
 * Threads    One thread owns a map.
 * Ownership  Values are the caller's.
 * Units      Entries.
 * Errors     map_open(): -ENOMEM.  map_put(): -ENOSPC when full, -EEXIST when
 *            the id is there.  map_get(), map_remove(): NULL when it is not.
 */
#ifndef PETALS_BASE_MAP_H
#define PETALS_BASE_MAP_H

#include "dataplane/base/types.h"

struct map;

int map_open(struct map **out, uint32_t capacity);
void map_close(struct map *m);                         /* NULL is fine */
int map_put(struct map *m, uint64_t id, void *value);  /* value != NULL */
void *map_get(const struct map *m, uint64_t id);
void *map_remove(struct map *m, uint64_t id);
uint32_t map_length(const struct map *m);

/* Visits every value: for (cursor = 0; (v = map_next(m, &cursor));).  Do not
 * change the map meanwhile.
 */
void *map_next(const struct map *m, uint32_t *cursor);

#endif
