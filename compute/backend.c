/* backend.c - which kind of device a name means. */
#include "compute/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *compute_mode_name(enum compute_mode m)
{
	static const char *const names[COMPUTE_MODES] = {
		[COMPUTE_AUTO] = "auto", [COMPUTE_F32] = "f32",
		[COMPUTE_BF16] = "bf16", [COMPUTE_INT8] = "int8",
	};

	assert(m < COMPUTE_MODES);
	return names[m];
}

/* "NAME" or "NAME:N"; false when it is neither. */
static bool parse(const char *device, const char *name, bool numbered, uint32_t *index)
{
	size_t length = strlen(name);
	unsigned long n;
	char *end;

	*index = 0;
	if (strncmp(device, name, length) != 0)
		return false;
	if (!device[length])
		return true;
	if (!numbered || device[length] != ':' || device[length + 1] < '0' ||
	    device[length + 1] > '9')
		return false;
	n = strtoul(device + length + 1, &end, 10);
	*index = (uint32_t)n;
	return !*end && n <= 255;
}

int backend_find(const char *device, const struct backend **out, uint32_t *index,
		 struct error *e)
{
	*out = NULL;
	if (parse(device, "cpu", false, index)) {
		*out = &backend_cpu;
		return 0;
	}
	if (parse(device, "cuda", true, index))
		return error_set(e, -ENOTSUP, "device %s: this build has no CUDA backend; use "
				 "--device cpu", device);
	return error_set(e, -EINVAL, "device '%s' is not known; devices are cpu and cuda:N (N from "
			 "0 to 255)", device);
}
