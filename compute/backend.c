/* backend.c - which kind of device a name means, and the module of the one that is not
 * built in.
 */
#include "compute/backend.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE "petals-cuda.so"

const char *compute_mode_name(enum compute_mode m)
{
	static const char *const names[COMPUTE_MODES] = {
		[COMPUTE_AUTO] = "auto", [COMPUTE_F32] = "f32",
		[COMPUTE_BF16] = "bf16", [COMPUTE_INT8] = "int8",
	};

	assert(m < COMPUTE_MODES);
	return names[m];
}

/* ---- the module ---- */

/* ../lib of a build, ../lib/petals of an installation, seen from the program. */
static const char *const folders[] = { "../lib", "../lib/petals" };

/* The program's folder; false when it cannot be told. */
static bool program_folder(char *out)
{
	ssize_t length = readlink("/proc/self/exe", out, PATH_MAX - 1);
	char *slash;

	if (length <= 0)
		return false;
	out[length] = '\0';
	slash = strrchr(out, '/');
	if (slash)
		*slash = '\0';
	return slash != NULL;
}

/* The path to open; false: there is no such file anywhere. */
static bool find_module(char *out)
{
	const char *named = getenv("PETALS_CUDA_MODULE");
	char program[PATH_MAX];

	if (named && *named)
		return snprintf(out, PATH_MAX, "%s", named) < PATH_MAX;
	for (size_t i = 0; i < ARRAY_LENGTH(folders) && program_folder(program); i++)
		if (snprintf(out, PATH_MAX, "%s/%s/" MODULE, program, folders[i]) < PATH_MAX &&
		    access(out, R_OK) == 0)
			return true;
	return false;
}

static int open_module(const struct backend **out, struct error *e)
{
	const struct backend_module *module;
	char path[PATH_MAX];
	void *library;

	if (!find_module(path))
		return error_set(e, -ENOTSUP, "this build has no CUDA module: " MODULE " is "
				 "neither in ../lib nor in ../lib/petals beside the program; build "
				 "it where nvcc is, or use --device cpu");
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return error_set(e, -ENOTSUP, "the CUDA module does not load: %s", dlerror());
	module = dlsym(library, "petals_backend_module");
	if (!module || strcmp(module->version, PETALS_VERSION) != 0 ||
	    module->table_bytes != sizeof(struct backend)) {
		dlclose(library);
		return error_set(e, -ENOTSUP, "%s is not of this build (version %s)", path,
				 PETALS_VERSION);
	}
	/* It stays for as long as the program does. */
	*out = module->backend;
	return 0;
}

int backend_cuda_open(const struct backend **out, struct error *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static const struct backend *opened;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (!opened)
		rc = open_module(&opened, e);
	*out = opened;
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
