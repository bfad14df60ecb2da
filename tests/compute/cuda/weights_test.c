/* weights_test.c - whole models in every weight format on the CUDA backend: the identity promise,
 * and the slow twin of the same quantised weights.
 *
 * Covers weights.c, layout.cuh.
 */
#include <math.h>

#include "compute/cuda/device.h"
#include "compute/reference.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/support/bits.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

enum { TOKENS = BITS_TOKENS };

/* Every dtype that a checkpoint may store, and tied heads. */
static const char *const checkpoints[] = {
	"llama-gqa-tied", "bloom", "opt-350m", "gguf/llama-q4_0.gguf", "gguf/llama-q4_1.gguf",
	"gguf/llama-q8_0.gguf", "gguf/qwen2-f16.gguf",
};

static struct model *open_model(const char *name)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data(name), &e), &e);
	return m;
}

static void default_options(struct rig_options *o, const struct model *m, enum weight_format w)
{
	rig_options_default(o, m);
	o->backend = &backend_cuda;
	o->compute = COMPUTE_BF16;
	o->weights = w;
}

/* Goal: in every weight format a row's bits do not depend on how it is run. */
TEST(span__same_bits_in_every_weight_format)
{
	static const uint32_t chunks[] = { 1, 7, 16, 33, 0 };
	uint32_t tokens[TOKENS];
	struct random r;

	stand_in_use();
	random_seed(&r, test_seed());
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints) + WEIGHT_FORMATS; i++) {
		/* All as they are kept, then one in each format. */
		bool kept = i < ARRAY_LENGTH(checkpoints);
		enum weight_format w = kept ? WEIGHTS_KEEP : i - ARRAY_LENGTH(checkpoints);
		const char *name = kept ? checkpoints[i] : checkpoints[random_below(&r, 3)];
		struct model *m = open_model(name);
		struct rig_options o;
		struct bits expect, got;

		for (int t = 0; t < TOKENS; t++)
			tokens[t] = (uint32_t)random_below(&r, model_config(m)->vocabulary);
		default_options(&o, m, w);
		expect = bits_run(&o, &r, tokens, TOKENS);
		o.spans = 1 + (uint32_t)random_below(&r, model_config(m)->blocks);
		got = bits_run(&o, &r, tokens, chunks[random_below(&r, ARRAY_LENGTH(chunks))]);
		if (memcmp(got.numbers, expect.numbers, got.bytes) != 0)
			fail_msg("%s, %s: not the same bits", name, weight_format_name(w));
		mem_free(got.numbers);
		mem_free(expect.numbers);
		model_close(m);
	}
}

/* The states after the last block, how far from the slow twin's of the same weights. */
static double distance(const struct model *m, enum weight_format weights)
{
	uint32_t tokens[TOKENS], hidden = model_config(m)->hidden, blocks = model_config(m)->blocks;
	float *states = mem_calloc((blocks + 1) * (size_t)TOKENS * hidden, sizeof(*states));
	const float *want = states + (size_t)blocks * TOKENS * hidden;
	double difference = 0, norm = 0;
	struct rig_options o;
	struct error e = { 0 };
	struct bits got;

	for (uint32_t i = 0; i < TOKENS; i++)
		tokens[i] = (i * 31 + 7) % model_config(m)->vocabulary;
	CHECK_OK(reference_run(m, weights, tokens, TOKENS, ROW_F32, states, NULL, &e), &e);
	default_options(&o, m, weights);
	got = bits_run(&o, NULL, tokens, TOKENS);
	for (size_t i = 0; i < (size_t)TOKENS * hidden; i++) {
		difference += pow((double)got.numbers[i] - (double)want[i], 2);
		norm += pow((double)want[i], 2);
	}
	mem_free(got.numbers);
	mem_free(states);
	return sqrt(difference / norm);
}

/* Goal: whole models give what the slow twin gives of the same quantised weights, as near as
 * activations in bf16 are.
 */
TEST(span__weight_formats_agree_with_the_reference)
{
	stand_in_use();
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct model *m = open_model(checkpoints[i]);

		for (enum weight_format w = WEIGHTS_KEEP; w < WEIGHT_FORMATS; w++)
			if (w == WEIGHTS_KEEP || i < 2)
				CHECK_NEAR(distance(m, w), 0, 4e-2);
		model_close(m);
	}
}

/* A row of the embedding as the device has it. */
static void embedding_row(const struct model *m, enum weight_format f, uint32_t token, float *out)
{
	uint8_t values[4096], scales[1024];
	struct weight w;

	CHECK(model_weight(m, model_config(m)->tied ? ROLE_HEAD_W : ROLE_EMBED_W, 0, &w));
	weight_row(&w, token, out);
	if (f == WEIGHTS_KEEP && w.dtype == DTYPE_F32)
		f = WEIGHTS_BF16;
	if (f == WEIGHTS_KEEP)
		return;
	CHECK(quantised_values_bytes(f, w.columns) <= sizeof(values));
	quantise_rows(f, &w, token, token + 1, values, scales);
	quantised_widen(f, values, scales, w.columns, out);
}

static void check_embedding(const struct model *m, enum weight_format f)
{
	const struct model_config *c = model_config(m);
	struct device_options o = { .compute = COMPUTE_BF16, .weights = f };
	float *row = mem_calloc(c->hidden, sizeof(float));
	float *got = mem_calloc(c->hidden, sizeof(float));
	struct error e = { 0 };
	struct device *d;
	struct edge *g;

	CHECK_OK(cuda_device_open(&d, &o, &e), &e);
	CHECK_OK(cuda_edge_open(&g, d, m, 4, (struct load_progress){ 0 }, &e), &e);
	for (uint32_t token = 0; token < c->vocabulary; token += 13) {
		embedding_row(m, f, token, row);
		for (uint32_t i = 0; i < c->hidden; i++)
			row[i] *= c->embed_scale;
		CHECK_EQ(cuda_edge_embed(g, &token, 1, 0, got), 0);
		CHECK_BYTES(got, row, c->hidden * sizeof(float));
	}
	cuda_edge_close(g);
	cuda_device_close(d);
	mem_free(row);
	mem_free(got);
}

/* Goal: rows that are looked up in a tied head are its weights, in any format, exactly. */
TEST(edge__looks_rows_up_in_every_weight_format)
{
	static const char *const plain[] = {
		"llama-gqa-tied", "gguf/llama-q4_0.gguf", "gguf/llama-q4_1.gguf",
		"gguf/llama-q8_0.gguf", "gguf/qwen2-f16.gguf",
	};

	stand_in_use();
	for (size_t i = 0; i < ARRAY_LENGTH(plain); i++) {
		struct model *m = open_model(plain[i]);

		for (enum weight_format f = WEIGHTS_KEEP; f < WEIGHT_FORMATS; f++)
			if (model_config(m)->tied || f == WEIGHTS_KEEP)
				check_embedding(m, f);
		model_close(m);
	}
}
