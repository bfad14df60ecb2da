/* reference.c - each formula once, as its paper writes it, in f64. */
#include "compute/reference.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "dataplane/base/memory.h"

struct pass {
	const struct model *model;
	const struct model_config *config;
	uint32_t rows;
	double *x, *normed, *q, *k, *v, *mixed, *gate, *up, *sums;
	double *scores;                 /* (rows) */
	float *row;                     /* the longest row of any matrix */
	enum weight_format weights;
	void *values, *scales;          /* of such a row, quantised */
	float *frequencies, *slopes;
};

static uint32_t widest(const struct model_config *c)
{
	uint32_t w = MAX(c->hidden, c->embed);

	w = MAX(w, c->intermediate);
	return MAX(w, c->heads * c->head_dim);
}

static void pass_close(struct pass *p)
{
	void *all[] = { p->x, p->normed, p->q, p->k, p->v, p->mixed, p->gate, p->up, p->sums,
			p->scores, p->row, p->values, p->scales, p->frequencies, p->slopes };

	for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
		mem_free(all[i]);
}

static int pass_open(struct pass *p, const struct model *m, enum weight_format weights,
		     uint32_t rows)
{
	const struct model_config *c = model_config(m);
	size_t width = widest(c);
	double **wide[] = { &p->x, &p->normed, &p->q, &p->k, &p->v, &p->mixed, &p->gate, &p->up,
			    &p->sums };
	bool failed = false;

	*p = (struct pass){ .model = m, .config = c, .rows = rows, .weights = weights };
	for (size_t i = 0; i < ARRAY_LENGTH(wide); i++) {
		*wide[i] = mem_calloc((size_t)rows * width, sizeof(double));
		failed |= !*wide[i];
	}
	p->scores = mem_calloc(rows, sizeof(double));
	p->row = mem_calloc(width, sizeof(float));
	p->values = mem_calloc(width + GROUP, sizeof(float));
	p->scales = mem_calloc(width + GROUP, sizeof(float));
	p->frequencies = mem_calloc(c->head_dim / 2 + 1, sizeof(float));
	p->slopes = mem_calloc(c->heads, sizeof(float));
	if (failed || !p->scores || !p->row || !p->values || !p->scales || !p->frequencies ||
	    !p->slopes) {
		pass_close(p);
		return -ENOMEM;
	}
	if (c->arch->position == POSITION_ROPE)
		rope_frequencies(&c->rope, p->frequencies);
	if (c->arch->position == POSITION_ALIBI)
		alibi_slopes(c->heads, p->slopes);
	return 0;
}

/* Row n of a matrix that is multiplied, to p->row. */
static void matrix_row_of(struct pass *p, const struct weight *w, uint32_t n)
{
	if (p->weights == WEIGHTS_KEEP) {
		weight_row(w, n, p->row);
		return;
	}
	quantise_rows(p->weights, w, n, n + 1, p->values, p->scales);
	quantised_widen(p->weights, p->values, p->scales, w->columns, p->row);
}

/* out[r][n] = x[r] . w[n] + b[n]; false when the model has no such matrix. */
static bool linear(struct pass *p, enum role weight, uint32_t block, const double *x, double *out)
{
	struct weight w, b;

	if (!model_weight(p->model, weight, block, &w))
		return false;
	for (uint32_t n = 0; n < w.rows; n++) {
		matrix_row_of(p, &w, n);
		for (uint32_t r = 0; r < p->rows; r++) {
			double sum = 0;

			for (uint32_t k = 0; k < w.columns; k++)
				sum += x[(size_t)r * w.columns + k] * (double)p->row[k];
			out[(size_t)r * w.rows + n] = sum;
		}
	}
	if (weight < ROLE_EDGE_COUNT || !model_weight(p->model, weight + 1, block, &b))
		return true;
	weight_row(&b, 0, p->row);
	for (uint32_t r = 0; r < p->rows; r++)
		for (uint32_t n = 0; n < w.rows; n++)
			out[(size_t)r * w.rows + n] += (double)p->row[n];
	return true;
}

