/* edge.c - from token ids to what enters block 0, and from what leaves the last
 * block to logits.
 *
 * The head is packed for the kernels.  When it is the embedding too, embedded rows
 * are gathered from its panels, so that the largest matrix is held once (and has one
 * weight format); else the embedding stays as stored, since it is only looked up.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "compute/cpu/device.h"
#include "compute/cpu/weights.h"
#include "dataplane/base/memory.h"

enum { ALIGNMENT = 64, EDGE_ITEMS = ROLE_EDGE_COUNT, ROWS_EACH = 16 };

struct edge {
	struct device *device;
	struct model_config config;
	uint32_t rows_max;

	struct weights *weights;
	struct matrix head, project_in, project_out;
	struct table embed;             /* untied only */
	struct table positions;
	const float *embed_norm_w, *embed_norm_b, *final_norm_w, *final_norm_b;

	struct memory_region memory;
	float *normed;                  /* (rows_max, hidden) */
	float *projected;               /* (rows_max, embed) */
	void *operand;
};

uint64_t cpu_edge_bytes(const struct edge *g)
{
	return weights_bytes(g->weights);
}

/* ---- opening ---- */

static void want_matrix(struct edge *g, const struct model *m, enum compute_mode mode,
			enum role role, struct matrix *out)
{
	struct matrix_kind kind = { PANEL_F32, OPERAND_F32 };
	struct weight w;

	if (model_weight(m, role, 0, &w))
		kind = weights_kind(mode, g->device->weights, w.dtype);
	weights_want_matrix(g->weights, role, 0, kind, out);
}

static int open_weights(struct edge *g, const struct model *m, enum compute_mode mode,
			struct load_progress progress, struct error *e)
{
	int rc = weights_open(&g->weights, m, EDGE_ITEMS, e);

	if (rc < 0)
		return rc;
	want_matrix(g, m, mode, ROLE_HEAD_W, &g->head);
	if (!g->config.tied)
		weights_want_table(g->weights, ROLE_EMBED_W, &g->embed);
	weights_want_table(g->weights, ROLE_POSITION_W, &g->positions);
	want_matrix(g, m, mode, ROLE_PROJECT_IN_W, &g->project_in);
	want_matrix(g, m, mode, ROLE_PROJECT_OUT_W, &g->project_out);
	weights_want_vector(g->weights, ROLE_EMBED_NORM_W, 0, 0, &g->embed_norm_w);
	weights_want_vector(g->weights, ROLE_EMBED_NORM_B, 0, 0, &g->embed_norm_b);
	weights_want_vector(g->weights, ROLE_FINAL_NORM_W, 0, 0, &g->final_norm_w);
	weights_want_vector(g->weights, ROLE_FINAL_NORM_B, 0, 0, &g->final_norm_b);
	return weights_load(g->weights, g->device->team, progress, e);
}

static int open_memory(struct edge *g, struct error *e)
{
	const struct matrix *all[] = { &g->head, &g->project_in, &g->project_out };
	uint64_t normed = align_up((uint64_t)g->rows_max * g->config.hidden * sizeof(float),
				   ALIGNMENT);
	uint64_t projected = align_up((uint64_t)g->rows_max * g->config.embed * sizeof(float),
				      ALIGNMENT);
	uint64_t operand = 0;
	int rc;

	for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
		uint32_t columns = MAX(all[i]->columns, 1);
		uint64_t bytes = operand_bytes(all[i]->operand, g->rows_max, columns);

		operand = MAX(operand, bytes);
	}
	rc = memory_region_open(&g->memory, normed + projected + operand, false);
	if (rc < 0)
		return error_set(e, rc, "out of memory for %" PRIu64 " MB of the edge's rows",
				 (normed + projected + operand) / 1000000);
	g->normed = g->memory.base;
	g->projected = (float *)((uint8_t *)g->memory.base + normed);
	g->operand = (uint8_t *)g->memory.base + normed + projected;
	return 0;
}

int cpu_edge_open(struct edge **out, struct device *d, const struct model *m, uint32_t rows_max,
		  struct load_progress progress, struct error *e)
{
	enum compute_mode mode;
	struct edge *g;
	int rc;

	*out = NULL;
	assert(rows_max > 0);
	rc = model_check(m, 0, 0, true, e);
	if (rc < 0)
		return rc;
	rc = device_mode(d, m, &mode, e);
	if (rc < 0)
		return rc;
	g = mem_calloc(1, sizeof(*g));
	if (!g)
		return error_set(e, -ENOMEM, "out of memory for the edge");
	g->device = d;
	g->config = *model_config(m);
	g->rows_max = rows_max;
	rc = open_weights(g, m, mode, progress, e);
	if (rc == 0)
		rc = open_memory(g, e);
	if (rc < 0) {
		cpu_edge_close(g);
		return rc;
	}
	*out = g;
	return 0;
}

