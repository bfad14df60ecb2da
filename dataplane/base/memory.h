/* memory.h - heap blocks and large regions, counted, and breakable by tests.
 *
 * Every allocation of the product goes through here, so that a fault sweep
 * (fault.h) can fail each one in turn and prove that nothing leaks.
 *
 * Threads    Safe from any thread.
 * Ownership  What mem_alloc() returns goes to mem_free(); regions are closed
 *            by memory_region_close().  NULL is fine for both.
 * Units      _bytes.
 * Errors     NULL or -ENOMEM.  Never aborts.
 */
#ifndef PETALS_BASE_MEMORY_H
#define PETALS_BASE_MEMORY_H

#include "dataplane/base/types.h"

void *mem_alloc(size_t bytes);                        /* not zeroed */
void *mem_calloc(size_t count, size_t bytes);         /* zeroed, overflow-checked */
void *mem_realloc(void *ptr, size_t bytes);
void *mem_aligned(size_t alignment, size_t bytes);    /* not zeroed */
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t length);
void mem_free(void *ptr);

/* Live blocks from the functions above, for leak checks. */
uint64_t mem_live_blocks(void);

/* An anonymous, zeroed mapping for weights, pages and arenas.  Huge pages
 * when the host grants them (reserved ones if `reserved` and there are
 * enough, else transparent); plain pages otherwise.  Committed on touch.
 */
struct memory_region {
	void *base;            /* aligned to 2 MiB */
	size_t bytes;          /* as asked for, rounded up to 2 MiB */
	bool huge_reserved;    /* backed by reserved huge pages */
};

int memory_region_open(struct memory_region *r, size_t bytes, bool reserved);
void memory_region_close(struct memory_region *r);    /* safe when zeroed */

#endif
