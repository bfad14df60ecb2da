/* bench_shape.c - the small shapes, what a config has beyond dimensions, and formats. */
#include "tools/bench_shape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 32 };               /* blocks alone are measured: no head */

static const struct fit_shape small[] = {
	/* name            arch   blocks hidden heads kv_heads head_dim intermediate gated */
	{ "smollm2-135m",  "llama",  30,   576,    9,    3,      64,      1536,      true },
	{ "tiny-llama",    "llama",   4,    64,    4,    2,      16,       192,      true },
	{ "tiny-bloom",    "bloom",   4,    64,    4,    4,      16,       256,      false },
	{ "tiny-opt",      "opt",     4,    64,    4,    4,      16,       256,      false },
};

static const struct fit_shape *shape_at(uint32_t i)
{
	if (i < fit_shape_count)
		return &fit_shapes[i];
	i -= fit_shape_count;
	return i < ARRAY_LENGTH(small) ? &small[i] : NULL;
}

int bench_shape_find(const char *name, const struct fit_shape **out, struct error *e)
{
	char names[256];
	int at = 0;

	for (uint32_t i = 0; (*out = shape_at(i)) != NULL; i++) {
		if (strcmp((*out)->name, name) == 0)
			return 0;
		at += snprintf(names + at, sizeof(names) - (size_t)at, "%s%s", i ? ", " : "",
			       (*out)->name);
	}
	return error_set(e, -EINVAL, "--shape %s: one of %s", name, names);
}

int bench_rows_parse(const char *text, uint32_t most, uint32_t out[BENCH_ROWS_MAX],
		     struct error *e)
{
	const char *at = text;
	int count = 0;
	char *end;

	for (;; at = end + 1) {
		unsigned long n = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : 0;

		if (n < 1 || n > most || (*end && *end != ',') || count == BENCH_ROWS_MAX)
			return error_set(e, -EINVAL, "--rows %s: up to %d numbers from 1 to %u, "
					 "as in 1,8,64", text, BENCH_ROWS_MAX, most);
		out[count++] = (uint32_t)n;
		if (!*end)
			return count;
	}
}

enum dtype bench_stored(int choice, enum weight_format weights)
{
	if (choice > 0)
		return (enum dtype)(choice - 1);
	return weights == WEIGHTS_INT4 ? DTYPE_Q4_0 : DTYPE_BF16;
}

const char *bench_format_name(enum dtype stored, enum weight_format weights)
{
	return weights == WEIGHTS_KEEP ? dtypes[stored].name : weight_format_name(weights);
}

void bench_shape_config(const struct fit_shape *s, uint32_t blocks, uint32_t positions,
			struct model_config *out)
{
	const struct arch *arch = arch_by_name(s->arch);

	assert(arch);
	*out = (struct model_config){
		.arch = arch, .blocks = blocks, .hidden = s->hidden, .heads = s->heads,
		.kv_heads = s->kv_heads, .head_dim = s->head_dim,
		.intermediate = s->intermediate, .vocabulary = VOCABULARY, .embed = s->hidden,
		.positions = positions, .norm_epsilon = 1e-5f, .norm_place = NORM_BEFORE,
		.final_norm = true, .attention_bias = arch->norm == NORM_LAYER,
		.mlp_bias = arch->norm == NORM_LAYER, .activation = arch->activation,
		.rope = { .theta = 10000, .dims = s->head_dim }, .tied = true,
		.embed_scale = 1, .bos = -1,
	};
	snprintf(out->name, sizeof(out->name), "%s", s->name);
}
