/* model_test.c - every golden checkpoint opens, has all its tensors, and gives
 * the same logical rows whatever its storage; broken ones are refused by name.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compute/model/model.h"
#include "compute/model/safetensors.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/compute/model/gguf_make.h"

static struct model *open_path(const char *path)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, path, &e), &e);
	CHECK_OK(model_check(m, 0, model_config(m)->blocks, true, &e), &e);
	return m;
}

static struct model *open_data(const char *name)
{
	return open_path(test_data(name));
}

/* The largest difference between a role's rows in two models, -1 when only
 * one of them has it.
 */
static double difference(const struct model *a, const struct model *b, enum role role,
			 uint32_t block)
{
	struct weight x, y;
	bool has = model_weight(a, role, block, &x);
	float *left, *right;
	double most = 0;

	if (has != model_weight(b, role, block, &y))
		return -1;
	if (!has)
		return 0;
	CHECK_EQ(x.rows, y.rows);
	CHECK_EQ(x.columns, y.columns);
	left = mem_alloc(x.columns * sizeof(*left));
	right = mem_alloc(x.columns * sizeof(*right));
	for (uint32_t r = 0; r < x.rows; r++) {
		weight_row(&x, r, left);
		weight_row(&y, r, right);
		for (uint32_t c = 0; c < x.columns; c++)
			most = MAX(most, left[c] > right[c] ? left[c] - right[c]
							    : right[c] - left[c]);
	}
	mem_free(left);
	mem_free(right);
	return most;
}

static void check_same(const struct model *a, const struct model *b, double tolerance)
{
	for (uint32_t block = 0; block < model_config(a)->blocks; block++)
		for (int r = block ? ROLE_EDGE_COUNT : 0; r < ROLE_COUNT; r++) {
			double d = difference(a, b, r, block);

			if (!(d >= 0 && d <= tolerance))
				fail_msg("%s of block %u differs by %g in %s and %s, tolerance %g",
					 role_name(r), block, d, model_path(a), model_path(b),
					 tolerance);
		}
}

