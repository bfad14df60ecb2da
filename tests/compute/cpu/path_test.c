/* path_test.c - what paths do to single rows: activations at the end of a linear, exp in a
 * softmax step.
 */
#include "compute/cpu/path.h"

#include <math.h>

#include "tests/support/numbers.h"
#include "tests/test.h"

/* x through each gate of path k, times 1. */
static void gate(const struct kernels *k, enum activation_kind act, const float *x, uint32_t n,
		 float *out)
{
	alignas(64) float sums[PANEL], ones[PANEL];

	for (uint32_t i = 0; i < PANEL; i++)
		ones[i] = 1;
	for (uint32_t i = 0; i < n; i += PANEL) {
		struct finish f = {
			.sums = sums, .up_sums = ones, .rows = 1, .n = MIN(n - i, PANEL),
			.out = out + i, .gate = act,
		};

		memcpy(sums, x + i, f.n * sizeof(float));
		k->finish(&f);
	}
}

static double gate_reference(enum activation_kind act, double x)
{
	switch (act) {
	case ACT_SILU:
		return x / (1 + exp(-x));
	case ACT_GELU_TANH:
		return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
	case ACT_GELU_ERF:
		return 0.5 * x * (1 + erf(x * M_SQRT1_2));
	default:
		return fmax(x, 0);
	}
}

/* Goal: activations are right from the deep negative to the large, finite at the ends,
 * NaN for NaN, and the same on every path.
 */
TEST(gate__is_right_on_every_path)
{
	static const enum activation_kind acts[] = { ACT_SILU, ACT_GELU_TANH, ACT_GELU_ERF,
						     ACT_RELU };
	enum { POINTS = 4001 };
	static float x[POINTS], got[PATHS][POINTS];

	kernels_thread_init();
	for (int i = 0; i < POINTS; i++)
		x[i] = (float)(i - POINTS / 2) * 0.0101f;
	x[0] = -1e30f;
	x[1] = -200;
	x[POINTS - 1] = 1e30f;
	for (size_t a = 0; a < ARRAY_LENGTH(acts); a++) {
		for (int p = 0; p < PATHS; p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);
			float nan = NAN;

			if (!k)
				continue;
			gate(k, acts[a], &nan, 1, got[p]);
			CHECK(isnan(got[p][0]));
			gate(k, acts[a], x, POINTS, got[p]);
			CHECK_BYTES(got[p], got[0], sizeof(got[p]));
		}
		for (int i = 0; i < POINTS; i++) {
			double want = gate_reference(acts[a], x[i]);
			double tolerance = acts[a] == ACT_GELU_ERF ? fmax(1e-6, 1e-7 * want) :
								     4e-7 * fabs(want) + 1e-7;

			CHECK_NEAR(got[0][i], want, tolerance);
		}
	}
}

/* The weights of one softmax step over `dots`, as f32. */
static void softmax(const struct kernels *k, const float *dots, float *weights)
{
	alignas(64) float sums[LANES] = { 0 }, maximum = -INFINITY;
	struct softmax_row s = {
		.dots = dots, .scale = 1, .first = 0, .end = STEP_KEYS, .maximum = &maximum,
		.sum_lanes = sums, .weights = weights,
	};

	k->softmax_f32(&s);
}

/* Goal: exp is within 2 ulp over its whole range, exactly 1 at 0 and 0 far below, the same
 * on every path.
 */
TEST(softmax__exp_is_right_on_every_path)
{
	alignas(64) float dots[STEP_KEYS], got[PATHS][STEP_KEYS];
	struct random r;

	random_seed(&r, test_seed() + 2);
	kernels_thread_init();
	for (int i = 0; i < 500; i++) {
		for (int j = 0; j < STEP_KEYS; j++)
			dots[j] = (float)(-90 * random_unit(&r) * random_unit(&r));
		dots[i % STEP_KEYS] = 0;
		dots[(i + 7) % STEP_KEYS] = -1000;
		for (int p = 0; p < PATHS; p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);

			if (!k)
				continue;
			softmax(k, dots, got[p]);
			CHECK_BYTES(got[p], got[0], sizeof(got[p]));
		}
		CHECK(got[0][i % STEP_KEYS] == 1);
		CHECK(got[0][(i + 7) % STEP_KEYS] == 0);
		for (int j = 0; j < STEP_KEYS; j++)
			if (dots[j] > -87)
				CHECK_NEAR(got[0][j] / exp(dots[j]), 1, 2.4e-7);
	}
}
