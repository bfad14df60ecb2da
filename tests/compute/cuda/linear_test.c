/* linear_test.c - products against f64, and the same bits for any number of rows.
 *
 * Covers linear_bf16.cu, linear_f32.cu.
 */
#include "compute/cuda/linear.h"

#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

struct product {
	uint32_t features, columns, rows;
	bool bf16, bias, add;
	float *w, *b, *x, *residual;    /* on the host; w and x as rounded */
};

static void product_open(struct product *p, struct random *r, bool bf16)
{
	*p = (struct product){
		.features = numbers_between(r, 1, 90), .columns = numbers_between(r, 1, 200),
		.rows = numbers_between(r, 1, bf16 ? 140 : 40), .bf16 = bf16,
		.bias = random_chance(r, 0.5), .add = random_chance(r, 0.5),
	};
	p->w = numbers_new(r, (size_t)p->features * p->columns, 0.3f);
	p->x = numbers_new(r, (size_t)p->rows * p->columns, 1);
	p->b = numbers_new(r, p->features, 1);
	p->residual = numbers_new(r, (size_t)p->rows * p->features, 1);
	for (size_t i = 0; i < (size_t)p->features * p->columns; i++)
		p->w[i] = gpu_rounded(p->w[i], bf16);
	for (size_t i = 0; i < (size_t)p->rows * p->columns; i++)
		p->x[i] = gpu_rounded(p->x[i], bf16);
}

static void product_close(struct product *p)
{
	mem_free(p->w);
	mem_free(p->x);
	mem_free(p->b);
	mem_free(p->residual);
}

/* The slow twin. */
static double *product_twin(const struct product *p)
{
	double *out = mem_calloc((size_t)p->rows * p->features, sizeof(*out));

	for (uint32_t r = 0; r < p->rows; r++)
		for (uint32_t n = 0; n < p->features; n++) {
			double sum = p->bias ? (double)p->b[n] : 0;

			for (uint32_t k = 0; k < p->columns; k++)
				sum += (double)p->x[(size_t)r * p->columns + k] *
				       (double)p->w[(size_t)n * p->columns + k];
			if (p->add)
				sum += (double)p->residual[(size_t)r * p->features + n];
			out[(size_t)r * p->features + n] = sum;
		}
	return out;
}

/* Rows [first, first + rows) of the product; in place of the residual when there is one. */
static void product_run(struct gpu *g, const struct product *p, uint32_t first, uint32_t rows,
			float *out)
{
	uint32_t padded = (uint32_t)align_up(p->features, LINEAR_FEATURES);
	uint64_t bytes = (uint64_t)rows * p->features * sizeof(float);
	float *w = mem_calloc((size_t)padded * p->columns, sizeof(*w));
	uint32_t before = g->count;
	struct cuda_matrix m = {
		.rows = p->features, .columns = p->columns, .bf16 = p->bf16,
		.stride = cuda_operand_stride(p->columns),
	};
	const void *x;
	float *to;

	memcpy(w, p->w, (size_t)p->features * p->columns * sizeof(*w));
	m.w = gpu_operand(g, w, padded, p->columns, p->bf16);
	if (p->bias)
		m.bias = gpu_new(g, p->b, p->features * sizeof(float));
	x = gpu_operand(g, p->x + (size_t)first * p->columns, rows, p->columns, p->bf16);
	to = gpu_new(g, p->add ? p->residual + (size_t)first * p->features : NULL, bytes);
	cuda_linear(&g->queue, &m, x, rows, p->add ? to : NULL, to);
	gpu_read(g, to, out, bytes);
	gpu_drop(g, before);
	mem_free(w);
}

/* Goal: products are right for any shape, with or without bias and residual. */
TEST(linear__agrees_with_f64)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (int i = 0; i < 30; i++) {
		struct product p;
		double *expect, error;
		float *got;

		product_open(&p, &r, i % 2);
		expect = product_twin(&p);
		got = mem_calloc((size_t)p.rows * p.features, sizeof(*got));
		product_run(&g, &p, 0, p.rows, got);
		error = numbers_error(got, expect, (size_t)p.rows * p.features);
		if (!(error < 1e-5))
			fail_msg("%u x %u of %u rows, %s: off by %g", p.features, p.columns,
				 p.rows, p.bf16 ? "bf16" : "f32", error);
		mem_free(got);
		mem_free(expect);
		product_close(&p);
	}
	gpu_close(&g);
}

/* Goal: a row has the same bits alone, in company, and wherever it stands among the others. */
TEST(linear__same_bits_for_any_number_of_rows)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (int i = 0; i < 12; i++) {
		struct product p;
		float *all, *some;

		product_open(&p, &r, i % 2);
		all = mem_calloc((size_t)p.rows * p.features, sizeof(*all));
		some = mem_calloc((size_t)p.rows * p.features, sizeof(*some));
		product_run(&g, &p, 0, p.rows, all);
		for (uint32_t first = 0, rows; first < p.rows; first += rows) {
			rows = numbers_between(&r, 1, 40);
			rows = MIN(rows, p.rows - first);
			product_run(&g, &p, first, rows, some + (size_t)first * p.features);
		}
		CHECK_BYTES(some, all, (size_t)p.rows * p.features * sizeof(*all));
		mem_free(some);
		mem_free(all);
		product_close(&p);
	}
	gpu_close(&g);
}
