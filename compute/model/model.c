/* model.c - opens a checkpoint and finds each role's tensor in it.
 *
 * What a role's shape is, and which models need it, is a row of rules[]; how a
 * family fuses, transposes or permutes it comes from its row of archs[].
 */
#include "compute/model/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "compute/model/model_tensor.h"
#include "compute/model/safetensors.h"
#include "compute/model/synthetic.h"
#include "dataplane/base/memory.h"

enum { TENSOR_NAME_BYTES = 160, SHAPE_BYTES = 112, PLACE_BYTES = 96 };

/* The sentence, and the code in sight of the compiler. */
#define fail(e, code, ...) (error_set(e, code, __VA_ARGS__), code)

struct model {
	char *path;
	struct model_config config;
	struct gguf *gguf;                  /* one of the three */
	struct safetensors *safetensors;
	struct synthetic *synthetic;
};

enum size { ONE, VOCABULARY, EMBED, HIDDEN, POSITIONS, QUERY, KEY, INTERMEDIATE };

enum need {
	ALWAYS, EMBED_NORM, EMBED_NORM_BIAS, LEARNED_POSITIONS, PROJECTION, FINAL_NORM,
	FINAL_NORM_BIAS, NORM_BIAS, ATTENTION_BIAS, GATE, GATE_BIAS, MLP_BIAS,
};

static const struct { enum size rows, columns; enum need need; } rules[ROLE_COUNT] = {
	[ROLE_EMBED_W]       = { VOCABULARY,   EMBED,        ALWAYS },
	[ROLE_EMBED_NORM_W]  = { ONE,          HIDDEN,       EMBED_NORM },
	[ROLE_EMBED_NORM_B]  = { ONE,          HIDDEN,       EMBED_NORM_BIAS },
	[ROLE_POSITION_W]    = { POSITIONS,    HIDDEN,       LEARNED_POSITIONS },
	[ROLE_PROJECT_IN_W]  = { HIDDEN,       EMBED,        PROJECTION },
	[ROLE_PROJECT_OUT_W] = { EMBED,        HIDDEN,       PROJECTION },
	[ROLE_FINAL_NORM_W]  = { ONE,          HIDDEN,       FINAL_NORM },
	[ROLE_FINAL_NORM_B]  = { ONE,          HIDDEN,       FINAL_NORM_BIAS },
	[ROLE_HEAD_W]        = { VOCABULARY,   EMBED,        ALWAYS },
	[ROLE_NORM1_W]       = { ONE,          HIDDEN,       ALWAYS },
	[ROLE_NORM1_B]       = { ONE,          HIDDEN,       NORM_BIAS },
	[ROLE_Q_W]           = { QUERY,        HIDDEN,       ALWAYS },
	[ROLE_Q_B]           = { ONE,          QUERY,        ATTENTION_BIAS },
	[ROLE_K_W]           = { KEY,          HIDDEN,       ALWAYS },
	[ROLE_K_B]           = { ONE,          KEY,          ATTENTION_BIAS },
	[ROLE_V_W]           = { KEY,          HIDDEN,       ALWAYS },
	[ROLE_V_B]           = { ONE,          KEY,          ATTENTION_BIAS },
	[ROLE_O_W]           = { HIDDEN,       QUERY,        ALWAYS },
	[ROLE_O_B]           = { ONE,          HIDDEN,       ATTENTION_BIAS },
	[ROLE_NORM2_W]       = { ONE,          HIDDEN,       ALWAYS },
	[ROLE_NORM2_B]       = { ONE,          HIDDEN,       NORM_BIAS },
	[ROLE_GATE_W]        = { INTERMEDIATE, HIDDEN,       GATE },
	[ROLE_GATE_B]        = { ONE,          INTERMEDIATE, GATE_BIAS },
	[ROLE_UP_W]          = { INTERMEDIATE, HIDDEN,       ALWAYS },
	[ROLE_UP_B]          = { ONE,          INTERMEDIATE, MLP_BIAS },
	[ROLE_DOWN_W]        = { HIDDEN,       INTERMEDIATE, ALWAYS },
	[ROLE_DOWN_B]        = { ONE,          HIDDEN,       MLP_BIAS },
};

