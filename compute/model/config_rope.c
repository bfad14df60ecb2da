/* config_rope.c - reads rotary settings in both of their spellings:
 * transformers 5 writes rope_parameters, its elders rope_theta beside
 * rope_scaling.  A file with both must mean the same by them.
 */
#include <errno.h>

#include "compute/model/config_field.h"
#include "compute/model/config_source.h"

/* The sentence, and the code in sight of the compiler. */
#define fail(e, code, ...) (error_set(e, code, __VA_ARGS__), code)

static int missing(const struct source *s, const char *key)
{
	return fail(s->e, -EINVAL, "%s: %s%s is missing, this rope_type needs it", s->file,
		    s->within, key);
}

static int needed_real(const struct source *s, const char *key, double least, double most,
		       float *out)
{
	int rc = source_real(s, key, least, most, out);

	return rc == 0 ? missing(s, key) : MIN(rc, 0);
}

static int read_llama3(struct rope_config *r, const struct source *s)
{
	int64_t original;
	int rc = needed_real(s, "factor", 1, 1e6, &r->factor);

	if (rc == 0)
		rc = needed_real(s, "low_freq_factor", 1e-3, 1e6, &r->low_freq_factor);
	if (rc == 0)
		rc = needed_real(s, "high_freq_factor", 1e-3, 1e6, &r->high_freq_factor);
	if (rc < 0)
		return rc;
	if (r->high_freq_factor <= r->low_freq_factor)
		return fail(s->e, -EINVAL, "%s: %shigh_freq_factor is %g, expected more than "
			    "low_freq_factor, %g", s->file, s->within, r->high_freq_factor,
			    r->low_freq_factor);
	rc = source_integer(s, "original_max_position_embeddings", &original);
	if (rc <= 0)
		return rc < 0 ? rc : missing(s, "original_max_position_embeddings");
	if (original < 1 || original > CONFIG_POSITIONS_MAX)
		return fail(s->e, -EINVAL, "%s: %soriginal_max_position_embeddings is %jd, "
			    "expected 1 to %d", s->file, s->within, (intmax_t)original,
			    CONFIG_POSITIONS_MAX);
	r->scaling = ROPE_LLAMA3;
	r->original_positions = (uint32_t)original;
	return 0;
}

static int read_type(struct rope_config *r, const struct source *s)
{
	const char *type = "default";
	int rc = source_text(s, "rope_type", &type);

	if (rc == 0)
		rc = source_text(s, "type", &type);
	if (rc < 0)
		return rc;
	if (strcmp(type, "default") == 0)
		return 0;
	if (strcmp(type, "llama3") == 0)
		return read_llama3(r, s);
	if (strcmp(type, "linear") == 0) {
		r->scaling = ROPE_LINEAR;
		return needed_real(s, "factor", 1, 1e6, &r->factor);
	}
	return fail(s->e, -ENOTSUP, "%s: %srope_type is '%.40s', accepted are default, linear and "
		    "llama3", s->file, s->within, type);
}

/* theta and the share of a head that rotates, which stand in any object. */
static int read_base(struct rope_config *r, const struct source *s)
{
	float partial;
	int rc = source_real(s, "rope_theta", 1, 1e12, &r->theta);

	if (rc >= 0)
		rc = source_real(s, "partial_rotary_factor", 1, 1, &partial);
	return MIN(rc, 0);
}

static int read_object(struct rope_config *r, const struct source *root, const char *key,
		       const char *within)
{
	struct source s = { source_find(root, key), root->file, within, root->e };
	const char *inner;
	json_t *value;
	int rc;

	if (!s.object)
		return 0;
	if (!json_is_object(s.object))
		return source_wrong(root, key, s.object, -EINVAL, "an object");
	json_object_foreach((json_t *)s.object, inner, value)
		if (json_is_object(value))
			return source_wrong(&s, inner, value, -ENOTSUP,
					    "one setting for all blocks");
	rc = read_base(r, &s);
	if (rc == 0)
		rc = read_type(r, &s);
	return rc < 0 ? rc : 1;
}

int source_rope(const struct source *s, struct rope_config *out)
{
	struct rope_config older, newer;
	int has_older, has_newer;
	int rc;

	memset(out, 0, sizeof(*out));
	out->theta = 10000;
	rc = read_base(out, s);
	if (rc < 0)
		return rc;
	older = *out;
	newer = *out;
	has_older = read_object(&older, s, "rope_scaling", "rope_scaling.");
	if (has_older < 0)
		return has_older;
	has_newer = read_object(&newer, s, "rope_parameters", "rope_parameters.");
	if (has_newer < 0)
		return has_newer;
	if (has_older && has_newer && memcmp(&older, &newer, sizeof(older)) != 0)
		return fail(s->e, -EINVAL, "%s: rope_parameters and rope_scaling contradict each "
			    "other", s->file);
	*out = has_newer ? newer : older;
	return 0;
}
