/* kernels.c - the kernels that are compiled into the stand-in, by name. */
#include <string.h>

#include "compute/cuda/kernels.h"
#include "tests/cuda/probe.h"
#include "tests/cuda/stream.h"

#define KERNEL(upper, name, args)                      \
	void petals_##name(const args a);              \
	static void run_##name(const void *a)          \
	{                                              \
		petals_##name(*(const args *)a);       \
	}
CUDA_KERNELS(KERNEL)
PROBE_KERNELS(KERNEL)
#undef KERNEL

static struct kernel_row kernels[] = {
#define KERNEL(upper, name, args) { "petals_" #name, sizeof(args), run_##name, 0 },
	CUDA_KERNELS(KERNEL)
	PROBE_KERNELS(KERNEL)
#undef KERNEL
};

struct kernel_row *kernel_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LENGTH(kernels); i++)
		if (strcmp(kernels[i].name, name) == 0)
			return &kernels[i];
	return NULL;
}
