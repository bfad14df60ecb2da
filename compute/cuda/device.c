/* device.c - opens a GPU, loads the kernels, and says what a host has. */
#include "compute/cuda/device.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "compute/cuda/image.h"
#include "compute/team.h"
#include "dataplane/base/memory.h"

enum { MAJOR_LEAST = 8 };               /* Ampere: bf16 and asynchronous copies */

static const struct { const char *name; uint32_t args_bytes; } kernels[CUDA_KERNEL_COUNT] = {
#define KERNEL(upper, name, args) [CUDA_KERNEL_##upper] = { "petals_" #name, sizeof(args) },
	CUDA_KERNELS(KERNEL)
#undef KERNEL
};

const char *cuda_kernel_name(enum cuda_kernel k)
{
	assert(k < CUDA_KERNEL_COUNT);
	return kernels[k].name;
}

uint32_t cuda_kernel_args_bytes(enum cuda_kernel k)
{
	assert(k < CUDA_KERNEL_COUNT);
	return kernels[k].args_bytes;
}

bool cuda_kernel_early(enum cuda_kernel k)
{
	static const bool early[CUDA_KERNEL_COUNT] = {
#define KERNEL(upper) [CUDA_KERNEL_##upper] = true,
		CUDA_EARLY_KERNELS(KERNEL)
#undef KERNEL
	};

	assert(k < CUDA_KERNEL_COUNT);
	return early[k];
}

/* ---- what there is ---- */

static int attribute(const struct device *d, CUdevice_attribute a)
{
	int value = 0;

	return d->driver.cuDeviceGetAttribute(&value, a, d->handle) == CUDA_SUCCESS ? value : 0;
}

