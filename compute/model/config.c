/* config.c - reads Hugging Face's config.json and generation_config.json.
 *
 * What a family calls its numbers is a row of families[]; what it asks for beyond
 * numbers is the row's rest().  A key that would change the arithmetic in a way
 * we do not know is refused by name; dtype and torch_dtype are of no interest,
 * since each tensor says its own.
 */
#include "compute/model/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "compute/model/config_field.h"
#include "compute/model/config_source.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

enum { CONFIG_BYTES_MAX = 4 << 20 };

#define BIT(field) (1u << (field))
/* The sentence, and the code in sight of the compiler. */
#define fail(e, code, ...) (error_set(e, code, __VA_ARGS__), code)

struct family {
	const char *model_type;
	const char *keys[FIELD_COUNT][3];      /* spellings, the first found counts */
	uint32_t optional;                     /* BIT(field)s that others imply */
	const char *epsilon;                   /* NULL: always epsilon_initial */
	double epsilon_initial;
	const char *activation;                /* NULL: the family's own */
	bool tied;                             /* unless the config says otherwise */
	int (*rest)(struct model_config *c, const struct source *s);
};

/* ---- attention windows ---- */

/* Counts the blocks that layer_types calls sliding; 0 when there is no such key. */
static int read_layer_types(const struct model_config *c, const struct source *s,
			    uint32_t *sliding)
{
	const json_t *types = source_find(s, "layer_types");

	*sliding = 0;
	if (!types)
		return 0;
	if (!json_is_array(types) || json_array_size(types) != c->blocks)
		return source_wrong(s, "layer_types", types, -EINVAL, "one entry per block");
	for (size_t i = 0; i < json_array_size(types); i++) {
		const json_t *type = json_array_get(types, i);
		const char *text = json_is_string(type) ? json_string_value(type) : "";

		if (strcmp(text, "sliding_attention") == 0)
			(*sliding)++;
		else if (strcmp(text, "full_attention") != 0)
			return source_wrong(s, "layer_types[]", type, -ENOTSUP,
				     "full_attention or sliding_attention");
	}
	return 1;
}

static int read_window(struct model_config *c, const struct source *s)
{
	int64_t window;
	int rc = source_integer(s, "sliding_window", &window);

	if (rc <= 0)
		return rc;
	rc = config_put(c, FIELD_WINDOW, window, s->file, "sliding_window", s->e);
	return rc < 0 ? rc : 1;
}

static int mixed(const struct model_config *c, const struct source *s, uint32_t sliding)
{
	return fail(s->e, -ENOTSUP, "%s: %" PRIu32 " of %" PRIu32 " blocks have sliding attention; "
		    "accepted are all or none, as sliding_window says", s->file, sliding,
		    c->blocks);
}

/* ---- what only one family has ---- */

static int rest_llama(struct model_config *c, const struct source *s)
{
	uint32_t sliding;
	int rc = source_bool(s, "attention_bias", &c->attention_bias);

	if (rc >= 0)
		rc = source_bool(s, "mlp_bias", &c->mlp_bias);
	if (rc >= 0)
		rc = read_layer_types(c, s, &sliding);
	if (rc < 0)
		return rc;
	return sliding ? mixed(c, s, sliding) : source_rope(s, &c->rope);
}

static int rest_mistral(struct model_config *c, const struct source *s)
{
	uint32_t sliding;
	int rc = read_window(c, s);

	/* Its first config left the window to the family's default; null is none. */
	if (rc == 0 && !json_object_get(s->object, "sliding_window"))
		c->window = 4096;
	if (rc >= 0)
		rc = read_layer_types(c, s, &sliding);
	if (rc < 0)
		return rc;
	if (rc > 0 && sliding != (c->window ? c->blocks : 0))
		return mixed(c, s, sliding);
	return source_rope(s, &c->rope);
}

static int rest_qwen2(struct model_config *c, const struct source *s)
{
	int64_t full = 28;
	bool use = false;
	uint32_t sliding;
	int rc;

	c->attention_bias = true;
	rc = source_bool(s, "use_sliding_window", &use);
	if (rc >= 0)
		rc = source_integer(s, "max_window_layers", &full);
	if (rc >= 0)
		rc = read_layer_types(c, s, &sliding);
	if (rc < 0)
		return rc;
	if (rc == 0 && use && source_find(s, "sliding_window") && full < c->blocks)
		sliding = c->blocks - (uint32_t)MAX(full, 0);
	if (sliding && (sliding != c->blocks || !use))
		return mixed(c, s, sliding);
	if (sliding) {
		rc = read_window(c, s);
		if (rc == 0)
			rc = fail(s->e, -EINVAL, "%s: sliding_window is missing, expected tokens",
				  s->file);
		if (rc < 0)
			return rc;
	}
	return source_rope(s, &c->rope);
}

