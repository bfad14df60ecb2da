/* bag.c - hands blocks out of chunks that grow with use. */
#include "compute/text/bag.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum { ALIGNMENT = 16, CHUNK_LEAST_BYTES = 4096, CHUNK_MOST_BYTES = 1 << 20 };

struct bag_chunk {
	struct bag_chunk *older;
	size_t used, capacity;
	_Alignas(ALIGNMENT) char data[];
};

void bag_close(struct bag *a)
{
	struct bag_chunk *chunk = a->newest;

	while (chunk) {
		struct bag_chunk *older = chunk->older;

		mem_free(chunk);
		chunk = older;
	}
	*a = (struct bag){ .bound = a->bound };
}

static struct bag_chunk *add_chunk(struct bag *a, size_t bytes)
{
	size_t twice = a->newest ? MIN(a->newest->capacity * 2, (size_t)CHUNK_MOST_BYTES) : 0;
	size_t capacity = MAX(MAX(twice, bytes), (size_t)CHUNK_LEAST_BYTES);
	struct bag_chunk *chunk = mem_alloc(sizeof(*chunk) + capacity);

	if (!chunk) {
		a->failed = -ENOMEM;
		return NULL;
	}
	chunk->older = a->newest;
	chunk->used = 0;
	chunk->capacity = capacity;
	a->newest = chunk;
	return chunk;
}

void *bag_take(struct bag *a, size_t bytes)
{
	struct bag_chunk *chunk = a->newest;
	size_t size;
	void *block;

	if (a->failed)
		return NULL;
	if (bytes > SIZE_MAX / 4 || (a->bound && a->used + bytes > a->bound)) {
		a->failed = -EMSGSIZE;
		return NULL;
	}
	size = align_up(MAX(bytes, (size_t)1), ALIGNMENT);
	if (!chunk || chunk->capacity - chunk->used < size)
		chunk = add_chunk(a, size);
	if (!chunk)
		return NULL;
	block = chunk->data + chunk->used;
	chunk->used += size;
	a->used += size;
	memset(block, 0, size);
	return block;
}

char *bag_copy(struct bag *a, const char *text, size_t bytes)
{
	char *copy = bag_take(a, bytes + 1);

	if (copy && bytes)
		memcpy(copy, text, bytes);
	return copy;
}
