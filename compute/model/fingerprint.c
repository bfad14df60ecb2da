/* fingerprint.c - 64 bits that name a model's weights.
 *
 * Everything that changes a block's output goes in, nothing that a host may
 * choose does: not the path, not how tensors are spread over files, not the
 * model's name or its special tokens.  Tensors are summed, so their order in the
 * directory does not matter.  Each step is a bijection of the state, so no
 * difference is lost before the next one comes.
 */
#include "compute/model/model_tensor.h"

enum {
	SAMPLES = 8,
	SAMPLE_BYTES = 64,
	WHOLE_BYTES = SAMPLES * SAMPLE_BYTES,      /* smaller tensors are read in full */
};

static uint64_t step(uint64_t state, uint64_t word)
{
	state = (state ^ word) + 0x9e3779b97f4a7c15u;
	state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
	state = (state ^ state >> 27) * 0x94d049bb133111ebu;
	return state ^ state >> 31;
}

static uint64_t step_bytes(uint64_t state, const void *data, uint64_t bytes)
{
	const uint8_t *at = data;

	state = step(state, bytes);
	while (bytes) {
		uint64_t n = MIN(bytes, sizeof(uint64_t)), word = 0;

		memcpy(&word, at, n);
		state = step(state, word);
		at += n;
		bytes -= n;
	}
	return state;
}

static uint64_t step_text(uint64_t state, const char *text)
{
	return step_bytes(state, text, strlen(text));
}

static uint64_t of_config(const struct model_config *c)
{
	const uint64_t words[] = {
		c->blocks, c->hidden, c->heads, c->kv_heads, c->head_dim, c->intermediate,
		c->vocabulary, c->embed, c->positions, c->window, f32_bits(c->norm_epsilon),
		c->norm_place, c->final_norm, c->attention_bias, c->mlp_bias, c->activation,
		c->tied, f32_bits(c->embed_scale), f32_bits(c->rope.theta), c->rope.dims,
		c->rope.scaling, f32_bits(c->rope.factor), f32_bits(c->rope.low_freq_factor),
		f32_bits(c->rope.high_freq_factor), c->rope.original_positions,
	};
	uint64_t state = step_text(0, c->arch->name);

	state = step_bytes(state, words, sizeof(words));
	if (c->rope.scaling == ROPE_DIVISORS)
		state = step_bytes(state, c->rope.divisors,
				   c->rope.dims / 2 * sizeof(c->rope.divisors[0]));
	return state;
}

static uint64_t of_tensor(const struct stored *t)
{
	uint64_t state = step_text(1, t->name);

	state = step_text(state, dtypes[t->dtype].name);
	state = step_bytes(state, t->shape, t->dimensions * sizeof(t->shape[0]));
	if (t->bytes <= WHOLE_BYTES)
		return step_bytes(state, t->data, t->bytes);
	for (uint64_t i = 0; i < SAMPLES; i++) {
		uint64_t at = (t->bytes - SAMPLE_BYTES) / (SAMPLES - 1) * i;

		state = step_bytes(state, t->data + at, SAMPLE_BYTES);
	}
	return state;
}

uint64_t model_fingerprint(const struct model *m)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < model_tensor_count(m); i++) {
		struct stored t;

		model_tensor_at(m, i, &t);
		sum += of_tensor(&t);
	}
	return step(of_config(model_config(m)), sum);
}
