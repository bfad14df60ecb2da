/* config_test.c - config.json of every family: what is read, what is implied,
 * and what is refused with which words.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include "compute/model/config.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

#define LLAMA                                                                    \
	"\"model_type\":\"llama\",\"num_hidden_layers\":2,\"hidden_size\":64,"   \
	"\"num_attention_heads\":4,\"intermediate_size\":96,\"vocab_size\":100," \
	"\"max_position_embeddings\":512"
#define MISTRAL                                                                  \
	"\"model_type\":\"mistral\",\"num_hidden_layers\":2,\"hidden_size\":64," \
	"\"num_attention_heads\":4,\"num_key_value_heads\":2,"                   \
	"\"intermediate_size\":96,\"vocab_size\":100,\"max_position_embeddings\":512"
#define QWEN2                                                                    \
	"\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"hidden_size\":64,"   \
	"\"num_attention_heads\":4,\"num_key_value_heads\":2,"                   \
	"\"intermediate_size\":96,\"vocab_size\":100,\"max_position_embeddings\":512"
#define GPT2                                                                     \
	"\"model_type\":\"gpt2\",\"n_layer\":2,\"n_embd\":64,\"n_head\":4,"      \
	"\"vocab_size\":100,\"n_positions\":32"
#define BLOOM                                                                    \
	"\"model_type\":\"bloom\",\"n_layer\":2,\"hidden_size\":48,\"n_head\":6,\"vocab_size\":100"
#define OPT                                                                      \
	"\"model_type\":\"opt\",\"num_hidden_layers\":2,\"hidden_size\":64,"     \
	"\"num_attention_heads\":4,\"ffn_dim\":96,\"vocab_size\":100,"           \
	"\"max_position_embeddings\":32"

static int read_json(struct model_config *c, const char *json, struct error *e)
{
	*e = (struct error){ 0 };
	return config_from_json(c, json, strlen(json), NULL, 0, e);
}

static struct model_config accepted(const char *json)
{
	struct model_config c;
	struct error e;

	CHECK_OK(read_json(&c, json, &e), &e);
	return c;
}

/* Goal: what llama's config leaves out is implied as transformers does. */
TEST(config_from_json__llama)
{
	struct model_config c = accepted("{" LLAMA "}");

	CHECK_TEXT(c.arch->name, "llama");
	CHECK_EQ(c.kv_heads, 4);
	CHECK_EQ(c.head_dim, 16);
	CHECK_EQ(c.embed, 64);
	CHECK_EQ(c.window, 0);
	CHECK(c.rope.theta == 10000 && c.rope.scaling == ROPE_PLAIN);
	CHECK_EQ(c.rope.dims, 16);
	CHECK(!c.tied && !c.attention_bias && !c.mlp_bias && c.final_norm);
	CHECK(c.norm_epsilon == 1e-6f && c.embed_scale == 1);
	CHECK_EQ(c.bos, -1);
	CHECK_EQ(c.eos_count, 0);
	CHECK_TEXT(c.name, "llama");
	c = accepted("{" LLAMA ",\"num_key_value_heads\":2,\"head_dim\":32,\"rms_norm_eps\":1e-5,"
		     "\"tie_word_embeddings\":true,\"attention_bias\":true,\"mlp_bias\":true,"
		     "\"hidden_act\":\"gelu\",\"_name_or_path\":\"some/one\",\"bos_token_id\":1,"
		     "\"eos_token_id\":[2,3,2,-1,100],\"torch_dtype\":\"float64\",\"dtype\":7,"
		     "\"sliding_window\":9,"
		     "\"layer_types\":[\"full_attention\",\"full_attention\"]}");
	CHECK_EQ(c.kv_heads, 2);
	CHECK_EQ(c.head_dim, 32);
	CHECK_EQ(c.rope.dims, 32);
	CHECK(c.tied && c.attention_bias && c.mlp_bias);
	CHECK_EQ(c.activation, ACT_GELU_ERF);
	CHECK_TEXT(c.name, "one");
	CHECK_EQ(c.bos, 1);
	CHECK_EQ(c.eos_count, 2);               /* ids outside the vocabulary cannot come */
	CHECK_EQ(c.eos[1], 3);
	CHECK_EQ(c.window, 0);
	c = accepted("{" LLAMA ",\"num_key_value_heads\":null,\"rope_scaling\":null}");
	CHECK_EQ(c.kv_heads, 4);
}

