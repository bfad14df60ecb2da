/* real_models_test.c - trained models against what their own authors' code gives. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "compute/model/model.h"
#include "compute/sampler.h"
#include "dataplane/base/memory.h"
#include "tests/support/golden.h"
#include "tests/support/rig.h"
#include "tests/test.h"

/* Goal: SmolLM2-135M-Instruct gives the tokens and log-probabilities that transformers
 * gives for the same weights.  Short: two prompts, 24 tokens each.
 */
TEST(golden__smollm2_f32_gives_the_tokens_of_transformers)
{
	enum { PROMPTS = 2, STEPS = 24 };
	const char *given = getenv("PETALS_SMOLLM2"), *home = getenv("HOME");
	struct sampler_options so;
	struct rig_options o;
	struct error e = { 0 };
	char path[512];
	struct golden g;
	struct model *m;
	struct rig r;

#ifdef __SANITIZE_THREAD__
	SKIP("SmolLM2 takes too long under ThreadSanitizer; the small models run");
#endif
	snprintf(path, sizeof(path), "%s/.cache/petals/SmolLM2-135M-Instruct.Q4_1.gguf",
		 home ? home : "");
	if (given)
		snprintf(path, sizeof(path), "%s", given);
	if (access(path, R_OK) != 0)
		SKIP("no SmolLM2 at %s (PETALS_SMOLLM2 names another place)", path);
	golden_open(&g, test_data("smollm2/golden.json"));
	CHECK_OK(model_open(&m, path, &e), &e);
	rig_options_default(&o, m);
	o.spans = 3;
	o.pages = 32;
	rig_open(&r, &o);
	sampler_options_default(&so);
	so.temperature = 0;
	for (uint32_t n = 0; n < MIN(PROMPTS, g.prompt_count); n++) {
		const struct golden_prompt *p = &g.prompts[n];
		float *rows = mem_calloc(p->count, r.hidden * sizeof(float)), *last;
		float *logits = mem_calloc(r.vocabulary, sizeof(float));
		struct rig_sequence s;
		struct sampler *sampler;

		CHECK_EQ(sampler_open(&sampler, &so, r.vocabulary), 0);
		rig_sequence_open(&r, &s, p->count + STEPS);
		rig_chunks(&r, &s, p->ids, p->count, o.rows_max, rows);
		last = rows + (size_t)(p->count - 1) * r.hidden;
		for (uint32_t i = 0; i < MIN(STEPS, p->steps); i++) {
			struct choice c;
			struct rig_step step = { &s, &c.token, 1 };

			CHECK_EQ(backend_cpu.edge_logits(r.edge, last, 1, logits), 0);
			sampler_next(sampler, logits, &c);
			CHECK_EQ(c.token, p->continuation[i]);
			CHECK_NEAR(c.logprob, p->logprobs[i], 2e-3);
			rig_run(&r, &step, 1, last);
		}
		rig_sequence_close(&r, &s);
		sampler_close(sampler);
		mem_free(logits);
		mem_free(rows);
	}
	rig_close(&r);
	model_close(m);
	golden_close(&g);
}

/* A tensor of activations.json. */
static float *activation(const json_t *json, const char *name, size_t *count)
{
	const json_t *tensor = json_object_get(json, name);

	CHECK_TEXT(json_string_value(json_object_get(tensor, "dtype")), "torch.float32");
	return golden_floats(json_string_value(json_object_get(tensor, "data")), count);
}

static void check_row(uint32_t block, uint32_t row, const float *a, const float *b, uint32_t n)
{
	double difference = 0, norm = 0;

	for (uint32_t i = 0; i < n; i++) {
		difference += pow((double)a[i] - (double)b[i], 2);
		norm += pow((double)b[i], 2);
	}
	if (!(sqrt(difference / norm) < 1e-4))
		fail_msg("row %u after block %u is off by %g of its norm", row, block,
			 sqrt(difference / norm));
}

struct kept { float *states; size_t bytes; };

static void keep_states(void *ctx, uint32_t end, const float *rows, uint32_t count)
{
	const struct kept *k = ctx;

	memcpy((uint8_t *)k->states + end * k->bytes, rows, k->bytes);
}

/* All states, as reference.h lays them out, and all logits. */
static void run_whole(const struct model *m, const uint32_t *tokens, uint32_t rows, float *states,
		      float *logits)
{
	float *out = mem_calloc(rows, model_config(m)->hidden * sizeof(float));
	struct kept kept = { states, rows * model_config(m)->hidden * sizeof(float) };
	struct rig_options o;
	struct rig_sequence s;
	struct rig r;

	rig_options_default(&o, m);
	o.spans = model_config(m)->blocks;
	rig_open(&r, &o);
	r.left = keep_states;
	r.ctx = &kept;
	rig_sequence_open(&r, &s, rows);
	rig_chunks(&r, &s, tokens, rows, rows, out);
	CHECK_EQ(backend_cpu.edge_logits(r.edge, out, rows, logits), 0);
	rig_sequence_close(&r, &s);
	rig_close(&r);
	mem_free(out);
}

