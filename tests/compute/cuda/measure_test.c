/* measure_test.c - every kind of measurement does what it says and gives everything back.
 *
 * Covers measure.c, measure.cu, measure_product.c, measure_fp8.c, timer.c.
 */
#include "compute/cuda/measure.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

/* Goal: every word is read exactly once, whatever the grid. */
TEST(measure_read__reads_everything_once)
{
	static const uint64_t counts[] = { 1, 31, 256, 1000, 5000 };
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
		struct cuda_grid grid = { 1 + (uint32_t)random_below(&r, 3), 1, 64 };
		uint32_t threads = grid.x * grid.threads, expect = 0, got = 0;
		uint64_t words = 4 * counts[i];
		uint32_t *host = mem_calloc(words, 4), *sums = mem_calloc(threads, 4);
		struct measure_read_args a = { .count = counts[i] };

		for (uint64_t k = 0; k < words; k++)
			expect ^= host[k] = (uint32_t)random_u64(&r);
		a.from = gpu_new(&g, host, words * 4);
		a.sums = gpu_new(&g, NULL, threads * 4);
		cuda_launch(&g.queue, CUDA_KERNEL_MEASURE_READ, grid, &a);
		gpu_read(&g, a.sums, sums, threads * 4);
		for (uint32_t k = 0; k < threads; k++)
			got ^= sums[k];
		CHECK_EQ(got, expect);
		mem_free(sums);
		mem_free(host);
		gpu_drop(&g, 0);
	}
	gpu_close(&g);
}

/* Goal: every word is written, and none behind them. */
TEST(measure_write__writes_what_it_should)
{
	uint32_t host[4 * 301];
	struct measure_write_args a = { .count = 300, .value = 77 };
	struct gpu g;

	gpu_open(&g);
	a.to = gpu_new(&g, NULL, sizeof(host));
	cuda_launch(&g.queue, CUDA_KERNEL_MEASURE_WRITE, (struct cuda_grid){ 2, 1, 64 }, &a);
	gpu_read(&g, a.to, host, sizeof(host));
	for (uint32_t i = 0; i < ARRAY_LENGTH(host); i++)
		CHECK_EQ(host[i], i < 1200 ? 77 : 0xffffffff);
	gpu_close(&g);
}

static struct measure ask(enum measure_kind kind)
{
	return (struct measure){
		.kind = kind, .bytes = 4096, .count = 5, .rows = 3, .features = 40, .columns = 72,
		.stored = DTYPE_BF16, .repeats = 3,
	};
}

/* Goal: every kind but the one that needs a span is measured, with the bytes that moved. */
TEST(measure__every_kind)
{
	static const double moved[MEASURE_KINDS] = {
		[MEASURE_COPY] = 8192, [MEASURE_READ] = 4096, [MEASURE_COPY_IN] = 4096,
		[MEASURE_COPY_OUT] = 4096, [MEASURE_MAPPED_READ] = 4096,
		[MEASURE_MAPPED_WRITE] = 4096,
		[MEASURE_PRODUCT] = 64 * 96 * 2, [MEASURE_LIBRARY] = 64 * 96 * 2,
		[MEASURE_FP8] = 48 * 96,
	};
	struct gpu g;

	gpu_open(&g);
	for (enum measure_kind k = 0; k < MEASURE_STREAMED; k++) {
		struct measure m = ask(k);
		struct measured got;
		struct error e = { 0 };

		if (k == MEASURE_FP8) {
			m.rows = 32;
			m.features = 48;
			m.columns = 96;
		}
		CHECK_OK(cuda_measure(g.device, &m, &got, &e), &e);
		CHECK(0 < got.best_us && got.best_us <= got.median_us);
		CHECK(got.bytes == moved[k]);
		CHECK(got.flop == (k < MEASURE_PRODUCT ? 0 : 2.0 * m.rows * m.features *
							     m.columns));
	}
	gpu_close(&g);
}

