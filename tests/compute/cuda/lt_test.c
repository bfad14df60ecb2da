/* lt_test.c - the fast mode: products by cuBLASLt are right, and do give up the same bits;
 * candidates race, liars are refused, and nothing is raced twice.
 *
 * Covers lt.c, lt_race.c, noise.c.
 */
#include "compute/cuda/lt_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/folder.h"
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
	CHECK_OK(cuda_lt_open(&g.queue.lt, &g.queue, CUDA_FAST_ROWS, ROWS_MAX, &e), &e);
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
	CHECK_OK(cuda_lt_open(&g.queue.lt, &g.queue, CUDA_FAST_ROWS, ROWS_MAX, &e), &e);
	CHECK_OK(cuda_lt_prepare(g.queue.lt, &p.m, &e), &e);
	product_run(&g, &p, 64, false, some);
	product_run(&g, &p, ROWS_MAX, false, more);
	CHECK(memcmp(some, more, 64 * p.m.rows * sizeof(float)) != 0);
	cuda_lt_close(g.queue.lt);
	gpu_drop(&g, 0);
	product_close(&p);
	gpu_close(&g);
}

/* One plan for 64 rows under a setting of the stand-in; which candidate it runs, or -errno. */
static int candidate_of(struct gpu *g, const struct product *p, const char *setting,
			struct error *e)
{
	struct cuda_lt *lt;
	int which;

	setenv("PETALS_CUDA_STAND_IN", setting, 1);
	CHECK_OK(cuda_lt_open(&lt, &g->queue, 64, 64, e), e);
	which = cuda_lt_prepare(lt, &p->m, e);
	if (which == 0) {
		CHECK_EQ(lt->count, 1);
		which = (int)lt->plans[0].algorithm.data[1];
	}
	cuda_lt_close(lt);
	unsetenv("PETALS_CUDA_STAND_IN");
	return which;
}

struct course {
	struct gpu gpu;
	struct product product;
	char *folder, *path;
	struct error e;
};

static void course_open(struct course *c)
{
	struct random r;

	*c = (struct course){ .folder = test_folder_open() };
	c->path = file_join(c->folder, "races");
	random_seed(&r, test_seed());
	gpu_open(&c->gpu);
	product_open(&c->gpu, &r, &c->product, true);
	c->gpu.device->tuning = mem_strdup(c->path);
}

static void course_close(struct course *c)
{
	product_close(&c->product);
	gpu_close(&c->gpu);
	mem_free(c->path);
	test_folder_close(c->folder);
}

/* Goal: the fastest candidate wins, and another process knows it without asking again. */
TEST(lt_race__is_run_once)
{
	struct course c;
	char *text;

	if (stand_in_use())
		SKIP("candidates are the stand-in's");
	course_open(&c);
	CHECK_EQ(candidate_of(&c.gpu, &c.product, "lt_fast=2", &c.e), 2);
	text = test_folder_read(c.folder, "races");
	CHECK(strstr(text, "cublasLt 130100, CUDA on a CPU, sm_90, driver 13000, bf16 x bf16 = "
		     "f32, ") && strstr(text, " + bias, rows 64\t0000000000005eed "
					      "0000000000000002 "));
	mem_free(text);
	/* Nothing is proposed, so that there is nothing to race. */
	CHECK_EQ(candidate_of(&c.gpu, &c.product, "lt_candidates=0", &c.e), 2);
	/* Another library is another race. */
	CHECK_EQ(candidate_of(&c.gpu, &c.product, "lt_version=130200 lt_fast=1", &c.e), 1);
	CHECK_EQ(candidate_of(&c.gpu, &c.product, "lt_fast=0", &c.e), 2);
	course_close(&c);
}

/* Goal: a candidate that computes something else does not win, though it is the fastest; when
 * none is right, that is an error.
 */
