/* norm_test.c - norms against f64, into operands, rows, and in place. */
#include <math.h>

#include "compute/cuda/block.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

static const float epsilon = 1e-5f;

static void norm_twin(const float *x, const float *weight, const float *bias, uint32_t n,
		      bool layer, double *out)
{
	double mean = 0, squares = 0;

	for (uint32_t i = 0; i < n && layer; i++)
		mean += (double)x[i] / n;
	for (uint32_t i = 0; i < n; i++)
		squares += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
	for (uint32_t i = 0; i < n; i++)
		out[i] = ((double)x[i] - mean) / sqrt(squares + (double)epsilon) *
			 (double)weight[i] + (bias ? (double)bias[i] : 0);
}

/* Goal: both norms, with and without bias, at any width; rows in place and operands agree. */
TEST(norm__agrees_with_f64)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (int i = 0; i < 24; i++) {
		/* Some wider than what threads keep of a row. */
		uint32_t n = i % 12 == 11 ? NORM_THREADS * NORM_HELD + 77 :
					    numbers_between(&r, 1, 1400);
		uint32_t rows = numbers_between(&r, 1, 5);
		size_t count = (size_t)rows * n;
		struct cuda_norm_shape shape = { n, i % 2, epsilon };
		bool bf16 = i % 3 == 0, biased = i % 4 < 2;
		float *x = numbers_new(&r, count, 2), *weight = numbers_new(&r, n, 1);
		float *bias = numbers_new(&r, n, 1), *got = mem_calloc(count, sizeof(*got));
		double *expect = mem_calloc(count, sizeof(*expect));
		void *dx = gpu_new(&g, x, count * 4), *dw = gpu_new(&g, weight, n * 4);
		void *db = gpu_new(&g, bias, n * 4);
		void *operand = gpu_new(&g, NULL, (uint64_t)rows * cuda_operand_stride(n) *
					(bf16 ? 2 : 4));

		for (uint32_t row = 0; row < rows; row++)
			norm_twin(x + row * n, weight, biased ? bias : NULL, n, i % 2,
				  expect + row * n);
		cuda_norm(&g.queue, &shape, dx, rows, dw, biased ? db : NULL, dx, operand, bf16);
		gpu_read(&g, dx, got, count * 4);
		CHECK(n == 1 || numbers_error(got, expect, count) < 1e-5);
		gpu_read_operand(&g, operand, rows, n, bf16, x);
		for (size_t k = 0; k < count; k++)
			CHECK(x[k] == gpu_rounded(got[k], bf16));
		gpu_drop(&g, 0);
		mem_free(expect);
		mem_free(got);
		mem_free(bias);
		mem_free(weight);
		mem_free(x);
	}
	gpu_close(&g);
}