/* Goal: every golden checkpoint opens, whole, as the family and shape it is. */
TEST(model_open__golden_checkpoints)
{
	static const struct {
		const char *name, *arch;
		uint32_t blocks;
		enum dtype dtype;
	} golden[] = {
		{ "llama-plain", "llama", 3, DTYPE_F32 },
		{ "llama-gqa-tied", "llama", 5, DTYPE_F32 },
		{ "llama-gqa-tied-bf16", "llama", 5, DTYPE_BF16 },
		{ "llama-gqa-tied-f16", "llama", 5, DTYPE_F16 },
		{ "llama-gqa-tied-sharded", "llama", 5, DTYPE_F16 },
		{ "llama3-rope", "llama", 3, DTYPE_F16 },
		{ "llama-rope-legacy", "llama", 3, DTYPE_F16 },
		{ "llama-linear-rope", "llama", 3, DTYPE_F16 },
		{ "llama-biases", "llama", 3, DTYPE_F16 },
		{ "mistral", "mistral", 3, DTYPE_BF16 },
		{ "qwen2", "qwen2", 3, DTYPE_BF16 },
		{ "gpt2", "gpt2", 3, DTYPE_F32 },
		{ "bloom", "bloom", 3, DTYPE_BF16 },
		{ "bloom-bare", "bloom", 2, DTYPE_BF16 },
		{ "opt", "opt", 3, DTYPE_F16 },
		{ "opt-350m", "opt", 3, DTYPE_F16 },
		{ "gguf/llama-f32.gguf", "llama", 2, DTYPE_F32 },
		{ "gguf/llama-f16.gguf", "llama", 2, DTYPE_F16 },
		{ "gguf/llama-bf16.gguf", "llama", 2, DTYPE_BF16 },
		{ "gguf/llama-q8_0.gguf", "llama", 2, DTYPE_Q8_0 },
		{ "gguf/llama-q4_0.gguf", "llama", 2, DTYPE_Q4_0 },
		{ "gguf/llama-q4_1.gguf", "llama", 2, DTYPE_Q4_1 },
		{ "gguf/qwen2-f16.gguf", "qwen2", 2, DTYPE_F16 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(golden); i++) {
		struct model *m = open_data(golden[i].name);
		const struct model_config *c = model_config(m);

		print_message("# %s\n", golden[i].name);
		CHECK_TEXT(c->arch->name, golden[i].arch);
		CHECK_EQ(c->blocks, golden[i].blocks);
		CHECK_EQ(model_dtype(m), golden[i].dtype);
		model_close(m);
	}
}

/* Goal: the same weights in other dtypes, files or spellings are the same rows
 * up to that dtype's rounding.
 */
TEST(model_weight__variants_agree)
{
	static const struct { const char *a, *b; double tolerance; } pairs[] = {
		{ "llama-gqa-tied-f16", "llama-gqa-tied-sharded", 0 },
		{ "llama3-rope", "llama-rope-legacy", 0 },
		{ "llama-gqa-tied", "llama-gqa-tied-bf16", 0.02 },
		{ "llama-gqa-tied", "llama-gqa-tied-f16", 0.002 },
		{ "gguf/llama-f32.gguf", "gguf/llama-f16.gguf", 0.002 },
		{ "gguf/llama-f32.gguf", "gguf/llama-bf16.gguf", 0.02 },
		{ "gguf/llama-f32.gguf", "gguf/llama-q8_0.gguf", 0.02 },
		{ "gguf/llama-f32.gguf", "gguf/llama-q4_0.gguf", 0.35 },
		{ "gguf/llama-f32.gguf", "gguf/llama-q4_1.gguf", 0.35 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
		struct model *a = open_data(pairs[i].a), *b = open_data(pairs[i].b);

		check_same(a, b, pairs[i].tolerance);
		CHECK_EQ(model_fingerprint(a) == model_fingerprint(b), pairs[i].tolerance == 0);
		model_close(a);
		model_close(b);
	}
}

/* One element of a stored safetensors tensor. */
static float element(const struct safetensors_tensor *t, uint64_t index)
{
	float out;

	dtype_widen(t->dtype, t->data + index * dtypes[t->dtype].group_bytes, 1, &out);
	return out;
}

/* Goal: GPT-2's transposed, concatenated q, k, v come out as rows. */
TEST(model_weight__gpt2_layout)
{
	struct model *m = open_data("gpt2");
	struct safetensors *s;
	struct error e;
	struct weight w;
	float row[32];

	CHECK_OK(safetensors_open(&s, test_data("gpt2"), &e), &e);
	for (uint32_t part = 0; part < 3; part++) {
		const struct safetensors_tensor *t =
			safetensors_tensor(s, "transformer.h.1.attn.c_attn.weight");
		const struct safetensors_tensor *b =
			safetensors_tensor(s, "transformer.h.1.attn.c_attn.bias");

		CHECK(model_weight(m, ROLE_Q_W + 2 * part, 1, &w));
		CHECK_EQ(w.rows, 32);
		CHECK(weight_row_raw(&w, 0) == NULL);
		for (uint32_t r = 0; r < 32; r++) {
			weight_row(&w, r, row);
			for (uint32_t c = 0; c < 32; c++)
				CHECK(row[c] == element(t, c * 96 + part * 32 + r));
		}
		CHECK(model_weight(m, ROLE_Q_B + 2 * part, 1, &w));
		CHECK_EQ(w.rows, 1);
		weight_row(&w, 0, row);
		for (uint32_t c = 0; c < 32; c++)
			CHECK(row[c] == element(b, part * 32 + c));
	}
	CHECK(!model_weight(m, ROLE_GATE_W, 0, &w));
	safetensors_close(s);
	model_close(m);
}

/* Goal: BLOOM's per-head q, k, v come out as rows of q, of k, of v. */
TEST(model_weight__bloom_layout)
{
	struct model *m = open_data("bloom");
	const struct model_config *c = model_config(m);
	struct safetensors *s;
	struct error e;
	float *row = mem_alloc(c->hidden * sizeof(*row));

	CHECK_OK(safetensors_open(&s, test_data("bloom"), &e), &e);
	for (uint32_t part = 0; part < 3; part++) {
		const struct safetensors_tensor *t = safetensors_tensor(
			s, "transformer.h.0.self_attention.query_key_value.weight");
		const struct safetensors_tensor *b = safetensors_tensor(
			s, "transformer.h.0.self_attention.query_key_value.bias");
		struct weight w, bias;

		CHECK(model_weight(m, ROLE_Q_W + 2 * part, 0, &w));
		CHECK(model_weight(m, ROLE_Q_B + 2 * part, 0, &bias));
		weight_row(&bias, 0, row);
		for (uint32_t r = 0; r < c->hidden; r++) {
			uint32_t stored = (3 * (r / c->head_dim) + part) * c->head_dim +
					  r % c->head_dim;

			CHECK(row[r] == element(b, stored));
		}
		for (uint32_t r = 0; r < c->hidden; r++) {
			uint64_t stored = (3 * (r / c->head_dim) + part) * c->head_dim +
					  r % c->head_dim;

			weight_row(&w, r, row);
			CHECK(row[1] == element(t, stored * c->hidden + 1));
			CHECK_BYTES(weight_row_raw(&w, r), t->data + stored * c->hidden * 2,
				    c->hidden * 2);
		}
	}
	mem_free(row);
	safetensors_close(s);
	model_close(m);
}

/* Goal: the 350m shape: projections, no final norm, norms after. */
TEST(model_weight__opt_shapes)
{
	struct model *m = open_data("opt-350m"), *plain = open_data("opt");
	const struct model_config *c = model_config(m);
	struct weight w;

	CHECK_EQ(c->norm_place, NORM_AFTER);
	CHECK(c->embed != c->hidden);
	CHECK(model_weight(m, ROLE_PROJECT_IN_W, 0, &w));
	CHECK_EQ(w.rows, c->hidden);
	CHECK_EQ(w.columns, c->embed);
	CHECK(model_weight(m, ROLE_PROJECT_OUT_W, 0, &w));
	CHECK_EQ(w.rows, c->embed);
	CHECK(model_weight(m, ROLE_HEAD_W, 0, &w));
	CHECK_EQ(w.columns, c->embed);
	CHECK(!model_weight(m, ROLE_FINAL_NORM_W, 0, &w));
	CHECK(model_weight(m, ROLE_POSITION_W, 0, &w));
	CHECK_EQ(w.rows, c->positions + 2);
	CHECK(!model_weight(plain, ROLE_PROJECT_IN_W, 0, &w));
	CHECK(model_weight(plain, ROLE_FINAL_NORM_B, 0, &w));
	model_close(plain);
	model_close(m);
}

/* Goal: the models kept for us elsewhere open too. */
TEST(model_open__shared_models)
{
	const char *models = test_shared("models");
	char *path;
	struct model *m;

	if (!models)
		SKIP("no shared models on this machine");
	path = file_join(models, "stories260k");
	m = open_path(path);
	CHECK_EQ(model_config(m)->kv_heads, 4);
	CHECK_TEXT(model_config(m)->name, "stories260k");
	model_close(m);
	mem_free(path);
	path = file_join(models, "gpt-nano-sort");
	m = open_path(path);
	CHECK(!model_config(m)->tied);
	CHECK_EQ(model_config(m)->intermediate, 192);
	model_close(m);
	mem_free(path);
}

/* Goal: the real model opens, and is what its publisher says it is. */
TEST(model_open__smollm2)
{
	const char *given = getenv("PETALS_SMOLLM2"), *home = getenv("HOME");
	char path[512];
	struct model *m;
	const struct model_config *c;
	struct weight w;

	snprintf(path, sizeof(path), "%s/.cache/petals/SmolLM2-135M-Instruct.Q4_1.gguf",
		 home ? home : "");
	if (!given && !file_exists(path))
		SKIP("no SmolLM2: set PETALS_SMOLLM2 to its GGUF file");
	m = open_path(given ? given : path);
	c = model_config(m);
	CHECK_TEXT(c->name, "SmolLM2-135M-Instruct.Q4_1");
	CHECK_EQ(c->blocks, 30);
	CHECK_EQ(c->hidden, 576);
	CHECK_EQ(c->heads, 9);
	CHECK_EQ(c->kv_heads, 3);
	CHECK_EQ(c->vocabulary, 49152);
	CHECK_EQ(c->positions, 8192);
	CHECK_EQ(c->bos, 1);
	CHECK_EQ(c->eos_count, 1);
	CHECK_EQ(c->eos[0], 2);
	CHECK(c->tied && !c->add_bos);
	CHECK_EQ(model_dtype(m), DTYPE_Q4_1);
	CHECK(model_weight(m, ROLE_HEAD_W, 0, &w));
	CHECK_EQ(w.dtype, DTYPE_Q8_0);
	CHECK(model_weight(m, ROLE_K_W, 29, &w));
	CHECK_EQ(w.order, WEIGHT_ROTARY_PAIRS);
	CHECK(model_fingerprint(m) != 0);
	model_close(m);
}

/* ---- broken checkpoints ---- */

/* A folder with this config and the weights of a golden checkpoint. */
struct folder { char path[64]; };

static void put_file(const char *dir, const char *name, const void *data, size_t bytes)
{
	char *path = file_join(dir, name);
	FILE *out = fopen(path, "wb");

	CHECK(out != NULL);
	CHECK_EQ(fwrite(data, 1, bytes, out), bytes);
	CHECK_EQ(fclose(out), 0);
	mem_free(path);
}

static struct folder make_folder(const char *golden, const char *from, const char *to)
{
	struct folder f = { "/tmp/petals-model-test-XXXXXX" };
	char *config = file_join(test_data(golden), "config.json"), *json, *at;
	char *weights = file_join(test_data(golden), "model.safetensors");
	char *link_path, edited[4096];
	struct error e;

	CHECK(mkdtemp(f.path) != NULL);
	CHECK_OK(file_read(config, 4096, &json, NULL, &e), &e);
	at = strstr(json, from);
	CHECK(at != NULL);
	snprintf(edited, sizeof(edited), "%.*s%s%s", (int)(at - json), json, to,
		 at + strlen(from));
	put_file(f.path, "config.json", edited, strlen(edited));
	link_path = file_join(f.path, "model.safetensors");
	CHECK_EQ(symlink(weights, link_path), 0);
	mem_free(link_path);
	mem_free(weights);
	mem_free(config);
	mem_free(json);
	return f;
}

static void remove_folder(const struct folder *f)
{
	static const char *const names[] = { "config.json", "model.safetensors", "x.gguf" };

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		char *path = file_join(f->path, names[i]);

		unlink(path);
		mem_free(path);
	}
	CHECK_EQ(rmdir(f->path), 0);
}

/* Goal: a tensor that is missing, misshaped or unannounced is named, with what
 * was expected and what was found.
 */
TEST(model_check__names_what_is_wrong)
{
	static const struct { const char *golden, *from, *to, *sentence; } cases[] = {
		{ "llama-plain", "\"intermediate_size\": 48", "\"intermediate_size\": 47",
		  "tensor 'model.layers.0.mlp.gate_proj.weight' (MLP gate weight of block 0) has "
		  "shape (48, 32), expected (47, 32)" },
		{ "llama-plain", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4",
		  "tensor 'model.layers.3.input_layernorm.weight' (attention norm weight of block "
		  "3) is missing" },
		{ "llama-plain", "\"vocab_size\": 96", "\"vocab_size\": 97",
		  "(embedding) has shape (96, 32), expected (97, 32)" },
		{ "llama-biases", "\"attention_bias\": true", "\"attention_bias\": false",
		  "tensor 'model.layers.0.self_attn.q_proj.bias' (attention query bias of block 0) "
		  "is there, but the config says that there is none" },
		{ "llama-plain", "\"mlp_bias\": false", "\"mlp_bias\": true",
		  "'model.layers.0.mlp.gate_proj.bias' (MLP gate bias of block 0) is missing" },
		{ "llama-gqa-tied", "\"tie_word_embeddings\": true",
		  "\"tie_word_embeddings\": false", "'model.lm_head.weight' (head) is missing" },
		{ "gpt2", "\"n_positions\": 128", "\"n_positions\": 64",
		  "'transformer.wpe.weight' (position embedding) has shape (128, 32), expected "
		  "(64, 32)" },
		{ "opt-350m", "\"word_embed_proj_dim\": 16", "\"word_embed_proj_dim\": 32",
		  "(embedding) has shape (96, 16), expected (96, 32)" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct folder f = make_folder(cases[i].golden, cases[i].from, cases[i].to);
		struct error e = { 0 };
		struct model *m;

		CHECK_OK(model_open(&m, f.path, &e), &e);
		CHECK_EQ(model_check(m, 0, model_config(m)->blocks, true, &e), -EINVAL);
		if (!strstr(e.text, cases[i].sentence) || !strstr(e.text, f.path))
			fail_msg("'%s' lacks '%s'", e.text, cases[i].sentence);
		model_close(m);
		remove_folder(&f);
	}
}

/* Goal: a span that the model does not have is refused; an edge's fault does
 * not disturb a server of blocks, nor one block's another's.
 */
TEST(model_check__looks_at_the_span_only)
{
	struct folder f = make_folder("llama-plain", "\"num_hidden_layers\": 3",
				      "\"num_hidden_layers\": 4");
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, f.path, &e), &e);
	CHECK_OK(model_check(m, 1, 3, true, &e), &e);
	CHECK_OK(model_check(m, 2, 2, false, &e), &e);
	CHECK_EQ(model_check(m, 2, 4, false, &e), -EINVAL);
	CHECK_EQ(model_check(m, 2, 5, false, &e), -EINVAL);
	CHECK(strstr(e.text, "has blocks 0 to 3, not [2, 5)") != NULL);
	CHECK_EQ(model_check(m, 2, 1, false, &e), -EINVAL);
	model_close(m);
	remove_folder(&f);
}