static int describe(struct device *d, struct error *e)
{
	const struct cuda_driver *driver = &d->driver;
	struct device_info *info = &d->info;
	size_t bytes = 0;
	CUresult status = driver->cuDeviceGet(&d->handle, (int)d->index);

	if (status == CUDA_SUCCESS)
		status = driver->cuDeviceGetName(info->name, sizeof(info->name), d->handle);
	if (status == CUDA_SUCCESS)
		status = driver->cuDeviceTotalMem(&bytes, d->handle);
	if (status != CUDA_SUCCESS)
		return cuda_error(driver, status, e, "the device does not answer");
	d->major = attribute(d, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
	d->minor = attribute(d, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
	d->processors = (uint32_t)attribute(d, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
	d->shared_bytes_max = (uint32_t)attribute(
		d, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
	info->memory_bytes = bytes;
	snprintf(info->device, sizeof(info->device), "cuda:%u", d->index);
	snprintf(info->detail, sizeof(info->detail),
		 "sm_%d%d, %u processors, driver for CUDA %d.%d", d->major, d->minor,
		 d->processors, driver->version / 1000, driver->version % 1000 / 10);
	return 0;
}

int cuda_device_memory(const struct device *d, uint64_t *free_bytes, uint64_t *bytes,
		       struct error *e)
{
	size_t left = 0, all = 0;
	CUresult status = d->driver.cuCtxSetCurrent(d->context);

	if (status == CUDA_SUCCESS)
		status = d->driver.cuMemGetInfo(&left, &all);
	if (status != CUDA_SUCCESS)
		return cuda_error(&d->driver, status, e, "the memory of the device");
	*free_bytes = left;
	*bytes = all;
	return 0;
}

/* ---- opening ---- */

static int retain(struct device *d, struct error *e)
{
	CUresult status = d->driver.cuDevicePrimaryCtxRetain(&d->context, d->handle);

	if (status != CUDA_SUCCESS) {
		d->context = NULL;
		return cuda_error(&d->driver, status, e, "its context cannot be made");
	}
	return 0;
}

/* Finds device index o->index and takes its context. */
static int open_context(struct device *d, uint32_t index, struct error *e)
{
	int rc = cuda_driver_open(&d->driver, e);

	d->index = index;
	if (rc < 0)
		return rc;
	if (index >= (uint32_t)d->driver.devices)
		return error_set(e, -ENODEV, "this host has %d GPU%s, cuda:0 to cuda:%d",
				 d->driver.devices, d->driver.devices == 1 ? "" : "s",
				 d->driver.devices - 1);
	rc = describe(d, e);
	if (rc == 0 && d->major < MAJOR_LEAST)
		return error_set(e, -ENOTSUP, "%s has compute capability %d.%d; %d.0 or more is "
				 "needed", d->info.name, d->major, d->minor, MAJOR_LEAST);
	if (rc == 0)
		rc = retain(d, e);
	return rc;
}

/* Kernels that take more shared memory than every kernel may. */
static CUresult allow_shared(struct device *d)
{
	static const enum cuda_kernel large[] = {
		CUDA_KERNEL_ATTEND_FEW, CUDA_KERNEL_ATTEND_MANY_64, CUDA_KERNEL_ATTEND_MANY_128,
		CUDA_KERNEL_ATTEND_MANY_256,
	};
	CUresult status = CUDA_SUCCESS;

	for (size_t i = 0; i < ARRAY_LENGTH(large) && status == CUDA_SUCCESS; i++)
		status = d->driver.cuFuncSetAttribute(
			d->kernels[large[i]], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
			(int)d->shared_bytes_max);
	return status;
}

static int load_kernels(struct device *d, struct error *e)
{
	const struct cuda_driver *driver = &d->driver;
	CUresult status = driver->cuCtxSetCurrent(d->context);

	assert(cuda_image_count <= CUDA_IMAGES_MAX);
	for (uint32_t i = 0; i < cuda_image_count && status == CUDA_SUCCESS; i++)
		status = driver->cuModuleLoadData(&d->modules[i], cuda_images[i].bytes);
	if (status != CUDA_SUCCESS)
		return cuda_error(driver, status, e, "its kernels do not load");
	for (uint32_t k = 0; k < CUDA_KERNEL_COUNT; k++) {
		status = CUDA_ERROR_NOT_FOUND;
		for (uint32_t i = 0; i < cuda_image_count && status != CUDA_SUCCESS; i++)
			status = driver->cuModuleGetFunction(&d->kernels[k], d->modules[i],
							     kernels[k].name);
		if (status != CUDA_SUCCESS)
			return cuda_error(driver, status, e, kernels[k].name);
	}
	status = allow_shared(d);
	return status == CUDA_SUCCESS ? 0 : cuda_error(driver, status, e, "shared memory");
}

int cuda_device_open(struct device **out, const struct device_options *o, struct error *e)
{
	int threads = team_size(o->threads, e), rc;
	struct device *d;

	*out = NULL;
	if (threads < 0)
		return threads;
	d = mem_calloc(1, sizeof(*d));
	if (!d)
		return error_set(e, -ENOMEM, "out of memory for device cuda:%u", o->index);
	pthread_mutex_init(&d->lock, NULL);
	d->compute = o->compute;
	d->weights = o->weights;
	d->fast = o->fast;
	d->threads = (uint32_t)threads;
	d->launches = o->launches;
	if (o->tuning)
		d->tuning = mem_strdup(o->tuning);
	rc = o->tuning && !d->tuning ? error_set(e, -ENOMEM, "out of memory") :
				       open_context(d, o->index, e);
	if (rc == 0)
		rc = load_kernels(d, e);
	if (rc < 0) {
		cuda_device_close(d);
		error_wrap(e, "device cuda:%u", o->index);
		return rc;
	}
	*out = d;
	return 0;
}

void cuda_device_close(struct device *d)
{
	if (!d)
		return;
	if (d->context && d->driver.cuCtxSetCurrent(d->context) == CUDA_SUCCESS) {
		for (uint32_t i = 0; i < CUDA_IMAGES_MAX; i++)
			if (d->modules[i])
				(void)d->driver.cuModuleUnload(d->modules[i]);
		(void)d->driver.cuCtxSetCurrent(NULL);
	}
	if (d->context)
		(void)d->driver.cuDevicePrimaryCtxRelease(d->handle);
	cuda_driver_close(&d->driver);
	pthread_mutex_destroy(&d->lock);
	mem_free(d->tuning);
	mem_free(d);
}

int cuda_list(struct device_info *out, uint32_t room, struct error *e)
{
	struct error why = { 0 };
	uint32_t count = 1;
	int rc = 0;

	for (uint32_t i = 0; i < count && i < room && rc == 0; i++) {
		struct device d = { 0 };

		rc = open_context(&d, i, &why);
		count = d.driver.library ? (uint32_t)d.driver.devices : 0;
		if (rc == 0)
			rc = cuda_device_memory(&d, &d.info.free_bytes, &d.info.memory_bytes,
						&why);
		/* A device that we cannot use is listed; its detail says why. */
		if (rc < 0 && d.info.name[0]) {
			snprintf(d.info.detail, sizeof(d.info.detail), "%.255s", why.text);
			rc = 0;
		}
		out[i] = d.info;
		if (d.context)
			(void)d.driver.cuDevicePrimaryCtxRelease(d.handle);
		cuda_driver_close(&d.driver);
	}
	return rc < 0 ? error_set(e, rc, "%s", why.text) : (int)MIN(count, room);
}

int cuda_device_mode(const struct device *d, const struct model *m, enum compute_mode *out,
		     struct error *e)
{
	if (d->compute == COMPUTE_INT8)
		return error_set(e, -ENOTSUP, "--compute int8 is not there on cuda:%u; it computes "
				 "in bf16 or f32, whatever a checkpoint stores", d->index);
	if (d->weights != WEIGHTS_KEEP && d->compute == COMPUTE_F32)
		return error_set(e, -ENOTSUP, "--weights %s goes with --compute bf16 on cuda:%u; "
				 "f32 is for weights that are kept", weight_format_name(d->weights),
				 d->index);
	*out = d->weights == WEIGHTS_KEEP ? d->compute : COMPUTE_BF16;
	if (*out == COMPUTE_AUTO)
		*out = model_dtype(m) == DTYPE_F32 ? COMPUTE_F32 : COMPUTE_BF16;
	return 0;
}

int cuda_device_kind(const struct device *d, const struct span_options *o, char *kind,
		     struct error *e)
{
	enum compute_mode mode = COMPUTE_AUTO;
	int rc = cuda_device_mode(d, o->model, &mode, e);

	if (rc == 0)
		snprintf(kind, KIND_BYTES, "cuda-sm%d%d%s/%s%s%s/%s", d->major, d->minor,
			 d->fast ? "-fast" : "",
			 d->weights == WEIGHTS_KEEP ? "" : weight_format_name(d->weights),
			 d->weights == WEIGHTS_KEEP ? "" : "/", compute_mode_name(mode),
			 row_encoding_name(o->round));
	return rc;
}

const struct backend backend_cuda = {
	.name = "cuda",
	.list = cuda_list,
	.device_open = cuda_device_open,
	.device_close = cuda_device_close,
	.host_register = cuda_host_register,
	.host_unregister = cuda_host_unregister,
	.measure = cuda_measure,
	.kind = cuda_device_kind,
	.span_open = cuda_span_open,
	.span_close = cuda_span_close,
	.span_info = cuda_span_info,
	.span_submit = cuda_span_submit,
	.span_wait = cuda_span_wait,
	.page_copy = cuda_page_copy,
	.page_export = cuda_page_export,
	.page_import = cuda_page_import,
	.edge_open = cuda_edge_open,
	.edge_close = cuda_edge_close,
	.edge_bytes = cuda_edge_bytes,
	.edge_embed = cuda_edge_embed,
	.edge_logits = cuda_edge_logits,
	.edge_summary = cuda_edge_summary,
};