static uint32_t size_of(const struct model_config *c, enum size s)
{
	switch (s) {
	case ONE:
		return 1;
	case VOCABULARY:
		return c->vocabulary;
	case EMBED:
		return c->embed;
	case HIDDEN:
		return c->hidden;
	case POSITIONS:
		return c->positions + c->arch->position_offset;
	case QUERY:
		return c->heads * c->head_dim;
	case KEY:
		return c->kv_heads * c->head_dim;
	case INTERMEDIATE:
		return c->intermediate;
	}
	assert(!"a size of enum size");
	return 0;
}

static bool is_needed(const struct model_config *c, enum need n)
{
	bool layer_norm = c->arch->norm == NORM_LAYER;

	switch (n) {
	case ALWAYS:
		return true;
	case EMBED_NORM:
		return c->arch->embed_norm;
	case EMBED_NORM_BIAS:
		return c->arch->embed_norm && layer_norm;
	case LEARNED_POSITIONS:
		return c->arch->position == POSITION_LEARNED;
	case PROJECTION:
		return c->embed != c->hidden;
	case FINAL_NORM:
		return c->final_norm;
	case FINAL_NORM_BIAS:
		return c->final_norm && layer_norm;
	case NORM_BIAS:
		return layer_norm;
	case ATTENTION_BIAS:
		return c->attention_bias;
	case GATE:
		return c->arch->gated_mlp;
	case GATE_BIAS:
		return c->arch->gated_mlp && c->mlp_bias;
	case MLP_BIAS:
		return c->mlp_bias;
	}
	assert(!"a need of enum need");
	return false;
}

/* ---- tensors as stored ---- */

static void from_gguf(const struct model *m, const struct gguf_tensor *t, struct stored *out)
{
	*out = (struct stored){ t->name.data, m->path, t->dtype, t->dimensions, { 0 }, t->data,
				t->bytes };
	for (uint32_t i = 0; i < t->dimensions; i++)
		out->shape[i] = t->shape[t->dimensions - 1 - i];
}

static void from_safetensors(const struct safetensors_tensor *t, struct stored *out)
{
	*out = (struct stored){ t->name, t->file, t->dtype, t->dimensions, { 0 }, t->data,
				t->bytes };
	memcpy(out->shape, t->shape, sizeof(out->shape));
}

bool model_find(const struct model *m, const char *name, struct stored *out)
{
	const struct safetensors_tensor *s;
	const struct gguf_tensor *g;

	if (m->gguf) {
		g = gguf_tensor(m->gguf, name);
		if (g)
			from_gguf(m, g, out);
		return g != NULL;
	}
	s = m->safetensors ? safetensors_tensor(m->safetensors, name) : NULL;
	if (s)
		from_safetensors(s, out);
	return s != NULL;
}

uint64_t model_tensor_count(const struct model *m)
{
	if (m->gguf)
		return gguf_tensor_count(m->gguf);
	return m->safetensors ? safetensors_count(m->safetensors) : 0;
}

void model_tensor_at(const struct model *m, uint64_t index, struct stored *out)
{
	if (m->gguf)
		from_gguf(m, gguf_tensor_at(m->gguf, index), out);
	else
		from_safetensors(safetensors_at(m->safetensors, index), out);
}

/* ---- from a role to its tensor ---- */

static const struct arch_names *names_of(const struct model *m)
{
	return m->gguf ? m->config.arch->gguf : m->config.arch->hf;
}

/* GGUF keeps no per-head order: its writers sort fused rows into q, k, v. */
static enum qkv_layout layout_of(const struct model *m, enum role role)
{
	if (role < ROLE_Q_W || role > ROLE_V_B || m->config.arch->qkv == QKV_SPLIT)
		return QKV_SPLIT;
	return m->gguf ? QKV_CONCAT : m->config.arch->qkv;
}

static bool is_bias(enum role role)
{
	return role == ROLE_Q_B || role == ROLE_K_B || role == ROLE_V_B;
}

/* The name without its prefix, NULL when the family has no such tensor. */
static const char *pattern_of(const struct model *m, enum role role)
{
	const struct arch_names *names = names_of(m);

	if (layout_of(m, role) == QKV_SPLIT)
		return names->name[role];
	return is_bias(role) ? names->qkv_b : names->qkv_w;
}

static bool find_role(const struct model *m, enum role role, uint32_t block, struct stored *out)
{
	const struct arch_names *names = names_of(m);
	char name[TENSOR_NAME_BYTES];

	for (size_t i = 0; i < ARRAY_LENGTH(names->prefixes) && names->prefixes[i]; i++) {
		int length = snprintf(name, sizeof(name), "%s", names->prefixes[i]);

		snprintf(name + length, sizeof(name) - (size_t)length, pattern_of(m, role), block);
		if (model_find(m, name, out))
			return true;
	}
	return false;
}

