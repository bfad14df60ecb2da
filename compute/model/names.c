/* names.c - the sorted list of names. */
#include "compute/model/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/memory.h"

int names_open(struct names *out, uint32_t capacity)
{
	*out = (struct names){ .list = mem_calloc(capacity, sizeof(*out->list)),
			       .capacity = capacity };
	return out->list ? 0 : -ENOMEM;
}

void names_close(struct names *n)
{
	mem_free(n->list);
	*n = (struct names){ 0 };
}

void names_add(struct names *n, const char *data, uint64_t length, uint32_t id)
{
	assert(n->count < n->capacity);
	n->list[n->count++] = (struct name){ data, length, id };
}

static int compare(const struct name *a, const struct name *b)
{
	int order = memcmp(a->data, b->data, MIN(a->length, b->length));

	if (order)
		return order;
	return (a->length > b->length) - (a->length < b->length);
}

static int compare_void(const void *a, const void *b)
{
	return compare(a, b);
}

const struct name *names_sort(struct names *n)
{
	qsort(n->list, n->count, sizeof(*n->list), compare_void);
	for (uint32_t i = 1; i < n->count; i++)
		if (compare(&n->list[i - 1], &n->list[i]) == 0)
			return &n->list[i];
	return NULL;
}

uint32_t names_find(const struct names *n, const char *data, uint64_t length)
{
	const struct name wanted = { data, length, 0 };
	uint32_t first = 0, end = n->count;

	while (first < end) {
		uint32_t middle = first + (end - first) / 2;
		int order = compare(&wanted, &n->list[middle]);

		if (order == 0)
			return n->list[middle].id;
		if (order < 0)
			end = middle;
		else
			first = middle + 1;
	}
	return NAMES_NONE;
}
