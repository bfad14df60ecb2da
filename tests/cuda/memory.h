/* memory.h - device memory and pinned host memory, each allocation known by its bounds.
 *
 * Device memory is full of NaN when new, and closed to the host (under AddressSanitizer)
 * whenever no kernel or copy runs.
 *
 * Threads    Under driver.c's lock.
 * Ownership  As cuda.h says.
 * Units      Bytes.
 * Errors     CUDA_ERROR_*; a free of what was not allocated ends the program.
 */
#ifndef PETALS_TESTS_CUDA_MEMORY_H
#define PETALS_TESTS_CUDA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum memory_kind { MEMORY_DEVICE, MEMORY_PINNED, MEMORY_REGISTERED };

struct memory_block {
	struct memory_block *next;
	uint8_t *base;
	size_t bytes;
	enum memory_kind kind;
};

/* NULL: out of memory, or of the device's room. */
struct memory_block *memory_new(enum memory_kind kind, void *registered, size_t bytes);
/* False: there is no such allocation. */
bool memory_drop(enum memory_kind kind, const void *base);
/* The block that holds all of [at, at + bytes), NULL: none. */
const struct memory_block *memory_find(const void *at, size_t bytes);
size_t memory_device_total(void);
size_t memory_device_free(void);
/* Lets the host at device memory, or keeps it away. */
void memory_device_access(bool open);

#endif
