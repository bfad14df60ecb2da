/* arch_golden_test.c - every committed checkpoint against what transformers computed
 * (tests/golden/README.md): hidden states after every block, logits, greedy tokens.
 */
#include <errno.h>
#include <math.h>

#include "compute/model/model.h"
#include "compute/reference.h"
#include "dataplane/base/memory.h"
#include "tests/support/golden.h"
#include "tests/support/rig.h"
#include "tests/test.h"

static const double tolerance = 1e-4;

static const struct { const char *checkpoint, *golden; } checkpoints[] = {
	{ "llama-plain", "llama-plain/golden.json" },
	{ "llama-gqa-tied", "llama-gqa-tied/golden.json" },
	{ "llama-gqa-tied-bf16", "llama-gqa-tied-bf16/golden.json" },
	{ "llama-gqa-tied-f16", "llama-gqa-tied-f16/golden.json" },
	{ "llama-gqa-tied-sharded", "llama-gqa-tied-sharded/golden.json" },
	{ "llama3-rope", "llama3-rope/golden.json" },
	{ "llama-rope-legacy", "llama-rope-legacy/golden.json" },
	{ "llama-linear-rope", "llama-linear-rope/golden.json" },
	{ "llama-biases", "llama-biases/golden.json" },
	{ "mistral", "mistral/golden.json" },
	{ "qwen2", "qwen2/golden.json" },
	{ "gpt2", "gpt2/golden.json" },
	{ "bloom", "bloom/golden.json" },
	{ "bloom-bare", "bloom-bare/golden.json" },
	{ "opt", "opt/golden.json" },
	{ "opt-350m", "opt-350m/golden.json" },
	{ "gguf/llama-f32.gguf", "gguf/llama-f32.golden.json" },
	{ "gguf/llama-f16.gguf", "gguf/llama-f16.golden.json" },
	{ "gguf/llama-bf16.gguf", "gguf/llama-bf16.golden.json" },
	{ "gguf/llama-q8_0.gguf", "gguf/llama-q8_0.golden.json" },
	{ "gguf/llama-q4_0.gguf", "gguf/llama-q4_0.golden.json" },
	{ "gguf/llama-q4_1.gguf", "gguf/llama-q4_1.golden.json" },
	{ "gguf/qwen2-f16.gguf", "gguf/qwen2-f16.golden.json" },
};

/* |a - b| / |b| over a row. */
static double row_error(const float *a, const float *b, uint32_t n)
{
	double difference = 0, norm = 0;

	for (uint32_t i = 0; i < n; i++) {
		difference += pow((double)a[i] - (double)b[i], 2);
		norm += pow((double)b[i], 2);
	}
	return sqrt(difference / norm);
}

static void check_row(const char *what, uint32_t block, uint32_t row, const float *a,
		      const float *b, uint32_t n)
{
	double error = row_error(a, b, n);

	if (!(error < tolerance))
		fail_msg("%s: row %u after block %u is off by %.3g of its norm", what, row, block,
			 error);
}

struct watch { const char *name; const struct golden *golden; const struct golden_prompt *prompt; };

/* Rows that left block end - 1 of the whole prompt. */
static void check_states(void *ctx, uint32_t end, const float *rows, uint32_t count)
{
	const struct watch *w = ctx;

	if (count != w->prompt->count)
		return;
	for (uint32_t i = 0; i < w->prompt->row_count; i++)
		check_row(w->name, end, w->prompt->rows[i],
			  rows + (size_t)w->prompt->rows[i] * w->golden->hidden,
			  w->prompt->states[end] + (size_t)i * w->golden->hidden,
			  w->golden->hidden);
}

static void check_logits(const struct watch *w, const float *logits)
{
	for (uint32_t i = 0; i < w->prompt->row_count; i++)
		check_row(w->name, UINT32_MAX, w->prompt->rows[i],
			  logits + (size_t)w->prompt->rows[i] * w->golden->vocabulary,
			  w->prompt->logits + (size_t)i * w->golden->vocabulary,
			  w->golden->vocabulary);
}

static void check_prompt(struct rig *r, struct watch *w)
{
	const struct golden_prompt *p = w->prompt;
	float *out = mem_calloc(p->count, sizeof(float) * w->golden->hidden);
	float *logits = mem_calloc(p->count, sizeof(float) * w->golden->vocabulary);
	uint32_t *tokens = mem_calloc(p->steps, sizeof(*tokens));
	struct rig_sequence s;

	r->left = check_states;
	r->ctx = w;
	rig_sequence_open(r, &s, p->count + p->steps);
	rig_chunks(r, &s, p->ids, p->count, p->count, out);
	CHECK_EQ(backend_cpu.edge_logits(r->edge, out, p->count, logits), 0);
	check_logits(w, logits);
	r->left = NULL;
	rig_greedy(r, &s, out + (size_t)(p->count - 1) * w->golden->hidden, tokens, p->steps);
	if (memcmp(tokens, p->continuation, p->steps * sizeof(*tokens)) != 0)
		fail_msg("%s: the greedy tokens differ", w->name);
	rig_sequence_close(r, &s);
	mem_free(tokens);
	mem_free(logits);
	mem_free(out);
}

/* Goal: in f32 mode every family gives transformers' states, logits and tokens. */
TEST(golden__cpu_f32_gives_what_transformers_gives)
{
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct rig_options o;
		struct error e = { 0 };
		struct golden g;
		struct model *m;
		struct rig r;

		golden_open(&g, test_data(checkpoints[i].golden));
		CHECK_OK(model_open(&m, test_data(checkpoints[i].checkpoint), &e), &e);
		CHECK_EQ(model_config(m)->hidden, g.hidden);
		rig_options_default(&o, m);
		o.spans = model_config(m)->blocks;
		rig_open(&r, &o);
		for (uint32_t n = 0; n < g.prompt_count; n++) {
			struct watch w = { checkpoints[i].checkpoint, &g, &g.prompts[n] };

			check_prompt(&r, &w);
		}
		rig_close(&r);
		model_close(m);
		golden_close(&g);
	}
}

/* Goal: so does the slow twin, so that other tests may lean on it. */
TEST(golden__reference_gives_what_transformers_gives)
{
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct error e = { 0 };
		struct golden g;
		struct model *m;

		golden_open(&g, test_data(checkpoints[i].golden));
		CHECK_OK(model_open(&m, test_data(checkpoints[i].checkpoint), &e), &e);
		for (uint32_t n = 0; n < 1; n++) {
			const struct golden_prompt *p = &g.prompts[n];
			struct watch w = { checkpoints[i].checkpoint, &g, p };
			size_t rows = p->count;
			float *states = mem_calloc(rows * (g.blocks + 1), g.hidden * sizeof(float));
			float *logits = mem_calloc(rows, g.vocabulary * sizeof(float));

			CHECK_OK(reference_run(m, WEIGHTS_KEEP, p->ids, p->count, ROW_F32, states,
					       logits, &e),
				 &e);
			for (uint32_t b = 0; b <= g.blocks; b++)
				check_states(&w, b, states + b * rows * g.hidden, p->count);
			check_logits(&w, logits);
			mem_free(states);
			mem_free(logits);
		}
		model_close(m);
		golden_close(&g);
	}
}
