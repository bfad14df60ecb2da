/* path_avx2.c - the kernels in AVX2, FMA and F16C. */
#include "compute/cpu/lanes_avx2.h"

#include "compute/cpu/path_body.h"

const struct kernels kernels_avx2 = PATH_TABLE("avx2");
