/* pool.c - a stack of free objects and a count for each holder.
 *
 * pool_move() changes only counts, so the pool knows how many objects a
 * holder has and not which; a bit per object still catches a second put.
 */
#include "dataplane/base/pool.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { CACHE_LINE_BYTES = 64 };

struct holder {
	struct pool_holder limit;
	uint32_t held;
};

struct pool {
	char *objects;
	size_t stride;           /* bytes from one object to the next */
	uint32_t size;
	uint32_t *free;          /* indices, top of the stack last */
	uint32_t free_count;
	bool *lent;              /* by object */
	struct holder *holders;
	uint32_t holder_count;
};

static int allocate(struct pool *p)
{
	p->free = mem_calloc(p->size, sizeof(*p->free));
	p->lent = mem_calloc(p->size, sizeof(*p->lent));
	p->holders = mem_calloc(p->holder_count, sizeof(*p->holders));
	if (!p->free || !p->lent || !p->holders)
		return -ENOMEM;
	if (p->size && p->stride > SIZE_MAX / p->size)
		return -ENOMEM;
	p->objects = mem_aligned(CACHE_LINE_BYTES, p->stride * p->size);
	return p->objects ? 0 : -ENOMEM;
}

static void release(struct pool *p)
{
	mem_free(p->objects);
	mem_free(p->holders);
	mem_free(p->lent);
	mem_free(p->free);
	mem_free(p);
}

int pool_open(struct pool **out, size_t object_bytes,
	      const struct pool_holder *holders, uint32_t holder_count)
{
	uint64_t size = 0;
	struct pool *p;

	assert(object_bytes > 0 && object_bytes <= SIZE_MAX - CACHE_LINE_BYTES);
	*out = NULL;
	for (uint32_t i = 0; i < holder_count; i++)
		size += holders[i].max;
	if (size > UINT32_MAX)
		return -ENOMEM;
	p = mem_calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->stride = align_up(object_bytes, CACHE_LINE_BYTES);
	p->size = (uint32_t)size;
	p->holder_count = holder_count;
	if (allocate(p) < 0) {
		release(p);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < holder_count; i++)
		p->holders[i].limit = holders[i];
	/* Last in first out, the lowest address on top: hot memory is used again. */
	for (uint32_t i = 0; i < p->size; i++)
		p->free[i] = p->size - 1 - i;
	p->free_count = p->size;
	*out = p;
	return 0;
}

void pool_close(struct pool *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->holder_count; i++)
		if (p->holders[i].held)
			log_warn("pool", "closed while %s holds %u of %u objects",
				 p->holders[i].limit.name, p->holders[i].held,
				 p->holders[i].limit.max);
	release(p);
}

void *pool_get(struct pool *p, uint32_t holder)
{
	struct holder *h;
	uint32_t i;
	char *object;

	assert(holder < p->holder_count);
	h = &p->holders[holder];
	if (h->held == h->limit.max)
		return NULL;
	assert(p->free_count > 0);    /* the size is the sum of the limits */
	i = p->free[--p->free_count];
	p->lent[i] = true;
	h->held++;
	object = p->objects + i * p->stride;
	memset(object, 0, p->stride);
	return object;
}

void pool_put(struct pool *p, uint32_t holder, void *object)
{
	size_t offset = (size_t)((char *)object - p->objects);
	size_t i = offset / p->stride;

	assert(holder < p->holder_count);
	assert(offset % p->stride == 0 && i < p->size);
	assert(p->lent[i]);
	assert(p->holders[holder].held > 0);
	p->lent[i] = false;
	p->holders[holder].held--;
	p->free[p->free_count++] = (uint32_t)i;
}

bool pool_move(struct pool *p, uint32_t from, uint32_t to)
{
	assert(from < p->holder_count && to < p->holder_count);
	assert(p->holders[from].held > 0);
	if (from == to)
		return true;
	if (p->holders[to].held == p->holders[to].limit.max)
		return false;
	p->holders[from].held--;
	p->holders[to].held++;
	return true;
}

uint32_t pool_held(const struct pool *p, uint32_t holder)
{
	assert(holder < p->holder_count);
	return p->holders[holder].held;
}

uint32_t pool_size(const struct pool *p)
{
	return p->size;
}