static void norm(struct pass *p, enum role weight, uint32_t block, const double *x, double *out)
{
	uint32_t n = p->config->hidden;
	bool layer = p->config->arch->norm == NORM_LAYER;
	struct weight w;

	for (uint32_t r = 0; r < p->rows; r++) {
		const double *in = x + (size_t)r * n;
		double mean = 0, square = 0;

		for (uint32_t i = 0; i < n && layer; i++)
			mean += in[i] / n;
		for (uint32_t i = 0; i < n; i++)
			square += (in[i] - mean) * (in[i] - mean) / n;
		for (uint32_t i = 0; i < n; i++)
			out[(size_t)r * n + i] = (in[i] - mean) /
						 sqrt(square + (double)p->config->norm_epsilon);
	}
	for (int bias = 0; bias < 2; bias++) {
		if (!model_weight(p->model, weight + bias, block, &w))
			continue;
		weight_row(&w, 0, p->row);
		for (uint32_t r = 0; r < p->rows; r++) {
			double *row = out + (size_t)r * n;

			for (uint32_t i = 0; i < n; i++)
				row[i] = bias ? row[i] + (double)p->row[i] :
						row[i] * (double)p->row[i];
		}
	}
}

static void rotate(struct pass *p, double *x, uint32_t heads)
{
	const struct model_config *c = p->config;
	uint32_t half = c->rope.dims / 2;

	for (uint32_t r = 0; r < p->rows; r++)
		for (uint32_t h = 0; h < heads; h++) {
			double *v = x + ((size_t)r * heads + h) * c->head_dim;

			for (uint32_t i = 0; i < half; i++) {
				double angle = (double)((float)r * p->frequencies[i]);
				double a = v[i], b = v[i + half];

				v[i] = a * cos(angle) - b * sin(angle);
				v[i + half] = b * cos(angle) + a * sin(angle);
			}
		}
}

/* mixed[r][h] = softmax(q . k) v over what row r may see. */
static void attend(struct pass *p, uint32_t r, uint32_t h)
{
	const struct model_config *c = p->config;
	uint32_t d = c->head_dim, kv = h / (c->heads / c->kv_heads);
	uint32_t first = c->window > 0 && r + 1 > c->window ? r + 1 - c->window : 0;
	const double *q = p->q + ((size_t)r * c->heads + h) * d;
	double *out = p->mixed + ((size_t)r * c->heads + h) * d, largest = -INFINITY, sum = 0;

	for (uint32_t t = first; t <= r; t++) {
		const double *k = p->k + ((size_t)t * c->kv_heads + kv) * d;
		double score = 0;

		for (uint32_t i = 0; i < d; i++)
			score += q[i] * k[i];
		score = score / sqrt(d) + (double)p->slopes[h] * ((double)t - r);
		p->scores[t] = score;
		largest = fmax(largest, score);
	}
	for (uint32_t t = first; t <= r; t++) {
		p->scores[t] = exp(p->scores[t] - largest);
		sum += p->scores[t];
	}
	for (uint32_t i = 0; i < d; i++) {
		out[i] = 0;
		for (uint32_t t = first; t <= r; t++)
			out[i] += p->scores[t] / sum *
				  p->v[((size_t)t * c->kv_heads + kv) * d + i];
	}
}

static double activate(enum activation_kind a, double x)
{
	switch (a) {
	case ACT_SILU:
		return x / (1 + exp(-x));
	case ACT_GELU_TANH:
		return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
	case ACT_GELU_ERF:
		return 0.5 * x * (1 + erf(x / sqrt(2)));
	case ACT_RELU:
		return fmax(x, 0);
	}
	assert(!"an activation of enum activation_kind");
	return 0;
}

/* sums = attention(in). */
static void attention_part(struct pass *p, uint32_t block, const double *in)
{
	const struct model_config *c = p->config;

	linear(p, ROLE_Q_W, block, in, p->q);
	linear(p, ROLE_K_W, block, in, p->k);
	linear(p, ROLE_V_W, block, in, p->v);
	if (c->arch->position == POSITION_ROPE) {
		rotate(p, p->q, c->heads);
		rotate(p, p->k, c->kv_heads);
	}
	for (uint32_t r = 0; r < p->rows; r++)
		for (uint32_t h = 0; h < c->heads; h++)
			attend(p, r, h);
	linear(p, ROLE_O_W, block, p->mixed, p->sums);
}

/* sums = mlp(in). */
static void mlp_part(struct pass *p, uint32_t block, const double *in)
{
	const struct model_config *c = p->config;
	bool gated = c->arch->gated_mlp && linear(p, ROLE_GATE_W, block, in, p->gate);

	linear(p, ROLE_UP_W, block, in, p->up);
	for (size_t i = 0; i < (size_t)p->rows * c->intermediate; i++)
		p->up[i] = gated ? activate(c->activation, p->gate[i]) * p->up[i] :
				   activate(c->activation, p->up[i]);
	linear(p, ROLE_DOWN_W, block, p->up, p->sums);
}

static void add_residual(struct pass *p)
{
	for (size_t i = 0; i < (size_t)p->rows * p->config->hidden; i++)
		p->x[i] += p->sums[i];
}

