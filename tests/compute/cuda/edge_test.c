/* edge_test.c - embedding and head against the slow twin, and on their own.
 *
 * Covers embed.cu.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "compute/cuda/device.h"
#include "compute/reference.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

enum { TOKENS = 21 };

static const char *const checkpoints[] = {
	"llama-plain", "llama-gqa-tied", "gpt2", "bloom", "opt", "opt-350m",
	"gguf/llama-q4_1.gguf", "gguf/qwen2-f16.gguf",
};

static struct model *open_model(const char *name)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data(name), &e), &e);
	return m;
}

static double difference(const float *a, const float *b, size_t n)
{
	double sum = 0, norm = 0;

	for (size_t i = 0; i < n; i++) {
		sum += pow((double)a[i] - (double)b[i], 2);
		norm += pow((double)b[i], 2);
	}
	return sqrt(sum / norm);
}

static struct edge *open_edge(struct device **d, const struct model *m, enum compute_mode mode,
			      uint32_t rows_max)
{
	struct device_options o = { .compute = mode };
	struct error e = { 0 };
	struct edge *g;

	CHECK_OK(cuda_device_open(d, &o, &e), &e);
	CHECK_OK(cuda_edge_open(&g, *d, m, rows_max, (struct load_progress){ 0 }, &e), &e);
	return g;
}

/* Summaries are those of the logits; the logits themselves come where they are wanted. */
static void check_summaries(struct edge *g, const struct model_config *c, const float *rows,
			    const float *logits)
{
	size_t count = (size_t)TOKENS * c->vocabulary;
	float *got = mem_calloc(count, sizeof(float));
	struct logits_summary summaries[TOKENS], want;
	bool whole[TOKENS];

	for (int r = 0; r < TOKENS; r++)
		whole[r] = r % 3 == 1;
	CHECK_EQ(cuda_edge_summary(g, rows, TOKENS, whole, summaries, got), 0);
	for (uint32_t r = 0; r < TOKENS; r++) {
		size_t at = (size_t)r * c->vocabulary;

		logits_summarise(logits + at, c->vocabulary, &want);
		CHECK_BYTES(&summaries[r], &want, sizeof(want));
		if (whole[r])
			CHECK_BYTES(got + at, logits + at, c->vocabulary * sizeof(float));
		else
			CHECK(got[at] == 0);
	}
	mem_free(got);
}

static void check_mode(const struct model *m, const char *name, enum compute_mode mode,
		       double tolerance)
{
	const struct model_config *c = model_config(m);
	size_t state = (size_t)TOKENS * c->hidden, logit = (size_t)TOKENS * c->vocabulary;
	float *states = mem_calloc(state * (c->blocks + 1), sizeof(float));
	float *logits = mem_calloc(logit, sizeof(float)), *got = mem_calloc(logit, sizeof(float));
	float *rows = mem_calloc(state, sizeof(float)), *again = mem_calloc(logit, sizeof(float));
	uint32_t tokens[TOKENS];
	struct error e = { 0 };
	struct device *d;
	struct edge *g;

	for (uint32_t i = 0; i < TOKENS; i++)
		tokens[i] = (i * 31 + 7) % c->vocabulary;
	CHECK_OK(reference_run(m, WEIGHTS_KEEP, tokens, TOKENS, ROW_F32, states, logits, &e), &e);
	/* Fewer rows than are asked for at once. */
	g = open_edge(&d, m, mode, 8);
	CHECK_EQ(cuda_edge_embed(g, tokens, TOKENS, 0, rows), 0);
	if (!(difference(rows, states, state) < tolerance))
		fail_msg("%s, %s: embedding off by %g", name, compute_mode_name(mode),
			 difference(rows, states, state));
	CHECK_EQ(cuda_edge_logits(g, states + state * c->blocks, TOKENS, got), 0);
	if (!(difference(got, logits, logit) < tolerance))
		fail_msg("%s, %s: logits off by %g", name, compute_mode_name(mode),
			 difference(got, logits, logit));
	check_summaries(g, c, states + state * c->blocks, got);
	/* Row by row the same bits. */
	for (uint32_t r = 0; r < TOKENS; r += 5) {
		CHECK_EQ(cuda_edge_embed(g, tokens + r, 1, r, again), 0);
		CHECK_BYTES(again, rows + (size_t)r * c->hidden, c->hidden * sizeof(float));
		CHECK_EQ(cuda_edge_logits(g, states + state * c->blocks + r * c->hidden, 1, again),
			 0);
		CHECK_BYTES(again, got + (size_t)r * c->vocabulary, c->vocabulary * sizeof(float));
	}
	cuda_edge_close(g);
	cuda_device_close(d);
	mem_free(states);
	mem_free(logits);
	mem_free(got);
	mem_free(rows);
	mem_free(again);
}

/* Goal: embedding and logits agree with the slow twin in both modes, row by row or not. */
TEST(edge__agrees_with_the_reference)
{
	stand_in_use();
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct model *m = open_model(checkpoints[i]);

		check_mode(m, checkpoints[i], COMPUTE_F32, 1e-5);
		check_mode(m, checkpoints[i], COMPUTE_BF16, 1e-2);
		model_close(m);
	}
}

/* Goal: a tied embedding is held once; too small a device is told. */
TEST(edge_open__counts_its_memory)
{
	struct model *m = open_model("llama-gqa-tied");
	const struct model_config *c = model_config(m);
	struct device_options o = { .compute = COMPUTE_F32 };
	struct device *d;
	struct edge *g;
	struct error e = { 0 };

	stand_in_use();
	g = open_edge(&d, m, COMPUTE_F32, 4);
	CHECK(c->tied);
	CHECK(cuda_edge_bytes(g) < 2ull * c->vocabulary * c->hidden * sizeof(float));
	cuda_edge_close(g);
	cuda_device_close(d);
	if (!stand_in_use()) {
		setenv("PETALS_CUDA_STAND_IN", "memory=1000", 1);
		CHECK_OK(cuda_device_open(&d, &o, &e), &e);
		CHECK_EQ(cuda_edge_open(&g, d, m, 4, (struct load_progress){ 0 }, &e), -ENOMEM);
		CHECK(strstr(e.text, "GB free: use another device, or cpu"));
		unsetenv("PETALS_CUDA_STAND_IN");
		cuda_device_close(d);
	}
	model_close(m);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, edge_open() gives everything back. */
TEST(edge_open__unwinds_every_failure)
{
	struct model *m = open_model("opt-350m");
	struct device_options o = { .compute = COMPUTE_F32 };
	struct error e = { 0 };
	struct device *d;
	uint64_t live;

	stand_in_use();
	CHECK_OK(cuda_device_open(&d, &o, &e), &e);
	live = mem_live_blocks();
	for (int nth = 1; nth < 500; nth++) {
		struct edge *g = NULL;
		int rc;

		fault_arm(nth);
		rc = cuda_edge_open(&g, d, m, 4, (struct load_progress){ 0 }, &e);
		cuda_edge_close(g);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
	}
	fault_disarm();
	cuda_device_close(d);
	model_close(m);
}
#endif