struct place { char text[PLACE_BYTES]; };

/* "attention query weight of block 3" */
static const char *place_of(enum role role, uint32_t block, struct place *out)
{
	if (role < ROLE_EDGE_COUNT)
		snprintf(out->text, sizeof(out->text), "%s", role_name(role));
	else
		snprintf(out->text, sizeof(out->text), "%s of block %" PRIu32, role_name(role),
			 block);
	return out->text;
}

/* Says under which name it was sought, and whether it is there after all. */
static int missing(const struct model *m, enum role role, uint32_t block, struct error *e)
{
	const struct arch_names *names = names_of(m);
	char name[TENSOR_NAME_BYTES], full[TENSOR_NAME_BYTES + 32];
	const char *dtype;
	struct place place;

	snprintf(name, sizeof(name), pattern_of(m, role), block);
	for (size_t i = 0; i < ARRAY_LENGTH(names->prefixes) && names->prefixes[i]; i++) {
		if (m->gguf)
			break;
		snprintf(full, sizeof(full), "%s%s", names->prefixes[i], name);
		dtype = safetensors_unreadable(m->safetensors, full);
		if (dtype)
			return fail(e, -ENOTSUP, "%s: tensor '%s' (%s) is stored as %s; accepted "
				    "are F32, F16 and BF16", m->path, full,
				    place_of(role, block, &place), dtype);
	}
	snprintf(full, sizeof(full), "%s%s", names->prefixes[0], name);
	return fail(e, -EINVAL, "%s: tensor '%s' (%s) is missing, %s of %" PRIu32
		    " blocks needs it", m->path, full, place_of(role, block, &place),
		    m->config.arch->name, m->config.blocks);
}

static const char *shape_text(uint32_t dimensions, const uint64_t *shape, char *out)
{
	int at = snprintf(out, SHAPE_BYTES, "(");

	for (uint32_t i = 0; i < dimensions; i++)
		at += snprintf(out + at, (size_t)(SHAPE_BYTES - at), "%s%" PRIu64, i ? ", " : "",
			       shape[i]);
	snprintf(out + at, (size_t)(SHAPE_BYTES - at), ")");
	return out;
}

static int check_shape(const struct stored *t, uint32_t dimensions, const uint64_t *expected,
		       enum role role, uint32_t block, struct error *e)
{
	char wanted[SHAPE_BYTES], found[SHAPE_BYTES];
	struct place place;

	if (t->dimensions != dimensions ||
	    memcmp(t->shape, expected, dimensions * sizeof(*expected)) != 0)
		return fail(e, -EINVAL, "%s: tensor '%.80s' (%s) has shape %s, expected %s",
			    t->file, t->name, place_of(role, block, &place),
			    shape_text(t->dimensions, t->shape, found),
			    shape_text(dimensions, expected, wanted));
	if (dimensions == 1 && dtype_is_quantised(t->dtype))
		return fail(e, -ENOTSUP, "%s: tensor '%.80s' (%s) is stored as %s, a vector must "
			    "be f32, f16 or bf16", t->file, t->name, place_of(role, block, &place),
			    dtypes[t->dtype].name);
	return 0;
}

/* Of the three parts of a fused tensor: which one, and where it begins. */
static void set_part(const struct model *m, enum role role, struct weight *w)
{
	const struct model_config *c = &m->config;
	uint32_t part = (uint32_t)(role - ROLE_Q_W) / 2;

	if (layout_of(m, role) == QKV_PER_HEAD) {
		w->order = WEIGHT_PER_HEAD;
		w->part = part;
		return;
	}
	w->row0 = part == 0 ? 0 : size_of(c, QUERY) + (part - 1) * size_of(c, KEY);
	if (w->rows == 1) {
		w->data += dtype_row_bytes(w->dtype, w->row0);
		w->row0 = 0;
	}
}

/* Numbers for a role of a model without files. */
static int synthesise(const struct model *m, enum role role, uint32_t block, struct weight *w)
{
	uint32_t index = block * ROLE_COUNT + role;
	bool vector = rules[role].rows == ONE;
	enum need need = rules[role].need;
	bool norm = vector && (role == ROLE_NORM1_W || role == ROLE_NORM2_W ||
			       need == EMBED_NORM || need == FINAL_NORM);

	w->dtype = vector ? DTYPE_F32 : synthetic_dtype(m->synthetic);
	w->name = role_name(role);
	w->data = vector ? (const uint8_t *)(norm ? synthetic_norm(m->synthetic, index) :
					     synthetic_bias(m->synthetic, index)) :
		  synthetic_matrix(m->synthetic, index);
	return 1;
}

