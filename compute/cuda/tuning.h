/* tuning.h - which candidate won a race, by what it raced for; kept in a text file, so that
 * nothing is raced twice.
 *
 * A line is "KEY<tab>VALUE", both printable and without tabs; lines that are not so, or that
 * begin with #, are passed over.  A key says everything that the choice depends on.  The file is
 * read when the table is opened, and written after each race, together with what others
 * have added meanwhile.
 *
 * Threads    One at a time.
 * Ownership  cuda_tuning_open() / cuda_tuning_close(); values die with the table or at the next
 *            cuda_tuning_add().
 * Units      None.
 * Errors     -ENOMEM, and what a file may answer, with a sentence; there being no file is none.
 */
#ifndef PETALS_COMPUTE_CUDA_TUNING_H
#define PETALS_COMPUTE_CUDA_TUNING_H

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

struct cuda_tuning;

enum { CUDA_TUNING_TEXT_BYTES = 400 };  /* of a key, and of a value, with the NUL */

/* path NULL: petals/cuda-tuning in $XDG_CACHE_HOME or ~/.cache. */
int cuda_tuning_open(struct cuda_tuning **out, const char *path, struct error *e);
void cuda_tuning_close(struct cuda_tuning *t);           /* NULL is fine */
/* NULL: nothing is known. */
const char *cuda_tuning_find(const struct cuda_tuning *t, const char *key);
/* Remembers, and writes the file. */
int cuda_tuning_add(struct cuda_tuning *t, const char *key, const char *value, struct error *e);

#endif
