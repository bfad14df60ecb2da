/* best_test.c - summaries of logits have the bits of sampler_math.h's, which is their slow twin:
 * ties, numbers that are none, vocabularies of any size.
 */
#include <math.h>

#include "compute/sampler_math.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

enum { ROWS = 6, VOCABULARY_MAX = 6000 };

/* Rows that are awkward: ties, NaN among others, nothing but NaN or -infinity, an infinity. */
static void spoil(struct random *r, float *logits, uint32_t vocabulary)
{
	for (uint32_t i = 0; i < vocabulary; i++) {
		if (random_chance(r, 0.02))
			logits[i] = 3;
		if (random_chance(r, 0.05))
			logits[vocabulary + i] = NAN;
		logits[2 * vocabulary + i] = NAN;
		logits[3 * vocabulary + i] = i % 2 ? -INFINITY : NAN;
	}
	logits[4 * vocabulary + random_below(r, vocabulary)] = INFINITY;
}

/* Goal: token, logit and sum to the last bit, whatever the logits. */
TEST(best__same_bits_as_on_the_host)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (int i = 0; i < 6; i++) {
		uint32_t vocabulary = i < 3 ? numbers_between(&r, 1, 40) :
					      numbers_between(&r, 41, VOCABULARY_MAX);
		float *logits = numbers_new(&r, (size_t)ROWS * vocabulary, 30);
		struct cuda_best got[ROWS];
		struct best_args a = { .vocabulary = vocabulary };

		spoil(&r, logits, vocabulary);
		a.logits = gpu_new(&g, logits, (uint64_t)ROWS * vocabulary * 4);
		a.out = gpu_new(&g, NULL, sizeof(got));
		cuda_launch(&g.queue, CUDA_KERNEL_BEST, (struct cuda_grid){ ROWS, 1, BEST_THREADS },
			    &a);
		gpu_read(&g, a.out, got, sizeof(got));
		for (uint32_t row = 0; row < ROWS; row++) {
			struct logits_summary want;

			logits_summarise(logits + (size_t)row * vocabulary, vocabulary, &want);
			CHECK_EQ(got[row].token, want.token);
			CHECK_BYTES(&got[row].logit, &want.logit, sizeof(float));
			CHECK_BYTES(&got[row].largest, &want.largest, sizeof(float));
			if (isfinite(want.largest))
				CHECK_BYTES(&got[row].sum, &want.sum, sizeof(float));
		}
		gpu_drop(&g, 0);
		mem_free(logits);
	}
	gpu_close(&g);
}
