/* ring.c - two counters that only grow, each written by one side.
 *
 * Each side keeps the last value it saw of the other's counter and looks
 * again only when that says full or empty, so in steady flow the two sides
 * seldom touch one another's cache line.
 */
#include "dataplane/base/ring.h"

#include <errno.h>
#include <stdatomic.h>

#include "dataplane/base/memory.h"

enum { CACHE_LINE_BYTES = 64 };

struct ring {
	uint32_t mask;
	void **entries;

	alignas(CACHE_LINE_BYTES) _Atomic uint32_t pushed;   /* producer writes */
	uint32_t popped_seen;

	alignas(CACHE_LINE_BYTES) _Atomic uint32_t popped;   /* consumer writes */
	uint32_t pushed_seen;
};

int ring_open(struct ring **out, uint32_t capacity)
{
	struct ring *r;

	*out = NULL;
	if (capacity == 0 || (capacity & (capacity - 1)) != 0)
		return -EINVAL;
	r = mem_aligned(CACHE_LINE_BYTES, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct ring){ .mask = capacity - 1 };
	r->entries = mem_calloc(capacity, sizeof(*r->entries));
	if (!r->entries) {
		mem_free(r);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

void ring_close(struct ring *r)
{
	if (!r)
		return;
	mem_free(r->entries);
	mem_free(r);
}

bool ring_push(struct ring *r, void *entry)
{
	uint32_t at = atomic_load_explicit(&r->pushed, memory_order_relaxed);

	assert(entry);
	if (at - r->popped_seen > r->mask) {
		r->popped_seen = atomic_load_explicit(&r->popped, memory_order_acquire);
		if (at - r->popped_seen > r->mask)
			return false;
	}
	r->entries[at & r->mask] = entry;
	atomic_store_explicit(&r->pushed, at + 1, memory_order_release);
	return true;
}

void *ring_pop(struct ring *r)
{
	uint32_t at = atomic_load_explicit(&r->popped, memory_order_relaxed);
	void *entry;

	if (at == r->pushed_seen) {
		r->pushed_seen = atomic_load_explicit(&r->pushed, memory_order_acquire);
		if (at == r->pushed_seen)
			return NULL;
	}
	entry = r->entries[at & r->mask];
	atomic_store_explicit(&r->popped, at + 1, memory_order_release);
	return entry;
}

uint32_t ring_length(const struct ring *r)
{
	/* popped first: reading pushed later can only make the difference grow. */
	uint32_t popped = atomic_load_explicit(&r->popped, memory_order_acquire);
	uint32_t pushed = atomic_load_explicit(&r->pushed, memory_order_acquire);

	return MIN(pushed - popped, r->mask + 1);
}