/* 1 found, 0 this model has none, else -errno. */
static int resolve(const struct model *m, enum role role, uint32_t block, struct weight *w,
		   struct error *e)
{
	const struct model_config *c = &m->config;
	uint32_t rows = size_of(c, rules[role].rows), columns = size_of(c, rules[role].columns);
	bool vector = rules[role].rows == ONE, fused = layout_of(m, role) != QKV_SPLIT;
	bool transposed = c->arch->transposed && !m->gguf && !vector && role >= ROLE_EDGE_COUNT;
	uint64_t features = vector ? columns : rows, shape[2];
	struct stored t;
	int rc;

	if (role == ROLE_HEAD_W && c->tied)
		return resolve(m, ROLE_EMBED_W, block, w, e);
	if (!is_needed(c, rules[role].need) || (!m->synthetic && !pattern_of(m, role)))
		return 0;
	*w = (struct weight){ .rows = rows, .columns = columns, .stored_columns = columns,
			      .head_dim = c->head_dim };
	if (m->synthetic)
		return synthesise(m, role, block, w);
	if (!find_role(m, role, block, &t))
		return missing(m, role, block, e);
	if (fused)
		features = size_of(c, QUERY) + 2 * (uint64_t)size_of(c, KEY);
	shape[0] = transposed ? columns : features;
	shape[1] = transposed ? features : columns;
	rc = check_shape(&t, vector ? 1 : 2, shape, role, block, e);
	if (rc < 0)
		return rc;
	w->name = t.name;
	w->dtype = t.dtype;
	w->data = t.data;
	if (transposed) {
		w->order = WEIGHT_TRANSPOSED;
		w->stored_columns = (uint32_t)features;
	}
	if (fused)
		set_part(m, role, w);
	else if (m->gguf && c->arch->gguf_permuted && role >= ROLE_Q_W && role <= ROLE_K_B)
		w->order = WEIGHT_ROTARY_PAIRS;
	return 1;
}

bool model_weight(const struct model *m, enum role role, uint32_t block, struct weight *out)
{
	assert(role < ROLE_COUNT);
	assert(role < ROLE_EDGE_COUNT || block < m->config.blocks);
	return resolve(m, role, block, out, NULL) == 1;
}

/* ---- checks ---- */

/* A bias that the config does not speak of would be left out silently. */
static int check_unwanted(const struct model *m, enum role role, uint32_t block, struct error *e)
{
	enum need need = rules[role].need;
	struct place place;
	struct stored t;

	if (need != ATTENTION_BIAS && need != MLP_BIAS && need != GATE_BIAS)
		return 0;
	if (!pattern_of(m, role) || !find_role(m, role, block, &t))
		return 0;
	return fail(e, -EINVAL, "%s: tensor '%.80s' (%s) is there, but the config says that there "
		    "is none", t.file, t.name, place_of(role, block, &place));
}

static int check_role(const struct model *m, enum role role, uint32_t block, struct error *e)
{
	struct weight w;
	int rc = resolve(m, role, block, &w, e);

	return rc == 0 ? check_unwanted(m, role, block, e) : MIN(rc, 0);
}

int model_check(const struct model *m, uint32_t first, uint32_t end, bool edges, struct error *e)
{
	int rc = 0;

	if (first > end || end > m->config.blocks)
		return fail(e, -EINVAL, "%s: has blocks 0 to %" PRIu32 ", not [%" PRIu32 ", %"
			    PRIu32 ")", m->path, m->config.blocks - 1, first, end);
	for (int r = 0; edges && r < ROLE_EDGE_COUNT && rc == 0; r++)
		rc = check_role(m, r, 0, e);
	for (uint32_t b = first; b < end; b++)
		for (int r = ROLE_EDGE_COUNT; r < ROLE_COUNT && rc == 0; r++)
			rc = check_role(m, r, b, e);
	return rc;
}

/* ---- opening ---- */

