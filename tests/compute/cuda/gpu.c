/* gpu.c - memory by memory, so that the sanitizer sees the end of each. */
#include "tests/compute/cuda/gpu.h"

#include "compute/cuda/linear.h"
#include "dataplane/base/memory.h"
#include "tests/support/numbers.h"
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

/* What the checkpoint stores, by format; q4_0 may be quantised from f32, too. */
static enum dtype stored_as(enum cuda_format f, uint32_t columns)
{
	static const enum dtype dtypes_of[CUDA_FORMATS] = {
		[CUDA_F32] = DTYPE_F32, [CUDA_BF16_ROWS] = DTYPE_BF16, [CUDA_BF16] = DTYPE_BF16,
		[CUDA_F16] = DTYPE_F16, [CUDA_INT8] = DTYPE_F32, [CUDA_Q8_0] = DTYPE_Q8_0,
		[CUDA_Q4_0] = DTYPE_Q4_0, [CUDA_Q4_1] = DTYPE_Q4_1,
	};

	return f == CUDA_Q4_0 && columns % GROUP ? DTYPE_F32 : dtypes_of[f];
}

/* Groups of any numbers with scales of a weight's size, or plain numbers. */
static void store(struct gpu_weights *w, struct random *r, uint64_t count)
{
	enum dtype d = w->weight.dtype;
	float *x = numbers_new(r, count, 0.3f);
	uint64_t bytes = dtype_row_bytes(d, count);
	uint8_t *at = mem_alloc(bytes);

	w->stored = at;
	w->weight.data = at;
	if (d == DTYPE_F32 || d == DTYPE_BF16 || d == DTYPE_F16)
		row_encode(d == DTYPE_F32 ? ROW_F32 : d == DTYPE_BF16 ? ROW_BF16 : ROW_F16, x, 1,
			   (uint32_t)count, at);
	for (uint64_t i = 0; dtype_is_quantised(d) && i < bytes; i++)
		at[i] = (uint8_t)random_u64(r);
	for (uint64_t i = 0; dtype_is_quantised(d) && i < count / GROUP; i++) {
		uint16_t scale = f16_of_f32(x[i] / 8), minimum = f16_of_f32(x[i + 1]);

		memcpy(at + i * dtypes[d].group_bytes, &scale, sizeof(scale));
		if (d == DTYPE_Q4_1)
			memcpy(at + i * dtypes[d].group_bytes + 2, &minimum, sizeof(minimum));
	}
	mem_free(x);
}

void gpu_weights_open(struct gpu_weights *w, struct random *r, enum cuda_format f, uint32_t rows,
		      uint32_t columns)
{
	enum weight_format made = f == CUDA_INT8 ? WEIGHTS_INT8 : WEIGHTS_INT4;

	if (f == CUDA_Q8_0 || f == CUDA_Q4_1)
		columns = (uint32_t)align_up(columns, GROUP);
	*w = (struct gpu_weights){
		.format = f,
		.weight = { .name = "w", .dtype = stored_as(f, columns), .rows = rows,
			    .columns = columns, .stored_columns = columns },
	};
	store(w, r, (uint64_t)rows * columns);
	w->values = mem_alloc((size_t)rows * columns * sizeof(float));
	for (uint32_t i = 0; i < rows; i++) {
		float *to = w->values + (size_t)i * columns;
		uint8_t values[4096], scales[1024];

		if (f != CUDA_INT8 && f != CUDA_Q4_0) {
			weight_row(&w->weight, i, to);
			continue;
		}
		CHECK(quantised_values_bytes(made, columns) <= sizeof(values));
		quantise_rows(made, &w->weight, i, i + 1, values, scales);
		quantised_widen(made, values, scales, columns, to);
	}
}

void gpu_weights_close(struct gpu_weights *w)
{
	mem_free(w->stored);
	mem_free(w->values);
}

struct cuda_matrix gpu_matrix(struct gpu *g, const struct gpu_weights *w)
{
	uint32_t rows = w->weight.rows, columns = w->weight.columns;
	uint64_t bytes = cuda_layout_bytes(w->format, rows, columns);
	uint64_t band = cuda_layout_band_bytes(w->format, columns);
	void *scratch = mem_alloc(MAX(cuda_layout_scratch_bytes(w->format, columns), 1));
	uint8_t *host = mem_alloc(bytes), *at = host;
	float *scales = (float *)(host + align_up(rows, TILE_FEATURES) / TILE_FEATURES * band);
	struct cuda_matrix m = {
		.rows = rows, .columns = columns, .stride = cuda_operand_stride(columns),
		.format = w->format,
	};

	memset(host, 0xff, bytes);
	for (uint32_t r = 0; r < rows; r += TILE_FEATURES, at += band)
		cuda_layout_band(w->format, &w->weight, r, at,
				 w->format == CUDA_INT8 ? scales + r : NULL, scratch);
	m.w = gpu_new(g, host, bytes);
	mem_free(host);
	mem_free(scratch);
	return m;
}
