/* file.h - whole files: read and write small ones, map large ones.
 *
 * Threads    Independent calls; a mapping may be read by any thread.
 * Ownership  file_read(): mem_free() the result.  file_map() / file_unmap().
 * Units      _bytes.
 * Errors     -errno with a sentence that names the file.
 */
#ifndef PETALS_BASE_FILE_H
#define PETALS_BASE_FILE_H

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

/* NUL-terminated; files above `most` bytes are refused with -EFBIG. */
int file_read(const char *path, size_t most, char **out, size_t *bytes, struct error *e);
/* All or nothing, on the disk when it returns: a reader sees the file before or after, with
 * these permissions (as 0600).
 */
int file_write(const char *path, const void *data, size_t bytes, unsigned mode,
	       struct error *e);
/* The folder and those above it, 0700, unless they are there. */
int file_make_folder(const char *path, struct error *e);

struct file_map {
	const uint8_t *data;
	size_t bytes;
};

int file_map(struct file_map *out, const char *path, struct error *e);
void file_unmap(struct file_map *m);                  /* safe when zeroed */

bool file_exists(const char *path);
/* "dir/name" into a new string; mem_free() it. */
char *file_join(const char *dir, const char *name);

#endif
