/* gpu.h - a device and a queue for tests of single kernels; numbers to and from it.
 *
 * Threads    A test's.
 * Ownership  gpu_open() / gpu_close(), which frees all that was lent.
 * Units      Bytes.
 * Errors     Failures fail the test.
 */
#ifndef PETALS_TESTS_COMPUTE_CUDA_GPU_H
#define PETALS_TESTS_COMPUTE_CUDA_GPU_H

#include "compute/cuda/linear.h"
#include "dataplane/base/random.h"

enum { GPU_PIECES_MAX = 64 };

struct gpu {
	struct device *device;
	struct cuda_queue queue;
	void *stage;                    /* pinned */
	CUdeviceptr pieces[GPU_PIECES_MAX];
	uint32_t count;
};

void gpu_open(struct gpu *g);
void gpu_close(struct gpu *g);
/* Device memory of exactly so many bytes, with a copy of `host`; poison without one. */
void *gpu_new(struct gpu *g, const void *host, uint64_t bytes);
/* Runs what was launched and copies back. */
void gpu_read(struct gpu *g, const void *device, void *host, uint64_t bytes);
/* Frees what gpu_new() lent since `count` was taken. */
void gpu_drop(struct gpu *g, uint32_t count);

/* As an operand of `columns` columns: bf16 or f32, padded with zeros to *stride. */
void *gpu_operand(struct gpu *g, const float *x, uint32_t rows, uint32_t columns, bool bf16);
/* Reads an operand back, widened, and checks that its padding is zero. */
void gpu_read_operand(struct gpu *g, const void *operand, uint32_t rows, uint32_t columns,
		      bool bf16, float *out);
/* A random matrix as a checkpoint might store it, and what it is in a format: `values`, widened. */
struct gpu_weights {
	struct weight weight;
	enum cuda_format format;
	void *stored;
	float *values;                  /* (rows, columns) */
};
void gpu_weights_open(struct gpu_weights *w, struct random *r, enum cuda_format f, uint32_t rows,
		      uint32_t columns);
void gpu_weights_close(struct gpu_weights *w);
/* Laid out, on the device. */
struct cuda_matrix gpu_matrix(struct gpu *g, const struct gpu_weights *w);
/* What a bf16 operand or page makes of a number. */
float gpu_rounded(float x, bool bf16);

#endif
