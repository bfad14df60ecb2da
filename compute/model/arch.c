/* arch.c - the tables: families, their tensors' names, words for the roles.
 *
 * Names are those of the Hugging Face checkpoints and of the published GGUF
 * naming.  A row that shares its names with another family shares the table.
 */
#include "compute/model/arch.h"

#include <string.h>

#define LINEAR(role, text) [role##_W] = text ".weight", [role##_B] = text ".bias"

/* llama; mistral never has biases, its config says so. */
static const struct arch_names llama_hf = {
	.name = {
		[ROLE_EMBED_W] = "embed_tokens.weight",
		[ROLE_FINAL_NORM_W] = "norm.weight",
		[ROLE_HEAD_W] = "lm_head.weight",
		[ROLE_NORM1_W] = "layers.%u.input_layernorm.weight",
		LINEAR(ROLE_Q, "layers.%u.self_attn.q_proj"),
		LINEAR(ROLE_K, "layers.%u.self_attn.k_proj"),
		LINEAR(ROLE_V, "layers.%u.self_attn.v_proj"),
		LINEAR(ROLE_O, "layers.%u.self_attn.o_proj"),
		[ROLE_NORM2_W] = "layers.%u.post_attention_layernorm.weight",
		LINEAR(ROLE_GATE, "layers.%u.mlp.gate_proj"),
		LINEAR(ROLE_UP, "layers.%u.mlp.up_proj"),
		LINEAR(ROLE_DOWN, "layers.%u.mlp.down_proj"),
	},
	.prefixes = { "model.", "" },
};

/* Biases on q, k and v and nowhere else. */
static const struct arch_names qwen2_hf = {
	.name = {
		[ROLE_EMBED_W] = "embed_tokens.weight",
		[ROLE_FINAL_NORM_W] = "norm.weight",
		[ROLE_HEAD_W] = "lm_head.weight",
		[ROLE_NORM1_W] = "layers.%u.input_layernorm.weight",
		LINEAR(ROLE_Q, "layers.%u.self_attn.q_proj"),
		LINEAR(ROLE_K, "layers.%u.self_attn.k_proj"),
		LINEAR(ROLE_V, "layers.%u.self_attn.v_proj"),
		[ROLE_O_W] = "layers.%u.self_attn.o_proj.weight",
		[ROLE_NORM2_W] = "layers.%u.post_attention_layernorm.weight",
		[ROLE_GATE_W] = "layers.%u.mlp.gate_proj.weight",
		[ROLE_UP_W] = "layers.%u.mlp.up_proj.weight",
		[ROLE_DOWN_W] = "layers.%u.mlp.down_proj.weight",
	},
	.prefixes = { "model.", "" },
};

static const struct arch_names gpt2_hf = {
	.name = {
		[ROLE_EMBED_W] = "wte.weight",
		[ROLE_POSITION_W] = "wpe.weight",
		LINEAR(ROLE_FINAL_NORM, "ln_f"),
		[ROLE_HEAD_W] = "lm_head.weight",
		LINEAR(ROLE_NORM1, "h.%u.ln_1"),
		LINEAR(ROLE_O, "h.%u.attn.c_proj"),
		LINEAR(ROLE_NORM2, "h.%u.ln_2"),
		LINEAR(ROLE_UP, "h.%u.mlp.c_fc"),
		LINEAR(ROLE_DOWN, "h.%u.mlp.c_proj"),
	},
	.qkv_w = "h.%u.attn.c_attn.weight",
	.qkv_b = "h.%u.attn.c_attn.bias",
	.prefixes = { "transformer.", "" },
};

static const struct arch_names bloom_hf = {
	.name = {
		[ROLE_EMBED_W] = "word_embeddings.weight",
		LINEAR(ROLE_EMBED_NORM, "word_embeddings_layernorm"),
		LINEAR(ROLE_FINAL_NORM, "ln_f"),
		[ROLE_HEAD_W] = "lm_head.weight",
		LINEAR(ROLE_NORM1, "h.%u.input_layernorm"),
		LINEAR(ROLE_O, "h.%u.self_attention.dense"),
		LINEAR(ROLE_NORM2, "h.%u.post_attention_layernorm"),
		LINEAR(ROLE_UP, "h.%u.mlp.dense_h_to_4h"),
		LINEAR(ROLE_DOWN, "h.%u.mlp.dense_4h_to_h"),
	},
	.qkv_w = "h.%u.self_attention.query_key_value.weight",
	.qkv_b = "h.%u.self_attention.query_key_value.bias",
	.prefixes = { "transformer.", "" },
};

