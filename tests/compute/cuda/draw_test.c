/* draw_test.c - tokens drawn on the device are those of sampler.c, which is the slow twin: every
 * cut, ties, numbers that are none, vocabularies of any size.
 */
#include <math.h>

#include "compute/sampler.h"
#include "compute/sampler_math.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

enum { ROWS = 8, VOCABULARY_MAX = 5000, ROUNDS = 12, STEPS = 3 };

struct rows {
	uint32_t vocabulary;
	float *logits;                  /* (ROWS, vocabulary) */
	struct sampler *samplers[ROWS];
	struct cuda_best best[ROWS];
};

/* Ties, NaN and -infinity among others; one row is of nothing else. */
static void spoil(struct random *r, float *logits, uint32_t vocabulary)
{
	for (uint32_t i = 0; i < vocabulary; i++) {
		if (random_chance(r, 0.05))
			logits[i] = 3;
		if (random_chance(r, 0.05))
			logits[vocabulary + i] = random_chance(r, 0.5) ? NAN : -INFINITY;
		logits[2 * vocabulary + i] = i % 2 ? -INFINITY : NAN;
		/* Zeros of both signs are equal. */
		logits[3 * vocabulary + i] = i % 3 ? 0.0f : -0.0f;
	}
	logits[4 * vocabulary + random_below(r, vocabulary)] = INFINITY;
}

static struct sampler *random_sampler(struct random *r, uint32_t vocabulary)
{
	struct sampler_options o;
	struct sampler *s;

	sampler_options_default(&o);
	o.seed = random_u64(r);
	o.temperature = random_chance(r, 0.1) ? 0 : 0.05f + (float)random_unit(r) * 1.5f;
	if (random_chance(r, 0.4))
		o.top_k = numbers_between(r, 1, vocabulary + 5);
	if (random_chance(r, 0.5))
		o.top_p = 0.01f + (float)random_unit(r) * 0.99f;
	if (random_chance(r, 0.4))
		o.min_p = (float)random_unit(r);
	CHECK_EQ(sampler_open(&s, &o, vocabulary), 0);
	return s;
}

/* What the kernels make of the rows. */
static void draw_all(struct gpu *g, struct rows *rows)
{
	uint64_t count = (uint64_t)ROWS * rows->vocabulary;
	struct logits_draw draws[ROWS];
	struct best_args best = { .vocabulary = rows->vocabulary };
	struct draw_args draw = { .vocabulary = rows->vocabulary };

	for (int i = 0; i < ROWS; i++)
		CHECK(sampler_is_plain(rows->samplers[i], &draws[i]));
	draw.logits = best.logits = gpu_new(g, rows->logits, count * sizeof(float));
	draw.best = best.out = gpu_new(g, NULL, sizeof(rows->best));
	draw.draws = gpu_new(g, draws, sizeof(draws));
	draw.sums = gpu_new(g, NULL, ROWS * DRAW_SUMS(rows->vocabulary) * sizeof(float));
	cuda_launch(&g->queue, CUDA_KERNEL_BEST, (struct cuda_grid){ ROWS, 1, BEST_THREADS },
		    &best);
	cuda_launch(&g->queue, CUDA_KERNEL_DRAW, (struct cuda_grid){ ROWS, 1, DRAW_THREADS },
		    &draw);
	gpu_read(g, draw.best, rows->best, sizeof(rows->best));
	gpu_drop(g, 0);
}

/* Checks the rows that were drawn; how many were not. */
static uint32_t check_all(struct rows *rows)
{
	uint32_t undecided = 0;

	for (uint32_t i = 0; i < ROWS; i++) {
		struct logits_summary summary;
		struct choice want, got;

		memcpy(&summary, &rows->best[i], sizeof(summary));
		if (summary.token == CUDA_UNDECIDED) {
			undecided++;
			continue;
		}
		sampler_next(rows->samplers[i], rows->logits + (size_t)i * rows->vocabulary,
			     &want);
		sampler_next_plain(rows->samplers[i], &summary, &got);
		CHECK_EQ(got.token, want.token);
		if (isfinite(want.logprob))
			CHECK_BYTES(&got.logprob, &want.logprob, sizeof(float));
	}
	return undecided;
}

/* Goal: same seed, same token, whatever the options and the logits. */
TEST(draw__same_tokens_as_on_the_host)
{
	struct rows rows;
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (int round = 0; round < ROUNDS; round++) {
		uint32_t most = round % 3 == 0 ? 40 : round % 3 == 1 ? DRAW_CANDIDATES :
								      VOCABULARY_MAX;
		uint32_t undecided;

		rows.vocabulary = numbers_between(&r, 1, most);
		rows.logits = numbers_new(&r, (size_t)ROWS * rows.vocabulary,
					  round % 2 ? 1 : 8);
		spoil(&r, rows.logits, rows.vocabulary);
		for (int i = 0; i < ROWS; i++)
			rows.samplers[i] = random_sampler(&r, rows.vocabulary);
		for (int step = 0; step < STEPS; step++) {
			draw_all(&g, &rows);
			undecided = check_all(&rows);
			CHECK(undecided == 0 || rows.vocabulary > DRAW_CANDIDATES);
		}
		for (int i = 0; i < ROWS; i++)
			sampler_close(rows.samplers[i]);
		mem_free(rows.logits);
	}
	gpu_close(&g);
}

/* Goal: what needs more candidates than there is room for is left to the host, and only that. */
TEST(draw__leaves_the_widest_cuts)
{
	struct rows rows = { .vocabulary = DRAW_CANDIDATES + 1 };
	struct sampler_options o;
	struct gpu g;

	gpu_open(&g);
	rows.logits = mem_calloc((size_t)ROWS * rows.vocabulary, sizeof(float));
	sampler_options_default(&o);
	for (uint32_t i = 0; i < ROWS; i++) {
		float *logits = rows.logits + (size_t)i * rows.vocabulary;

		/* All are equally likely; or all but one; or falling, slowly, so that it is some
		 * of the candidates that the cut ends among.
		 */
		if (i % 4 == 1)
			logits[77] = -50;
		for (uint32_t k = 0; i % 4 >= 2 && k < rows.vocabulary; k++)
			logits[k] = (float)(k * 37 % rows.vocabulary) * -1e-3f;
		o.seed = i;
		o.top_p = i % 4 == 3 ? 1 : 0.5f;
		o.top_k = i % 4 == 3 ? 50 : 0;
		CHECK_EQ(sampler_open(&rows.samplers[i], &o, rows.vocabulary), 0);
	}
	draw_all(&g, &rows);
	for (int i = 0; i < ROWS; i++)
		CHECK_EQ(rows.best[i].token == CUDA_UNDECIDED, i % 4 == 0);
	CHECK_EQ(check_all(&rows), ROWS / 4);
	for (int i = 0; i < ROWS; i++)
		sampler_close(rows.samplers[i]);
	mem_free(rows.logits);
	gpu_close(&g);
}