/* What people call it: the last part of the path, a GGUF's without its ending. */
static void set_name(struct model *m)
{
	size_t end = strlen(m->path), begin;

	while (end > 1 && m->path[end - 1] == '/')
		end--;
	for (begin = end; begin > 0 && m->path[begin - 1] != '/'; begin--)
		;
	if (m->gguf && end - begin > 5 && memcmp(m->path + end - 5, ".gguf", 5) == 0)
		end -= 5;
	if (end - begin == strspn(m->path + begin, "./"))
		return;         /* ".", "..", "/": the config's own name is better */
	snprintf(m->config.name, sizeof(m->config.name), "%.*s", (int)(end - begin),
		 m->path + begin);
}

static int open_files(struct model *m, struct error *e)
{
	struct stat st;
	int rc;

	if (stat(m->path, &st) < 0) {
		rc = -errno;
		error_errno(e, rc, "cannot open the model %s", m->path);
		return rc;
	}
	if (!S_ISDIR(st.st_mode)) {
		rc = gguf_open(&m->gguf, m->path, e);
		return rc < 0 ? rc : config_from_gguf(&m->config, m->gguf, e);
	}
	rc = config_from_hf(&m->config, m->path, e);
	return rc < 0 ? rc : safetensors_open(&m->safetensors, m->path, e);
}

int model_open(struct model **out, const char *path, struct error *e)
{
	struct model *m = mem_calloc(1, sizeof(*m));
	int rc;

	*out = NULL;
	if (m)
		m->path = mem_strdup(path);
	if (!m || !m->path) {
		rc = error_errno(e, -ENOMEM, "cannot open the model %s", path);
		goto err;
	}
	rc = open_files(m, e);
	if (rc < 0)
		goto err;
	set_name(m);
	*out = m;
	return 0;

err:
	model_close(m);
	return rc;
}

/* Matrices reach as far as the widest of its kind, tables as the vocabulary. */
static int largest_bytes(const struct model_config *c, enum dtype dtype, uint64_t *most,
			 struct error *e)
{
	*most = 0;
	for (int r = 0; r < ROLE_COUNT; r++) {
		uint32_t columns = size_of(c, rules[r].columns);

		if (rules[r].rows == ONE || !is_needed(c, rules[r].need))
			continue;
		if (columns % dtypes[dtype].group)
			return error_set(e, -EINVAL, "%u columns are no whole groups of %u, as %s "
					 "has them", columns, dtypes[dtype].group,
					 dtypes[dtype].name);
		*most = MAX(*most, size_of(c, rules[r].rows) * dtype_row_bytes(dtype, columns));
	}
	return 0;
}

int model_open_synthetic(struct model **out, const struct model_config *c, enum dtype dtype,
			 struct error *e)
{
	struct model *m = mem_calloc(1, sizeof(*m));
	uint64_t most;
	int rc;

	*out = NULL;
	if (m)
		m->path = mem_strdup("random weights");
	if (!m || !m->path) {
		rc = error_errno(e, -ENOMEM, "a model of random weights");
		goto err;
	}
	m->config = *c;
	rc = largest_bytes(c, dtype, &most, e);
	if (rc == 0)
		rc = synthetic_open(&m->synthetic, dtype, most,
				    MAX(MAX(size_of(c, QUERY), c->hidden), c->intermediate), 1,
				    e);
	if (rc < 0)
		goto err;
	*out = m;
	return 0;

err:
	model_close(m);
	return rc;
}

void model_close(struct model *m)
{
	if (!m)
		return;
	synthetic_close(m->synthetic);
	safetensors_close(m->safetensors);
	gguf_close(m->gguf);
	mem_free(m->path);
	mem_free(m);
}

const struct model_config *model_config(const struct model *m)
{
	return &m->config;
}

const char *model_path(const struct model *m)
{
	return m->path;
}

const struct gguf *model_gguf(const struct model *m)
{
	return m->gguf;
}

enum dtype model_dtype(const struct model *m)
{
	static const enum role matrices[] = {
		ROLE_Q_W, ROLE_K_W, ROLE_V_W, ROLE_O_W, ROLE_GATE_W, ROLE_UP_W, ROLE_DOWN_W,
	};
	uint64_t elements[DTYPE_COUNT] = { 0 };
	enum dtype most = DTYPE_F32;
	struct weight w;

	for (uint32_t b = 0; b < m->config.blocks; b++)
		for (size_t i = 0; i < ARRAY_LENGTH(matrices); i++)
			if (model_weight(m, matrices[i], b, &w))
				elements[w.dtype] += (uint64_t)w.rows * w.columns;
	for (int d = 0; d < DTYPE_COUNT; d++)
		if (elements[d] > elements[most])
			most = d;
	return most;
}
