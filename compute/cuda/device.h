/* device.h - one GPU, opened: its context, its kernels, and host memory it can reach.
 *
 * Threads    Opening and closing by one thread; registering under the device's lock;
 *            the rest is constant and may be read by any thread.
 * Ownership  As backend.h says.
 * Units      _bytes.  Addresses of device memory have the type of what is there and are
 *            never followed by the host.
 * Errors     -ENOTSUP, -ENODEV, -ENOMEM, -EIO with a sentence that names the device.
 */
#ifndef PETALS_COMPUTE_CUDA_DEVICE_H
#define PETALS_COMPUTE_CUDA_DEVICE_H

#include <pthread.h>

#include "compute/backend.h"
#include "compute/cuda/driver.h"
#include "compute/cuda/kernels.h"

enum { CUDA_IMAGES_MAX = 32, CUDA_REGIONS_MAX = 160 };

struct cuda_region {
	uint8_t *host, *device;         /* host NULL: free */
	size_t bytes;
};

struct device {
	struct cuda_driver driver;
	uint32_t index;
	CUdevice handle;
	CUcontext context;
	struct device_info info;
	int major, minor;               /* compute capability */
	uint32_t processors;            /* multiprocessors */
	uint32_t shared_bytes_max;      /* of a thread block that asks for it */

	CUmodule modules[CUDA_IMAGES_MAX];
	CUfunction kernels[CUDA_KERNEL_COUNT];

	enum compute_mode compute;      /* as asked for: may be auto */
	enum weight_format weights;
	bool fast;                      /* not deterministic: linear.h */
	uint32_t threads;               /* that lay weights out */
	enum launch_mode launches;
	char *tuning;                   /* path of tuning.h's file, NULL: the usual one */

	pthread_mutex_t lock;           /* of regions */
	struct cuda_region regions[CUDA_REGIONS_MAX];
};

const char *cuda_kernel_name(enum cuda_kernel k);
uint32_t cuda_kernel_args_bytes(enum cuda_kernel k);
bool cuda_kernel_early(enum cuda_kernel k);              /* of CUDA_EARLY_KERNELS */

int cuda_list(struct device_info *out, uint32_t room, struct error *e);
int cuda_device_open(struct device **out, const struct device_options *o, struct error *e);
void cuda_device_close(struct device *d);                /* NULL is fine */
/* What the device's mode becomes for a model; never auto. */
int cuda_device_mode(const struct device *d, const struct model *m, enum compute_mode *out,
		     struct error *e);
/* "cuda-sm90/bf16/f32", with "-fast" behind the device when it is. */
int cuda_device_kind(const struct device *d, const struct span_options *o, char *kind,
		     struct error *e);
/* Free and all memory of the device. */
int cuda_device_memory(const struct device *d, uint64_t *free_bytes, uint64_t *bytes,
		       struct error *e);

int cuda_host_register(struct device *d, void *base, size_t bytes, struct error *e);
void cuda_host_unregister(struct device *d, void *base);
/* Where kernels find host memory: NULL unless it is registered as a whole. */
void *cuda_host_address(struct device *d, const void *at, size_t bytes);
/* Pinned host memory that kernels reach, registered; cuda_host_free(). */
int cuda_host_alloc(struct device *d, void **out, size_t bytes, struct error *e);
void cuda_host_free(struct device *d, void *base);       /* NULL is fine */

extern const struct backend backend_cuda;

/* span.c, page.c and edge.c, for the table */
int cuda_span_open(struct span **out, struct device *d, const struct span_options *o,
		   struct error *e);
void cuda_span_close(struct span *s);
const struct span_info *cuda_span_info(const struct span *s);
int cuda_span_submit(struct span *s, const struct batch *b);
int cuda_span_wait(struct span *s);
int cuda_page_copy(struct span *s, uint32_t to, uint32_t from);
int cuda_page_export(struct span *s, uint32_t page, void *out);
int cuda_page_import(struct span *s, uint32_t page, const void *in);

int cuda_edge_open(struct edge **out, struct device *d, const struct model *m, uint32_t rows_max,
		   struct load_progress progress, struct error *e);
void cuda_edge_close(struct edge *g);
uint64_t cuda_edge_bytes(const struct edge *g);
int cuda_edge_embed(struct edge *g, const uint32_t *tokens, uint32_t rows, uint32_t position,
		    float *out);
int cuda_edge_logits(struct edge *g, const float *rows_in, uint32_t rows, float *logits);
int cuda_edge_summary(struct edge *g, const float *rows_in, uint32_t rows,
		      const struct logits_draw *draws, bool *whole,
		      struct logits_summary *summary, float *logits);

/* measure.c */
int cuda_measure(struct device *d, const struct measure *m, struct measured *out,
		 struct error *e);

#endif
