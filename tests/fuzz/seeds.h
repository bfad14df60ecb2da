/* seeds.h - what harnesses whose seeds are text answer to fuzz_seed(). */
#ifndef PETALS_TESTS_FUZZ_SEEDS_H
#define PETALS_TESTS_FUZZ_SEEDS_H

#include <string.h>

#include "dataplane/base/types.h"

/* Copies seed `index`, as far as there is room; 0: there are no more. */
static inline size_t text_seed(const char *const *seeds, size_t count, unsigned index,
			       uint8_t *out, size_t capacity)
{
	size_t bytes;

	if (index >= count)
		return 0;
	bytes = MIN(strlen(seeds[index]), capacity);
	memcpy(out, seeds[index], bytes);
	return bytes;
}

#endif