static int rest_opt(struct model_config *c, const struct source *s)
{
	bool before = true, removed = false, bias = true;
	int rc = source_bool(s, "do_layer_norm_before", &before);

	if (rc >= 0)
		rc = source_bool(s, "_remove_final_layer_norm", &removed);
	if (rc >= 0)
		rc = source_bool(s, "enable_bias", &bias);
	if (rc < 0)
		return rc;
	c->norm_place = before ? NORM_BEFORE : NORM_AFTER;
	c->final_norm = before && !removed;
	c->attention_bias = bias;
	c->mlp_bias = bias;
	return 0;
}

static int rest_none(struct model_config *c, const struct source *s)
{
	return 0;
}

/* ---- the families ---- */

#define LLAMA_KEYS                                                \
	[FIELD_BLOCKS] = { "num_hidden_layers" },                 \
	[FIELD_HIDDEN] = { "hidden_size" },                       \
	[FIELD_HEADS] = { "num_attention_heads" },                \
	[FIELD_KV_HEADS] = { "num_key_value_heads" },             \
	[FIELD_HEAD_DIM] = { "head_dim" },                        \
	[FIELD_INTERMEDIATE] = { "intermediate_size" },           \
	[FIELD_VOCABULARY] = { "vocab_size" },                    \
	[FIELD_POSITIONS] = { "max_position_embeddings" }

static const struct family families[] = {
	{
		.model_type = "llama",
		.keys = { LLAMA_KEYS },
		.optional = BIT(FIELD_KV_HEADS) | BIT(FIELD_HEAD_DIM),
		.epsilon = "rms_norm_eps", .epsilon_initial = 1e-6,
		.activation = "hidden_act", .rest = rest_llama,
	},
	{
		.model_type = "mistral",
		.keys = { LLAMA_KEYS },
		.optional = BIT(FIELD_HEAD_DIM),
		.epsilon = "rms_norm_eps", .epsilon_initial = 1e-6,
		.activation = "hidden_act", .rest = rest_mistral,
	},
	{
		.model_type = "qwen2",
		.keys = { LLAMA_KEYS },
		.optional = BIT(FIELD_HEAD_DIM),
		.epsilon = "rms_norm_eps", .epsilon_initial = 1e-6,
		.activation = "hidden_act", .rest = rest_qwen2,
	},
	{
		.model_type = "gpt2",
		.keys = {
			[FIELD_BLOCKS] = { "n_layer", "num_hidden_layers" },
			[FIELD_HIDDEN] = { "n_embd", "hidden_size" },
			[FIELD_HEADS] = { "n_head", "num_attention_heads" },
			[FIELD_INTERMEDIATE] = { "n_inner" },
			[FIELD_VOCABULARY] = { "vocab_size" },
			[FIELD_POSITIONS] = { "n_positions", "max_position_embeddings", "n_ctx" },
		},
		.optional = BIT(FIELD_INTERMEDIATE),
		.epsilon = "layer_norm_epsilon", .epsilon_initial = 1e-5,
		.activation = "activation_function", .tied = true, .rest = rest_none,
	},
	{
		.model_type = "bloom",
		.keys = {
			[FIELD_BLOCKS] = { "n_layer", "num_hidden_layers" },
			[FIELD_HIDDEN] = { "hidden_size", "n_embed", "n_embd" },
			[FIELD_HEADS] = { "n_head", "num_attention_heads" },
			[FIELD_VOCABULARY] = { "vocab_size" },
			[FIELD_POSITIONS] = { "seq_length" },
		},
		.optional = BIT(FIELD_POSITIONS),
		.epsilon = "layer_norm_epsilon", .epsilon_initial = 1e-5,
		.tied = true, .rest = rest_none,
	},
	{
		.model_type = "opt",
		.keys = {
			[FIELD_BLOCKS] = { "num_hidden_layers" },
			[FIELD_HIDDEN] = { "hidden_size" },
			[FIELD_HEADS] = { "num_attention_heads" },
			[FIELD_INTERMEDIATE] = { "ffn_dim" },
			[FIELD_VOCABULARY] = { "vocab_size" },
			[FIELD_EMBED] = { "word_embed_proj_dim" },
			[FIELD_POSITIONS] = { "max_position_embeddings" },
		},
		.optional = BIT(FIELD_EMBED),
		.epsilon_initial = 1e-5,
		.activation = "activation_function", .tied = true, .rest = rest_opt,
	},
};

