/* stand_in.c - finds the variant's build folder above the test. */
#include "tests/support/stand_in.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool stand_in_use(void)
{
	char program[PATH_MAX - 64], path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	const char *gpu = getenv("PETALS_GPU");
	char *tests;

	program[MAX(length, 0)] = '\0';
	tests = strstr(program, "/tests/");
	for (char *next = tests; next; next = strstr(next + 1, "/tests/compute/"))
		tests = next;
	if (tests)
		*tests = '\0';
	snprintf(path, sizeof(path), "%s/lib/petals-cuda.so", program);
	setenv("PETALS_CUDA_MODULE", path, 1);
	snprintf(path, sizeof(path), "%s/cache", program);
	setenv("XDG_CACHE_HOME", path, 1);
	if (gpu && strcmp(gpu, "1") == 0)
		return true;
	snprintf(path, sizeof(path), "%s/stand-in", program);
	setenv("PETALS_CUDA_LIBRARIES", path, 1);
	return false;
}
