/* golden_run.c - the list of checkpoints, and a backend's way through them. */
#include "tests/support/golden_run.h"

#include <math.h>

#include "dataplane/base/memory.h"
#include "tests/test.h"

const struct golden_checkpoint golden_checkpoints[] = {
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
const size_t golden_checkpoint_count = ARRAY_LENGTH(golden_checkpoints);

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

static void check_row(const struct golden_watch *w, uint32_t block, uint32_t row, const float *a,
		      const float *b, uint32_t n)
{
	double error = row_error(a, b, n);

	if (!(error < w->tolerance))
		fail_msg("%s: row %u after block %u is off by %.3g of its norm", w->name, row,
			 block, error);
}

/* Rows that left block end - 1 of the whole prompt. */
void golden_check_states(void *ctx, uint32_t end, const float *rows, uint32_t count)
{
	const struct golden_watch *w = ctx;

	if (count != w->prompt->count)
		return;
	for (uint32_t i = 0; i < w->prompt->row_count; i++)
		check_row(w, end, w->prompt->rows[i],
			  rows + (size_t)w->prompt->rows[i] * w->golden->hidden,
			  w->prompt->states[end] + (size_t)i * w->golden->hidden,
			  w->golden->hidden);
}

void golden_check_logits(const struct golden_watch *w, const float *logits)
{
	for (uint32_t i = 0; i < w->prompt->row_count; i++)
		check_row(w, UINT32_MAX, w->prompt->rows[i],
			  logits + (size_t)w->prompt->rows[i] * w->golden->vocabulary,
			  w->prompt->logits + (size_t)i * w->golden->vocabulary,
			  w->golden->vocabulary);
}

static void check_prompt(struct rig *r, struct golden_watch *w)
{
	const struct golden_prompt *p = w->prompt;
	float *out = mem_calloc(p->count, sizeof(float) * w->golden->hidden);
	float *logits = mem_calloc(p->count, sizeof(float) * w->golden->vocabulary);
	uint32_t *tokens = mem_calloc(p->steps, sizeof(*tokens));
	struct rig_sequence s;

	r->left = golden_check_states;
	r->ctx = w;
	rig_sequence_open(r, &s, p->count + p->steps);
	rig_chunks(r, &s, p->ids, p->count, p->count, out);
	CHECK_EQ(r->options.backend->edge_logits(r->edge, out, p->count, logits), 0);
	golden_check_logits(w, logits);
	r->left = NULL;
	if (w->tokens)
		rig_greedy(r, &s, out + (size_t)(p->count - 1) * w->golden->hidden, tokens,
			   p->steps);
	if (w->tokens && memcmp(tokens, p->continuation, p->steps * sizeof(*tokens)) != 0)
		fail_msg("%s: the greedy tokens differ", w->name);
	rig_sequence_close(r, &s);
	mem_free(tokens);
	mem_free(logits);
	mem_free(out);
}

void golden_run(size_t index, const struct backend *backend, enum compute_mode compute,
		double tolerance, bool tokens)
{
	const struct golden_checkpoint *c = &golden_checkpoints[index];
	struct rig_options o;
	struct error e = { 0 };
	struct golden g;
	struct model *m;
	struct rig r;

	golden_open(&g, test_data(c->golden));
	CHECK_OK(model_open(&m, test_data(c->checkpoint), &e), &e);
	CHECK_EQ(model_config(m)->hidden, g.hidden);
	rig_options_default(&o, m);
	o.backend = backend;
	o.compute = compute;
	o.spans = model_config(m)->blocks;
	rig_open(&r, &o);
	for (uint32_t n = 0; n < g.prompt_count; n++) {
		struct golden_watch w = { c->checkpoint, &g, &g.prompts[n], tolerance, tokens };

		check_prompt(&r, &w);
	}
	rig_close(&r);
	model_close(m);
	golden_close(&g);
}
