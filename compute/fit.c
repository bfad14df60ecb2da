/* fit.c - the tables, and a little arithmetic. */
#include "compute/fit.h"

enum { RESERVE_PART = 20 };             /* one in so many bytes is kept free */

const struct fit_shape fit_shapes[] = {
	/* name             arch   blocks hidden heads kv_heads head_dim intermediate gated */
	{ "bloom-176b",     "bloom",  70,  14336,  112,  112,     128,     57344,      false },
	{ "opt-175b",       "opt",    96,  12288,   96,   96,     128,     49152,      false },
	{ "llama-2-70b",    "llama",  80,   8192,   64,    8,     128,     28672,      true },
	{ "llama-3.1-405b", "llama", 126, 16384,  128,    8,     128,     53248,      true },
};
const uint32_t fit_shape_count = ARRAY_LENGTH(fit_shapes);

const struct fit_format fit_formats[] = {
	/* name    bits kv_bytes */
	{ "f32",   32,   4 },
	{ "bf16",  16,   2 },                   /* f16, too */
	{ "int8",  8,    2 },                   /* and 4 bytes a row */
	{ "q8_0",  8.5,  2 },
	{ "q4_1",  5,    2 },
	{ "int4",  4.5,  2 },                   /* q4_0, too */
};
const uint32_t fit_format_count = ARRAY_LENGTH(fit_formats);

void fit_shape_of(const struct model_config *c, struct fit_shape *out)
{
	*out = (struct fit_shape){
		.name = c->name, .arch = c->arch->name, .blocks = c->blocks,
		.hidden = c->hidden, .heads = c->heads,
		.kv_heads = c->kv_heads, .head_dim = c->head_dim,
		.intermediate = c->intermediate, .gated = c->arch->gated_mlp,
	};
}

uint64_t fit_block_weights(const struct fit_shape *s)
{
	uint64_t hidden = s->hidden, q = (uint64_t)s->heads * s->head_dim;
	uint64_t kv = (uint64_t)s->kv_heads * s->head_dim;

	return hidden * (2 * q + 2 * kv) +
	       hidden * s->intermediate * (s->gated ? 3 : 2);
}

uint64_t fit_block_bytes(const struct fit_shape *s, const struct fit_format *f)
{
	return (uint64_t)((double)fit_block_weights(s) * f->bits / 8);
}

uint64_t fit_token_bytes(const struct fit_shape *s, const struct fit_format *f)
{
	return 2ull * s->kv_heads * s->head_dim * f->kv_bytes;
}

uint32_t fit_blocks(const struct fit_shape *s, const struct fit_format *f, uint64_t free_bytes,
		    uint64_t tokens)
{
	uint64_t each = fit_block_bytes(s, f) + tokens * fit_token_bytes(s, f);
	uint64_t blocks = (free_bytes - free_bytes / RESERVE_PART) / MAX(each, 1);

	return (uint32_t)MIN(blocks, s->blocks);
}