static const struct arch_names opt_hf = {
	.name = {
		[ROLE_EMBED_W] = "embed_tokens.weight",
		[ROLE_POSITION_W] = "embed_positions.weight",
		[ROLE_PROJECT_IN_W] = "project_in.weight",
		[ROLE_PROJECT_OUT_W] = "project_out.weight",
		LINEAR(ROLE_FINAL_NORM, "final_layer_norm"),
		[ROLE_HEAD_W] = "lm_head.weight",
		LINEAR(ROLE_NORM1, "layers.%u.self_attn_layer_norm"),
		LINEAR(ROLE_Q, "layers.%u.self_attn.q_proj"),
		LINEAR(ROLE_K, "layers.%u.self_attn.k_proj"),
		LINEAR(ROLE_V, "layers.%u.self_attn.v_proj"),
		LINEAR(ROLE_O, "layers.%u.self_attn.out_proj"),
		LINEAR(ROLE_NORM2, "layers.%u.final_layer_norm"),
		LINEAR(ROLE_UP, "layers.%u.fc1"),
		LINEAR(ROLE_DOWN, "layers.%u.fc2"),
	},
	.prefixes = { "model.decoder.", "decoder.", "" },
};

/* GGUF names a role alike in every family; fused families differ in qkv. */
#define GGUF_COMMON                                        \
	[ROLE_EMBED_W] = "token_embd.weight",              \
	LINEAR(ROLE_FINAL_NORM, "output_norm"),            \
	[ROLE_HEAD_W] = "output.weight",                   \
	LINEAR(ROLE_NORM1, "blk.%u.attn_norm"),            \
	LINEAR(ROLE_O, "blk.%u.attn_output"),              \
	LINEAR(ROLE_NORM2, "blk.%u.ffn_norm"),             \
	LINEAR(ROLE_UP, "blk.%u.ffn_up"),                  \
	LINEAR(ROLE_DOWN, "blk.%u.ffn_down")

static const struct arch_names split_gguf = {
	.name = {
		GGUF_COMMON,
		LINEAR(ROLE_GATE, "blk.%u.ffn_gate"),
		LINEAR(ROLE_Q, "blk.%u.attn_q"),
		LINEAR(ROLE_K, "blk.%u.attn_k"),
		LINEAR(ROLE_V, "blk.%u.attn_v"),
	},
	.prefixes = { "" },
};

static const struct arch_names qwen2_gguf = {
	.name = {
		[ROLE_EMBED_W] = "token_embd.weight",
		[ROLE_FINAL_NORM_W] = "output_norm.weight",
		[ROLE_HEAD_W] = "output.weight",
		[ROLE_NORM1_W] = "blk.%u.attn_norm.weight",
		LINEAR(ROLE_Q, "blk.%u.attn_q"),
		LINEAR(ROLE_K, "blk.%u.attn_k"),
		LINEAR(ROLE_V, "blk.%u.attn_v"),
		[ROLE_O_W] = "blk.%u.attn_output.weight",
		[ROLE_NORM2_W] = "blk.%u.ffn_norm.weight",
		[ROLE_GATE_W] = "blk.%u.ffn_gate.weight",
		[ROLE_UP_W] = "blk.%u.ffn_up.weight",
		[ROLE_DOWN_W] = "blk.%u.ffn_down.weight",
	},
	.prefixes = { "" },
};

static const struct arch_names fused_gguf = {
	.name = {
		GGUF_COMMON,
		[ROLE_POSITION_W] = "position_embd.weight",
		LINEAR(ROLE_EMBED_NORM, "token_embd_norm"),
	},
	.qkv_w = "blk.%u.attn_qkv.weight",
	.qkv_b = "blk.%u.attn_qkv.bias",
	.prefixes = { "" },
};

