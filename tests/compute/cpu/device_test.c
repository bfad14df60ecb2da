/* device_test.c - modes, splitting, and the floating-point state around a step. */
#include "compute/cpu/device.h"

#include <errno.h>
#include <stdlib.h>

#include "compute/model/model.h"
#include "tests/test.h"

enum { COUNT_MAX = 70 };

static struct device *open_device(enum compute_mode mode)
{
	struct device_options o = { 0, 3, mode };
	struct error e = { 0 };
	struct device *d;

	CHECK_OK(backend_cpu.device_open(&d, &o, &e), &e);
	return d;
}

struct visits { unsigned char count[COUNT_MAX]; uint32_t count_max, each; };

static void visit(void *ctx, uint32_t first, uint32_t end, uint32_t worker)
{
	struct visits *v = ctx;

	assert(first < end && end <= v->count_max && end - first <= v->each && worker < 3);
	for (uint32_t i = first; i < end; i++)
		v->count[i]++;
}

/* Goal: every thing is visited once, whatever the number and the share. */
TEST(device_split__visits_everything_once)
{
	struct device *d = open_device(COMPUTE_F32);

	for (uint32_t count = 1; count <= COUNT_MAX; count += 3)
		for (uint32_t each = 1; each < 20; each += 6) {
			struct visits v = { .count_max = count, .each = each };

			device_split(d, count, each, visit, &v);
			for (uint32_t i = 0; i < COUNT_MAX; i++)
				CHECK_EQ(v.count[i], i < count);
		}
	backend_cpu.device_close(d);
}

/* Goal: auto follows the checkpoint and the host; int8 without integers is refused. */
TEST(device_mode__what_a_mode_becomes)
{
	static const struct { const char *checkpoint; enum compute_mode asked; int becomes; }
	cases[] = {
		{ "llama-plain", COMPUTE_AUTO, COMPUTE_F32 },
		{ "llama-plain", COMPUTE_BF16, COMPUTE_BF16 },
		{ "llama-plain", COMPUTE_INT8, -EINVAL },
		{ "llama-gqa-tied-bf16", COMPUTE_AUTO, COMPUTE_AUTO },
		{ "llama-gqa-tied-f16", COMPUTE_AUTO, COMPUTE_AUTO },
		{ "gguf/llama-q4_0.gguf", COMPUTE_AUTO, COMPUTE_INT8 },
		{ "gguf/llama-q4_0.gguf", COMPUTE_F32, COMPUTE_F32 },
		{ "gguf/llama-q8_0.gguf", COMPUTE_INT8, COMPUTE_INT8 },
	};
	bool bf16_pays = kernels_best() == kernels_path(PATH_AVX512);

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct device *d = open_device(cases[i].asked);
		int becomes = cases[i].becomes;
		enum compute_mode mode;
		struct error e = { 0 };
		struct model *m;

		if (becomes == COMPUTE_AUTO)
			becomes = bf16_pays ? COMPUTE_BF16 : COMPUTE_F32;
		CHECK_OK(model_open(&m, test_data(cases[i].checkpoint), &e), &e);
		CHECK_EQ(device_mode(d, m, &mode, &e), MIN(becomes, 0));
		if (becomes >= 0)
			CHECK_EQ(mode, becomes);
		else
			CHECK(strstr(e.text, "stores its matrices as f32") != NULL);
		model_close(m);
		backend_cpu.device_close(d);
	}
}

/* Goal: denormals are flushed within a step and only there. */
TEST(device_enter__flushes_denormals_until_leave)
{
	struct device *d = open_device(COMPUTE_F32);
	volatile float tiny = 1e-30f;
	fenv_t saved;

	CHECK(tiny * 1e-10f != 0);
	device_enter(d, &saved);
	CHECK(tiny * 1e-10f == 0);
	device_leave(d, &saved);
	CHECK(tiny * 1e-10f != 0);
	backend_cpu.device_close(d);
}
