/* config_field.c - the table of bounds and the rules between fields. */
#include "compute/model/config_field.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

#define AT(member) offsetof(struct model_config, member)

static const struct {
	size_t offset;
	int64_t most;          /* the least is 1; 0 stands for "not given" */
} fields[FIELD_COUNT] = {
	[FIELD_BLOCKS]       = { AT(blocks), CONFIG_BLOCKS_MAX },
	[FIELD_HIDDEN]       = { AT(hidden), CONFIG_HIDDEN_MAX },
	[FIELD_HEADS]        = { AT(heads), CONFIG_HEADS_MAX },
	[FIELD_KV_HEADS]     = { AT(kv_heads), CONFIG_HEADS_MAX },
	[FIELD_HEAD_DIM]     = { AT(head_dim), CONFIG_HEAD_DIM_MAX },
	[FIELD_INTERMEDIATE] = { AT(intermediate), CONFIG_INTERMEDIATE_MAX },
	[FIELD_VOCABULARY]   = { AT(vocabulary), CONFIG_VOCABULARY_MAX },
	[FIELD_EMBED]        = { AT(embed), CONFIG_HIDDEN_MAX },
	[FIELD_POSITIONS]    = { AT(positions), CONFIG_POSITIONS_MAX },
	[FIELD_WINDOW]       = { AT(window), CONFIG_POSITIONS_MAX },
};

enum { ALIBI_POSITIONS = 2048 };  /* what BLOOM was trained for; its config need not say */

void config_begin(struct model_config *c, const struct arch *arch)
{
	bool layer_norm = arch->norm == NORM_LAYER;

	memset(c, 0, sizeof(*c));
	c->arch = arch;
	c->norm_place = NORM_BEFORE;
	c->final_norm = true;
	c->attention_bias = layer_norm;
	c->mlp_bias = layer_norm;
	c->activation = arch->activation;
	c->embed_scale = 1;
	c->bos = -1;
}

int config_put(struct model_config *c, enum config_field f, int64_t value, const char *file,
	       const char *key, struct error *e)
{
	if (value < 1 || value > fields[f].most)
		return error_set(e, -EINVAL, "%s: %s is %" PRId64 ", expected 1 to %" PRId64, file,
				 key, value, fields[f].most);
	*(uint32_t *)((char *)c + fields[f].offset) = (uint32_t)value;
	return 0;
}

int config_put_real(float *out, double value, double least, double most, const char *file,
		    const char *key, struct error *e)
{
	if (!(value >= least && value <= most))
		return error_set(e, -EINVAL, "%s: %s is %g, expected %g to %g", file, key, value,
				 least, most);
	*out = (float)value;
	return 0;
}

int config_put_eos(struct model_config *c, int64_t id, const char *file, struct error *e)
{
	if (id < 0 || id >= c->vocabulary)
		return 0;
	for (uint32_t i = 0; i < c->eos_count; i++)
		if (c->eos[i] == id)
			return 0;
	if (c->eos_count == CONFIG_EOS_MAX)
		return error_set(e, -EINVAL, "%s: eos_token_id has more than the %d ids accepted",
				 file, CONFIG_EOS_MAX);
	c->eos[c->eos_count++] = (int32_t)id;
	return 0;
}

void config_put_bos(struct model_config *c, int64_t id)
{
	c->bos = id >= 0 && id < c->vocabulary ? (int32_t)id : -1;
}

static int finish_heads(struct model_config *c, const char *file, struct error *e)
{
	if (!c->kv_heads)
		c->kv_heads = c->heads;
	if (c->heads % c->kv_heads)
		return error_set(e, -EINVAL, "%s: %" PRIu32 " attention heads cannot share %" PRIu32
				 " key and value heads evenly", file, c->heads, c->kv_heads);
	if (c->arch->qkv != QKV_SPLIT && c->kv_heads != c->heads)
		return error_set(e, -EINVAL, "%s: %s has as many key and value heads as heads, "
				 "found %" PRIu32 " and %" PRIu32, file, c->arch->name, c->kv_heads,
				 c->heads);
	if (c->head_dim)
		return 0;
	if (c->hidden % c->heads)
		return error_set(e, -EINVAL, "%s: hidden size %" PRIu32 " is no multiple of %"
				 PRIu32 " attention heads", file, c->hidden, c->heads);
	return config_put(c, FIELD_HEAD_DIM, c->hidden / c->heads, file,
			  "hidden size per attention head", e);
}

int config_finish(struct model_config *c, const char *file, struct error *e)
{
	int rc = finish_heads(c, file, e);

	if (rc < 0)
		return rc;
	if (!c->intermediate)
		c->intermediate = 4 * c->hidden;
	if (!c->embed)
		c->embed = c->hidden;
	if (!c->positions)
		c->positions = ALIBI_POSITIONS;
	if (c->arch->position != POSITION_ROPE)
		return 0;
	c->rope.dims = c->head_dim;
	if (c->rope.dims % 2)
		return error_set(e, -EINVAL, "%s: head size %" PRIu32 " is odd, rotary positions "
				 "need an even one", file, c->head_dim);
	return 0;
}
