/* edge_batch_test.c - jobs share passes over the LM head without changing each other's results,
 * and come out whole, in whatever mix they went in.
 */
#include "compute/edge_batch.h"

#include <math.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

enum { HIDDEN = 8, VOCABULARY = 50, ROWS_MAX = 3, JOBS = 40 };

/* An edge whose logits are a plain function of the row; counts its passes and their rows. */
static struct { uint32_t passes, rows_most, summaries, draws; int fail; } fake;

static int embed(struct edge *g, const uint32_t *tokens, uint32_t rows, uint32_t position,
		 float *out)
{
	for (uint32_t i = 0; i < rows * HIDDEN; i++)
		out[i] = (float)(tokens[i / HIDDEN] * 10 + position + i / HIDDEN);
	return 0;
}

static int logits_of(struct edge *g, const float *rows, uint32_t count, float *logits)
{
	fake.passes++;
	fake.rows_most = MAX(fake.rows_most, count);
	if (fake.fail)
		return fake.fail;
	for (uint32_t r = 0; r < count; r++)
		for (uint32_t v = 0; v < VOCABULARY; v++)
			logits[r * VOCABULARY + v] = v == (uint32_t)rows[r * HIDDEN] ? 5.0f : 0.0f;
	return 0;
}

/* Logits of the rows that want them alone; the others' are as they were.  Of what is to be
 * drawn it can draw every other.
 */
static int summary_of(struct edge *g, const float *rows, uint32_t count,
		      const struct logits_draw *draws, bool *whole,
		      struct logits_summary *summary, float *logits)
{
	float all[ROWS_MAX * VOCABULARY];
	int rc = logits_of(g, rows, count, all);

	for (uint32_t r = 0; r < count && rc == 0; r++) {
		if (draws[r].scale > 0 && fake.draws++ % 2 == 0)
			whole[r] = true;
		logits_summarise(all + r * VOCABULARY, VOCABULARY, &summary[r]);
		for (uint32_t v = 0; v < VOCABULARY; v++)
			logits[r * VOCABULARY + v] = whole[r] ? all[r * VOCABULARY + v] : NAN;
		fake.summaries += !whole[r];
	}
	return rc;
}

static const struct backend backend = { .edge_embed = embed, .edge_logits = logits_of };
static const struct backend summing = {
	.edge_embed = embed, .edge_logits = logits_of, .edge_summary = summary_of,
};

static void count_done(void *ctx, void *job)
{
	++*(uint32_t *)ctx;
}

static void run_all(struct edge_batch *b, uint32_t expected)
{
	uint32_t done = 0;

	while (edge_batch_table.turn(b, count_done, &done))
		;
	CHECK_EQ(done, expected);
}

/* So cold that a draw takes the best one. */
static struct sampler *cold(float temperature, uint32_t top_logprobs)
{
	struct sampler_options o;
	struct sampler *s;

	sampler_options_default(&o);
	o.temperature = temperature;
	o.top_logprobs = top_logprobs;
	CHECK_EQ(sampler_open(&s, &o, VOCABULARY), 0);
	return s;
}

