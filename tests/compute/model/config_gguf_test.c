/* config_gguf_test.c - a config from GGUF metadata: read, implied, refused. */
#include "tests/test.h"

#include <errno.h>
#include <math.h>

#include "compute/model/config.h"
#include "tests/compute/model/gguf_make.h"

/* A llama's keys, one of which may be left out, and what extra() adds. */
static void make_keys(struct buffer *b, const char *without, uint64_t tensors, uint64_t extra)
{
	static const struct { const char *key; uint32_t value; } keys[] = {
		{ "llama.block_count", 2 },        { "llama.embedding_length", 64 },
		{ "llama.attention.head_count", 4 }, { "llama.attention.head_count_kv", 2 },
		{ "llama.feed_forward_length", 96 }, { "llama.context_length", 512 },
		{ "llama.vocab_size", 100 },
	};
	uint64_t count = ARRAY_LENGTH(keys) + 2 - (without != NULL);

	make_header(b, tensors, count + extra);
	make_key_text(b, "general.architecture", "llama");
	if (!without || strcmp(without, "epsilon") != 0)
		make_key_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	for (size_t i = 0; i < ARRAY_LENGTH(keys); i++)
		if (!without || strcmp(without, keys[i].key) != 0)
			make_key_u32(b, keys[i].key, keys[i].value);
}

static int read_buffer(struct model_config *c, struct buffer *b, struct error *e)
{
	struct gguf *g;
	int rc;

	*e = (struct error){ 0 };
	CHECK_OK(gguf_open_bytes(&g, (const uint8_t *)b->data, b->length, e), e);
	rc = config_from_gguf(c, g, e);
	gguf_close(g);
	buffer_clear(b);
	return rc;
}

static void check_refused(struct buffer *b, int code, const char *words)
{
	struct model_config c;
	struct error e;
	int rc = read_buffer(&c, b, &e);

	if (rc != code || !strstr(e.text, words))
		fail_msg("%d, '%s'; expected %d, '...%s...'", rc, e.text, code, words);
	CHECK(c.arch == NULL);
}

/* Goal: keys become the config; ties and biases are seen from the tensors. */
TEST(config_from_gguf__llama)
{
	struct buffer b = { 0 };
	struct model_config c;
	struct error e;

	make_keys(&b, NULL, 0, 6);
	make_key_text(&b, "general.name", "A Model");
	make_key_f32(&b, "llama.rope.freq_base", 1e6f);
	make_key_u32(&b, "tokenizer.ggml.bos_token_id", 1);
	make_key_u32(&b, "tokenizer.ggml.eos_token_id", 2);
	make_key_u32(&b, "tokenizer.ggml.eot_token_id", 5);
	make_key_bool(&b, "tokenizer.ggml.add_bos_token", true);
	CHECK_OK(read_buffer(&c, &b, &e), &e);
	CHECK_TEXT(c.arch->name, "llama");
	CHECK_TEXT(c.name, "A Model");
	CHECK_EQ(c.blocks, 2);
	CHECK_EQ(c.hidden, 64);
	CHECK_EQ(c.kv_heads, 2);
	CHECK_EQ(c.head_dim, 16);
	CHECK_EQ(c.vocabulary, 100);
	CHECK_EQ(c.positions, 512);
	CHECK(c.rope.theta == 1e6f && c.rope.scaling == ROPE_PLAIN);
	CHECK(c.norm_epsilon == 1e-5f);
	CHECK(c.tied && !c.attention_bias && !c.mlp_bias);
	CHECK_EQ(c.bos, 1);
	CHECK(c.add_bos);
	CHECK_EQ(c.eos_count, 2);
	CHECK_EQ(c.eos[1], 5);
	make_keys(&b, NULL, 2, 3);
	make_key_u32(&b, "llama.attention.key_length", 32);
	make_key_u32(&b, "llama.attention.value_length", 32);
	make_key_u32(&b, "llama.attention.sliding_window", 0);
	make_tensor(&b, "output.weight", 4, 0, 0, 0);
	make_tensor(&b, "blk.0.attn_q.bias", 4, 0, 0, 32);
	make_padding(&b, 32);
	make_padding(&b, 64);
	for (int i = 0; i < 64; i++)
		make_bytes(&b, "", 1);
	CHECK_OK(read_buffer(&c, &b, &e), &e);
	CHECK(!c.tied && c.attention_bias);
	CHECK_EQ(c.head_dim, 32);
	CHECK_EQ(c.window, 0);
	buffer_close(&b);
}

/* Goal: the vocabulary's size is found where there is no key for it. */
TEST(config_from_gguf__vocabulary)
{
	struct buffer b = { 0 };
	struct model_config c;
	struct error e;

	make_keys(&b, "llama.vocab_size", 0, 3);
	make_array(&b, "tokenizer.ggml.tokens", MAKE_TEXT, 2);
	make_text(&b, "a");
	make_text(&b, "b");
	make_key_text(&b, "tokenizer.ggml.model", "llama");
	make_key_u32(&b, "tokenizer.ggml.bos_token_id", 1);
	CHECK_OK(read_buffer(&c, &b, &e), &e);
	CHECK_EQ(c.vocabulary, 2);
	CHECK(c.add_bos);       /* SentencePiece's silence */
	make_keys(&b, "llama.vocab_size", 0, 0);
	check_refused(&b, -EINVAL, "nothing says how large the vocabulary is");
	buffer_close(&b);
}

