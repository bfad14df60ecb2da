/* port_dpdk.c - finds the DPDK module and opens it. */
#include "dataplane/port_dpdk.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE "petals-dpdk.so"

/* Of a build and of an installation, seen from the program. */
static const char *const folders[] = { "../lib", "../lib/petals" };

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

static bool find_module(char *out)
{
	const char *named = getenv("PETALS_DPDK_MODULE");
	char program[PATH_MAX];

	if (named && *named)
		return snprintf(out, PATH_MAX, "%s", named) < PATH_MAX && access(out, R_OK) == 0;
	for (size_t i = 0; i < ARRAY_LENGTH(folders) && program_folder(program); i++)
		if (snprintf(out, PATH_MAX, "%s/%s/" MODULE, program, folders[i]) < PATH_MAX &&
		    access(out, R_OK) == 0)
			return true;
	return false;
}

bool port_dpdk_is_there(void)
{
	char path[PATH_MAX];

	return find_module(path);
}

static int open_module(const struct port_module **out, struct error *e)
{
	const struct port_module *module;
	char path[PATH_MAX];
	void *library;

	if (!find_module(path))
		return error_set(e, -ENOTSUP, "this build has no DPDK module: " MODULE " is "
				 "neither in ../lib nor in ../lib/petals beside the program; build "
				 "it where libdpdk-dev is installed, or do without --dpdk-port");
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return error_set(e, -ENOTSUP, "the DPDK module does not load: %s", dlerror());
	module = dlsym(library, "petals_port_module");
	if (!module || strcmp(module->version, PETALS_VERSION) != 0 ||
	    module->options_bytes != sizeof(struct port_dpdk_options) ||
	    module->port_bytes != sizeof(struct port)) {
		dlclose(library);
		return error_set(e, -ENOTSUP, "%s is not of this build (version %s)", path,
				 PETALS_VERSION);
	}
	/* It stays for as long as the program does: DPDK cannot be unloaded. */
	*out = module;
	return 0;
}

int port_dpdk_open(struct port **out, const struct port_dpdk_options *o, struct error *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static const struct port_module *opened;
	int rc = 0;

	*out = NULL;
	pthread_mutex_lock(&lock);
	if (!opened)
		rc = open_module(&opened, e);
	if (rc == 0)
		rc = opened->open(out, o, e);
	pthread_mutex_unlock(&lock);
	return rc;
}
