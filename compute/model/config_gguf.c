/* config_gguf.c - reads a model's config from GGUF metadata, whose keys stand
 * under the family's name: "llama.block_count".
 */
#include "compute/model/config.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "compute/model/config_field.h"

enum { KEY_BYTES = 96 };

/* The sentence, and the code in sight of the compiler. */
#define fail(e, code, ...) (error_set(e, code, __VA_ARGS__), code)

struct key { char text[KEY_BYTES]; };

static const char *key_of(const struct arch *arch, const char *name, struct key *out)
{
	snprintf(out->text, sizeof(out->text), "%s.%s", arch->gguf_name, name);
	return out->text;
}

static const struct { const char *name; bool optional; } keys[FIELD_COUNT] = {
	[FIELD_BLOCKS]       = { "block_count", false },
	[FIELD_HIDDEN]       = { "embedding_length", false },
	[FIELD_HEADS]        = { "attention.head_count", false },
	[FIELD_KV_HEADS]     = { "attention.head_count_kv", true },
	[FIELD_HEAD_DIM]     = { "attention.key_length", true },
	[FIELD_INTERMEDIATE] = { "feed_forward_length", false },
	[FIELD_VOCABULARY]   = { "vocab_size", true },
	[FIELD_POSITIONS]    = { "context_length", false },
	[FIELD_WINDOW]       = { "attention.sliding_window", true },
};

/* Keys of features whose arithmetic we do not know, unless 0. */
static const char *const refused[] = {
	"expert_count", "attention.logit_softcapping", "attention.clamp_kqv", "logit_scale",
	"attention.scale", "embedding_scale", "residual_scale",
};

/* Like gguf_integer(), with a sentence: 1 found, 0 absent, -EINVAL not an integer. */
static int read_integer(const struct gguf *g, const char *key, int64_t *out, struct error *e)
{
	if (gguf_integer(g, key, out))
		return 1;
	if (!gguf_has(g, key))
		return 0;
	return fail(e, -EINVAL, "%s: %s is not an integer of 64 bits%s", gguf_path(g), key,
		    gguf_array_length(g, key) >= 0 ? " but an array" : "");
}

static int read_real(const struct gguf *g, const char *key, double least, double most, float *out,
		     struct error *e)
{
	double value;
	int rc;

	if (!gguf_has(g, key))
		return 0;
	if (!gguf_real(g, key, &value))
		return fail(e, -EINVAL, "%s: %s is not a number", gguf_path(g), key);
	rc = config_put_real(out, value, least, most, gguf_path(g), key, e);
	return rc < 0 ? rc : 1;
}