/* Goal: the other families' own keys and what they imply. */
TEST(config_from_json__other_families)
{
	struct model_config c = accepted("{" GPT2 ",\"n_inner\":null,\"bos_token_id\":50256}");

	CHECK_EQ(c.intermediate, 256);
	CHECK_EQ(c.positions, 32);
	CHECK_EQ(c.activation, ACT_GELU_TANH);
	CHECK(c.tied && c.attention_bias && c.mlp_bias);
	CHECK_EQ(c.bos, -1);
	c = accepted("{" GPT2 ",\"n_inner\":80,\"activation_function\":\"relu\"}");
	CHECK_EQ(c.intermediate, 80);
	CHECK_EQ(c.activation, ACT_RELU);
	c = accepted("{" BLOOM "}");
	CHECK_EQ(c.intermediate, 192);
	CHECK_EQ(c.head_dim, 8);
	CHECK_EQ(c.positions, 2048);
	CHECK(c.norm_epsilon == 1e-5f && c.tied);
	c = accepted("{\"model_type\":\"bloom\",\"n_layer\":2,\"n_embed\":48,\"vocab_size\":100,"
		     "\"num_attention_heads\":6,\"seq_length\":99}");
	CHECK_EQ(c.hidden, 48);
	CHECK_EQ(c.positions, 99);
	c = accepted("{" OPT "}");
	CHECK(c.final_norm && c.norm_place == NORM_BEFORE && c.embed == 64 && c.tied);
	CHECK_EQ(c.activation, ACT_RELU);
	c = accepted("{" OPT ",\"do_layer_norm_before\":false,\"word_embed_proj_dim\":16}");
	CHECK(!c.final_norm && c.norm_place == NORM_AFTER && c.embed == 16);
	c = accepted("{" OPT ",\"_remove_final_layer_norm\":true,\"enable_bias\":false}");
	CHECK(!c.final_norm && c.norm_place == NORM_BEFORE && !c.attention_bias && !c.mlp_bias);
}

/* Goal: windows as each family means them. */
TEST(config_from_json__windows)
{
	struct model_config c = accepted("{" MISTRAL "}");

	CHECK_EQ(c.window, 4096);               /* the family's default */
	c = accepted("{" MISTRAL ",\"sliding_window\":null}");
	CHECK_EQ(c.window, 0);
	c = accepted("{" MISTRAL ",\"sliding_window\":7}");
	CHECK_EQ(c.window, 7);
	c = accepted("{" QWEN2 ",\"sliding_window\":7}");
	CHECK_EQ(c.window, 0);
	CHECK(c.attention_bias && !c.mlp_bias);
	c = accepted("{" QWEN2 ",\"sliding_window\":7,\"use_sliding_window\":true}");
	CHECK_EQ(c.window, 0);                  /* the first 28 blocks never slide */
	c = accepted("{" QWEN2 ",\"sliding_window\":7,\"use_sliding_window\":true,"
		     "\"max_window_layers\":0}");
	CHECK_EQ(c.window, 7);
	c = accepted("{" QWEN2 ",\"sliding_window\":7,\"use_sliding_window\":true,"
		     "\"layer_types\":[\"sliding_attention\",\"sliding_attention\"]}");
	CHECK_EQ(c.window, 7);
}

struct refusal {
	const char *json;
	int code;
	const char *words;
};

static void check_refusals(const struct refusal *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct model_config c;
		struct error e;
		int rc = read_json(&c, cases[i].json, &e);

		if (rc != cases[i].code || !strstr(e.text, cases[i].words))
			fail_msg("%s: %d, '%s'; expected %d, '...%s...'", cases[i].json, rc, e.text,
				 cases[i].code, cases[i].words);
		CHECK(c.arch == NULL);
	}
}