/* Goal: a matrix is measured in every format that it may be stored in or loaded as. */
TEST(measure_product__in_every_format)
{
	enum { TILES = 2 * 3, FEATURES = 64 };
	static const struct {
		enum dtype stored;
		enum weight_format weights;
		double moved;
	} all[] = {
		{ DTYPE_F32,  WEIGHTS_KEEP, 64 * 96 * 4 },
		{ DTYPE_F16,  WEIGHTS_KEEP, TILES * 2048 },
		{ DTYPE_BF16, WEIGHTS_KEEP, TILES * 2048 },
		{ DTYPE_Q8_0, WEIGHTS_KEEP, TILES * (1024 + 64) },
		{ DTYPE_Q4_0, WEIGHTS_KEEP, TILES * (512 + 64) },
		{ DTYPE_Q4_1, WEIGHTS_KEEP, TILES * (512 + 128) },
		{ DTYPE_F32,  WEIGHTS_BF16, TILES * 2048 },
		{ DTYPE_BF16, WEIGHTS_INT8, TILES * 1024 + FEATURES * 4 },
		{ DTYPE_BF16, WEIGHTS_INT4, TILES * (512 + 64) },
	};
	struct gpu g;

	gpu_open(&g);
	for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
		struct measure m = ask(MEASURE_PRODUCT);
		struct measured got;
		struct error e = { 0 };

		m.stored = all[i].stored;
		m.weights = all[i].weights;
		m.columns = 96;
		CHECK_OK(cuda_measure(g.device, &m, &got, &e), &e);
		CHECK(got.bytes == all[i].moved);
	}
	gpu_close(&g);
}

/* Goal: what cannot be measured is refused with its name. */
TEST(measure__refuses)
{
	struct measure m = ask(MEASURE_LIBRARY);
	struct measured got;
	struct error e = { 0 };
	struct gpu g;

	gpu_open(&g);
	m.weights = WEIGHTS_INT4;
	CHECK_EQ(cuda_measure(g.device, &m, &got, &e), -ENOTSUP);
	CHECK(strstr(e.text, "bf16 weights, not q4_0"));
	m = ask(MEASURE_FP8);
	CHECK_EQ(cuda_measure(g.device, &m, &got, &e), -EINVAL);
	CHECK(strstr(e.text, "3 x 40 x 72"));
	gpu_close(&g);
}

/* Goal: an fp8 product that comes out wrong counts for nothing, and a device without them says
 * so.
 */
TEST(measure_fp8__is_checked)
{
	struct measure m = ask(MEASURE_FP8);
	struct measured got;
	struct error e = { 0 };
	struct gpu g;

	if (stand_in_use())
		SKIP("candidates are the stand-in's");
	gpu_open(&g);
	m.rows = m.features = m.columns = 64;
	setenv("PETALS_CUDA_STAND_IN", "lt_candidates=1 lt_wrong=0", 1);
	CHECK_EQ(cuda_measure(g.device, &m, &got, &e), -EIO);
	CHECK(strstr(e.text, "came out right"));
	setenv("PETALS_CUDA_STAND_IN", "major=8", 1);
	CHECK_EQ(cuda_measure(g.device, &m, &got, &e), -ENOTSUP);
	unsetenv("PETALS_CUDA_STAND_IN");
	gpu_close(&g);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, a measurement says so and gives everything back. */
TEST(measure__unwinds_every_failure)
{
	static const enum measure_kind some[] = { MEASURE_COPY, MEASURE_ROUND_TRIP, MEASURE_GRAPH,
						  MEASURE_LIBRARY, MEASURE_FP8 };
	int failed = 0;
	struct gpu g;
	uint64_t live;

	gpu_open(&g);
	live = mem_live_blocks();
	for (size_t i = 0; i < ARRAY_LENGTH(some); i++)
		for (int nth = 1; nth < 500; nth++) {
			struct measure m = ask(some[i]);
			struct measured got;
			struct error e = { 0 };
			int rc;

			m.rows = m.features = m.columns = 32;
			fault_arm(nth);
			rc = cuda_measure(g.device, &m, &got, &e);
			CHECK_EQ(mem_live_blocks(), live);
			if (!fault_fired()) {
				CHECK_EQ(rc, 0);
				break;
			}
			/* Closing may go wrong after all was measured. */
			CHECK(rc == 0 || e.text[0]);
			failed += rc < 0;
		}
	fault_disarm();
	CHECK(failed > 30);
	gpu_close(&g);
}
#endif
