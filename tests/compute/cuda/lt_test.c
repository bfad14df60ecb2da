/* lt_test.c - the fast mode: products by cuBLASLt are right, and do give up the same bits. */
#include "compute/cuda/lt.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

enum { ROWS_MAX = 300 };

/* A matrix on the device and what it was made of. */
struct product {
	struct cuda_matrix m;
	float *w, *bias, *x;
};

static void product_open(struct gpu *g, struct random *r, struct product *p, bool bias)
{
	uint32_t features = numbers_between(r, 1, 60), columns = numbers_between(r, 1, 90);
	uint32_t padded = (uint32_t)align_up(features, TILE_FEATURES);

	p->w = numbers_new(r, (size_t)padded * columns, 0.3f);
	p->bias = numbers_new(r, features, 1);
	p->x = numbers_new(r, (size_t)ROWS_MAX * columns, 1);
	row_round(ROW_BF16, p->w, padded, columns);
	row_round(ROW_BF16, p->x, ROWS_MAX, columns);
	p->m = (struct cuda_matrix){
		.w = gpu_operand(g, p->w, padded, columns, true),
		.bias = bias ? gpu_new(g, p->bias, features * sizeof(float)) : NULL,
		.rows = features, .columns = columns, .stride = cuda_operand_stride(columns),
		.format = CUDA_BF16_ROWS,
	};
}

static void product_close(struct product *p)
{
	mem_free(p->w);
	mem_free(p->bias);
	mem_free(p->x);
}

static void product_run(struct gpu *g, const struct product *p, uint32_t rows, bool add,
			float *out)
{
	uint64_t bytes = (uint64_t)rows * p->m.rows * sizeof(float);
	const void *x = gpu_operand(g, p->x, rows, p->m.columns, true);
	float *before = mem_calloc(1, bytes), *to;

	for (uint64_t i = 0; i < bytes / 4; i++)
		before[i] = (float)(i % 7);
	to = gpu_new(g, add ? before : NULL, bytes);
	cuda_linear(&g->queue, &p->m, x, rows, add ? to : NULL, to);
	gpu_read(g, to, out, bytes);
	mem_free(before);
}

static double *product_twin(const struct product *p, uint32_t rows, bool add)
{
	uint32_t n = p->m.rows, k = p->m.columns;
	double *out = mem_calloc((size_t)rows * n, sizeof(*out));

	for (size_t i = 0; i < (size_t)rows * n; i++) {
		out[i] = p->m.bias ? (double)p->bias[i % n] : 0;
		out[i] += add ? (double)(i % 7) : 0;
		for (uint32_t j = 0; j < k; j++)
			out[i] += (double)p->x[i / n * k + j] * (double)p->w[i % n * k + j];
	}
	return out;
}

/* Goal: with plans, products of any number of rows are right, with bias and residual. */
TEST(lt__agrees_with_f64)
{
	struct error e = { 0 };
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	CHECK_OK(cuda_lt_open(&g.queue.lt, &g.queue, ROWS_MAX, &e), &e);
	for (int i = 0; i < 6; i++) {
		uint32_t rows = numbers_between(&r, CUDA_FAST_ROWS, ROWS_MAX);
		struct product p;
		double *expect;
		float *got;

		product_open(&g, &r, &p, i % 2);
		CHECK_OK(cuda_lt_prepare(g.queue.lt, &p.m, &e), &e);
		got = mem_calloc((size_t)rows * p.m.rows, sizeof(*got));
		expect = product_twin(&p, rows, i % 3 == 0);
		product_run(&g, &p, rows, i % 3 == 0, got);
		CHECK(numbers_error(got, expect, (size_t)rows * p.m.rows) < 1e-5);
		mem_free(got);
		mem_free(expect);
		gpu_drop(&g, 0);
		product_close(&p);
	}
	cuda_lt_close(g.queue.lt);
	gpu_close(&g);
}

/* Goal: fast products of one row differ with the company it keeps, deterministic ones do not;
 * so a deterministic span that went this way would be seen.
 */
TEST(lt__gives_up_the_same_bits)
{
	float some[64 * 60], more[ROWS_MAX * 60];
	struct error e = { 0 };
	struct random r;
	struct product p;
	struct gpu g;

	random_seed(&r, test_seed() + 1);
	if (stand_in_use())
		SKIP("a real library may happen to use one order");
	gpu_open(&g);
	product_open(&g, &r, &p, false);
	product_run(&g, &p, 64, false, some);
	product_run(&g, &p, ROWS_MAX, false, more);
	CHECK_BYTES(some, more, 64 * p.m.rows * sizeof(float));
	CHECK_OK(cuda_lt_open(&g.queue.lt, &g.queue, ROWS_MAX, &e), &e);
	CHECK_OK(cuda_lt_prepare(g.queue.lt, &p.m, &e), &e);
	product_run(&g, &p, 64, false, some);
	product_run(&g, &p, ROWS_MAX, false, more);
	CHECK(memcmp(some, more, 64 * p.m.rows * sizeof(float)) != 0);
	cuda_lt_close(g.queue.lt);
	gpu_drop(&g, 0);
	product_close(&p);
	gpu_close(&g);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, opening and preparing give everything back; a product that
 * fails is told by the queue.
 */
TEST(lt__unwinds_every_failure)
{
	struct error e = { 0 };
	struct random r;
	struct product p;
	struct gpu g;
	uint64_t live;

	random_seed(&r, test_seed());
	gpu_open(&g);
	product_open(&g, &r, &p, true);
	live = mem_live_blocks();
	for (int nth = 1; nth < 200; nth++) {
		struct cuda_lt *lt;
		int rc;

		fault_arm(nth);
		rc = cuda_lt_open(&lt, &g.queue, ROWS_MAX, &e);
		if (rc == 0)
			rc = cuda_lt_prepare(lt, &p.m, &e);
		cuda_lt_close(lt);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK(rc < 0 && e.text[0]);
	}
	fault_disarm();
	CHECK_OK(cuda_lt_open(&g.queue.lt, &g.queue, ROWS_MAX, &e), &e);
	CHECK_OK(cuda_lt_prepare(g.queue.lt, &p.m, &e), &e);
	fault_arm(1);
	cuda_lt_linear(g.queue.lt, &p.m, p.m.w, 64, NULL, p.m.w);
	fault_disarm();
	CHECK_EQ(cuda_queue_wait(&g.queue), -EIO);
	cuda_lt_close(g.queue.lt);
	product_close(&p);
	gpu_close(&g);
}
#endif
