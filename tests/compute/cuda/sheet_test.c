/* sheet_test.c - segments come over, as long as they are said to be. */
#include "dataplane/base/random.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

enum { UNITS_MAX = 3000, UNIT = 16 };

/* Goal: each segment as a whole, empty ones too, and nothing behind it. */
TEST(sheet__fetches_segments)
{
	static uint8_t got[UNITS_MAX * UNIT];
	uint8_t *host;
	struct sheet_args a = { 0 };
	struct random r;
	struct error e = { 0 };
	struct gpu g;
	void *base;
	uint32_t *units;

	random_seed(&r, test_seed());
	gpu_open(&g);
	CHECK_OK(cuda_host_alloc(g.device, &base, 4096 + sizeof(got), &e), &e);
	units = base;
	host = (uint8_t *)base + 4096;
	for (uint32_t i = 0; i < sizeof(got); i++)
		host[i] = (uint8_t)random_below(&r, 255);
	a.units = cuda_host_address(g.device, units, sizeof(*units));
	for (uint32_t s = 0; s < SHEET_SEGMENTS; s++) {
		units[s] = s == 1 ? 0 : (uint32_t)random_below(&r, s == 2 ? UNITS_MAX : 40);
		a.segments[s].from = cuda_host_address(g.device, host + 64 * s, UNIT);
		a.segments[s].to = gpu_new(&g, NULL, sizeof(got));
	}
	cuda_launch(&g.queue, CUDA_KERNEL_SHEET, (struct cuda_grid){ 2, 1, CUDA_ROW_THREADS }, &a);
	for (uint32_t s = 0; s < SHEET_SEGMENTS; s++) {
		gpu_read(&g, a.segments[s].to, got, sizeof(got));
		CHECK_BYTES(got, host + 64 * s, units[s] * UNIT);
		for (uint32_t i = units[s] * UNIT; i < sizeof(got); i++)
			CHECK_EQ(got[i], 0xff);
	}
	cuda_host_free(g.device, base);
	gpu_close(&g);
}
