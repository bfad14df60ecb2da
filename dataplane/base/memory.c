/* memory.c - the only caller of malloc() and mmap() for memory; counts what
 * is live and lets a fault sweep fail each call.
 */
#include "dataplane/base/memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dataplane/base/fault.h"

enum { HUGE_SHIFT = 21 };
static const size_t huge_bytes = (size_t)1 << HUGE_SHIFT;

static atomic_uint_fast64_t live_blocks;

static void *counted(void *ptr)
{
	if (ptr)
		atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
	return ptr;
}

/* An empty block is still a block: NULL means out of memory and nothing else. */
static size_t at_least_one(size_t bytes)
{
	return bytes ? bytes : 1;
}

void *mem_alloc(size_t bytes)
{
	if (fault_here())
		return NULL;
	return counted(malloc(at_least_one(bytes)));
}

void *mem_calloc(size_t count, size_t bytes)
{
	if (fault_here())
		return NULL;
	return counted(calloc(at_least_one(count), at_least_one(bytes)));
}

void *mem_realloc(void *ptr, size_t bytes)
{
	if (!ptr)
		return mem_alloc(bytes);
	if (fault_here())
		return NULL;
	return realloc(ptr, at_least_one(bytes));
}

void *mem_aligned(size_t alignment, size_t bytes)
{
	void *ptr;

	assert(alignment >= sizeof(void *) && (alignment & (alignment - 1)) == 0);
	if (fault_here() || posix_memalign(&ptr, alignment, at_least_one(bytes)) != 0)
		return NULL;
	return counted(ptr);
}

char *mem_strdup(const char *text)
{
	return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t length)
{
	size_t n = strnlen(text, length);
	char *copy = mem_alloc(n + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, n);
	copy[n] = '\0';
	return copy;
}

void mem_free(void *ptr)
{
	if (!ptr)
		return;
	atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
	free(ptr);
}

uint64_t mem_live_blocks(void)
{
	return atomic_load_explicit(&live_blocks, memory_order_relaxed);
}

/* Maps more than is needed and cuts the ends off, so that the kernel can put
 * transparent huge pages under all of it.
 */
static void *map_plain(size_t bytes)
{
	size_t slack = huge_bytes, head, tail;
	char *raw, *base;

	if (bytes > SIZE_MAX - slack)
		return NULL;
	raw = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (raw == MAP_FAILED)
		return NULL;
	base = (char *)align_up((uintptr_t)raw, huge_bytes);
	head = (size_t)(base - raw);
	tail = slack - head;
	if (head)
		munmap(raw, head);
	if (tail)
		munmap(base + bytes, tail);
	/* Advice: a kernel without huge pages refuses it and nothing is lost. */
	(void)madvise(base, bytes, MADV_HUGEPAGE);
	return base;
}

static void *map_reserved(size_t bytes)
{
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
				  (HUGE_SHIFT << MAP_HUGE_SHIFT),
			  -1, 0);

	return base == MAP_FAILED ? NULL : base;
}

int memory_region_open(struct memory_region *r, size_t bytes, bool reserved)
{
	*r = (struct memory_region){ 0 };
	if (fault_here() || bytes > SIZE_MAX - huge_bytes)
		return -ENOMEM;
	bytes = align_up(at_least_one(bytes), huge_bytes);
	if (reserved)
		r->base = map_reserved(bytes);
	r->huge_reserved = r->base != NULL;
	if (!r->base)
		r->base = map_plain(bytes);
	if (!r->base)
		return -ENOMEM;
	r->bytes = bytes;
	return 0;
}

void memory_region_close(struct memory_region *r)
{
	if (r->base)
		munmap(r->base, r->bytes);
	*r = (struct memory_region){ 0 };
}