void cpu_edge_close(struct edge *g)
{
	if (!g)
		return;
	memory_region_close(&g->memory);
	weights_close(g->weights);
	mem_free(g);
}

/* ---- embedding ---- */

static void norm_row(const struct edge *g, const float *x, const float *weight, const float *bias,
		     float *out)
{
	const struct model_config *c = &g->config;

	if (c->arch->norm == NORM_RMS)
		norm_rms(g->device->kernels, x, weight, c->hidden, c->norm_epsilon, out);
	else
		norm_layer(g->device->kernels, x, weight, bias, c->hidden, c->norm_epsilon, out);
}

static void look_up(const struct edge *g, uint32_t token, float *out)
{
	assert(token < g->config.vocabulary);
	if (g->config.tied)
		matrix_row(&g->head, token, out);
	else
		table_row(&g->embed, token, out);
	for (uint32_t i = 0; i < g->config.embed && g->config.embed_scale != 1; i++)
		out[i] *= g->config.embed_scale;
}

/* Adds the position, norms; row is (hidden). */
static void finish_row(const struct edge *g, uint32_t position, float *row, float *scratch)
{
	uint32_t hidden = g->config.hidden;

	if (g->positions.data) {
		table_row(&g->positions, position + g->config.arch->position_offset, scratch);
		for (uint32_t i = 0; i < hidden; i++)
			row[i] += scratch[i];
	}
	if (g->embed_norm_w) {
		memcpy(scratch, row, hidden * sizeof(float));
		norm_row(g, scratch, g->embed_norm_w, g->embed_norm_b, row);
	}
}

static void project(const struct edge *g, const struct matrix *m, const float *in, uint32_t rows,
		    float *out)
{
	struct linear_out o = { .out = out, .out_stride = m->rows };

	operand_prepare(g->device->kernels, g->device->team, m->operand, in, rows, m->columns,
			g->operand);
	linear(g->device->kernels, g->device->team, m, g->operand, rows, &o);
}

/* Rows that need the edge's own memory run one caller at a time. */
static void embed_rows(const struct edge *g, const uint32_t *tokens, uint32_t rows,
		       uint32_t position, float *out)
{
	uint32_t hidden = g->config.hidden, embed = g->config.embed;

	for (uint32_t first = 0; first < rows; first += g->rows_max) {
		uint32_t count = MIN(rows - first, g->rows_max);
		float *to = out + (size_t)first * hidden;
		float *looked_up = g->project_in.rows > 0 ? g->projected : to;

		for (uint32_t r = 0; r < count; r++)
			look_up(g, tokens[first + r], looked_up + (size_t)r * embed);
		if (g->project_in.rows > 0)
			project(g, &g->project_in, looked_up, count, to);
		for (uint32_t r = 0; r < count; r++)
			finish_row(g, position + first + r, to + (size_t)r * hidden, g->normed);
	}
}

int cpu_edge_embed(struct edge *g, const uint32_t *tokens, uint32_t rows, uint32_t position,
		   float *out)
{
	bool alone = g->project_in.rows > 0 || g->positions.data || g->embed_norm_w;
	fenv_t saved;

	if (!alone) {
		for (uint32_t r = 0; r < rows; r++)
			look_up(g, tokens[r], out + (size_t)r * g->config.hidden);
		return 0;
	}
	device_enter(g->device, &saved);
	embed_rows(g, tokens, rows, position, out);
	device_leave(g->device, &saved);
	return 0;
}

/* ---- logits ---- */

struct final_norm { struct edge *edge; const float *in; };

static void final_norm_rows(void *ctx, uint32_t first, uint32_t end, uint32_t worker)
{
	const struct final_norm *f = ctx;
	const struct edge *g = f->edge;
	size_t hidden = g->config.hidden;

	for (uint32_t r = first; r < end; r++)
		norm_row(g, f->in + r * hidden, g->final_norm_w, g->final_norm_b,
			 g->normed + r * hidden);
}

int cpu_edge_logits(struct edge *g, const float *rows_in, uint32_t rows, float *logits)
{
	fenv_t saved;

	device_enter(g->device, &saved);
	for (uint32_t first = 0; first < rows; first += g->rows_max) {
		uint32_t count = MIN(rows - first, g->rows_max);
		const float *in = rows_in + (size_t)first * g->config.hidden;
		struct final_norm f = { g, in };

		if (g->final_norm_w) {
			device_split(g->device, count, ROWS_EACH, final_norm_rows, &f);
			in = g->normed;
		}
		if (g->project_out.rows > 0) {
			project(g, &g->project_out, in, count, g->projected);
			in = g->projected;
		}
		project(g, &g->head, in, count, logits + (size_t)first * g->head.rows);
	}
	device_leave(g->device, &saved);
	return 0;
}
