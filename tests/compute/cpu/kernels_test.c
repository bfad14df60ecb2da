/* kernels_test.c - which path runs; norms and rotation. */
#include "compute/cpu/kernels.h"

#include <math.h>

#include "dataplane/base/memory.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

enum { MOST = 700 };

/* Goal: the portable path always exists, the best one is the last the host can run, and
 * they are named apart.
 */
TEST(kernels_best__is_the_last_path_there_is)
{
	const struct kernels *best = NULL;

	CHECK(kernels_path(PATH_PORTABLE) != NULL);
	for (int p = 0; p < PATHS; p++) {
		const struct kernels *k = kernels_path((enum cpu_path)p);

		if (k && best)
			CHECK(strcmp(kernels_name(k), kernels_name(best)) != 0);
		best = k ? k : best;
	}
	CHECK(kernels_best() == best);
}

/* Goal: norms are right against f64, for any width, and the same on every path; in place
 * too.
 */
TEST(norm__is_right_on_every_path)
{
	struct random r;

	random_seed(&r, test_seed());
	kernels_thread_init();
	for (int i = 0; i < 30; i++) {
		uint32_t n = numbers_between(&r, 1, MOST);
		float *x = numbers_new(&r, n, 3), *w = numbers_new(&r, n, 1);
		float *b = numbers_new(&r, n, 1), rms[PATHS][MOST], layer[PATHS][MOST];
		double mean = 0, square = 0, var = 0, want_rms[MOST], want_layer[MOST];

		for (uint32_t j = 0; j < n; j++) {
			mean += (double)x[j] / n;
			square += (double)x[j] * x[j] / n;
		}
		for (uint32_t j = 0; j < n; j++)
			var += (x[j] - mean) * (x[j] - mean) / n;
		for (uint32_t j = 0; j < n; j++) {
			want_rms[j] = x[j] / sqrt(square + 1e-5) * w[j];
			want_layer[j] = (x[j] - mean) / sqrt(var + 1e-5) * w[j] + b[j];
		}
		for (int p = 0; p < PATHS; p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);

			if (!k)
				continue;
			memcpy(rms[p], x, n * sizeof(*x));
			norm_rms(k, rms[p], w, n, 1e-5f, rms[p]);
			norm_layer(k, x, w, b, n, 1e-5f, layer[p]);
			CHECK_NEAR(numbers_error(rms[p], want_rms, n), 0, 1e-6);
			CHECK_NEAR(numbers_error(layer[p], want_layer, n), 0, 1e-6);
			CHECK_BYTES(rms[p], rms[0], n * sizeof(*x));
			CHECK_BYTES(layer[p], layer[0], n * sizeof(*x));
		}
		mem_free(x);
		mem_free(w);
		mem_free(b);
	}
}

/* Goal: rotation turns each pair by its angle, leaves the dimensions beyond `dims`, and
 * is the same on every path.
 */
TEST(rope_row__is_right_on_every_path)
{
	struct random r;

	random_seed(&r, test_seed() + 1);
	kernels_thread_init();
	for (int i = 0; i < 30; i++) {
		uint32_t heads = numbers_between(&r, 1, 4), half = numbers_between(&r, 1, 40);
		uint32_t dim = 2 * half + numbers_between(&r, 0, 5), n = heads * dim;
		float *x = numbers_new(&r, n, 1), c[40], s[40], got[PATHS][MOST];

		for (uint32_t j = 0; j < half; j++) {
			double angle = random_unit(&r) * 7;

			c[j] = (float)cos(angle);
			s[j] = (float)sin(angle);
		}
		for (int p = 0; p < PATHS; p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);

			if (!k)
				continue;
			memcpy(got[p], x, n * sizeof(*x));
			rope_row(k, got[p], heads, dim, 2 * half, c, s);
			CHECK_BYTES(got[p], got[0], n * sizeof(*x));
		}
		for (uint32_t j = 0; j < n; j++) {
			uint32_t d = j % dim, pair = d % half;
			double want = x[j];

			if (d < half)
				want = (double)x[j] * c[pair] - (double)x[j + half] * s[pair];
			else if (d < 2 * half)
				want = (double)x[j] * c[pair] + (double)x[j - half] * s[pair];
			CHECK_NEAR(got[0][j], want, 1e-6);
		}
		mem_free(x);
	}
}
