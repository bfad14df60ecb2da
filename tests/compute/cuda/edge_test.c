/* edge_test.c - embedding and head against the slow twin, and on their own.
 *
 * Covers embed.cu.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "compute/cuda/block.h"
#include "compute/reference.h"
#include "compute/sampler.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/folder.h"
#include "tests/support/numbers.h"
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

/* Goal: rows of the table, widened and scaled, in every format and whatever the grid. */
TEST(embed__rows_of_the_table)
{
	enum { ROWS = 5, COLUMNS = 70, VOCABULARY = 9 };
	static const uint32_t tokens[ROWS] = { 3, 8, 0, 3, 5 };
	float got[ROWS * 2 * COLUMNS];
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (enum cuda_format f = 0; f < CUDA_FORMATS; f++) {
		struct gpu_weights w;
		struct cuda_matrix m;
		struct embed_args a;
		uint32_t columns;

		gpu_weights_open(&w, &r, f, VOCABULARY, COLUMNS);
		columns = w.weight.columns;     /* whole groups, where there are some */
		m = gpu_matrix(&g, &w);
		a = (struct embed_args){
			.tokens = gpu_new(&g, tokens, sizeof(tokens)), .table = m.w,
			.out = gpu_new(&g, NULL, sizeof(got)), .columns = columns,
			.stride = m.stride, .rows = m.rows, .format = f, .scale = 2.5f,
		};
		cuda_launch(&g.queue, CUDA_KERNEL_EMBED, cuda_by_row(ROWS, columns), &a);
		gpu_read(&g, a.out, got, ROWS * columns * sizeof(*got));
		for (uint32_t i = 0; i < ROWS * columns; i++)
			CHECK(got[i] == 2.5f * w.values[tokens[i / columns] * columns +
							i % columns]);
		gpu_drop(&g, 0);
		gpu_weights_close(&w);
	}
	gpu_close(&g);
}

/* Summaries are those of the logits; the logits themselves come where they are wanted. */
static void check_summaries(struct edge *g, const struct model_config *c, const float *rows,
			    const float *logits)
{
	size_t count = (size_t)TOKENS * c->vocabulary;
	float *got = mem_calloc(count, sizeof(float));
	struct logits_summary summaries[TOKENS], want;
	struct logits_draw draws[TOKENS] = { { 0 } };
	bool whole[TOKENS];

	for (int r = 0; r < TOKENS; r++)
		whole[r] = r % 3 == 1;
	CHECK_EQ(cuda_edge_summary(g, rows, TOKENS, draws, whole, summaries, got), 0);
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

enum { WIDE_VOCABULARY = 2000, WIDE_HIDDEN = 16 };

static void write_file(const char *folder, const char *name, const void *head, size_t head_bytes,
		       const void *rest, size_t rest_bytes)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "wb");
	CHECK(f && fwrite(head, 1, head_bytes, f) == head_bytes &&
	      fwrite(rest, 1, rest_bytes, f) == rest_bytes && fclose(f) == 0);
}

/* A checkpoint of an edge alone, with more tokens than those in tests/data. */
static struct model *wide_model(const char *folder)
{
	enum { COUNT = (WIDE_VOCABULARY + 1) * WIDE_HIDDEN };
	static const char config[] =
		"{\"model_type\":\"llama\",\"vocab_size\":2000,\"hidden_size\":16,"
		"\"intermediate_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
		"\"max_position_embeddings\":64,\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\","
		"\"tie_word_embeddings\":true}";
	static const char tensors[] =
		"{\"model.embed_tokens.weight\":{\"dtype\":\"F32\",\"shape\":[2000,16],"
		"\"data_offsets\":[0,128000]},\"model.norm.weight\":{\"dtype\":\"F32\","
		"\"shape\":[16],\"data_offsets\":[128000,128064]}}";
	static float numbers[COUNT];
	struct { uint64_t length; char text[sizeof(tensors) - 1]; } head;
	struct error e = { 0 };
	struct model *m;

	for (int i = 0; i < COUNT; i++)
		numbers[i] = (float)((i * 7919 + i / WIDE_HIDDEN * 31) % 1009) / 1009 - 0.5f;
	head.length = sizeof(tensors) - 1;
	memcpy(head.text, tensors, sizeof(head.text));
	write_file(folder, "model.safetensors", &head, sizeof(uint64_t) + sizeof(head.text),
		   numbers, sizeof(numbers));
	write_file(folder, "config.json", config, sizeof(config) - 1, "", 0);
	CHECK_OK(model_open(&m, folder, &e), &e);
	return m;
}

/* Row r's: greedy, hot, cut by top-k, by top-p; the last by too much of it. */
static struct sampler *sampler_of_row(uint32_t r)
{
	struct sampler_options o;
	struct sampler *s;

	sampler_options_default(&o);
	o.seed = r + 1;
	o.temperature = r == 0 ? 0 : r == 3 ? 0.05f : 1;
	o.top_k = r == 2 ? 50 : 0;
	o.top_p = r >= 3 ? 0.9f : 1;
	CHECK_EQ(sampler_open(&s, &o, WIDE_VOCABULARY), 0);
	return s;
}

/* Goal: tokens are drawn as the sampler draws them; the logits come with those that are left to
 * it, and with no others.
 */
TEST(edge_summary__draws_or_gives_the_logits)
{
	enum { ROWS = 5 };
	static float rows[ROWS * WIDE_HIDDEN], all[ROWS * WIDE_VOCABULARY];
	static float some[ROWS * WIDE_VOCABULARY];
	char *folder = test_folder_open();
	struct model *m = wide_model(folder);
	struct logits_summary summaries[ROWS];
	struct logits_draw draws[ROWS];
	struct sampler *samplers[ROWS];
	bool whole[ROWS] = { false };
	struct choice want, got;
	struct device *d;
	struct edge *g;

	stand_in_use();
	g = open_edge(&d, m, COMPUTE_F32, 4);
	for (int i = 0; i < ROWS * WIDE_HIDDEN; i++)
		rows[i] = (float)((i * 37 + 5) % 101) / 50 - 1;
	for (uint32_t r = 0; r < ROWS; r++) {
		samplers[r] = sampler_of_row(r);
		CHECK(sampler_is_plain(samplers[r], &draws[r]));
	}
	CHECK_EQ(cuda_edge_logits(g, rows, ROWS, all), 0);
	CHECK_EQ(cuda_edge_summary(g, rows, ROWS, draws, whole, summaries, some), 0);
	for (uint32_t r = 0; r < ROWS; r++) {
		float *logits = all + r * WIDE_VOCABULARY;

		CHECK_EQ(whole[r], r == 4);
		if (whole[r]) {
			CHECK_BYTES(some + r * WIDE_VOCABULARY, logits,
				    WIDE_VOCABULARY * sizeof(float));
		} else {
			CHECK(some[r * WIDE_VOCABULARY] == 0);
			sampler_next(samplers[r], logits, &want);
			sampler_next_plain(samplers[r], &summaries[r], &got);
			CHECK_EQ(got.token, want.token);
			CHECK_BYTES(&got.logprob, &want.logprob, sizeof(float));
		}
		sampler_close(samplers[r]);
	}
	cuda_edge_close(g);
	cuda_device_close(d);
	model_close(m);
	test_folder_close(folder);
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
