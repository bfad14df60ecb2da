/* host.c - host memory that a GPU reads and writes in place: the landing arena, pinned and
 * mapped, and staging for what lies elsewhere.
 */
#include <errno.h>
#include <inttypes.h>

#include "compute/cuda/device.h"
#include "dataplane/base/fault.h"

/* The region that holds `at`, or a free one for NULL; under the lock. */
static struct cuda_region *find(struct device *d, const uint8_t *at)
{
	for (int i = 0; i < CUDA_REGIONS_MAX; i++) {
		struct cuda_region *r = &d->regions[i];

		if (at ? r->host && at >= r->host && (size_t)(at - r->host) < r->bytes : !r->host)
			return r;
	}
	return NULL;
}

static int add(struct device *d, uint8_t *host, size_t bytes, struct error *e)
{
	struct cuda_region *r;
	CUdeviceptr address = 0;
	CUresult status = d->driver.cuMemHostGetDevicePointer(&address, host, 0);

	if (status != CUDA_SUCCESS)
		return cuda_error(&d->driver, status, e, "pinned memory has no device address");
	pthread_mutex_lock(&d->lock);
	r = find(d, NULL);
	if (r)
		*r = (struct cuda_region){ host, (uint8_t *)(uintptr_t)address, bytes };
	pthread_mutex_unlock(&d->lock);
	return r ? 0 : error_set(e, -ENOMEM, "cuda:%u: more than %d regions of host memory",
				 d->index, CUDA_REGIONS_MAX);
}

static void drop(struct device *d, const void *base)
{
	struct cuda_region *r;

	pthread_mutex_lock(&d->lock);
	r = find(d, base);
	assert(r && r->host == base);
	*r = (struct cuda_region){ 0 };
	pthread_mutex_unlock(&d->lock);
}

int cuda_host_register(struct device *d, void *base, size_t bytes, struct error *e)
{
	CUresult status = d->driver.cuCtxSetCurrent(d->context);
	int rc;

	if (status == CUDA_SUCCESS)
		status = d->driver.cuMemHostRegister(base, bytes, CU_MEMHOSTREGISTER_PORTABLE |
						     CU_MEMHOSTREGISTER_DEVICEMAP);
	if (status != CUDA_SUCCESS) {
		rc = cuda_error(&d->driver, status, e, "it cannot be pinned");
		error_wrap(e, "cuda:%u: %" PRIu64 " MB of host memory", d->index,
			   (uint64_t)bytes / 1000000);
		return rc;
	}
	rc = add(d, base, bytes, e);
	if (rc < 0)
		(void)d->driver.cuMemHostUnregister(base);
	return rc;
}

void cuda_host_unregister(struct device *d, void *base)
{
	drop(d, base);
	if (d->driver.cuCtxSetCurrent(d->context) == CUDA_SUCCESS)
		(void)d->driver.cuMemHostUnregister(base);
}

void *cuda_host_address(struct device *d, const void *at, size_t bytes)
{
	uint8_t *address = NULL;
	struct cuda_region *r;

	pthread_mutex_lock(&d->lock);
	r = find(d, at);
	if (r && bytes <= r->bytes - (size_t)((const uint8_t *)at - r->host))
		address = r->device + ((const uint8_t *)at - r->host);
	pthread_mutex_unlock(&d->lock);
	return address;
}

int cuda_host_alloc(struct device *d, void **out, size_t bytes, struct error *e)
{
	CUresult status = d->driver.cuCtxSetCurrent(d->context);
	int rc;

	*out = NULL;
	if (status == CUDA_SUCCESS)
		status = d->driver.cuMemHostAlloc(out, bytes, CU_MEMHOSTALLOC_PORTABLE |
						  CU_MEMHOSTALLOC_DEVICEMAP);
	if (status != CUDA_SUCCESS) {
		*out = NULL;
		return cuda_error(&d->driver, status, e, "pinned host memory");
	}
	rc = add(d, *out, bytes, e);
	if (rc < 0) {
		(void)d->driver.cuMemFreeHost(*out);
		*out = NULL;
	}
	return rc;
}

void cuda_host_free(struct device *d, void *base)
{
	if (!base)
		return;
	drop(d, base);
	if (d->driver.cuCtxSetCurrent(d->context) == CUDA_SUCCESS)
		(void)d->driver.cuMemFreeHost(base);
}