TEST(lt_race__refuses_what_is_wrong)
{
	struct course c;

	if (stand_in_use())
		SKIP("candidates are the stand-in's");
	course_open(&c);
	CHECK_EQ(candidate_of(&c.gpu, &c.product, "lt_candidates=1 lt_wrong=0", &c.e), -EIO);
	CHECK(strstr(c.e.text, "none of cuBLASLt's 1 candidates for 64 rows"));
	CHECK_EQ(candidate_of(&c.gpu, &c.product, "lt_candidates=2 lt_fast=1 lt_wrong=1", &c.e),
		 0);
	course_close(&c);
}

/* Goal: a table that says what the library does not know is raced anew. */
TEST(lt_race__distrusts_the_table)
{
	static const char *const strange[] = { "nonsense", "5eed 1", "1 2 3 4 5 6 7 8 us 1",
					       "5eed 63 0 0 0 0 0 0" };

	if (stand_in_use())
		SKIP("candidates are the stand-in's");
	for (size_t i = 0; i < ARRAY_LENGTH(strange); i++) {
		struct cuda_tuning *t;
		struct course c;
		char key[256], *text;

		course_open(&c);
		CHECK_EQ(candidate_of(&c.gpu, &c.product, "lt_fast=1", &c.e), 1);
		text = test_folder_read(c.folder, "races");
		snprintf(key, sizeof(key), "%s", strstr(text, "cublasLt"));
		*strchr(key, '\t') = '\0';
		mem_free(text);
		CHECK_OK(cuda_tuning_open(&t, c.path, &c.e), &c.e);
		CHECK_OK(cuda_tuning_add(t, key, strange[i], &c.e), &c.e);
		cuda_tuning_close(t);
		CHECK_EQ(candidate_of(&c.gpu, &c.product, "lt_fast=2", &c.e), 2);
		course_close(&c);
	}
}

#ifdef PETALS_FAULTS
/* Opens, races and closes on a queue of its own, as a span does. */
static int open_and_race(struct course *c)
{
	struct cuda_lt *lt = NULL;
	struct cuda_queue q;
	int rc = cuda_queue_open(&q, c->gpu.device, &c->e);

	if (rc == 0)
		rc = cuda_lt_open(&lt, &q, 64, 64, &c->e);
	if (rc == 0)
		rc = cuda_lt_prepare(lt, &c->product.m, &c->e);
	cuda_lt_close(lt);
	cuda_queue_close(&q);
	return rc;
}

/* Goal: whichever call fails, opening and racing give everything back.  Some failures are only
 * told: a table that cannot be kept, memory that a race does not get.
 */
TEST(lt__unwinds_every_failure)
{
	struct course c;
	uint64_t live;
	int failed = 0;

	if (stand_in_use())
		SKIP("faults are the stand-in's");
	course_open(&c);
	setenv("PETALS_CUDA_STAND_IN", "lt_candidates=1", 1);
	live = mem_live_blocks();
	for (int nth = 1; nth < 2000; nth++) {
		int rc;

		unlink(c.path);
		c.e = (struct error){ 0 };
		fault_arm(nth);
		rc = open_and_race(&c);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK(rc == 0 || c.e.text[0]);
		failed += rc < 0;
	}
	fault_disarm();
	unsetenv("PETALS_CUDA_STAND_IN");
	CHECK(failed > 30);
	course_close(&c);
}

/* Goal: a product that fails is told by the queue. */
TEST(lt_linear__tells_a_failed_call)
{
	struct course c;
	struct gpu *g;

	if (stand_in_use())
		SKIP("faults are the stand-in's");
	course_open(&c);
	g = &c.gpu;
	CHECK_OK(cuda_lt_open(&g->queue.lt, &g->queue, 64, 64, &c.e), &c.e);
	CHECK_OK(cuda_lt_prepare(g->queue.lt, &c.product.m, &c.e), &c.e);
	fault_arm(1);
	cuda_lt_linear(g->queue.lt, &c.product.m, c.product.m.w, 64, NULL, c.product.m.w);
	fault_disarm();
	CHECK_EQ(cuda_queue_wait(&g->queue), -EIO);
	cuda_lt_close(g->queue.lt);
	course_close(&c);
}
#endif
