/* path_avx512.c - the kernels in AVX-512 with VNNI and BF16. */
#include "compute/cpu/lanes_avx512.h"

#include "compute/cpu/path_body.h"

const struct kernels kernels_avx512 = PATH_TABLE("avx512");
