/* path.c - the kernels in plain C, the slow twins of the other paths. */
#include "compute/cpu/lanes_portable.h"

#include "compute/cpu/path_body.h"

const struct kernels kernels_portable = PATH_TABLE("portable");
