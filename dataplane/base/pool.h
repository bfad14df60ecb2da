/* pool.h - a fixed set of equal objects, allocated once, with named holders.
 *
 * A pool's size is the sum of what its holders may hold at once, so it cannot
 * run dry while everyone keeps their word; each get and put names its holder,
 * so a leak is reported by name.
 *
 * Threads    One thread owns a pool.
 * Ownership  pool_get() lends an object; pool_put() takes it back.
 *            pool_move() passes it from one holder to another.
 * Units      Objects.
 * Errors     pool_open(): -ENOMEM.  pool_get(): NULL when the holder is full.
 */
#ifndef PETALS_BASE_POOL_H
#define PETALS_BASE_POOL_H

#include "dataplane/base/types.h"

struct pool;

struct pool_holder {
	const char *name;
	uint32_t max;             /* objects it may hold at once */
};

int pool_open(struct pool **out, size_t object_bytes,
	      const struct pool_holder *holders, uint32_t holder_count);
void pool_close(struct pool *p);        /* NULL is fine; logs what is still held */

void *pool_get(struct pool *p, uint32_t holder);          /* zeroed object */
void pool_put(struct pool *p, uint32_t holder, void *object);
bool pool_move(struct pool *p, uint32_t from, uint32_t to); /* false: `to` is full */
uint32_t pool_held(const struct pool *p, uint32_t holder);
uint32_t pool_size(const struct pool *p);

#endif
