/* module.c - finds a module's file, loads it, looks at its head. */
#include "dataplane/base/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* A name without a folder is the loader's to find. */
static bool find(const struct module_spec *m, char *out)
{
	const char *named = getenv(m->variable);
	char program[PATH_MAX];

	if (named && *named)
		return snprintf(out, PATH_MAX, "%s", named) < PATH_MAX &&
		       (!strchr(named, '/') || access(out, R_OK) == 0);
	for (size_t i = 0; i < ARRAY_LENGTH(folders) && program_folder(program); i++)
		if (snprintf(out, PATH_MAX, "%s/%s/%s", program, folders[i], m->file) < PATH_MAX &&
		    access(out, R_OK) == 0)
			return true;
	return false;
}

bool module_is_there(const struct module_spec *m)
{
	char path[PATH_MAX];

	return find(m, path);
}

int module_open(const struct module_head **out, const struct module_spec *m, struct error *e)
{
	const struct module_head *head;
	char path[PATH_MAX];
	void *library;

	*out = NULL;
	if (!find(m, path))
		return error_set(e, -ENOTSUP, "this build has no %s module: %s is neither where %s "
				 "says nor in ../lib or ../lib/petals beside the program; %s",
				 m->what, m->file, m->variable, m->without);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return error_set(e, -ENOTSUP, "the %s module does not load: %s", m->what,
				 dlerror());
	head = dlsym(library, m->symbol);
	if (!head || strcmp(head->version, PETALS_VERSION) != 0 ||
	    head->layout_bytes != m->layout_bytes) {
		dlclose(library);
		return error_set(e, -ENOTSUP, "%s is not of this build (version %s)", path,
				 PETALS_VERSION);
	}
	*out = head;
	return 0;
}
