/* backend.c - which kind of device a name means, and the module of the one that is not
 * built in.
 */
#include "compute/backend.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/module.h"

const char *compute_mode_name(enum compute_mode m)
{
	static const char *const names[COMPUTE_MODES] = {
		[COMPUTE_AUTO] = "auto", [COMPUTE_F32] = "f32",
		[COMPUTE_BF16] = "bf16", [COMPUTE_INT8] = "int8",
	};

	assert(m < COMPUTE_MODES);
	return names[m];
}

int backend_cuda_open(const struct backend **out, struct error *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static const struct module_spec spec = {
		.what = "CUDA", .file = "petals-cuda.so", .variable = "PETALS_CUDA_MODULE",
		.symbol = "petals_backend_module", .layout_bytes = sizeof(struct backend),
		.without = "build it where nvcc is, or use --device cpu",
	};
	static const struct module_head *opened;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (!opened)
		rc = module_open(&opened, &spec, e);
	*out = rc < 0 ? NULL : CONTAINER_OF(opened, struct backend_module, head)->backend;
	pthread_mutex_unlock(&lock);
	return rc;
}

/* ---- names ---- */

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
	if (parse(device, "cuda", true, index)) {
		int rc = backend_cuda_open(out, e);

		if (rc < 0)
			error_wrap(e, "device %s", device);
		return rc;
	}
	return error_set(e, -EINVAL, "device '%s' is not known; devices are cpu and cuda:N (N from "
			 "0 to 255)", device);
}