/* Goal: a value that is missing, of another kind or absurd is refused by name. */
TEST(config_from_json__refuses_values)
{
	static const struct refusal cases[] = {
		{ "", -EINVAL, "config.json, line 1, column 0" },
		{ "[]", -EINVAL, "config.json: is no JSON object" },
		{ "{}", -EINVAL, "model_type is missing, accepted are llama" },
		{ "{\"model_type\":\"mamba\"}", -ENOTSUP, "model_type is 'mamba', accepted are "
		  "llama, mistral, qwen2, gpt2, bloom, opt" },
		{ "{\"model_type\":3}", -EINVAL, "model_type is 3, expected a text" },
		{ "{\"model_type\":\"llama\",\"model_type\":\"llama\"}", -EINVAL, "duplicate" },
		{ "{\"model_type\":\"llama\"}", -EINVAL,
		  "num_hidden_layers is missing, llama needs" },
		{ "{" MISTRAL ",\"head_dim\":0}", -EINVAL, "head_dim is 0, expected 1 to 1024" },
		{ "{" LLAMA ",\"num_key_value_heads\":-1}", -EINVAL, "num_key_value_heads is -1" },
		{ "{" LLAMA ",\"num_key_value_heads\":3}", -EINVAL,
		  "4 attention heads cannot share 3" },
		{ "{" LLAMA ",\"num_key_value_heads\":8}", -EINVAL,
		  "4 attention heads cannot share 8" },
		{ "{" LLAMA ",\"num_key_value_heads\":2.0}", -EINVAL,
		  "is 2.0, expected an integer" },
		{ "{" LLAMA ",\"head_dim\":15}", -EINVAL, "head size 15 is odd" },
		{ "{" LLAMA ",\"head_dim\":1000000}", -EINVAL, "head_dim is 1000000" },
		{ "{" LLAMA ",\"rms_norm_eps\":0}", -EINVAL, "rms_norm_eps is 0, expected 1e-12" },
		{ "{" LLAMA ",\"rms_norm_eps\":-1e-5}", -EINVAL, "rms_norm_eps is -1e-05" },
		{ "{" LLAMA ",\"rms_norm_eps\":NaN}", -EINVAL, "line 1" },
		{ "{" LLAMA ",\"rms_norm_eps\":1e999}", -EINVAL, "real number overflow" },
		{ "{" LLAMA ",\"hidden_act\":\"mish\"}", -ENOTSUP,
		  "hidden_act is \"mish\", expected silu" },
		{ "{" LLAMA ",\"attention_bias\":1}", -EINVAL,
		  "attention_bias is 1, expected true" },
		{ "{" LLAMA ",\"tie_word_embeddings\":\"yes\"}", -EINVAL,
		  "tie_word_embeddings is" },
		{ "{" LLAMA ",\"quantization_config\":{\"quant_method\":\"gptq\"}}", -ENOTSUP,
		  "quantization_config is {\"quant_method\":\"gptq\"}, expected F32" },
		{ "{" LLAMA ",\"eos_token_id\":\"2\"}", -EINVAL,
		  "eos_token_id is \"2\", expected an" },
		{ "{" LLAMA ",\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}", -EINVAL,
		  "more than the 8 ids" },
	};

	check_refusals(cases, ARRAY_LENGTH(cases));
}

