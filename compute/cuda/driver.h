/* driver.h - NVIDIA's driver, opened at run time: the calls the backend makes, as a table.
 *
 * Nothing of CUDA is linked: a host without a driver runs the same programs.  The driver
 * is looked for as libcuda.so.1, first in the folder that the environment variable
 * PETALS_CUDA_LIBRARIES names.
 *
 * Threads    The table is constant once open; the driver's calls are thread-safe.
 * Ownership  cuda_driver_open() / cuda_driver_close().
 * Units      None.
 * Errors     -ENOTSUP with a sentence: no driver, one too old, no GPU.  cuda_error() turns
 *            a driver's status into an -errno and a sentence.
 */
#ifndef PETALS_COMPUTE_CUDA_DRIVER_H
#define PETALS_COMPUTE_CUDA_DRIVER_H

#include <cuda.h>

#include "dataplane/base/error.h"

enum { CUDA_VERSION_LEAST = 13000 };    /* what the images are built for; driver 580 */

#define CUDA_DRIVER_CALLS(CALL)                                                            \
	CALL(cuInit) CALL(cuDriverGetVersion) CALL(cuGetErrorName) CALL(cuGetErrorString)  \
	CALL(cuDeviceGetCount) CALL(cuDeviceGet) CALL(cuDeviceGetName)                     \
	CALL(cuDeviceTotalMem) CALL(cuDeviceGetAttribute)                                  \
	CALL(cuDevicePrimaryCtxRetain) CALL(cuDevicePrimaryCtxRelease)                     \
	CALL(cuCtxSetCurrent) CALL(cuMemGetInfo)                                           \
	CALL(cuEventCreate) CALL(cuEventDestroy) CALL(cuEventRecord)                       \
	CALL(cuEventElapsedTime) CALL(cuStreamQuery) CALL(cuStreamWaitEvent)               \
	CALL(cuMemAlloc) CALL(cuMemFree) CALL(cuMemHostAlloc) CALL(cuMemFreeHost)          \
	CALL(cuMemHostRegister) CALL(cuMemHostUnregister) CALL(cuMemHostGetDevicePointer)  \
	CALL(cuMemcpyHtoDAsync) CALL(cuMemcpyDtoHAsync) CALL(cuMemcpyDtoDAsync)            \
	CALL(cuMemsetD8Async)                                                              \
	CALL(cuStreamCreate) CALL(cuStreamDestroy) CALL(cuStreamSynchronize)               \
	CALL(cuModuleLoadData) CALL(cuModuleUnload) CALL(cuModuleGetFunction)              \
	CALL(cuFuncSetAttribute)                                                           \
	CALL(cuStreamBeginCapture) CALL(cuStreamEndCapture) CALL(cuGraphInstantiate)       \
	CALL(cuGraphLaunch) CALL(cuGraphDestroy) CALL(cuGraphExecDestroy)                  \
	CALL(cuLaunchKernelEx)

struct cuda_driver {
	void *library;
#define CALL(name) typeof(&name) name;
	CUDA_DRIVER_CALLS(CALL)
#undef CALL
	int version;                    /* 13000: what it supports */
	int devices;
};

int cuda_driver_open(struct cuda_driver *d, struct error *e);
void cuda_driver_close(struct cuda_driver *d);  /* safe when zeroed */

/* dlopen() of a library of NVIDIA's: in PETALS_CUDA_LIBRARIES, else where the system
 * looks; NULL with the loader's reason in *why.
 */
void *cuda_library_open(const char *name, const char **why);

/* Stores "WHAT: the driver's own words"; returns -ENOMEM, -ENODEV or -EIO. */
int cuda_error(const struct cuda_driver *d, CUresult status, struct error *e, const char *what);

#endif
