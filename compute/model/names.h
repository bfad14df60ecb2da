/* names.h - finds an entry of a checkpoint's directory by its name.
 *
 * A sorted list searched by halving: whatever names a hostile file brings, building
 * takes n log n steps and finding log n, and equal names end up side by side.
 *
 * Threads    Read-only after names_sort(); any thread.
 * Ownership  names_open() / names_close(); the texts are the caller's and
 *            outlive it.
 * Units      Bytes; ids are the caller's, below 2^32.
 * Errors     names_open(): -ENOMEM.
 */
#ifndef PETALS_COMPUTE_MODEL_NAMES_H
#define PETALS_COMPUTE_MODEL_NAMES_H

#include "dataplane/base/types.h"

struct name {
	const char *data;          /* not NUL-terminated */
	uint64_t length;
	uint32_t id;
};

struct names {
	struct name *list;
	uint32_t count, capacity;
};

enum { NAMES_NONE = UINT32_MAX };

int names_open(struct names *out, uint32_t capacity);
void names_close(struct names *n);                    /* safe when zeroed */
void names_add(struct names *n, const char *data, uint64_t length, uint32_t id);
/* NULL, or a name that occurs twice. */
const struct name *names_sort(struct names *n);
/* The id, or NAMES_NONE. */
uint32_t names_find(const struct names *n, const char *data, uint64_t length);

#endif
