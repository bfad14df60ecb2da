/* setting.c - looks a name up in one environment variable. */
#include "tests/cuda/setting.h"

#include <stdlib.h>
#include <string.h>

uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv("PETALS_CUDA_STAND_IN");
	size_t length = strlen(name);

	for (; text && *text; text = strchr(text, ' ') ? strchr(text, ' ') + 1 : "")
		if (strncmp(text, name, length) == 0 && text[length] == '=')
			return strtoull(text + length + 1, NULL, 0);
	return otherwise;
}