/* Goal: gpt-nano-sort gives the activations that its authors' PyTorch gave. */
TEST(golden__gpt_nano_sort_activations)
{
	enum { SEQUENCES = 3, LENGTH = 11 };
	const char *dir = test_shared("models/gpt-nano-sort");
	static const char *const layers[] = { "x", "block0", "block1", "block2",
					      "lm_head" };
	struct { float *numbers; size_t count; } expect[ARRAY_LENGTH(layers)], idx;
	char path[512];
	struct error e = { 0 };
	struct model *m;
	json_t *json;

	snprintf(path, sizeof(path), "%s/activations.json", dir ? dir : "");
	if (!dir || access(path, R_OK) != 0)
		SKIP("no gpt-nano-sort in the shared models");
	json = json_load_file(path, 0, NULL);
	CHECK(json != NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(layers); i++)
		expect[i].numbers = activation(json, layers[i], &expect[i].count);
	idx.numbers = activation(json, "idx", &idx.count);
	CHECK_OK(model_open(&m, dir, &e), &e);
	for (uint32_t n = 0; n < SEQUENCES; n++) {
		size_t hidden = model_config(m)->hidden, vocabulary = model_config(m)->vocabulary;
		float states[4 * LENGTH * 48], logits[LENGTH * 3];
		uint32_t tokens[LENGTH];

		CHECK(hidden == 48 && vocabulary == 3);
		for (uint32_t i = 0; i < LENGTH; i++)
			tokens[i] = (uint32_t)idx.numbers[n * LENGTH + i];
		run_whole(m, tokens, LENGTH, states, logits);
		for (uint32_t b = 0; b < 4; b++)
			for (uint32_t i = 0; i < LENGTH; i++)
				check_row(b, i, states + (b * LENGTH + i) * hidden,
					  expect[b].numbers + (n * LENGTH + i) * hidden, 48);
		for (uint32_t i = 0; i < LENGTH; i++)
			check_row(UINT32_MAX, i, logits + i * vocabulary,
				  expect[4].numbers + (n * LENGTH + i) * vocabulary, 3);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(layers); i++)
		mem_free(expect[i].numbers);
	mem_free(idx.numbers);
	json_decref(json);
	model_close(m);
}

/* Appends the text of a SentencePiece piece. */
static void append_piece(char *text, size_t room, const char *piece)
{
	size_t at = strlen(text);
	unsigned byte;

	if (sscanf(piece, "<0x%2X>", &byte) == 1) {
		text[at] = (char)byte;
		text[at + 1] = '\0';
		return;
	}
	for (; *piece && at + 1 < room; at++) {
		bool space = strncmp(piece, "\xe2\x96\x81", 3) == 0;

		text[at] = space ? ' ' : *piece;
		piece += space ? 3 : 1;
	}
	text[at] = '\0';
}

/* Goal: stories260k tells the story that llama2.c tells greedily. */
TEST(golden__stories260k_tells_its_story)
{
	enum { STEPS = 60 };
	static const char story[] =
		" Once upon a time, there was a little girl named Lily. She loved to play outside "
		"in the park. One day, she saw a big, red ball.";
	const char *dir = test_shared("models/stories260k");
	const char *pieces[512] = { 0 }, *key;
	uint32_t first = 1, tokens[STEPS];
	char path[512], text[1024] = "";
	struct rig_options o;
	struct rig_sequence s;
	struct error e = { 0 };
	struct model *m;
	float row[64];
	json_t *json, *vocab, *id;
	struct rig r;

	snprintf(path, sizeof(path), "%s/tokenizer.json", dir ? dir : "");
	if (!dir || access(path, R_OK) != 0)
		SKIP("no stories260k in the shared models");
	json = json_load_file(path, 0, NULL);
	CHECK(json != NULL);
	vocab = json_object_get(json_object_get(json, "model"), "vocab");
	json_object_foreach(vocab, key, id)
		if (json_integer_value(id) < 512)
			pieces[json_integer_value(id)] = key;
	CHECK_OK(model_open(&m, dir, &e), &e);
	CHECK_EQ(model_config(m)->hidden, ARRAY_LENGTH(row));
	rig_options_default(&o, m);
	o.spans = 3;
	rig_open(&r, &o);
	rig_sequence_open(&r, &s, STEPS + 1);
	rig_chunks(&r, &s, &first, 1, 1, row);
	rig_greedy(&r, &s, row, tokens, STEPS);
	for (uint32_t i = 0; i < STEPS; i++) {
		CHECK(tokens[i] < 512 && pieces[tokens[i]]);
		append_piece(text, sizeof(text) - 64, pieces[tokens[i]]);
	}
	text[strlen(story)] = '\0';
	CHECK_TEXT(text, story);
	rig_sequence_close(&r, &s);
	rig_close(&r);
	model_close(m);
	json_decref(json);
}