static void run_block(struct pass *p, uint32_t block)
{
	if (p->config->norm_place == NORM_AFTER) {
		attention_part(p, block, p->x);
		add_residual(p);
		norm(p, ROLE_NORM1_W, block, p->x, p->x);
		mlp_part(p, block, p->x);
		add_residual(p);
		norm(p, ROLE_NORM2_W, block, p->x, p->x);
		return;
	}
	norm(p, ROLE_NORM1_W, block, p->x, p->normed);
	attention_part(p, block, p->normed);
	add_residual(p);
	norm(p, ROLE_NORM2_W, block, p->x, p->normed);
	mlp_part(p, block, p->normed);
	add_residual(p);
}

static int embed(struct pass *p, const uint32_t *tokens, struct error *e)
{
	const struct model_config *c = p->config;
	struct weight w;

	model_weight(p->model, ROLE_EMBED_W, 0, &w);
	for (uint32_t r = 0; r < p->rows; r++) {
		if (tokens[r] >= c->vocabulary)
			return error_set(e, -EINVAL, "token %u is not below the vocabulary's %u",
					 tokens[r], c->vocabulary);
		if (c->tied)
			matrix_row_of(p, &w, tokens[r]);
		else
			weight_row(&w, tokens[r], p->row);
		for (uint32_t i = 0; i < c->embed; i++)
			p->x[(size_t)r * c->embed + i] = (double)(p->row[i] * c->embed_scale);
	}
	if (linear(p, ROLE_PROJECT_IN_W, 0, p->x, p->sums))
		memcpy(p->x, p->sums, (size_t)p->rows * c->hidden * sizeof(double));
	if (model_weight(p->model, ROLE_POSITION_W, 0, &w)) {
		if (p->rows + c->arch->position_offset > w.rows)
			return error_set(e, -EINVAL, "%u tokens are more than the model's %u "
					 "positions", p->rows, c->positions);
		for (uint32_t r = 0; r < p->rows; r++) {
			weight_row(&w, r + c->arch->position_offset, p->row);
			for (uint32_t i = 0; i < c->hidden; i++)
				p->x[(size_t)r * c->hidden + i] += (double)p->row[i];
		}
	}
	if (c->arch->embed_norm)
		norm(p, ROLE_EMBED_NORM_W, 0, p->x, p->x);
	return 0;
}

static void keep(struct pass *p, float *states, uint32_t index)
{
	size_t count = (size_t)p->rows * p->config->hidden;

	for (size_t i = 0; i < count && states; i++)
		states[index * count + i] = (float)p->x[i];
}

static void round_rows(struct pass *p, enum row_encoding round)
{
	uint32_t n = p->config->hidden;

	for (uint32_t r = 0; r < p->rows && round != ROW_F32; r++) {
		double *x = p->x + (size_t)r * n;

		for (uint32_t i = 0; i < n; i++)
			p->row[i] = (float)x[i];
		row_round(round, p->row, 1, n);
		for (uint32_t i = 0; i < n; i++)
			x[i] = (double)p->row[i];
	}
}

static void find_logits(struct pass *p, float *logits)
{
	const struct model_config *c = p->config;
	const double *in = p->x;
	struct weight w;

	if (c->final_norm) {
		norm(p, ROLE_FINAL_NORM_W, 0, p->x, p->normed);
		in = p->normed;
	}
	if (linear(p, ROLE_PROJECT_OUT_W, 0, in, p->sums))
		in = p->sums;
	model_weight(p->model, ROLE_HEAD_W, 0, &w);
	for (uint32_t n = 0; n < w.rows; n++) {
		matrix_row_of(p, &w, n);
		for (uint32_t r = 0; r < p->rows; r++) {
			double sum = 0;

			for (uint32_t k = 0; k < w.columns; k++)
				sum += in[(size_t)r * w.columns + k] * (double)p->row[k];
			logits[(size_t)r * w.rows + n] = (float)sum;
		}
	}
}

int reference_run(const struct model *m, enum weight_format weights, const uint32_t *tokens,
		  uint32_t rows, enum row_encoding round, float *states, float *logits,
		  struct error *e)
{
	struct pass p;
	int rc;

	rc = pass_open(&p, m, weights, rows);
	if (rc < 0)
		return error_set(e, rc, "out of memory for the reference of %u tokens", rows);
	rc = embed(&p, tokens, e);
	if (rc < 0)
		goto out;
	keep(&p, states, 0);
	for (uint32_t b = 0; b < p.config->blocks; b++) {
		run_block(&p, b);
		round_rows(&p, round);
		keep(&p, states, b + 1);
	}
	if (logits)
		find_logits(&p, logits);
out:
	pass_close(&p);
	return rc;
}
