/* arch.h - the model families we run, one table row each.
 *
 * A row says how a family's block is built and what its tensors are called in
 * Hugging Face and GGUF checkpoints.  Adding a family that is built from known
 * parts is adding a row (and a row of names); tests/compute/arch_golden_test.c
 * then wants a golden checkpoint.
 *
 * Threads    Constant tables; safe anywhere.
 * Ownership  None.
 * Units      None.
 * Errors     arch_by_*(): NULL for an unknown family.
 */
#ifndef PETALS_COMPUTE_MODEL_ARCH_H
#define PETALS_COMPUTE_MODEL_ARCH_H

#include "dataplane/base/types.h"

enum norm_kind { NORM_RMS, NORM_LAYER };
enum norm_place { NORM_BEFORE, NORM_AFTER };     /* OPT-350m norms after the residual */
enum position_kind { POSITION_ROPE, POSITION_LEARNED, POSITION_ALIBI };
enum activation_kind { ACT_SILU, ACT_GELU_TANH, ACT_GELU_ERF, ACT_RELU };
enum qkv_layout {
	QKV_SPLIT,          /* three matrices */
	QKV_CONCAT,         /* rows of q, then k, then v (GPT-2; stored transposed there) */
	QKV_PER_HEAD,       /* q, k, v rows of head 0, then of head 1, ... (BLOOM) */
};

/* Every tensor a model may have.  _W weights, _B biases; a missing bias is
 * allowed where the family allows it.
 */
enum role {
	ROLE_EMBED_W,                          /* (vocabulary, embed) */
	ROLE_EMBED_NORM_W, ROLE_EMBED_NORM_B,  /* (hidden) */
	ROLE_POSITION_W,                       /* (position_offset + positions, hidden) */
	ROLE_PROJECT_IN_W,                     /* (hidden, embed) */
	ROLE_PROJECT_OUT_W,                    /* (embed, hidden) */
	ROLE_FINAL_NORM_W, ROLE_FINAL_NORM_B,  /* (hidden) */
	ROLE_HEAD_W,                           /* (vocabulary, embed) */
	ROLE_EDGE_COUNT,

	ROLE_NORM1_W = ROLE_EDGE_COUNT, ROLE_NORM1_B, /* (hidden), attention's */
	ROLE_Q_W, ROLE_Q_B,                    /* (heads x head_dim, hidden) */
	ROLE_K_W, ROLE_K_B,                    /* (kv_heads x head_dim, hidden) */
	ROLE_V_W, ROLE_V_B,
	ROLE_O_W, ROLE_O_B,                    /* (hidden, heads x head_dim) */
	ROLE_NORM2_W, ROLE_NORM2_B,            /* (hidden), the MLP's */
	ROLE_GATE_W, ROLE_GATE_B,              /* (intermediate, hidden), gated MLPs only */
	ROLE_UP_W, ROLE_UP_B,                  /* (intermediate, hidden) */
	ROLE_DOWN_W, ROLE_DOWN_B,              /* (hidden, intermediate) */
	ROLE_COUNT
};

/* Names with %u for the block.  NULL: this family has no such tensor. */
struct arch_names {
	const char *name[ROLE_COUNT];
	const char *qkv_w, *qkv_b;      /* fused layouts: instead of Q, K, V */
	const char *prefixes[3];        /* tried in order before each name: "", "model.", ... */
};

struct arch {
	const char *name;               /* config.json's model_type */
	const char *gguf_name;          /* general.architecture, NULL: no GGUF support */
	enum norm_kind norm;
	bool gated_mlp;                 /* act(gate(x)) * up(x), else act(up(x)) */
	enum position_kind position;
	uint32_t position_offset;       /* OPT's learned positions start at row 2 */
	bool embed_norm;
	enum qkv_layout qkv;            /* in Hugging Face checkpoints */
	bool transposed;                /* HF stores linear weights (in, out): GPT-2's Conv1D */
	bool gguf_permuted;             /* GGUF interleaves rotary halves of q and k: llama */
	enum activation_kind activation;/* unless the config says otherwise */
	const struct arch_names *hf;
	const struct arch_names *gguf;
};

extern const struct arch archs[];
extern const uint32_t arch_count;

const struct arch *arch_by_name(const char *model_type);
const struct arch *arch_by_gguf_name(const char *name);
/* "llama, mistral, qwen2, ...", for the refusal of an unknown family. */
const char *arch_list(void);
const char *arch_gguf_list(void);
const char *role_name(enum role r);     /* "attention output weight" */

#endif
