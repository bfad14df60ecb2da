/* model_gguf_test.c - golden Hugging Face checkpoints, rewritten as GGUF the way
 * its converters do (q and k interleaved for llama; GPT-2's matrices turned,
 * BLOOM's fused rows sorted into q, k, v), read as the same logical rows.
 */
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "compute/model/model.h"
#include "dataplane/base/memory.h"
#include "tests/compute/model/gguf_make.h"

/* GGUF's names, spelled out here apart from the table under test. */
struct converted { const char *name; enum role role; };

static const struct converted edges[] = {
	{ "token_embd.weight", ROLE_EMBED_W },         { "output_norm.weight", ROLE_FINAL_NORM_W },
	{ "output_norm.bias", ROLE_FINAL_NORM_B },     { "position_embd.weight", ROLE_POSITION_W },
	{ "token_embd_norm.weight", ROLE_EMBED_NORM_W },
	{ "token_embd_norm.bias", ROLE_EMBED_NORM_B }, { "output.weight", ROLE_HEAD_W },
};

static const struct converted block_tensors[] = {
	{ "attn_norm.weight", ROLE_NORM1_W },     { "attn_norm.bias", ROLE_NORM1_B },
	{ "attn_q.weight", ROLE_Q_W },            { "attn_q.bias", ROLE_Q_B },
	{ "attn_k.weight", ROLE_K_W },            { "attn_k.bias", ROLE_K_B },
	{ "attn_v.weight", ROLE_V_W },            { "attn_v.bias", ROLE_V_B },
	{ "attn_qkv.weight", ROLE_Q_W },          { "attn_qkv.bias", ROLE_Q_B },
	{ "attn_output.weight", ROLE_O_W },       { "attn_output.bias", ROLE_O_B },
	{ "ffn_norm.weight", ROLE_NORM2_W },      { "ffn_norm.bias", ROLE_NORM2_B },
	{ "ffn_gate.weight", ROLE_GATE_W },       { "ffn_gate.bias", ROLE_GATE_B },
	{ "ffn_up.weight", ROLE_UP_W },           { "ffn_up.bias", ROLE_UP_B },
	{ "ffn_down.weight", ROLE_DOWN_W },       { "ffn_down.bias", ROLE_DOWN_B },
};

struct writer {
	const struct model *m;
	struct buffer directory, data;
	uint64_t tensors;
};

/* A head of n rows (h, j, i), j a half, i within it, becomes (h, i, j). */
static uint32_t interleaved_from(uint32_t stored, uint32_t head_dim)
{
	uint32_t head = stored / head_dim, within = stored % head_dim;

	return head * head_dim + within % 2 * (head_dim / 2) + within / 2;
}

/* Appends a role's numbers as f32, heads interleaved if asked; counts columns. */
static uint32_t write_numbers(struct writer *w, const struct weight *from, bool interleave)
{
	uint32_t head_dim = model_config(w->m)->head_dim;
	float *row = mem_alloc(from->columns * sizeof(*row));

	for (uint32_t r = 0; r < from->rows; r++) {
		bool vector = from->rows == 1;

		weight_row(from, interleave && !vector ? interleaved_from(r, head_dim) : r, row);
		for (uint32_t c = 0; c < from->columns; c++)
			make_f32(&w->data, row[interleave && vector ? interleaved_from(c, head_dim)
								    : c]);
	}
	mem_free(row);
	return from->rows;
}

static void write_tensor(struct writer *w, const char *name, enum role role, uint32_t block,
			 bool fused)
{
	bool interleave = strcmp(model_config(w->m)->arch->name, "llama") == 0 &&
			  role >= ROLE_Q_W && role <= ROLE_K_B;
	uint64_t offset = w->data.length;
	struct weight from;
	uint32_t rows, columns;

	if (!model_weight(w->m, role, block, &from))
		return;
	rows = write_numbers(w, &from, interleave);
	columns = from.columns;
	for (int part = 1; fused && part < 3; part++) {
		CHECK(model_weight(w->m, role + 2 * part, block, &from));
		rows += write_numbers(w, &from, false);
	}
	if (from.rows == 1)
		make_tensor(&w->directory, name, columns * rows, 0, 0, offset);
	else
		make_tensor(&w->directory, name, columns, rows, 0, offset);
	w->tensors++;
	make_padding(&w->data, 32);
}

