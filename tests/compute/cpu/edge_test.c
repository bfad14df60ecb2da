/* edge_test.c - embedding and head against the slow twin, and on their own. */
#include <errno.h>
#include <math.h>

#include "compute/cpu/device.h"
#include "compute/reference.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/rig.h"
#include "tests/test.h"

enum { TOKENS = 21 };

static const char *const checkpoints[] = {
	"llama-plain", "llama-gqa-tied", "gpt2", "bloom", "opt", "opt-350m",
	"gguf/llama-q8_0.gguf", "gguf/llama-q4_0.gguf", "gguf/llama-q4_1.gguf",
	"gguf/qwen2-f16.gguf",
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
			      enum weight_format weights, uint32_t rows_max)
{
	struct device_options o = { .threads = 2, .compute = mode, .weights = weights };
	struct load_progress none = { NULL, NULL };
	struct error e = { 0 };
	struct edge *g;

	CHECK_OK(backend_cpu.device_open(d, &o, &e), &e);
	CHECK_OK(backend_cpu.edge_open(&g, *d, m, rows_max, none, &e), &e);
	return g;
}

static void check_mode(const struct model *m, const char *name, enum compute_mode mode,
		       enum weight_format weights, double tolerance)
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
	CHECK_OK(reference_run(m, weights, tokens, TOKENS, ROW_F32, states, logits, &e), &e);
	/* Fewer rows than are asked for at once. */
	g = open_edge(&d, m, mode, weights, 8);
	backend_cpu.edge_embed(g, tokens, TOKENS, 0, rows);
	if (!(difference(rows, states, state) < tolerance))
		fail_msg("%s, %s of %s: embedding off by %g", name, compute_mode_name(mode),
			 weight_format_name(weights), difference(rows, states, state));
	CHECK_EQ(backend_cpu.edge_logits(g, states + state * c->blocks, TOKENS, got), 0);
	if (!(difference(got, logits, logit) < tolerance))
		fail_msg("%s, %s of %s: logits off by %g", name, compute_mode_name(mode),
			 weight_format_name(weights), difference(got, logits, logit));
	/* Row by row the same bits. */
	for (uint32_t r = 0; r < TOKENS; r++) {
		float *row = again;

		backend_cpu.edge_embed(g, tokens + r, 1, r, row);
		CHECK_BYTES(row, rows + (size_t)r * c->hidden, c->hidden * sizeof(float));
		CHECK_EQ(backend_cpu.edge_logits(g, states + state * c->blocks + r * c->hidden, 1,
						 row), 0);
		CHECK_BYTES(row, got + (size_t)r * c->vocabulary, c->vocabulary * sizeof(float));
	}
	CHECK(backend_cpu.edge_bytes(g) > 0);
	backend_cpu.edge_close(g);
	backend_cpu.device_close(d);
	mem_free(states);
	mem_free(logits);
	mem_free(got);
	mem_free(rows);
	mem_free(again);
}

/* Goal: embedding and logits agree with the slow twin in every mode and weight format, row by
 * row or not.
 */
TEST(edge__agrees_with_the_reference)
{
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct model *m = open_model(checkpoints[i]);

		for (enum weight_format w = WEIGHTS_KEEP; w < WEIGHT_FORMATS; w++) {
			bool quantised = w > WEIGHTS_BF16 ||
					 (w == WEIGHTS_KEEP && dtype_is_quantised(model_dtype(m)));

			check_mode(m, checkpoints[i], COMPUTE_F32, w, 1e-5);
			check_mode(m, checkpoints[i], COMPUTE_BF16, w, 1e-2);
			if (quantised)
				check_mode(m, checkpoints[i], COMPUTE_INT8, w, 2e-2);
		}
		model_close(m);
	}
}

/* Goal: a tied embedding is held once. */
TEST(edge_open__holds_a_tied_embedding_once)
{
	struct model *m = open_model("llama-gqa-tied");
	const struct model_config *c = model_config(m);
	struct device *d;
	struct edge *g = open_edge(&d, m, COMPUTE_F32, WEIGHTS_KEEP, 4);

	CHECK(c->tied);
	CHECK(backend_cpu.edge_bytes(g) < 2ull * c->vocabulary * c->hidden * sizeof(float));
	backend_cpu.edge_close(g);
	backend_cpu.device_close(d);
	model_close(m);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, edge_open() gives everything back. */
TEST(edge_open__unwinds_every_failure)
{
	struct model *m = open_model("opt-350m");
	struct device_options o = { .threads = 2, .compute = COMPUTE_F32 };
	struct load_progress none = { NULL, NULL };
	uint64_t live;
	struct device *d;

	CHECK_EQ(backend_cpu.device_open(&d, &o, NULL), 0);
	live = mem_live_blocks();
	for (int nth = 1; nth < 100; nth++) {
		struct error e = { 0 };
		struct edge *g = NULL;
		int rc;

		fault_arm(nth);
		rc = backend_cpu.edge_open(&g, d, m, 4, none, &e);
		backend_cpu.edge_close(g);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK(rc == -ENOMEM && e.text[0]);
	}
	fault_disarm();
	backend_cpu.device_close(d);
	model_close(m);
}
#endif