static int read_fields(struct model_config *c, const struct gguf *g, struct error *e)
{
	struct key key;
	int64_t value;
	int rc;

	for (int i = 0; i < FIELD_COUNT; i++) {
		if (!keys[i].name)
			continue;
		key_of(c->arch, keys[i].name, &key);
		rc = read_integer(g, key.text, &value, e);
		/* A window of 0 is how some files say that there is none. */
		if (rc > 0 && !(i == FIELD_WINDOW && value == 0))
			rc = config_put(c, i, value, gguf_path(g), key.text, e);
		else if (rc == 0 && !keys[i].optional)
			rc = fail(e, -EINVAL, "%s: %s is missing, %s needs it", gguf_path(g),
				  key.text, c->arch->name);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_refused(const struct model_config *c, const struct gguf *g, struct error *e)
{
	struct key key;
	double value;
	int64_t parts;

	for (size_t i = 0; i < ARRAY_LENGTH(refused); i++)
		if (gguf_real(g, key_of(c->arch, refused[i], &key), &value) && value != 0)
			return fail(e, -ENOTSUP, "%s: %s is %g, accepted is 0 or no such key",
				    gguf_path(g), key.text, value);
	if (gguf_integer(g, "split.count", &parts) && parts > 1)
		return fail(e, -ENOTSUP, "%s: is one of %jd parts; join them into one file first",
			    gguf_path(g), (intmax_t)parts);
	return 0;
}

/* Says how many tokens there are where vocab_size does not. */
static int read_vocabulary(struct model_config *c, const struct gguf *g, struct error *e)
{
	const struct gguf_tensor *embedding = gguf_tensor(g, "token_embd.weight");
	int64_t tokens = gguf_array_length(g, "tokenizer.ggml.tokens");

	if (c->vocabulary)
		return 0;
	if (embedding && embedding->dimensions == 2)
		return config_put(c, FIELD_VOCABULARY, (int64_t)embedding->shape[1], gguf_path(g),
				  "rows of token_embd.weight", e);
	if (tokens < 0)
		return fail(e, -EINVAL, "%s: nothing says how large the vocabulary is: no "
			    "vocab_size, no tokenizer.ggml.tokens, no token_embd.weight",
			    gguf_path(g));
	return config_put(c, FIELD_VOCABULARY, tokens, gguf_path(g),
			  "length of tokenizer.ggml.tokens", e);
}

/* A head's values are as wide as its keys, and all of a head rotates. */
static int check_head(const struct model_config *c, const struct gguf *g, struct error *e)
{
	static const char *const same[] = { "attention.value_length", "rope.dimension_count" };
	struct key key;
	int64_t value;

	for (size_t i = 0; i < ARRAY_LENGTH(same); i++) {
		int rc = read_integer(g, key_of(c->arch, same[i], &key), &value, e);

		if (rc < 0)
			return rc;
		if (rc > 0 && value != c->head_dim)
			return fail(e, -ENOTSUP, "%s: %s is %jd, accepted is the head's size, %"
				    PRIu32, gguf_path(g), key.text, (intmax_t)value, c->head_dim);
	}
	return 0;
}

static int read_divisors(struct model_config *c, const struct gguf *g, struct error *e)
{
	const struct gguf_tensor *t = gguf_tensor(g, "rope_freqs.weight");
	uint32_t wanted = c->rope.dims / 2;

	if (!t)
		return 0;
	if (c->rope.scaling != ROPE_PLAIN)
		return fail(e, -ENOTSUP, "%s: has rope_freqs.weight and rope.scaling.type, "
			    "accepted is one of them", gguf_path(g));
	if (t->dtype != DTYPE_F32 || t->dimensions != 1 || t->shape[0] != wanted)
		return fail(e, -EINVAL, "%s: rope_freqs.weight is %s (%ju), expected f32 (%" PRIu32
			    ")", gguf_path(g), dtypes[t->dtype].name, (uintmax_t)t->shape[0],
			    wanted);
	dtype_widen(DTYPE_F32, t->data, wanted, c->rope.divisors);
	for (uint32_t i = 0; i < wanted; i++)
		if (!(c->rope.divisors[i] >= 1e-6f && c->rope.divisors[i] <= 1e6f))
			return fail(e, -EINVAL, "%s: rope_freqs.weight[%" PRIu32 "] is %g, "
				    "expected 1e-06 to 1e+06", gguf_path(g), i,
				    c->rope.divisors[i]);
	c->rope.scaling = ROPE_DIVISORS;
	return 0;
}

/* "none", or "linear", which is also what a factor without a type means. */
static int read_scaling(struct model_config *c, const struct gguf *g, struct error *e)
{
	struct gguf_text type = { "linear", 6 };
	float factor = 1;
	struct key key;
	int rc;

	key_of(c->arch, "rope.scaling.type", &key);
	if (gguf_has(g, key.text) && !gguf_string(g, key.text, &type))
		return fail(e, -EINVAL, "%s: %s is not a text", gguf_path(g), key.text);
	if (type.length == 4 && memcmp(type.data, "none", 4) == 0)
		return 0;
	if (type.length != 6 || memcmp(type.data, "linear", 6) != 0)
		return fail(e, -ENOTSUP, "%s: %s is '%.*s', accepted are none, linear and a "
			    "rope_freqs.weight", gguf_path(g), key.text,
			    (int)MIN(type.length, 40), type.data);
	rc = read_real(g, key_of(c->arch, "rope.scaling.factor", &key), 1, 1e6, &factor, e);
	if (rc == 0)    /* an older spelling */
		rc = read_real(g, key_of(c->arch, "rope.scale_linear", &key), 1, 1e6, &factor, e);
	if (rc < 0)
		return rc;
	if (factor > 1) {
		c->rope.scaling = ROPE_LINEAR;
		c->rope.factor = factor;
	}
	return 0;
}

static int read_rope(struct model_config *c, const struct gguf *g, struct error *e)
{
	struct key key;
	int rc;

	if (c->arch->position != POSITION_ROPE)
		return 0;
	c->rope.theta = 10000;
	rc = read_real(g, key_of(c->arch, "rope.freq_base", &key), 1, 1e12, &c->rope.theta, e);
	if (rc >= 0)
		rc = read_scaling(c, g, e);
	if (rc == 0)
		rc = check_head(c, g, e);
	if (rc == 0)
		rc = read_divisors(c, g, e);
	return rc;
}

static bool text_is(const struct gguf *g, const char *key, const char *wanted)
{
	struct gguf_text text;

	return gguf_string(g, key, &text) && text.length == strlen(wanted) &&
	       memcmp(text.data, wanted, text.length) == 0;
}

static int read_tokens(struct model_config *c, const struct gguf *g, struct error *e)
{
	static const char *const ends[] = {
		"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
		"tokenizer.ggml.eom_token_id",
	};
	int64_t id;
	int rc = read_integer(g, "tokenizer.ggml.bos_token_id", &id, e);

	if (rc > 0)
		config_put_bos(c, id);
	for (size_t i = 0; i < ARRAY_LENGTH(ends) && rc >= 0; i++) {
		rc = read_integer(g, ends[i], &id, e);
		if (rc > 0)
			rc = config_put_eos(c, id, gguf_path(g), e);
	}
	if (rc < 0)
		return rc;
	/* Silence means: SentencePiece vocabularies and Llama 3's begin with one. */
	if (!gguf_bool(g, "tokenizer.ggml.add_bos_token", &c->add_bos))
		c->add_bos = text_is(g, "tokenizer.ggml.model", "llama") ||
			     text_is(g, "tokenizer.ggml.pre", "llama-bpe");
	c->add_bos = c->add_bos && c->bos >= 0;
	return 0;
}

static int find_family(const struct gguf *g, const struct arch **out, struct error *e)
{
	struct gguf_text text;
	char name[40];

	if (!gguf_string(g, "general.architecture", &text))
		return fail(e, -EINVAL, "%s: general.architecture is missing or no text, accepted "
			    "are %s", gguf_path(g), arch_gguf_list());
	snprintf(name, sizeof(name), "%.*s", (int)MIN(text.length, 80), text.data);
	*out = arch_by_gguf_name(name);
	if (!*out)
		return fail(e, -ENOTSUP, "%s: general.architecture is '%s', accepted are %s",
			    gguf_path(g), name, arch_gguf_list());
	return 0;
}

/* The file has no words for ties and biases: what is there counts, but where
 * a family always has them.  One that names q's bias and not the output's is such.
 */
static void read_presence(struct model_config *c, const struct gguf *g)
{
	if (c->arch->norm == NORM_RMS) {
		c->attention_bias = !c->arch->gguf->name[ROLE_O_B] ||
				    gguf_tensor(g, "blk.0.attn_q.bias");
		c->mlp_bias = gguf_tensor(g, "blk.0.ffn_up.bias") != NULL;
	}
	c->tied = !gguf_tensor(g, "output.weight");
}

static int read_all(struct model_config *c, const struct gguf *g, struct error *e)
{
	struct gguf_text name;
	struct key key;
	int rc = check_refused(c, g, e);

	if (rc == 0)
		rc = read_fields(c, g, e);
	if (rc == 0)
		rc = read_vocabulary(c, g, e);
	if (rc == 0)
		rc = config_finish(c, gguf_path(g), e);
	if (rc == 0)
		rc = read_rope(c, g, e);
	if (rc < 0)
		return rc;
	key_of(c->arch, c->arch->norm == NORM_RMS ? "attention.layer_norm_rms_epsilon"
						  : "attention.layer_norm_epsilon", &key);
	rc = read_real(g, key.text, 1e-12, 0.1, &c->norm_epsilon, e);
	if (rc == 0)
		rc = fail(e, -EINVAL, "%s: %s is missing, %s needs it", gguf_path(g), key.text,
			  c->arch->name);
	if (rc < 0)
		return rc;
	read_presence(c, g);
	snprintf(c->name, sizeof(c->name), "%s", c->arch->name);
	if (gguf_string(g, "general.name", &name) && name.length)
		snprintf(c->name, sizeof(c->name), "%.*s", (int)MIN(name.length, sizeof(c->name)),
			 name.data);
	return read_tokens(c, g, e);
}

int config_from_gguf(struct model_config *out, const struct gguf *g, struct error *e)
{
	const struct arch *arch;
	int rc = find_family(g, &arch, e);

	if (rc == 0) {
		config_begin(out, arch);
		rc = read_all(out, g, e);
	}
	if (rc < 0)
		memset(out, 0, sizeof(*out));
	return rc;
}
