/* driver.c - the driver's calls that the backend makes, on a CPU: becomes libcuda.so.1 of the
 * tests.
 *
 * It is stricter than the real one: copies must lie within one allocation, host memory
 * that is copied in the background must be pinned, a kernel's module must have been loaded
 * from a real image.
 */
#include <cuda.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/cuda/memory.h"
#include "tests/cuda/queue_call.h"
#include "tests/cuda/setting.h"
#include "tests/cuda/stream.h"

#define EXPORT __attribute__((visibility("default")))

enum {
	FATBIN_MAGIC = 0xba55ed50,
	SHARED_BYTES_MAX = 48 << 10,    /* unless the kernel asks for more */
	GRID_Y_MAX = 65535,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int contexts;                    /* retained */
static __thread CUcontext current;
static char context_token, module_token;

#define THE_CONTEXT ((CUcontext)(void *)&context_token)
#define THE_MODULE ((CUmodule)(void *)&module_token)

static void die(const char *call, const char *what)
{
	fprintf(stderr, "%s: %s\n", call, what);
	abort();
}

/* Once the file that PETALS_CUDA_LOST names is there, so is the end of this device. */
static bool is_lost(void)
{
	const char *path = getenv("PETALS_CUDA_LOST");

	return path && access(path, F_OK) == 0;
}

/* Every call that needs a context, and may fail for outside reasons. */
static CUresult check(void)
{
	if (current != THE_CONTEXT || contexts == 0)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (is_lost())
		return CUDA_ERROR_LAUNCH_FAILED;
	return fault_here() ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
}

/* ---- the host ---- */

EXPORT CUresult cuInit(unsigned flags)
{
	return setting("devices", 1) ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

EXPORT CUresult cuDriverGetVersion(int *version)
{
	*version = (int)setting("version", 13000);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuGetErrorName(CUresult status, const char **out)
{
	*out = status == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR";
	return CUDA_SUCCESS;
}

EXPORT CUresult cuGetErrorString(CUresult status, const char **out)
{
	*out = status == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "the stand-in refuses";
	return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int *count)
{
	*count = (int)setting("devices", 1);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGet(CUdevice *out, int index)
{
	*out = index;
	return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetName(char *name, int room, CUdevice device)
{
	snprintf(name, (size_t)room, "CUDA on a CPU");
	return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device)
{
	*bytes = memory_device_total();
	return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
	switch (attribute) {
	case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
		*value = (int)setting("major", 9);
		break;
	case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
		*value = 0;
		break;
	case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
		*value = 4;
		break;
	case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
		*value = (int)setting("shared", GRID_SHARED_MAX);
		break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

/* ---- contexts and modules ---- */

EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device)
{
	if (fault_here())
		return CUDA_ERROR_OUT_OF_MEMORY;
	pthread_mutex_lock(&lock);
	contexts++;
	pthread_mutex_unlock(&lock);
	*out = THE_CONTEXT;
	return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
	pthread_mutex_lock(&lock);
	if (contexts-- == 0)
		die("cuDevicePrimaryCtxRelease", "more releases than retains");
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetCurrent(CUcontext context)
{
	current = context;
	return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleLoadData(CUmodule *out, const void *image)
{
	unsigned magic;

	memcpy(&magic, image, sizeof(magic));
	if (magic != FATBIN_MAGIC)
		return CUDA_ERROR_INVALID_IMAGE;
	*out = THE_MODULE;
	return check();
}

EXPORT CUresult cuModuleUnload(CUmodule module)
{
	return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name)
{
	*out = (CUfunction)(void *)kernel_find(name);
	return *out ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

EXPORT CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute attribute, int value)
{
	struct kernel_row *kernel = (struct kernel_row *)(void *)f;

	if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
	    value > GRID_SHARED_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	kernel->shared_bytes_max = (size_t)value;
	return check();
}

/* ---- memory ---- */

EXPORT CUresult cuMemGetInfo(size_t *free_bytes, size_t *total)
{
	pthread_mutex_lock(&lock);
	*free_bytes = memory_device_free();
	*total = memory_device_total();
	pthread_mutex_unlock(&lock);
	return check();
}

static CUresult new_block(enum memory_kind kind, void *registered, size_t bytes, void **out)
{
	CUresult status = check();
	struct memory_block *b;

	if (status != CUDA_SUCCESS)
		return status;
	pthread_mutex_lock(&lock);
	b = memory_new(kind, registered, bytes);
	pthread_mutex_unlock(&lock);
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*out = b->base;
	return CUDA_SUCCESS;
}

static CUresult drop_block(enum memory_kind kind, const void *base, const char *call)
{
	bool there;

	pthread_mutex_lock(&lock);
	there = memory_drop(kind, base);
	pthread_mutex_unlock(&lock);
	if (!there)
		die(call, "no such memory");
	return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAlloc(CUdeviceptr *out, size_t bytes)
{
	void *base;
	CUresult status = new_block(MEMORY_DEVICE, NULL, bytes, &base);

	if (status == CUDA_SUCCESS)
		*out = (CUdeviceptr)(uintptr_t)base;
	return status;
}

EXPORT CUresult cuMemFree(CUdeviceptr at)
{
	return drop_block(MEMORY_DEVICE, (void *)(uintptr_t)at, "cuMemFree");
}

EXPORT CUresult cuMemHostAlloc(void **out, size_t bytes, unsigned flags)
{
	return new_block(MEMORY_PINNED, NULL, bytes, out);
}

EXPORT CUresult cuMemFreeHost(void *at)
{
	return drop_block(MEMORY_PINNED, at, "cuMemFreeHost");
}

EXPORT CUresult cuMemHostRegister(void *at, size_t bytes, unsigned flags)
{
	void *base;

	return new_block(MEMORY_REGISTERED, at, bytes, &base);
}

EXPORT CUresult cuMemHostUnregister(void *at)
{
	return drop_block(MEMORY_REGISTERED, at, "cuMemHostUnregister");
}

EXPORT CUresult cuMemHostGetDevicePointer(CUdeviceptr *out, void *at, unsigned flags)
{
	const struct memory_block *b;

	pthread_mutex_lock(&lock);
	b = memory_find(at, 1);
	pthread_mutex_unlock(&lock);
	if (!b || b->kind == MEMORY_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	*out = (CUdeviceptr)(uintptr_t)at;
	return CUDA_SUCCESS;
}

/* ---- streams ---- */

EXPORT CUresult cuStreamCreate(CUstream *out, unsigned flags)
{
	CUresult status = check();

	if (status != CUDA_SUCCESS)
		return status;
	pthread_mutex_lock(&lock);
	*out = stream_open();
	pthread_mutex_unlock(&lock);
	return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

EXPORT CUresult cuStreamDestroy(CUstream stream)
{
	pthread_mutex_lock(&lock);
	stream_close(stream);
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamSynchronize(CUstream stream)
{
	CUresult status = check();

	pthread_mutex_lock(&lock);
	if (stream_is_recording(stream))
		die("cuStreamSynchronize", "the stream records a graph");
	/* A device that is lost is lost with what it had to do. */
	if (status == CUDA_SUCCESS)
		stream_run(stream);
	else
		stream_drop(stream);
	pthread_mutex_unlock(&lock);
	return status;
}

/* ---- events ---- */

struct CUevent_st {
	uint64_t ns;                    /* when it happened; 0: it has not yet */
	CUstream stream;                /* NULL: not recorded yet */
	uint64_t until;
};

EXPORT CUresult cuEventCreate(CUevent *out, unsigned flags)
{
	CUresult status = check();

	if (status != CUDA_SUCCESS)
		return status;
	*out = mem_calloc(1, sizeof(**out));
	return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

EXPORT CUresult cuEventDestroy(CUevent event)
{
	mem_free(event);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuEventRecord(CUevent event, CUstream stream)
{
	CUresult status = check();
	struct stream_op *op;

	if (status != CUDA_SUCCESS)
		return status;
	pthread_mutex_lock(&lock);
	if (stream_is_recording(stream))
		die("cuEventRecord", "the stream records a graph");
	op = stream_add(stream);
	op->kind = OP_EVENT;
	op->to = &event->ns;
	event->stream = stream;
	event->until = stream_added(stream);
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
	CUresult status = check();
	struct stream_op *op;

	if (status != CUDA_SUCCESS || !event->stream)
		return status;
	pthread_mutex_lock(&lock);
	if (stream_is_recording(stream))
		die("cuStreamWaitEvent", "the stream records a graph");
	op = stream_add(stream);
	op->kind = OP_FOLLOW;
	op->other = event->stream;
	op->until = event->until;
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to)
{
	if (from->ns == 0 || to->ns == 0)
		return CUDA_ERROR_NOT_READY;
	*ms = (float)(to->ns - from->ns) / 1e6f;
	return check();
}

/* Whoever asks whether it is done makes it so: a stream runs when somebody looks. */
EXPORT CUresult cuStreamQuery(CUstream stream)
{
	return cuStreamSynchronize(stream);
}

/* ---- graphs ---- */

EXPORT CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode)
{
	CUresult status = check();

	if (status == CUDA_SUCCESS)
		stream_record(stream);
	return status;
}

EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *out)
{
	if (!stream_is_recording(stream))
		return CUDA_ERROR_ILLEGAL_STATE;
	*out = stream_recorded(stream);
	return *out ? check() : CUDA_ERROR_OUT_OF_MEMORY;
}

EXPORT CUresult cuGraphInstantiate(CUgraphExec *out, CUgraph graph, unsigned long long flags)
{
	CUresult status = check();

	if (status != CUDA_SUCCESS)
		return status;
	*out = (CUgraphExec)(void *)graph_copy(graph);
	return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

EXPORT CUresult cuGraphDestroy(CUgraph graph)
{
	graph_close(graph);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphExecDestroy(CUgraphExec graph)
{
	graph_close((CUgraph)(void *)graph);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream)
{
	CUresult status = check();

	if (status != CUDA_SUCCESS)
		return status;
	pthread_mutex_lock(&lock);
	stream_add_graph(stream, (CUgraph)(void *)graph);
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

/* ---- copies ---- */

static CUresult copy(CUstream stream, void *to, const void *from, size_t bytes, bool to_device,
		     bool from_device)
{
	const struct memory_block *target, *source;
	CUresult status = check();
	struct stream_op *op;

	if (status != CUDA_SUCCESS)
		return status;
	pthread_mutex_lock(&lock);
	target = memory_find(to, bytes);
	source = memory_find(from, bytes);
	if (!target || !source || (target->kind == MEMORY_DEVICE) != to_device ||
	    (source->kind == MEMORY_DEVICE) != from_device)
		die("cuMemcpyAsync", "an end is outside of every allocation, or not pinned");
	op = stream_add(stream);
	op->kind = OP_COPY;
	op->to = to;
	op->from = from;
	op->bytes = bytes;
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

EXPORT CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
	return copy(stream, (void *)(uintptr_t)to, from, bytes, true, false);
}

EXPORT CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
	return copy(stream, to, (const void *)(uintptr_t)from, bytes, false, true);
}

EXPORT CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
	return copy(stream, (void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes, true,
		    true);
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char byte, size_t bytes, CUstream stream)
{
	CUresult status = check();
	struct stream_op *op;

	if (status != CUDA_SUCCESS)
		return status;
	pthread_mutex_lock(&lock);
	if (!memory_find((void *)(uintptr_t)to, bytes))
		die("cuMemsetD8Async", "outside of every allocation");
	op = stream_add(stream);
	op->kind = OP_FILL;
	op->to = (void *)(uintptr_t)to;
	op->byte = byte;
	op->bytes = bytes;
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

static bool is_early(const CUlaunchConfig *config)
{
	for (unsigned i = 0; i < config->numAttrs; i++)
		if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
			return config->attrs[i].value.programmaticStreamSerializationAllowed;
	return false;
}

EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **parameters,
				 void **extra)
{
	const struct kernel_row *kernel = (const struct kernel_row *)(void *)f;
	size_t shared_max = MAX(kernel->shared_bytes_max, (size_t)SHARED_BYTES_MAX);
	CUresult status = check();
	struct stream_op *op;

	if (status != CUDA_SUCCESS)
		return status;
	if (config->gridDimY > GRID_Y_MAX || config->gridDimZ > GRID_Y_MAX ||
	    config->sharedMemBytes > shared_max || kernel->args_bytes > STREAM_ARGS_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	op = stream_add(config->hStream);
	op->kind = OP_LAUNCH;
	op->kernel = kernel;
	op->grid = (struct grid_dim){ config->gridDimX, config->gridDimY, config->gridDimZ };
	op->block = (struct grid_dim){ config->blockDimX, config->blockDimY, config->blockDimZ };
	op->shared_bytes = config->sharedMemBytes;
	op->early = is_early(config);
	memcpy(op->args, parameters[0], kernel->args_bytes);
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

void queue_call(CUstream stream, void (*run)(const void *args), const void *args, size_t bytes)
{
	struct stream_op *op;

	if (bytes > STREAM_ARGS_MAX)
		die("queue_call", "too many arguments");
	pthread_mutex_lock(&lock);
	op = stream_add(stream);
	op->kind = OP_CALL;
	op->call = run;
	memcpy(op->args, args, bytes);
	pthread_mutex_unlock(&lock);
}