/* Goal: what is no model is refused with the path in the sentence. */
TEST(model_open__refuses_what_is_no_model)
{
	struct folder f = make_folder("mistral", "\"mistral\"", "\"mixtral\"");
	char *gguf = file_join(f.path, "x.gguf");
	struct error e = { 0 };
	struct model *m;

	CHECK_EQ(model_open(&m, "/nowhere/model", &e), -ENOENT);
	CHECK(m == NULL);
	CHECK(strstr(e.text, "/nowhere/model") != NULL);
	CHECK_EQ(model_open(&m, f.path, &e), -ENOTSUP);
	CHECK(strstr(e.text, "config.json: model_type is 'mixtral', accepted are llama, mistral, "
			     "qwen2, gpt2, bloom, opt") != NULL);
	put_file(f.path, "x.gguf", "GGML....", 8);
	CHECK_EQ(model_open(&m, gguf, &e), -EINVAL);
	CHECK(strstr(e.text, "x.gguf: begins with 47 47 4d 4c") != NULL);
	mem_free(gguf);
	remove_folder(&f);
	CHECK_EQ(model_open(&m, "/tmp", &e), -ENOENT);
	CHECK(strstr(e.text, "/tmp/config.json") != NULL);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, model_open() gives everything back. */
TEST(model_open__unwinds_every_failure)
{
	static const char *const names[] = { "llama-gqa-tied-sharded", "gguf/qwen2-f16.gguf" };

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		int nth;

		for (nth = 1;; nth++) {
			uint64_t live = mem_live_blocks();
			struct error e = { 0 };
			struct model *m;
			int rc;

			fault_arm(nth);
			rc = model_open(&m, test_data(names[i]), &e);
			fault_disarm();
			if (rc == 0)
				model_close(m);
			CHECK_EQ(mem_live_blocks(), live);
			if (!fault_fired())
				break;
			CHECK(rc < 0 && e.text[0]);
		}
		CHECK(nth > 10);
	}
}
#endif
