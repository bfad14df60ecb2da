/* config.h - a model's shape and constants, from config.json or GGUF metadata.
 *
 * Threads    Plain data after loading.
 * Ownership  Plain storage.
 * Units      Elements, tokens.
 * Errors     -EINVAL with a sentence naming the file, the key, its value and
 *            what is accepted; -ENOTSUP for a family or scaling we do not know
 *            (never guessed at).
 */
#ifndef PETALS_COMPUTE_MODEL_CONFIG_H
#define PETALS_COMPUTE_MODEL_CONFIG_H

#include "compute/model/arch.h"
#include "compute/model/gguf.h"
#include "dataplane/base/error.h"

enum {
	CONFIG_NAME_BYTES = 96,
	CONFIG_EOS_MAX = 8,
	/* Above these a config is refused as absurd. */
	CONFIG_BLOCKS_MAX = 1024,
	CONFIG_HIDDEN_MAX = 131072,
	CONFIG_HEADS_MAX = 1024,
	CONFIG_VOCABULARY_MAX = 4194304,
	CONFIG_HEAD_DIM_MAX = 1024,
	CONFIG_INTERMEDIATE_MAX = 1048576,
	CONFIG_POSITIONS_MAX = 134217728,
};

enum rope_scaling {
	ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3,
	ROPE_DIVISORS,                  /* GGUF bakes Llama 3's scaling into rope_freqs.weight */
};

struct rope_config {
	float theta;
	uint32_t dims;                  /* rotated dimensions of a head, even */
	enum rope_scaling scaling;
	float factor;                   /* LINEAR, LLAMA3 */
	float low_freq_factor, high_freq_factor;   /* LLAMA3 */
	uint32_t original_positions;               /* LLAMA3 */
	float divisors[CONFIG_HEAD_DIM_MAX / 2];   /* DIVISORS: of each frequency */
};

struct model_config {
	const struct arch *arch;
	char name[CONFIG_NAME_BYTES];   /* for people and /v1/models */
	uint32_t blocks, hidden, heads, kv_heads, head_dim, intermediate;
	uint32_t vocabulary;
	uint32_t embed;                 /* width of the embedding; hidden unless projected */
	uint32_t positions;             /* longest sequence the model was made for */
	uint32_t window;                /* sliding attention window in tokens, 0: none */
	float norm_epsilon;
	enum norm_place norm_place;
	bool final_norm;
	bool attention_bias, mlp_bias;  /* where the family's names allow for them */
	enum activation_kind activation;
	struct rope_config rope;        /* POSITION_ROPE only */
	bool tied;                      /* the head is the embedding */
	float embed_scale;              /* 1 unless the family scales embeddings */
	int32_t bos;                    /* -1: none */
	int32_t eos[CONFIG_EOS_MAX];    /* any of these ends a generation */
	uint32_t eos_count;
	bool add_bos;                   /* GGUF: put bos before a prompt */
};

/* dir/config.json, and generation_config.json beside it when present. */
int config_from_hf(struct model_config *out, const char *dir, struct error *e);
/* The same over JSON text; generation may be NULL.  For fuzzing and tests. */
int config_from_json(struct model_config *out, const char *json, size_t bytes,
		     const char *generation, size_t generation_bytes, struct error *e);
int config_from_gguf(struct model_config *out, const struct gguf *g, struct error *e);

/* Inverse frequencies, dims / 2 of them, scaling applied; in double until the
 * last rounding.  Sources: Su et al. 2021; Llama 3.1's published rope scaling.
 */
void rope_frequencies(const struct rope_config *rope, float *out);
/* ALiBi slope of each head for any head count (Press et al. 2022, as BLOOM does). */
void alibi_slopes(uint32_t heads, float *out);

#endif