static void write_tensors(struct writer *w)
{
	const struct model_config *c = model_config(w->m);
	bool fused_family = c->arch->qkv != QKV_SPLIT;
	char name[64];

	for (size_t i = 0; i < ARRAY_LENGTH(edges); i++)
		if (!(edges[i].role == ROLE_HEAD_W && c->tied))
			write_tensor(w, edges[i].name, edges[i].role, 0, false);
	for (uint32_t b = 0; b < c->blocks; b++)
		for (size_t i = 0; i < ARRAY_LENGTH(block_tensors); i++) {
			enum role role = block_tensors[i].role;
			bool qkv = role >= ROLE_Q_W && role <= ROLE_V_B;
			bool fused = strstr(block_tensors[i].name, "qkv") != NULL;

			if (qkv && fused != fused_family)
				continue;
			snprintf(name, sizeof(name), "blk.%u.%s", b, block_tensors[i].name);
			write_tensor(w, name, role, b, fused);
		}
}

static void key_u32(struct buffer *b, const struct model_config *c, const char *key, uint32_t v)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.%s", c->arch->name, key);
	make_key_u32(b, name, v);
}

static void write_file(const struct model *m, const char *path)
{
	const struct model_config *c = model_config(m);
	struct writer w = { .m = m };
	struct buffer b = { 0 };
	char name[64];
	FILE *out = fopen(path, "wb");

	write_tensors(&w);
	make_header(&b, w.tensors, 9);
	make_key_text(&b, "general.architecture", c->arch->name);
	key_u32(&b, c, "block_count", c->blocks);
	key_u32(&b, c, "embedding_length", c->hidden);
	key_u32(&b, c, "attention.head_count", c->heads);
	key_u32(&b, c, "attention.head_count_kv", c->kv_heads);
	key_u32(&b, c, "feed_forward_length", c->intermediate);
	key_u32(&b, c, "context_length", c->positions);
	key_u32(&b, c, "vocab_size", c->vocabulary);
	snprintf(name, sizeof(name), "%s.attention.layer_norm_%sepsilon", c->arch->name,
		 c->arch->norm == NORM_RMS ? "rms_" : "");
	make_key_f32(&b, name, c->norm_epsilon);
	make_bytes(&b, w.directory.data, w.directory.length);
	make_padding(&b, 32);
	make_bytes(&b, w.data.data, w.data.length);
	CHECK_EQ(buffer_failed(&b), 0);
	CHECK(out != NULL);
	CHECK_EQ(fwrite(b.data, 1, b.length, out), b.length);
	CHECK_EQ(fclose(out), 0);
	buffer_close(&b);
	buffer_close(&w.directory);
	buffer_close(&w.data);
}

static void check_role(const struct model *a, const struct model *b, enum role role, uint32_t block)
{
	struct weight x, y;
	bool has = model_weight(a, role, block, &x);
	float *left, *right;

	CHECK_EQ(has, model_weight(b, role, block, &y));
	if (!has)
		return;
	CHECK_EQ(x.rows, y.rows);
	CHECK_EQ(x.columns, y.columns);
	left = mem_alloc(x.columns * sizeof(*left));
	right = mem_alloc(x.columns * sizeof(*right));
	for (uint32_t r = 0; r < x.rows; r++) {
		weight_row(&x, r, left);
		weight_row(&y, r, right);
		if (memcmp(left, right, x.columns * sizeof(*left)) != 0)
			fail_msg("%s of block %u differs in row %u", role_name(role), block, r);
	}
	mem_free(left);
	mem_free(right);
}

/* Goal: a checkpoint and its GGUF are the same logical rows, bit for bit. */
TEST(model_weight__gguf_is_the_same_model)
{
	static const char *const names[] = {
		"llama-plain", "llama-biases", "llama-gqa-tied", "qwen2", "gpt2", "bloom",
	};

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		char path[] = "/tmp/petals-model-gguf-test-XXXXXX";
		struct model *a, *b;
		struct error e;

		print_message("# %s\n", names[i]);
		CHECK(close(mkstemp(path)) == 0);
		CHECK_OK(model_open(&a, test_data(names[i]), &e), &e);
		write_file(a, path);
		if (strcmp(names[i], "llama-gqa-tied") == 0) {
			/* Its head is not hidden / heads; the file does not say so here. */
			CHECK_OK(model_open(&b, path, &e), &e);
			CHECK(model_check(b, 0, 1, true, &e) < 0);
			CHECK(strstr(e.text, "'blk.0.attn_q.weight' (attention query weight of "
					     "block 0) has shape") != NULL);
		} else {
			CHECK_OK(model_open(&b, path, &e), &e);
			CHECK_OK(model_check(b, 0, model_config(b)->blocks, true, &e), &e);
			for (uint32_t block = 0; block < model_config(a)->blocks; block++)
				for (int r = 0; r < ROLE_COUNT; r++)
					check_role(a, b, r, block);
		}
		model_close(a);
		model_close(b);
		unlink(path);
	}
}
