/* gate_test.c - activations against their formulas in f64. */
#include <math.h>

#include "compute/cuda/linear.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

static double activation_twin(enum activation_kind kind, double x)
{
	switch (kind) {
	case ACT_SILU:
		return x / (1 + exp(-x));
	case ACT_GELU_TANH:
		return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
	case ACT_GELU_ERF:
		return 0.5 * x * (1 + erf(x / sqrt(2)));
	case ACT_RELU:
		return x > 0 ? x : 0;
	}
	return NAN;
}

/* Goal: every activation, gated and not, at any width; large numbers do not overflow. */
TEST(gate__agrees_with_f64)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (int i = 0; i < 16; i++) {
		uint32_t n = numbers_between(&r, 1, 300), rows = numbers_between(&r, 1, 4);
		size_t count = (size_t)rows * n;
		float *gate = numbers_new(&r, count, 4), *up = numbers_new(&r, count, 1);
		float *got = mem_calloc(count, 4);
		double *expect = mem_calloc(count, sizeof(*expect));
		struct gate_args a = { .columns = n, .stride = cuda_operand_stride(n),
				       .act = (uint32_t)i % 4 };
		bool gated = i < 8;

		gate[0] = 200;
		gate[count - 1] = -200;
		for (size_t k = 0; k < count; k++)
			expect[k] = activation_twin(a.act, (double)gate[k]) *
				    (gated ? (double)up[k] : 1);
		a.gate = gpu_new(&g, gate, count * 4);
		a.up = gated ? gpu_new(&g, up, count * 4) : NULL;
		a.out = gpu_new(&g, NULL, (uint64_t)rows * a.stride * 4);
		cuda_launch(&g.queue, CUDA_KERNEL_GATE,
			    (struct cuda_grid){ rows, 1 + (uint32_t)i % 3, CUDA_ROW_THREADS }, &a);
		gpu_read_operand(&g, a.out, rows, n, false, got);
		CHECK(numbers_error(got, expect, count) < 1e-5);
		gpu_drop(&g, 0);
		mem_free(expect);
		mem_free(got);
		mem_free(up);
		mem_free(gate);
	}
	gpu_close(&g);
}
