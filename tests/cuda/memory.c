/* memory.c - owns the list of allocations; every one has the sanitizer's margins. */
#include "tests/cuda/memory.h"

#include <string.h>

#include "dataplane/base/memory.h"
#include "tests/cuda/asan.h"
#include "tests/cuda/setting.h"

static struct {
	struct memory_block *first;
	size_t device_bytes;
} memory;

size_t memory_device_total(void)
{
	return (size_t)setting("memory", 8ull << 30);
}

size_t memory_device_free(void)
{
	size_t total = memory_device_total();

	return total > memory.device_bytes ? total - memory.device_bytes : 0;
}

struct memory_block *memory_new(enum memory_kind kind, void *registered, size_t bytes)
{
	struct memory_block *b;

	if (bytes == 0 || (kind == MEMORY_DEVICE && bytes > memory_device_free()))
		return NULL;
	b = mem_calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->kind = kind;
	b->bytes = bytes;
	b->base = kind == MEMORY_REGISTERED ? registered : mem_aligned(256, bytes);
	if (!b->base) {
		mem_free(b);
		return NULL;
	}
	if (kind != MEMORY_REGISTERED)
		memset(b->base, 0xff, bytes);
	if (kind == MEMORY_DEVICE) {
		memory.device_bytes += bytes;
		memory_shut(b->base, bytes);
	}
	b->next = memory.first;
	memory.first = b;
	return b;
}

bool memory_drop(enum memory_kind kind, const void *base)
{
	for (struct memory_block **at = &memory.first, *b; (b = *at); at = &b->next) {
		if (b->base != base || b->kind != kind)
			continue;
		*at = b->next;
		if (kind == MEMORY_DEVICE) {
			memory.device_bytes -= b->bytes;
			memory_open(b->base, b->bytes);
		}
		if (kind != MEMORY_REGISTERED)
			mem_free(b->base);
		mem_free(b);
		return true;
	}
	return false;
}

const struct memory_block *memory_find(const void *at, size_t bytes)
{
	const uint8_t *p = at;

	for (const struct memory_block *b = memory.first; b; b = b->next)
		if (p >= b->base && bytes <= b->bytes && (size_t)(p - b->base) <= b->bytes - bytes)
			return b;
	return NULL;
}

void memory_device_access(bool open)
{
	for (const struct memory_block *b = memory.first; b; b = b->next) {
		if (b->kind != MEMORY_DEVICE)
			continue;
		if (open)
			memory_open(b->base, b->bytes);
		else
			memory_shut(b->base, b->bytes);
	}
}
