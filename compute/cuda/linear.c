/* linear.c - picks the kernel of a product. */
#include "compute/cuda/linear.h"

#include "compute/cuda/lt.h"

static uint32_t parts(uint32_t count, uint32_t each)
{
	return (count + each - 1) / each;
}

/* The fewest rows of a thread block that take them all, or the most there is. */
static enum cuda_kernel bf16_kernel(uint32_t rows, uint32_t *tile_rows)
{
	static const enum cuda_kernel kernels[] = {
		CUDA_KERNEL_LINEAR_BF16_1, CUDA_KERNEL_LINEAR_BF16_2,
		CUDA_KERNEL_LINEAR_BF16_4, CUDA_KERNEL_LINEAR_BF16_8,
	};
	uint32_t i = 0;

	while (i + 1 < ARRAY_LENGTH(kernels) && (uint32_t)LINEAR_ROWS << i < rows)
		i++;
	*tile_rows = (uint32_t)LINEAR_ROWS << i;
	return kernels[i];
}

void cuda_linear(struct cuda_queue *q, const struct cuda_matrix *m, const void *operand,
		 uint32_t rows, const float *add, float *out)
{
	struct linear_args a = {
		.w = m->w, .bias = m->bias, .x = operand, .add = add, .out = out,
		.features = m->rows, .columns = m->stride, .rows = rows,
	};
	enum cuda_kernel kernel = CUDA_KERNEL_LINEAR_F32;
	uint32_t tile_rows = LINEAR_ROWS;
	struct cuda_grid grid;

	assert(m->w);
	if (q->lt && m->bf16 && rows >= CUDA_FAST_ROWS) {
		cuda_lt_linear(q->lt, m, operand, rows, add, out);
		return;
	}
	if (m->bf16)
		kernel = bf16_kernel(rows, &tile_rows);
	grid = (struct cuda_grid){ parts(m->rows, LINEAR_FEATURES), parts(rows, tile_rows),
				   LINEAR_RUNS * 32 };
	cuda_launch(q, kernel, grid, &a);
}
