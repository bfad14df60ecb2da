/* arena.c - owns a list of pieces and the device memory they are cut from. */
#include "compute/cuda/arena.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum { ALIGNMENT = 256 };               /* what the driver itself gives */

#ifdef PETALS_FAULTS
static const bool separate = true;
#else
static const bool separate = false;
#endif

void cuda_arena_want(struct cuda_arena *a, void *out, uint64_t bytes)
{
	void *none = NULL;

	memcpy(out, &none, sizeof(none));
	if (bytes == 0)
		return;
	if (a->count == a->room) {
		uint32_t room = MAX(64u, a->room * 2);
		struct cuda_piece *grown = mem_realloc(a->pieces, room * sizeof(*grown));

		if (!grown) {
			a->out_of_memory = true;
			return;
		}
		a->pieces = grown;
		a->room = room;
	}
	a->pieces[a->count++] = (struct cuda_piece){ out, bytes, 0 };
	a->bytes += align_up(bytes, ALIGNMENT);
}

static CUresult allocate(struct cuda_arena *a)
{
	const struct cuda_driver *d = &a->device->driver;
	CUresult status = d->cuCtxSetCurrent(a->device->context);
	uint64_t at = 0;

	if (status == CUDA_SUCCESS && !separate && a->bytes > 0)
		status = d->cuMemAlloc(&a->base, a->bytes);
	for (uint32_t i = 0; i < a->count && status == CUDA_SUCCESS; i++) {
		struct cuda_piece *p = &a->pieces[i];
		void *address;

		if (separate)
			status = d->cuMemAlloc(&p->own, p->bytes);
		address = (void *)(uintptr_t)(separate ? p->own : a->base + at);
		memcpy(p->out, &address, sizeof(address));
		at += align_up(p->bytes, ALIGNMENT);
	}
	return status;
}

int cuda_arena_open(struct cuda_arena *a, struct device *d, const char *what, struct error *e)
{
	CUresult status;
	int rc;

	a->device = d;
	if (a->out_of_memory)
		return error_set(e, -ENOMEM, "out of memory for the list of %s", what);
	status = allocate(a);
	if (status == CUDA_SUCCESS)
		return 0;
	rc = cuda_error(&d->driver, status, e, what);
	error_wrap(e, "cuda:%u: %" PRIu64 " MB of device memory", d->index, a->bytes / 1000000);
	return rc;
}

void cuda_arena_close(struct cuda_arena *a)
{
	const struct cuda_driver *d = a->device ? &a->device->driver : NULL;

	if (d && d->cuCtxSetCurrent(a->device->context) == CUDA_SUCCESS) {
		for (uint32_t i = 0; i < a->count; i++)
			if (a->pieces[i].own)
				(void)d->cuMemFree(a->pieces[i].own);
		if (a->base)
			(void)d->cuMemFree(a->base);
	}
	mem_free(a->pieces);
	*a = (struct cuda_arena){ 0 };
}
