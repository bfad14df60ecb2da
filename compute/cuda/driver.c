/* driver.c - finds the driver, takes its calls, and says what is wrong with a host. */
#include "compute/cuda/driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/base/fault.h"

/* cuda.h renames calls to their current version: the second macro sees the new name. */
#define TEXT(name) #name
#define NAME_OF(name) TEXT(name)

static const struct { const char *name; size_t offset; } calls[] = {
#define CALL(name) { NAME_OF(name), offsetof(struct cuda_driver, name) },
	CUDA_DRIVER_CALLS(CALL)
#undef CALL
};

void *cuda_library_open(const char *name, const char **why)
{
	const char *folder = getenv("PETALS_CUDA_LIBRARIES");
	char path[PATH_MAX];
	void *library;

	*why = "an injected fault";
	if (fault_here())
		return NULL;
	if (folder && *folder && snprintf(path, sizeof(path), "%s/%s", folder, name) < PATH_MAX &&
	    access(path, R_OK) == 0)
		name = path;
	library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		*why = dlerror();
	return library;
}

static int take_calls(struct cuda_driver *d, struct error *e)
{
	for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
		void *call = dlsym(d->library, calls[i].name);

		if (!call)
			return error_set(e, -ENOTSUP, "the NVIDIA driver of this host lacks %s, "
					 "although it says that it supports CUDA %d.%d",
					 calls[i].name, d->version / 1000, d->version % 1000 / 10);
		memcpy((uint8_t *)d + calls[i].offset, &call, sizeof(call));
	}
	return 0;
}

/* Asked before anything else: an old driver lacks some of the calls. */
static int check_version(struct cuda_driver *d, struct error *e)
{
	typeof(&cuDriverGetVersion) version = dlsym(d->library, "cuDriverGetVersion");

	if (!version || version(&d->version) != CUDA_SUCCESS)
		return error_set(e, -ENOTSUP, "the NVIDIA driver of this host does not tell its "
				 "version");
	if (d->version < CUDA_VERSION_LEAST)
		return error_set(e, -ENOTSUP, "the NVIDIA driver of this host supports CUDA %d.%d; "
				 "CUDA %d.%d (driver 580 or newer) is needed", d->version / 1000,
				 d->version % 1000 / 10, CUDA_VERSION_LEAST / 1000,
				 CUDA_VERSION_LEAST % 1000 / 10);
	return 0;
}

static int start(struct cuda_driver *d, struct error *e)
{
	CUresult status = d->cuInit(0);

	if (status == CUDA_SUCCESS)
		status = d->cuDeviceGetCount(&d->devices);
	if (status == CUDA_ERROR_NO_DEVICE || (status == CUDA_SUCCESS && d->devices == 0))
		return error_set(e, -ENOTSUP, "the NVIDIA driver finds no GPU on this host");
	if (status != CUDA_SUCCESS)
		return cuda_error(d, status, e, "the NVIDIA driver does not start");
	return 0;
}

int cuda_driver_open(struct cuda_driver *d, struct error *e)
{
	const char *why;
	int rc;

	*d = (struct cuda_driver){ 0 };
	d->library = cuda_library_open("libcuda.so.1", &why);
	if (!d->library)
		return error_set(e, -ENOTSUP, "there is no NVIDIA driver on this host (%s)", why);
	rc = check_version(d, e);
	if (rc == 0)
		rc = take_calls(d, e);
	if (rc == 0)
		rc = start(d, e);
	if (rc < 0)
		cuda_driver_close(d);
	return rc;
}

void cuda_driver_close(struct cuda_driver *d)
{
	if (d->library)
		dlclose(d->library);
	*d = (struct cuda_driver){ 0 };
}

int cuda_error(const struct cuda_driver *d, CUresult status, struct error *e, const char *what)
{
	const char *name = NULL, *text = NULL;
	int code = -EIO;

	assert(status != CUDA_SUCCESS);
	d->cuGetErrorName(status, &name);
	d->cuGetErrorString(status, &text);
	if (status == CUDA_ERROR_OUT_OF_MEMORY)
		code = -ENOMEM;
	else if (status == CUDA_ERROR_NO_DEVICE || status == CUDA_ERROR_INVALID_DEVICE)
		code = -ENODEV;
	return error_set(e, code, "%s: %s (%s)", what, text ? text : "unknown", name ? name : "?");
}