/* Every job gets its own rows' results; samplers of both kinds, in turns. */
static void run_mixed_jobs(const struct backend *on)
{
	static float rows[JOBS][8][HIDDEN], embedded[JOBS][8][HIDDEN];
	static struct choice choices[JOBS][8];
	static uint32_t tokens[JOBS][8];
	static struct edge_job jobs[JOBS];
	struct sampler *samplers[] = { cold(0, 0), cold(0, 2), cold(0.01f, 0) };
	struct edge_batch *b;
	struct random r;

	fake.passes = fake.rows_most = fake.summaries = fake.draws = 0;
	fake.fail = 0;
	random_seed(&r, test_seed());
	CHECK_EQ(edge_batch_open(&b, on, NULL, VOCABULARY, HIDDEN, ROWS_MAX), 0);
	for (int i = 0; i < JOBS; i++) {
		struct edge_job *j = &jobs[i];

		*j = (struct edge_job){
			.kind = (enum edge_kind)random_below(&r, 3), .position = (uint32_t)i,
			.tokens = tokens[i], .rows = &rows[i][0][0],
			.embedded = &embedded[i][0][0], .sampler = samplers[i % 3],
			.choices = choices[i],
		};
		j->count = j->kind == EDGE_NEXT ? 1 : 1 + (uint32_t)random_below(&r, 8);
		for (uint32_t k = 0; k < j->count; k++) {
			tokens[i][k] = (uint32_t)random_below(&r, VOCABULARY);
			rows[i][k][0] = (float)random_below(&r, VOCABULARY);
		}
		edge_batch_table.submit(b, j);
	}
	run_all(b, JOBS);
	CHECK(fake.rows_most <= ROWS_MAX);
	for (int i = 0; i < JOBS; i++) {
		CHECK_EQ(jobs[i].status, 0);
		if (jobs[i].kind == EDGE_NEXT) {
			CHECK_EQ(choices[i][0].token, (uint32_t)rows[i][0][0]);
			CHECK_EQ(embedded[i][0][0], choices[i][0].token * 10 + (uint32_t)i);
			CHECK_NEAR(choices[i][0].logprob, 5 - log(exp(5) + VOCABULARY - 1), 1e-5);
			CHECK_EQ(choices[i][0].top_count, i % 3 == 1 ? 2 : 0);
		}
		for (uint32_t k = 0; jobs[i].kind == EDGE_SCORE && k < jobs[i].count; k++)
			CHECK_EQ(choices[i][k].token, tokens[i][k]);
		for (uint32_t k = 0; jobs[i].kind == EDGE_EMBED && k < jobs[i].count; k++)
			CHECK_EQ(embedded[i][k][0], tokens[i][k] * 10 + (uint32_t)i + k);
	}
	edge_batch_close(b);
	for (size_t i = 0; i < ARRAY_LENGTH(samplers); i++)
		sampler_close(samplers[i]);
}

/* Goal: a random mix of jobs come out right, on backends that give summaries and others. */
TEST(edge_batch__mixed_jobs_get_their_own_results)
{
	run_mixed_jobs(&backend);
	CHECK_EQ(fake.summaries, 0);
	run_mixed_jobs(&summing);
	CHECK(fake.summaries > 0 && fake.draws > 1);
}

/* Goal: a device that fails fails the jobs that needed it, and only those. */
TEST(edge_batch__a_failing_head_fails_its_jobs)
{
	struct sampler *sampler = cold(0, 0);
	float row[HIDDEN] = { 0 }, out[HIDDEN];
	uint32_t token = 3;
	struct choice choice;
	struct edge_job next = { .kind = EDGE_NEXT, .count = 1, .rows = row, .embedded = out,
				 .sampler = sampler, .choices = &choice };
	struct edge_job embed_job = { .kind = EDGE_EMBED, .count = 1, .tokens = &token,
				      .embedded = out };
	struct edge_batch *b;

	fake.fail = -5;
	CHECK_EQ(edge_batch_open(&b, &backend, NULL, VOCABULARY, HIDDEN, ROWS_MAX), 0);
	edge_batch_table.submit(b, &next);
	edge_batch_table.submit(b, &embed_job);
	run_all(b, 2);
	CHECK_EQ(next.status, -5);
	CHECK_EQ(embed_job.status, 0);
	fake.fail = 0;
	edge_batch_close(b);
	sampler_close(sampler);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, opening gives everything back. */
TEST(edge_batch_open__unwinds_every_failure)
{
	for (int nth = 1; nth < 20; nth++) {
		uint64_t live = mem_live_blocks();
		struct edge_batch *b = NULL;

		fault_arm(nth);
		if (edge_batch_open(&b, &summing, NULL, VOCABULARY, HIDDEN, ROWS_MAX) == 0)
			edge_batch_close(b);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
	}
	fault_disarm();
}
#endif
