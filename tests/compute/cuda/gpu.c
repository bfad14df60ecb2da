/* gpu.c - memory by memory, so that the sanitizer sees the end of each. */
#include "tests/compute/cuda/gpu.h"

#include "compute/cuda/linear.h"
#include "dataplane/base/memory.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

enum { STAGE_BYTES = 8 << 20 };

void gpu_open(struct gpu *g)
{
	struct device_options o = { 0 };
	struct error e = { 0 };

	stand_in_use();
	*g = (struct gpu){ 0 };
	CHECK_OK(cuda_device_open(&g->device, &o, &e), &e);
	CHECK_OK(cuda_queue_open(&g->queue, g->device, &e), &e);
	CHECK_OK(cuda_host_alloc(g->device, &g->stage, STAGE_BYTES, &e), &e);
}

void gpu_close(struct gpu *g)
{
	gpu_drop(g, 0);
	cuda_queue_close(&g->queue);
	cuda_host_free(g->device, g->stage);
	cuda_device_close(g->device);
}

void *gpu_new(struct gpu *g, const void *host, uint64_t bytes)
{
	void *device;

	CHECK(g->count < GPU_PIECES_MAX && bytes <= STAGE_BYTES);
	CHECK_EQ(g->device->driver.cuMemAlloc(&g->pieces[g->count], bytes), CUDA_SUCCESS);
	device = (void *)(uintptr_t)g->pieces[g->count++];
	if (host)
		memcpy(g->stage, host, bytes);
	else
		memset(g->stage, 0xff, bytes);
	cuda_copy_in(&g->queue, device, g->stage, bytes);
	CHECK_EQ(cuda_queue_wait(&g->queue), 0);
	return device;
}

void gpu_read(struct gpu *g, const void *device, void *host, uint64_t bytes)
{
	CHECK(bytes <= STAGE_BYTES);
	cuda_copy_out(&g->queue, g->stage, device, bytes);
	CHECK_EQ(cuda_queue_wait(&g->queue), 0);
	memcpy(host, g->stage, bytes);
}

void gpu_drop(struct gpu *g, uint32_t count)
{
	while (g->count > count)
		CHECK_EQ(g->device->driver.cuMemFree(g->pieces[--g->count]), CUDA_SUCCESS);
}

float gpu_rounded(float x, bool bf16)
{
	return bf16 ? f32_of_bf16(bf16_of_f32(x)) : x;
}

void *gpu_operand(struct gpu *g, const float *x, uint32_t rows, uint32_t columns, bool bf16)
{
	uint32_t stride = cuda_operand_stride(columns);
	uint64_t bytes = (uint64_t)rows * stride * (bf16 ? 2 : 4);
	void *host = mem_calloc(1, bytes), *device;

	for (uint32_t r = 0; r < rows; r++)
		row_encode(bf16 ? ROW_BF16 : ROW_F32, x + (size_t)r * columns, 1, columns,
			   (uint8_t *)host + (size_t)r * stride * (bf16 ? 2 : 4));
	device = gpu_new(g, host, bytes);
	mem_free(host);
	return device;
}

void gpu_read_operand(struct gpu *g, const void *operand, uint32_t rows, uint32_t columns,
		      bool bf16, float *out)
{
	uint32_t stride = cuda_operand_stride(columns), each = bf16 ? 2 : 4;
	uint8_t *host = mem_calloc(rows, (uint64_t)stride * each);

	gpu_read(g, operand, host, (uint64_t)rows * stride * each);
	for (uint32_t r = 0; r < rows; r++) {
		const uint8_t *row = host + (size_t)r * stride * each;

		row_decode(bf16 ? ROW_BF16 : ROW_F32, row, 1, columns, out + (size_t)r * columns);
		for (uint32_t i = columns * each; i < stride * each; i++)
			if (row[i])
				fail_msg("row %u is not zero behind its %u columns", r, columns);
	}
	mem_free(host);
}