/* Switches that change the arithmetic; only this value is known here. */
static const struct { const char *model_type, *key; bool accepted; } switches[] = {
	{ "gpt2", "scale_attn_weights", true },
	{ "gpt2", "scale_attn_by_inverse_layer_idx", false },
	{ "gpt2", "add_cross_attention", false },
	{ "bloom", "apply_residual_connection_post_layernorm", false },
	{ "opt", "layer_norm_elementwise_affine", true },
};

static const struct { const char *name; enum activation_kind kind; } activations[] = {
	{ "silu", ACT_SILU },                   { "swish", ACT_SILU },
	{ "gelu_new", ACT_GELU_TANH },          { "gelu_fast", ACT_GELU_TANH },
	{ "gelu_pytorch_tanh", ACT_GELU_TANH }, { "gelu_python_tanh", ACT_GELU_TANH },
	{ "gelu", ACT_GELU_ERF },               { "gelu_python", ACT_GELU_ERF },
	{ "relu", ACT_RELU },
};

static const struct family *find_family(const char *model_type)
{
	for (size_t i = 0; i < ARRAY_LENGTH(families); i++)
		if (strcmp(families[i].model_type, model_type) == 0)
			return &families[i];
	return NULL;
}

static int read_fields(struct model_config *c, const struct family *f, const struct source *s)
{
	for (int i = 0; i < FIELD_COUNT; i++) {
		const char *const *keys = f->keys[i];
		int64_t value;
		int rc = 0;

		for (size_t k = 0; k < ARRAY_LENGTH(f->keys[i]) && keys[k] && rc == 0; k++) {
			rc = source_integer(s, keys[k], &value);
			if (rc > 0)
				rc = config_put(c, i, value, s->file, keys[k], s->e) < 0 ? -EINVAL
											  : 1;
		}
		if (rc == 0 && keys[0] && !(f->optional & BIT(i)))
			rc = fail(s->e, -EINVAL, "%s: %s is missing, %s needs it", s->file, keys[0],
				  f->model_type);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_activation(struct model_config *c, const struct family *f, const struct source *s)
{
	const char *name;
	int rc = f->activation ? source_text(s, f->activation, &name) : 0;

	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LENGTH(activations); i++) {
		if (strcmp(activations[i].name, name) == 0) {
			c->activation = activations[i].kind;
			return 0;
		}
	}
	return source_wrong(s, f->activation, source_find(s, f->activation), -ENOTSUP,
		     "silu, gelu, gelu_new, gelu_pytorch_tanh or relu");
}

static int check_switches(const struct family *f, const struct source *s)
{
	const json_t *quantised = source_find(s, "quantization_config");

	for (size_t i = 0; i < ARRAY_LENGTH(switches); i++) {
		bool value = switches[i].accepted;
		int rc = 0;

		if (strcmp(switches[i].model_type, f->model_type) == 0)
			rc = source_bool(s, switches[i].key, &value);
		if (rc < 0)
			return rc;
		if (value != switches[i].accepted)
			return fail(s->e, -ENOTSUP, "%s: %s is %s, accepted is %s", s->file,
				    switches[i].key, value ? "true" : "false",
				    value ? "false" : "true");
	}
	if (quantised)
		return source_wrong(s, "quantization_config", quantised, -ENOTSUP,
			     "F32, F16 or BF16 weights without one, or a GGUF file");
	return 0;
}

/* ---- tokens that begin and end a text ---- */

static int read_eos(struct model_config *c, const struct source *s)
{
	const json_t *value = source_find(s, "eos_token_id");
	size_t count = json_is_array(value) ? json_array_size(value) : value ? 1 : 0;

	if (!value)
		return 0;
	c->eos_count = 0;
	for (size_t i = 0; i < count; i++) {
		const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
		int rc;

		if (!json_is_integer(id))
			return source_wrong(s, "eos_token_id", value, -EINVAL,
					    "an integer or a list of them");
		rc = config_put_eos(c, json_integer_value(id), s->file, s->e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_tokens(struct model_config *c, const struct source *s)
{
	int64_t bos;
	int rc = source_integer(s, "bos_token_id", &bos);

	if (rc > 0)
		config_put_bos(c, bos);
	return rc < 0 ? rc : read_eos(c, s);
}

static void read_name(struct model_config *c, const struct source *s)
{
	const char *path = json_string_value(source_find(s, "_name_or_path"));
	const char *slash = path ? strrchr(path, '/') : NULL;

	if (slash)
		path = slash + 1;
	snprintf(c->name, sizeof(c->name), "%s", path && *path ? path : c->arch->name);
}

static int read_config(struct model_config *c, const struct source *s)
{
	const char *model_type = NULL;
	const struct family *f;
	int rc = source_text(s, "model_type", &model_type);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return fail(s->e, -EINVAL, "%s: model_type is missing, accepted are %s", s->file,
			    arch_list());
	f = find_family(model_type);
	if (!f)
		return fail(s->e, -ENOTSUP, "%s: model_type is '%.40s', accepted are %s", s->file,
			    model_type, arch_list());
	config_begin(c, arch_by_name(f->model_type));
	c->tied = f->tied;
	c->norm_epsilon = (float)f->epsilon_initial;
	rc = read_fields(c, f, s);
	if (rc == 0)
		rc = read_activation(c, f, s);
	if (rc == 0)
		rc = check_switches(f, s);
	if (rc == 0)
		rc = f->rest(c, s);
	if (rc == 0)
		rc = config_finish(c, s->file, s->e);
	if (rc == 0 && f->epsilon)
		rc = source_real(s, f->epsilon, 1e-12, 0.1, &c->norm_epsilon);
	if (rc >= 0)
		rc = source_bool(s, "tie_word_embeddings", &c->tied);
	if (rc < 0)
		return rc;
	read_name(c, s);
	return read_tokens(c, s);
}

static int parse(struct source *s, json_t **root, const char *json, size_t bytes)
{
	json_error_t problem;

	*root = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, &problem);
	if (!*root)
		return fail(s->e, -EINVAL, "%s, line %d, column %d: %s", s->file, problem.line,
			    problem.column, problem.text);
	if (!json_is_object(*root))
		return fail(s->e, -EINVAL, "%s: is no JSON object", s->file);
	s->object = *root;
	return 0;
}

struct text {
	const char *file, *json;
	size_t bytes;
};

static int from_texts(struct model_config *out, const struct text *config,
		      const struct text *generation, struct error *e)
{
	struct source s = { NULL, config->file, "", e };
	json_t *root = NULL, *extra = NULL;
	int rc = parse(&s, &root, config->json, config->bytes);

	if (rc == 0)
		rc = read_config(out, &s);
	if (rc == 0 && generation->json) {
		s.file = generation->file;
		rc = parse(&s, &extra, generation->json, generation->bytes);
		if (rc == 0)
			rc = read_tokens(out, &s);
	}
	json_decref(root);
	json_decref(extra);
	if (rc < 0)
		memset(out, 0, sizeof(*out));
	return rc;
}

int config_from_json(struct model_config *out, const char *json, size_t bytes,
		     const char *generation, size_t generation_bytes, struct error *e)
{
	const struct text config = { "config.json", json, bytes };
	const struct text more = { "generation_config.json", generation, generation_bytes };

	return from_texts(out, &config, &more, e);
}

int config_from_hf(struct model_config *out, const char *dir, struct error *e)
{
	char *path = file_join(dir, "config.json");
	char *more_path = file_join(dir, "generation_config.json");
	char *json = NULL, *more_json = NULL;
	size_t bytes = 0, more_bytes = 0;
	int rc;

	if (!path || !more_path)
		rc = error_errno(e, -ENOMEM, "cannot read %s/config.json", dir);
	else
		rc = file_read(path, CONFIG_BYTES_MAX, &json, &bytes, e);
	if (rc == 0 && file_exists(more_path))
		rc = file_read(more_path, CONFIG_BYTES_MAX, &more_json, &more_bytes, e);
	if (rc == 0) {
		const struct text config = { path, json, bytes };
		const struct text more = { more_path, more_json, more_bytes };

		rc = from_texts(out, &config, &more, e);
	}
	mem_free(path);
	mem_free(more_path);
	mem_free(json);
	mem_free(more_json);
	return rc;
}