/* Goal: whatever we would compute otherwise than its family is refused by name. */
TEST(config_from_json__refuses_arithmetic)
{
	static const struct refusal cases[] = {
		{ "{" LLAMA ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
		  -ENOTSUP,
		  "1 of 2 blocks have sliding attention" },
		{ "{" LLAMA ",\"layer_types\":[\"full_attention\",\"linear_attention\"]}", -ENOTSUP,
		  "layer_types[] is \"linear_attention\", expected full_attention or" },
		{ "{" LLAMA ",\"layer_types\":[\"full_attention\"]}", -EINVAL,
		  "one entry per block" },
		{ "{" MISTRAL ",\"sliding_window\":0}", -EINVAL,
		  "sliding_window is 0, expected 1" },
		{ "{" MISTRAL ",\"layer_types\":[\"full_attention\",\"full_attention\"]}", -ENOTSUP,
		  "0 of 2 blocks have sliding attention" },
		{ "{" QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":7,"
		  "\"max_window_layers\":1}", -ENOTSUP, "1 of 2 blocks have sliding attention" },
		{ "{" QWEN2 ",\"use_sliding_window\":true,"
		  "\"layer_types\":[\"sliding_attention\",\"sliding_attention\"]}", -EINVAL,
		  "sliding_window is missing" },
		{ "{" GPT2 ",\"scale_attn_by_inverse_layer_idx\":true}", -ENOTSUP,
		  "scale_attn_by_inverse_layer_idx is true, accepted is false" },
		{ "{" GPT2 ",\"scale_attn_weights\":false}", -ENOTSUP,
		  "scale_attn_weights is false" },
		{ "{" BLOOM ",\"apply_residual_connection_post_layernorm\":true}", -ENOTSUP,
		  "apply_residual_connection_post_layernorm is true" },
		{ "{" OPT ",\"layer_norm_elementwise_affine\":false}", -ENOTSUP,
		  "layer_norm_elementwise_affine is false" },
		{ "{\"model_type\":\"bloom\",\"n_layer\":2,\"hidden_size\":50,\"n_head\":6,"
		  "\"vocab_size\":9}", -EINVAL, "hidden size 50 is no multiple of 6" },
		{ "{\"model_type\":\"gpt2\",\"n_layer\":99999999999,\"n_embd\":64}", -EINVAL,
		  "n_layer is 99999999999, expected 1 to 1024" },
	};

	check_refusals(cases, ARRAY_LENGTH(cases));
}

/* Goal: any beginning of a config is refused, not misread. */
TEST(config_from_json__truncated)
{
	static const char json[] = "{" MISTRAL ",\"rope_theta\":1e6}";
	struct model_config c;
	struct error e;

	for (size_t length = 0; length < sizeof(json) - 1; length++) {
		char *copy = mem_alloc(length);

		memcpy(copy, json, length);
		CHECK_EQ(config_from_json(&c, copy, length, NULL, 0, &e), -EINVAL);
		mem_free(copy);
	}
}

/* Goal: generation_config.json has the last word on special tokens only. */
TEST(config_from_json__generation)
{
	static const char json[] = "{" LLAMA ",\"bos_token_id\":1,\"eos_token_id\":2}";
	static const char more[] = "{\"eos_token_id\":[5,6],\"vocab_size\":7}";
	static const char none[] = "{\"eos_token_id\":null}";
	static const char bad[] = "{\"eos_token_id\":[5,[6]]}";
	struct model_config c;
	struct error e;

	CHECK_OK(config_from_json(&c, json, strlen(json), more, strlen(more), &e), &e);
	CHECK_EQ(c.eos_count, 2);
	CHECK_EQ(c.eos[0], 5);
	CHECK_EQ(c.bos, 1);
	CHECK_EQ(c.vocabulary, 100);
	CHECK_OK(config_from_json(&c, json, strlen(json), none, strlen(none), &e), &e);
	CHECK_EQ(c.eos[0], 2);
	CHECK_EQ(config_from_json(&c, json, strlen(json), bad, strlen(bad), &e), -EINVAL);
	CHECK(strstr(e.text, "generation_config.json: eos_token_id is [5,[6]]") == e.text);
}

/* Goal: files are read from a folder, errors name the file. */
TEST(config_from_hf__files)
{
	struct model_config c;
	struct error e;

	CHECK_OK(config_from_hf(&c, test_data("qwen2"), &e), &e);
	CHECK_TEXT(c.arch->name, "qwen2");
	CHECK_EQ(c.eos[0], 2);
	CHECK_EQ(config_from_hf(&c, "/nowhere", &e), -ENOENT);
	CHECK(strstr(e.text, "/nowhere/config.json") != NULL);
#ifdef PETALS_FAULTS
	for (int nth = 1;; nth++) {
		uint64_t live = mem_live_blocks();
		int rc;

		fault_arm(nth);
		rc = config_from_hf(&c, test_data("qwen2"), &e);
		fault_disarm();
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK(rc < 0);
	}
#endif
}