/* Goal: rotary scaling in its three forms, and the refusal of others. */
TEST(config_from_gguf__rope)
{
	struct buffer b = { 0 };
	struct model_config c;
	struct error e;

	make_keys(&b, NULL, 0, 3);
	make_key_text(&b, "llama.rope.scaling.type", "linear");
	make_key_f32(&b, "llama.rope.scaling.factor", 4);
	make_key_u32(&b, "llama.rope.dimension_count", 16);
	CHECK_OK(read_buffer(&c, &b, &e), &e);
	CHECK(c.rope.scaling == ROPE_LINEAR && c.rope.factor == 4);
	make_keys(&b, NULL, 0, 1);
	make_key_f32(&b, "llama.rope.scale_linear", 2);
	CHECK_OK(read_buffer(&c, &b, &e), &e);
	CHECK(c.rope.scaling == ROPE_LINEAR && c.rope.factor == 2);
	make_keys(&b, NULL, 0, 2);
	make_key_text(&b, "llama.rope.scaling.type", "none");
	make_key_f32(&b, "llama.rope.scaling.factor", 4);
	CHECK_OK(read_buffer(&c, &b, &e), &e);
	CHECK_EQ(c.rope.scaling, ROPE_PLAIN);
	make_keys(&b, NULL, 0, 1);
	make_key_text(&b, "llama.rope.scaling.type", "yarn");
	check_refused(&b, -ENOTSUP, "llama.rope.scaling.type is 'yarn', accepted are none, linear");
	make_keys(&b, NULL, 0, 1);
	make_key_f32(&b, "llama.rope.scaling.factor", NAN);
	check_refused(&b, -EINVAL, "llama.rope.scaling.factor is nan");
	make_keys(&b, NULL, 0, 1);
	make_key_u32(&b, "llama.rope.dimension_count", 8);
	check_refused(&b, -ENOTSUP,
		      "llama.rope.dimension_count is 8, accepted is the head's size, 16");
	for (int bad = 0; bad < 3; bad++) {
		make_keys(&b, NULL, 1, 0);
		make_tensor(&b, "rope_freqs.weight", bad == 1 ? 7 : 8, 0, 0, 0);
		make_padding(&b, 32);
		for (int i = 0; i < 8; i++)
			make_f32(&b, bad == 2 ? -1 : (float)(1 + i));
		if (bad == 1)
			check_refused(&b, -EINVAL,
				      "rope_freqs.weight is f32 (7), expected f32 (8)");
		else if (bad == 2)
			check_refused(&b, -EINVAL, "rope_freqs.weight[0] is -1");
		else
			CHECK_OK(read_buffer(&c, &b, &e), &e);
		if (!bad)
			CHECK(c.rope.scaling == ROPE_DIVISORS && c.rope.divisors[7] == 8);
	}
	buffer_close(&b);
}

/* Goal: what is missing, of another kind, absurd or unknown is named. */
TEST(config_from_gguf__refusals)
{
	static const char *const needed[] = {
		"llama.block_count", "llama.embedding_length", "llama.attention.head_count",
		"llama.feed_forward_length", "llama.context_length",
	};
	struct buffer b = { 0 };

	for (size_t i = 0; i < ARRAY_LENGTH(needed); i++) {
		make_keys(&b, needed[i], 0, 0);
		check_refused(&b, -EINVAL, needed[i]);
	}
	make_keys(&b, "epsilon", 0, 0);
	check_refused(&b, -EINVAL, "llama.attention.layer_norm_rms_epsilon is missing");
	make_header(&b, 0, 0);
	check_refused(&b, -EINVAL, "general.architecture is missing");
	make_header(&b, 0, 1);
	make_key_text(&b, "general.architecture", "mamba");
	check_refused(&b, -ENOTSUP, "general.architecture is 'mamba', accepted are llama (also "
				    "mistral), qwen2, gpt2, bloom");
	make_keys(&b, "llama.attention.head_count_kv", 0, 1);
	make_array(&b, "llama.attention.head_count_kv", MAKE_U32, 1);
	make_u32(&b, 2);
	check_refused(&b, -EINVAL, "head_count_kv is not an integer of 64 bits but an array");
	make_keys(&b, "llama.attention.head_count_kv", 0, 1);
	make_key_u32(&b, "llama.attention.head_count_kv", 3);
	check_refused(&b, -EINVAL, "4 attention heads cannot share 3");
	make_keys(&b, "llama.block_count", 0, 1);
	make_key_u32(&b, "llama.block_count", 4000000000u);
	check_refused(&b, -EINVAL, "llama.block_count is 4000000000, expected 1 to 1024");
	make_keys(&b, "epsilon", 0, 1);
	make_key_f32(&b, "llama.attention.layer_norm_rms_epsilon", NAN);
	check_refused(&b, -EINVAL, "layer_norm_rms_epsilon is nan, expected 1e-12 to 0.1");
	make_keys(&b, NULL, 0, 1);
	make_key_u32(&b, "llama.expert_count", 8);
	check_refused(&b, -ENOTSUP, "llama.expert_count is 8");
	make_keys(&b, NULL, 0, 1);
	make_key_u32(&b, "split.count", 3);
	check_refused(&b, -ENOTSUP, "is one of 3 parts");
	buffer_close(&b);
}
