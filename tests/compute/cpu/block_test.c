/* block_test.c - formats and sizes of a block; what it computes is held against
 * transformers (arch_golden_test.c) and against itself (span_test.c).
 */
#include "compute/cpu/block.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "compute/model/model.h"
#include "compute/reference.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/compute/model/gguf_make.h"
#include "tests/support/rig.h"
#include "tests/test.h"

/* Goal: matrices that share an operand share its kind, and all of them are wanted. */
TEST(block_want__formats)
{
	static const struct {
		const char *checkpoint;
		enum compute_mode mode;
		enum weight_format weights;
		enum panel_format q;
	} cases[] = {
		{ "llama-plain", COMPUTE_F32, WEIGHTS_KEEP, PANEL_F32 },
		{ "llama-plain", COMPUTE_BF16, WEIGHTS_KEEP, PANEL_BF16 },
		{ "llama-plain", COMPUTE_INT8, WEIGHTS_INT8, PANEL_I8 },
		{ "llama-plain", COMPUTE_F32, WEIGHTS_INT4, PANEL_Q4_0 },
		{ "gguf/llama-q4_0.gguf", COMPUTE_INT8, WEIGHTS_KEEP, PANEL_Q4_0 },
		{ "gguf/llama-q8_0.gguf", COMPUTE_INT8, WEIGHTS_KEEP, PANEL_Q8 },
		{ "gguf/llama-q4_1.gguf", COMPUTE_BF16, WEIGHTS_KEEP, PANEL_Q4_1 },
		{ "gguf/llama-f16.gguf", COMPUTE_INT8, WEIGHTS_KEEP, PANEL_BF16 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct error e = { 0 };
		struct block_weights b;
		struct weights *w;
		struct model *m;

		CHECK_OK(model_open(&m, test_data(cases[i].checkpoint), &e), &e);
		CHECK_OK(weights_open(&w, m, BLOCK_ITEMS, &e), &e);
		block_want(w, m, cases[i].mode, cases[i].weights, 0, &b);
		CHECK_EQ(b.q.format, cases[i].q);
		CHECK(b.q.operand == b.k.operand && b.q.operand == b.v.operand);
		CHECK(b.gate.rows > 0 && b.down.rows == model_config(m)->hidden);
		CHECK(block_step_bytes(&b) > 0 && block_step_bytes(&b) <= weights_bytes(w));
		CHECK(block_operand_bytes(&b, 64) > block_operand_bytes(&b, 1));
		weights_close(w);
		model_close(m);
	}
}

/* Goal: attention is cut by run of rows and KV head; single rows by several heads at a time. */
TEST(block_attention_tasks__cover_the_rows)
{
	struct block_shape s = { .kv_heads = 3 };
	struct block_pass p = { .shape = &s, .heads_each = 2 };

	CHECK_EQ(block_attention_tasks(&p, 1), 2);
	CHECK_EQ(block_attention_tasks(&p, 32), 3);
	CHECK_EQ(block_attention_tasks(&p, 33), 6);
	CHECK_EQ(block_attention_tasks(&p, 512), 48);
	p.heads_each = 3;
	CHECK_EQ(block_attention_tasks(&p, 1), 1);
}

/* Goal: a block that no kernel can run is refused by name. */
TEST(block_shape_init__refuses_silu_without_a_gate)
{
	struct error e = { 0 };
	struct model_config c;
	struct block_shape s;
	struct model *m;

	CHECK_OK(model_open(&m, test_data("gpt2"), &e), &e);
	c = *model_config(m);
	CHECK_EQ(block_shape_init(&s, &c, COMPUTE_F32, 16, ROW_F32, &e), 0);
	CHECK_EQ(s.rope_dims, 0);
	c.activation = ACT_SILU;
	CHECK_EQ(block_shape_init(&s, &c, COMPUTE_F32, 16, ROW_F32, &e), -ENOTSUP);
	CHECK(strstr(e.text, "silu") != NULL);
	model_close(m);
}

/* A llama of one block whose matrices are stored in different types, as GGUF numbers them. */
enum { HIDDEN = 64, FFN = 96, VOCABULARY = 32, TOKENS = 20, F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3,
       Q8_0 = 8 };

static const struct { const char *name; uint32_t columns, rows, type; } tensors[] = {
	{ "token_embd.weight", HIDDEN, VOCABULARY, Q8_0 },
	{ "output_norm.weight", HIDDEN, 0, F32 },
	{ "blk.0.attn_norm.weight", HIDDEN, 0, F32 },
	{ "blk.0.attn_q.weight", HIDDEN, HIDDEN, Q8_0 },
	{ "blk.0.attn_k.weight", HIDDEN, HIDDEN / 2, F16 },
	{ "blk.0.attn_v.weight", HIDDEN, HIDDEN / 2, Q8_0 },
	{ "blk.0.attn_output.weight", HIDDEN, HIDDEN, Q4_0 },
	{ "blk.0.ffn_norm.weight", HIDDEN, 0, F32 },
	{ "blk.0.ffn_gate.weight", HIDDEN, FFN, Q4_1 },
	{ "blk.0.ffn_up.weight", HIDDEN, FFN, Q8_0 },
	{ "blk.0.ffn_down.weight", FFN, HIDDEN, Q8_0 },
};

static uint64_t tensor_bytes(size_t i)
{
	uint64_t count = (uint64_t)tensors[i].columns * MAX(tensors[i].rows, 1);

	switch (tensors[i].type) {
	case F32:
		return count * 4;
	case F16:
		return count * 2;
	case Q4_0:
		return count / GROUP * 18;
	case Q4_1:
		return count / GROUP * 20;
	}
	return count / GROUP * 34;
}

/* Random integers under scales that keep rows near one. */
static void make_numbers(struct buffer *b, struct random *r, size_t i)
{
	uint64_t end = b->length + tensor_bytes(i);
	uint32_t type = tensors[i].type;

	while (b->length < end) {
		uint16_t scale = f16_of_f32(type == Q8_0 ? 0.003f : 0.03f);
		uint16_t least = f16_of_f32(-0.2f), half = f16_of_f32((float)random_unit(r) - 0.5f);

		if (type == F32) {
			make_f32(b, 0.5f + (float)random_unit(r));
			continue;
		}
		if (type == F16) {
			make_bytes(b, &half, 2);
			continue;
		}
		make_bytes(b, &scale, 2);
		if (type == Q4_1)
			make_bytes(b, &least, 2);
		for (int n = 0; n < (type == Q8_0 ? 32 : 16); n++)
			make_bytes(b, &(uint8_t){ (uint8_t)random_u64(r) }, 1);
	}
	CHECK_EQ(b->length, end);
}

static void make_mixed(struct buffer *b)
{
	uint64_t offset = 0;
	struct random r;

	random_seed(&r, test_seed());
	make_header(b, ARRAY_LENGTH(tensors), 10);
	make_key_text(b, "general.architecture", "llama");
	make_key_u32(b, "llama.block_count", 1);
	make_key_u32(b, "llama.context_length", 128);
	make_key_u32(b, "llama.embedding_length", HIDDEN);
	make_key_u32(b, "llama.feed_forward_length", FFN);
	make_key_u32(b, "llama.attention.head_count", 4);
	make_key_u32(b, "llama.attention.head_count_kv", 2);
	make_key_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	make_key_f32(b, "llama.rope.freq_base", 10000);
	make_key_u32(b, "llama.vocab_size", VOCABULARY);
	for (size_t i = 0; i < ARRAY_LENGTH(tensors); i++) {
		make_tensor(b, tensors[i].name, tensors[i].columns, tensors[i].rows,
			    tensors[i].type, offset);
		offset += align_up(tensor_bytes(i), 32);
	}
	make_padding(b, 32);
	for (size_t i = 0; i < ARRAY_LENGTH(tensors); i++) {
		make_numbers(b, &r, i);
		make_padding(b, 32);
	}
}

static struct model *open_mixed(void)
{
	char path[] = "/tmp/petals-mixed-XXXXXX.gguf";
	struct buffer b = { 0 };
	struct error e = { 0 };
	struct model *m;
	int fd = mkstemps(path, 5);

	CHECK(fd >= 0);
	make_mixed(&b);
	CHECK_EQ(write(fd, b.data, b.length), b.length);
	close(fd);
	CHECK_OK(model_open(&m, path, &e), &e);
	unlink(path);
	buffer_close(&b);
	return m;
}

/* Goal: a float matrix among quantised ones turns its group's operand to bf16, and only that; the
 * block then gives what the slow twin gives.
 */
TEST(block_want__mixed_types)
{
	struct model *m = open_mixed();
	float states[2][TOKENS * HIDDEN], out[TOKENS * HIDDEN];
	uint32_t tokens[TOKENS];
	double difference = 0, norm = 0;
	struct block_weights b;
	struct rig_sequence s;
	struct rig_options o;
	struct error e = { 0 };
	struct weights *w;
	struct rig r;

	CHECK_OK(weights_open(&w, m, BLOCK_ITEMS, &e), &e);
	block_want(w, m, COMPUTE_INT8, WEIGHTS_KEEP, 0, &b);
	CHECK(b.q.format == PANEL_Q8 && b.k.format == PANEL_BF16 && b.v.format == PANEL_Q8);
	CHECK(b.q.operand == OPERAND_BF16 && b.k.operand == OPERAND_BF16);
	CHECK(b.v.operand == OPERAND_BF16 && b.o.operand == OPERAND_INT8);
	CHECK(b.o.format == PANEL_Q4_0 && b.gate.format == PANEL_Q4_1);
	CHECK(b.up.format == PANEL_Q8 && b.down.format == PANEL_Q8);
	weights_close(w);
	for (uint32_t i = 0; i < TOKENS; i++)
		tokens[i] = i * 5 % VOCABULARY;
	CHECK_OK(reference_run(m, WEIGHTS_KEEP, tokens, TOKENS, ROW_F32, states[0], NULL, &e),
		 &e);
	rig_options_default(&o, m);
	o.compute = COMPUTE_INT8;
	rig_open(&r, &o);
	rig_sequence_open(&r, &s, TOKENS);
	rig_chunks(&r, &s, tokens, TOKENS, 7, out);
	for (uint32_t i = 0; i < TOKENS * HIDDEN; i++) {
		difference += pow((double)out[i] - (double)states[1][i], 2);
		norm += pow((double)states[1][i], 2);
	}
	CHECK(norm > 0);
	CHECK_NEAR(sqrt(difference / norm), 0, 0.03);
	rig_sequence_close(&r, &s);
	rig_close(&r);
	model_close(m);
}
