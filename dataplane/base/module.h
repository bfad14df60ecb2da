/* module.h - opens what a program can do without: a shared object beside it that needs
 * libraries not every host has.
 *
 * It is looked for where an environment variable says, else in ../lib (of a build) and
 * ../lib/petals (of an installation) beside the program.  Once open it stays for as long as
 * the program does: drivers cannot be unloaded.
 *
 * A module exports one symbol: a struct that begins with struct module_head, filled with the
 * version and the sizes it was built with, so that one of another build is refused.
 *
 * Threads    Any; serialise calls for one module.
 * Ownership  What is handed out is the module's own and stays.
 * Units      _bytes.
 * Errors     -ENOTSUP with a sentence: none is there, it does not load, it is of another build.
 */
#ifndef PETALS_BASE_MODULE_H
#define PETALS_BASE_MODULE_H

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

struct module_head {
	const char *version;            /* PETALS_VERSION */
	size_t layout_bytes;            /* summed sizes of what both sides share */
};

struct module_spec {
	const char *what;               /* "CUDA" */
	const char *file;               /* "petals-cuda.so" */
	const char *variable;           /* "PETALS_CUDA_MODULE" */
	const char *symbol;
	size_t layout_bytes;
	const char *without;            /* "build it where nvcc is, or use --device cpu" */
};

bool module_is_there(const struct module_spec *m);
int module_open(const struct module_head **out, const struct module_spec *m, struct error *e);

#endif