/* Mistral's GGUF files say "llama"; the format has no OPT. */
const struct arch archs[] = {
	{
		.name = "llama", .gguf_name = "llama",
		.norm = NORM_RMS, .gated_mlp = true, .position = POSITION_ROPE,
		.qkv = QKV_SPLIT, .gguf_permuted = true, .activation = ACT_SILU,
		.hf = &llama_hf, .gguf = &split_gguf,
	},
	{
		.name = "mistral",
		.norm = NORM_RMS, .gated_mlp = true, .position = POSITION_ROPE,
		.qkv = QKV_SPLIT, .activation = ACT_SILU,
		.hf = &llama_hf,
	},
	{
		.name = "qwen2", .gguf_name = "qwen2",
		.norm = NORM_RMS, .gated_mlp = true, .position = POSITION_ROPE,
		.qkv = QKV_SPLIT, .activation = ACT_SILU,
		.hf = &qwen2_hf, .gguf = &qwen2_gguf,
	},
	{
		.name = "gpt2", .gguf_name = "gpt2",
		.norm = NORM_LAYER, .position = POSITION_LEARNED,
		.qkv = QKV_CONCAT, .transposed = true, .activation = ACT_GELU_TANH,
		.hf = &gpt2_hf, .gguf = &fused_gguf,
	},
	{
		.name = "bloom", .gguf_name = "bloom",
		.norm = NORM_LAYER, .position = POSITION_ALIBI, .embed_norm = true,
		.qkv = QKV_PER_HEAD, .activation = ACT_GELU_TANH,
		.hf = &bloom_hf, .gguf = &fused_gguf,
	},
	{
		.name = "opt",
		.norm = NORM_LAYER, .position = POSITION_LEARNED, .position_offset = 2,
		.qkv = QKV_SPLIT, .activation = ACT_RELU,
		.hf = &opt_hf,
	},
};
const uint32_t arch_count = ARRAY_LENGTH(archs);

const struct arch *arch_by_name(const char *model_type)
{
	for (uint32_t i = 0; i < arch_count; i++)
		if (strcmp(archs[i].name, model_type) == 0)
			return &archs[i];
	return NULL;
}

const struct arch *arch_by_gguf_name(const char *name)
{
	for (uint32_t i = 0; i < arch_count; i++)
		if (archs[i].gguf_name && strcmp(archs[i].gguf_name, name) == 0)
			return &archs[i];
	return NULL;
}

/* Spelled out, not built, so that it needs no memory; arch_test.c holds it
 * against the table.
 */
const char *arch_list(void)
{
	return "llama, mistral, qwen2, gpt2, bloom, opt";
}

const char *arch_gguf_list(void)
{
	return "llama (also mistral), qwen2, gpt2, bloom";
}

static const char *const role_names[ROLE_COUNT] = {
	[ROLE_EMBED_W] = "embedding",
	[ROLE_EMBED_NORM_W] = "embedding norm weight",
	[ROLE_EMBED_NORM_B] = "embedding norm bias",
	[ROLE_POSITION_W] = "position embedding",
	[ROLE_PROJECT_IN_W] = "projection from the embedding",
	[ROLE_PROJECT_OUT_W] = "projection to the embedding",
	[ROLE_FINAL_NORM_W] = "final norm weight",
	[ROLE_FINAL_NORM_B] = "final norm bias",
	[ROLE_HEAD_W] = "head",
	[ROLE_NORM1_W] = "attention norm weight",
	[ROLE_NORM1_B] = "attention norm bias",
	[ROLE_Q_W] = "attention query weight",
	[ROLE_Q_B] = "attention query bias",
	[ROLE_K_W] = "attention key weight",
	[ROLE_K_B] = "attention key bias",
	[ROLE_V_W] = "attention value weight",
	[ROLE_V_B] = "attention value bias",
	[ROLE_O_W] = "attention output weight",
	[ROLE_O_B] = "attention output bias",
	[ROLE_NORM2_W] = "MLP norm weight",
	[ROLE_NORM2_B] = "MLP norm bias",
	[ROLE_GATE_W] = "MLP gate weight",
	[ROLE_GATE_B] = "MLP gate bias",
	[ROLE_UP_W] = "MLP up weight",
	[ROLE_UP_B] = "MLP up bias",
	[ROLE_DOWN_W] = "MLP down weight",
	[ROLE_DOWN_B] = "MLP down bias",
};

const char *role_name(enum role r)
{
	assert(r < ROLE_COUNT);
	return role_names[r];
}
