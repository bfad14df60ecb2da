/* config_fuzz.c - any text as config.json and, behind a NUL, as
 * generation_config.json: refused with a sentence, or a config that keeps the
 * promises the rest of the product builds on.
 */
#include <math.h>
#include <stdlib.h>

#include "compute/model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

static void check(bool promise)
{
	if (!promise)
		abort();
}

static void check_config(const struct model_config *c)
{
	static float out[CONFIG_HEADS_MAX];

	check(c->arch && c->name[0]);
	check(c->blocks >= 1 && c->blocks <= CONFIG_BLOCKS_MAX);
	check(c->hidden >= 1 && c->hidden <= CONFIG_HIDDEN_MAX);
	check(c->heads >= 1 && c->heads <= CONFIG_HEADS_MAX);
	check(c->kv_heads >= 1 && c->heads % c->kv_heads == 0);
	check(c->head_dim >= 1 && c->head_dim <= CONFIG_HEAD_DIM_MAX);
	check(c->intermediate >= 1 && c->embed >= 1 && c->positions >= 1 && c->vocabulary >= 1);
	check(c->norm_epsilon > 0 && c->norm_epsilon <= 0.1f);
	check(c->eos_count <= CONFIG_EOS_MAX && c->bos < (int64_t)c->vocabulary);
	for (uint32_t i = 0; i < c->eos_count; i++)
		check(c->eos[i] >= 0 && c->eos[i] < (int64_t)c->vocabulary);
	if (c->arch->position == POSITION_ROPE) {
		check(c->rope.dims >= 2 && c->rope.dims % 2 == 0 && c->rope.dims <= c->head_dim);
		rope_frequencies(&c->rope, out);
		for (uint32_t i = 0; i < c->rope.dims / 2; i++)
			check(isfinite(out[i]) && out[i] >= 0);
	}
	alibi_slopes(c->heads, out);
	check(out[0] > 0 && out[0] < 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *json = (const char *)data, *more = size ? memchr(json, '\0', size) : NULL;
	size_t bytes = more ? (size_t)(more - json) : size;
	struct error e = { 0 };
	struct model_config c;

	if (config_from_json(&c, json, bytes, more ? more + 1 : NULL, more ? size - bytes - 1 : 0,
			     &e) == 0)
		check_config(&c);
	else
		check(e.text[0] && e.code < 0);
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	static const char *const seeds[] = {
		"{\"model_type\":\"llama\",\"num_hidden_layers\":2,\"hidden_size\":64,"
		"\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,"
		"\"intermediate_size\":96,\"vocab_size\":100,\"max_position_embeddings\":512,"
		"\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,"
		"\"attention_bias\":false,\"mlp_bias\":true,\"rope_theta\":5e5,\"rope_scaling\":"
		"{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
		"\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}}",
		"{\"model_type\":\"mistral\",\"num_hidden_layers\":2,\"hidden_size\":64,"
		"\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":96,"
		"\"vocab_size\":100,\"max_position_embeddings\":512,\"sliding_window\":7,"
		"\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":\"linear\",\"factor\":2}}",
		"{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"hidden_size\":64,"
		"\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":96,"
		"\"vocab_size\":100,\"max_position_embeddings\":512,\"sliding_window\":7,"
		"\"use_sliding_window\":true,\"max_window_layers\":0,\"layer_types\":"
		"[\"sliding_attention\",\"sliding_attention\"],\"eos_token_id\":[1,2]}",
		"{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_embd\":64,\"n_head\":4,"
		"\"n_inner\":null,\"vocab_size\":100,\"n_positions\":32,"
		"\"activation_function\":\"gelu_new\",\"scale_attn_weights\":true,"
		"\"layer_norm_epsilon\":1e-5}",
		"{\"model_type\":\"bloom\",\"n_layer\":2,\"hidden_size\":48,\"n_head\":6,"
		"\"vocab_size\":100,\"seq_length\":99}",
		"{\"model_type\":\"opt\",\"num_hidden_layers\":2,\"hidden_size\":64,"
		"\"num_attention_heads\":4,\"ffn_dim\":96,\"vocab_size\":100,"
		"\"max_position_embeddings\":32,\"do_layer_norm_before\":false,"
		"\"word_embed_proj_dim\":16,\"_remove_final_layer_norm\":false}",
	};
	static const char generation[] = "{\"bos_token_id\":1,\"eos_token_id\":[2,3]}";
	size_t bytes;

	if (index >= ARRAY_LENGTH(seeds))
		return 0;
	bytes = strlen(seeds[index]);
	if (bytes + 1 + sizeof(generation) > capacity)
		return 0;
	memcpy(out, seeds[index], bytes);
	out[bytes++] = '\0';
	memcpy(out + bytes, generation, sizeof(generation) - 1);
	return bytes + sizeof(generation) - 1;
}
