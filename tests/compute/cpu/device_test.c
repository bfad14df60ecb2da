/* device_test.c - modes, splitting, and the floating-point state around a step. */
#include "compute/cpu/device.h"

#include <errno.h>
#include <stdlib.h>

#include "compute/model/model.h"
#include "tests/test.h"

enum { COUNT_MAX = 70 };

static struct device *open_device(enum compute_mode mode, enum weight_format weights)
{
	struct device_options o = { .threads = 3, .compute = mode, .weights = weights };
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
	struct device *d = open_device(COMPUTE_F32, WEIGHTS_KEEP);

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
	static const struct {
		const char *checkpoint;
		enum compute_mode asked;
		enum weight_format weights;
		int becomes;
	} cases[] = {
		{ "llama-plain", COMPUTE_AUTO, WEIGHTS_KEEP, COMPUTE_F32 },
		{ "llama-plain", COMPUTE_BF16, WEIGHTS_KEEP, COMPUTE_BF16 },
		{ "llama-plain", COMPUTE_INT8, WEIGHTS_KEEP, -EINVAL },
		{ "llama-plain", COMPUTE_AUTO, WEIGHTS_BF16, COMPUTE_AUTO },
		{ "llama-plain", COMPUTE_INT8, WEIGHTS_BF16, -EINVAL },
		{ "llama-plain", COMPUTE_AUTO, WEIGHTS_INT8, COMPUTE_INT8 },
		{ "llama-plain", COMPUTE_INT8, WEIGHTS_INT4, COMPUTE_INT8 },
		{ "llama-plain", COMPUTE_BF16, WEIGHTS_INT4, COMPUTE_BF16 },
		{ "llama-gqa-tied-bf16", COMPUTE_AUTO, WEIGHTS_KEEP, COMPUTE_AUTO },
		{ "llama-gqa-tied-f16", COMPUTE_AUTO, WEIGHTS_KEEP, COMPUTE_AUTO },
		{ "gguf/llama-q4_0.gguf", COMPUTE_AUTO, WEIGHTS_KEEP, COMPUTE_INT8 },
		{ "gguf/llama-q4_0.gguf", COMPUTE_F32, WEIGHTS_KEEP, COMPUTE_F32 },
		{ "gguf/llama-q4_0.gguf", COMPUTE_AUTO, WEIGHTS_BF16, COMPUTE_AUTO },
		{ "gguf/llama-q4_0.gguf", COMPUTE_INT8, WEIGHTS_BF16, -EINVAL },
		{ "gguf/llama-q8_0.gguf", COMPUTE_INT8, WEIGHTS_KEEP, COMPUTE_INT8 },
	};
	bool bf16_pays = kernels_best() == kernels_path(PATH_AVX512);

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct device *d = open_device(cases[i].asked, cases[i].weights);
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
			CHECK(strstr(e.text, "use --weights int8 or int4") != NULL);
		model_close(m);
		backend_cpu.device_close(d);
	}
}

/* Goal: the kind tells device, weights, arithmetic and rounding apart; keep is not named. */
TEST(device_kind__names_what_decides_the_bits)
{
	static const struct {
		enum compute_mode mode;
		enum weight_format weights;
		enum row_encoding round;
		const char *kind;
	} cases[] = {
		{ COMPUTE_F32, WEIGHTS_KEEP, ROW_F32, "cpu/f32/f32" },
		{ COMPUTE_F32, WEIGHTS_INT8, ROW_F32, "cpu/int8/f32/f32" },
		{ COMPUTE_AUTO, WEIGHTS_INT8, ROW_BF16, "cpu/int8/int8/bf16" },
		{ COMPUTE_AUTO, WEIGHTS_INT4, ROW_INT8, "cpu/int4/int8/int8" },
		{ COMPUTE_BF16, WEIGHTS_BF16, ROW_F16, "cpu/bf16/bf16/f16" },
	};
	struct error e = { 0 };
	char kind[KIND_BYTES];
	struct model *m;

	CHECK_OK(model_open(&m, test_data("llama-plain"), &e), &e);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct device *d = open_device(cases[i].mode, cases[i].weights);
		const struct span_options o = { .model = m, .round = cases[i].round };

		CHECK_OK(backend_cpu.kind(d, &o, kind, &e), &e);
		CHECK_TEXT(kind, cases[i].kind);
		backend_cpu.device_close(d);
	}
	model_close(m);
}

/* Goal: denormals are flushed within a step and only there. */
TEST(device_enter__flushes_denormals_until_leave)
{
	struct device *d = open_device(COMPUTE_F32, WEIGHTS_KEEP);
	volatile float tiny = 1e-30f;
	fenv_t saved;

	CHECK(tiny * 1e-10f != 0);
	device_enter(d, &saved);
	CHECK(tiny * 1e-10f == 0);
	device_leave(d, &saved);
	CHECK(tiny * 1e-10f != 0);
	backend_cpu.device_close(d);
}
