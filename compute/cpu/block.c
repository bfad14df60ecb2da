/* block.c - composes a block from kernels: what is normed, projected, attended and
 * added when, by the rows of the architecture table.
 *
 * Few parallel operations per block: norm and operand, q k v, rotation and
 * append, attention, its projection with the residual, norm and operand, the gated
 * MLP, its projection with the residual.  Small batches run the light ones in
 * the calling thread, where they take less time than waking a helper.
 */
#include "compute/cpu/block.h"

#include <errno.h>
#include <math.h>

enum {
	ROWS_EACH = 16,                 /* rows of a task of a light operation */
	ATTENTION_ROWS = 32,            /* query rows of an attention task */
};

int block_shape_init(struct block_shape *s, const struct model_config *c, enum compute_mode mode,
		     uint32_t page_tokens, enum row_encoding round, struct error *e)
{
	if (!c->arch->gated_mlp && c->activation == ACT_SILU)
		return error_set(e, -ENOTSUP, "%s: an MLP of silu without a gate is not supported "
				 "by the cpu backend", c->name);
	*s = (struct block_shape){
		.arch = c->arch,
		.hidden = c->hidden,
		.heads = c->heads,
		.kv_heads = c->kv_heads,
		.head_dim = c->head_dim,
		.intermediate = c->intermediate,
		.window = c->window,
		.rope_dims = c->arch->position == POSITION_ROPE ? c->rope.dims : 0,
		.q_width = c->heads * c->head_dim,
		.kv_width = c->kv_heads * c->head_dim,
		.epsilon = c->norm_epsilon,
		.scale = (float)(1 / sqrt((double)c->head_dim)),
		.norm_place = c->norm_place,
		.activation = c->activation,
		.round = round,
	};
	kv_layout_init(&s->kv, mode == COMPUTE_F32, c->kv_heads, c->head_dim, page_tokens);
	return 0;
}

/* What every block of a span wants its matrices to become. */
struct wanted {
	struct weights *weights;
	const struct model *model;
	enum compute_mode mode;
	enum weight_format format;
	uint32_t block;
};

/* Matrices that share an operand: one of floats among quantised ones makes it bf16. */
static void want_group(const struct wanted *want, const enum role *roles, struct matrix **out,
		       uint32_t count)
{
	struct matrix_kind kinds[3] = { 0 };
	bool any_bf16 = false;
	struct weight weight;

	assert(count <= ARRAY_LENGTH(kinds));
	for (uint32_t i = 0; i < count; i++) {
		if (!model_weight(want->model, roles[i], want->block, &weight))
			continue;
		kinds[i] = weights_kind(want->mode, want->format, weight.dtype);
		any_bf16 |= kinds[i].operand == OPERAND_BF16;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (any_bf16)
			kinds[i].operand = OPERAND_BF16;
		weights_want_matrix(want->weights, roles[i], want->block, kinds[i], out[i]);
		weights_want_vector(want->weights, roles[i] + 1, want->block,
				    (uint32_t)align_up(out[i]->rows, PANEL), &out[i]->bias);
	}
}

void block_want(struct weights *w, const struct model *m, enum compute_mode mode,
		enum weight_format format, uint32_t block, struct block_weights *out)
{
	const enum role qkv[] = { ROLE_Q_W, ROLE_K_W, ROLE_V_W }, o[] = { ROLE_O_W };
	const enum role mlp[] = { ROLE_GATE_W, ROLE_UP_W }, down[] = { ROLE_DOWN_W };
	const struct wanted want = { w, m, mode, format, block };

	weights_want_vector(w, ROLE_NORM1_W, block, 0, &out->norm1_w);
	weights_want_vector(w, ROLE_NORM1_B, block, 0, &out->norm1_b);
	want_group(&want, qkv, (struct matrix *[]){ &out->q, &out->k, &out->v }, 3);
	want_group(&want, o, (struct matrix *[]){ &out->o }, 1);
	weights_want_vector(w, ROLE_NORM2_W, block, 0, &out->norm2_w);
	weights_want_vector(w, ROLE_NORM2_B, block, 0, &out->norm2_b);
	want_group(&want, mlp, (struct matrix *[]){ &out->gate, &out->up }, 2);
	want_group(&want, down, (struct matrix *[]){ &out->down }, 1);
}

uint64_t block_operand_bytes(const struct block_weights *w, uint32_t rows)
{
	const struct matrix *all[] = { &w->q, &w->o, &w->up, &w->down };
	uint64_t most = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
		uint64_t bytes = operand_bytes(all[i]->operand, rows, all[i]->columns);

		most = MAX(most, bytes);
	}
	return most;
}

uint64_t block_step_bytes(const struct block_weights *w)
{
	const struct matrix *all[] = { &w->q, &w->k, &w->v, &w->o, &w->gate, &w->up, &w->down };
	uint64_t bytes = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
		if (all[i]->rows > 0)
			bytes += matrix_bytes(all[i]->format, all[i]->rows, all[i]->columns);
	return bytes;
}

/* ---- norms ---- */

struct norm_task {
	const struct block_pass *pass;
	const float *x, *weight, *bias;
	float *out;
};

static void norm_rows(void *ctx, uint32_t first, uint32_t end, uint32_t worker)
{
	const struct norm_task *t = ctx;
	const struct block_shape *s = t->pass->shape;
	const struct kernels *k = t->pass->device->kernels;

	for (uint32_t r = first; r < end; r++) {
		const float *x = t->x + (size_t)r * s->hidden;
		float *out = t->out + (size_t)r * s->hidden;

		if (s->arch->norm == NORM_RMS)
			norm_rms(k, x, t->weight, s->hidden, s->epsilon, out);
		else
			norm_layer(k, x, t->weight, t->bias, s->hidden, s->epsilon, out);
	}
}

static void norm(const struct block_pass *p, const float *x, const float *weight,
		 const float *bias, float *out)
{
	struct norm_task t = { p, x, weight, bias, out };

	device_split(p->device, p->rows, ROWS_EACH, norm_rows, &t);
}

static void prepare(const struct block_pass *p, const struct matrix *m, const float *x)
{
	operand_prepare(p->device->kernels, p->device->team, m->operand, x, p->rows, m->columns,
			p->operand);
}

/* ---- attention ---- */

static uint8_t *page_of(const struct block_pass *p, const struct batch_row *row, uint32_t *slot)
{
	uint32_t page_tokens = p->shape->kv.page_tokens;

	*slot = row->position % page_tokens;
	return p->part[row->entry].pages[row->position / page_tokens];
}

static void append_rows(void *ctx, uint32_t first, uint32_t end, uint32_t worker)
{
	const struct block_pass *p = ctx;
	const struct block_shape *s = p->shape;
	const struct kernels *k = p->device->kernels;

	for (uint32_t r = first; r < end; r++) {
		float *q = p->q + (size_t)r * s->q_width, *key = p->k + (size_t)r * s->kv_width;
		const float *cosines = p->cosines + (size_t)r * (s->rope_dims / 2);
		const float *sines = p->sines + (size_t)r * (s->rope_dims / 2);
		uint32_t slot;
		uint8_t *page = page_of(p, &p->row[r], &slot);

		if (s->rope_dims > 0) {
			rope_row(k, q, s->heads, s->head_dim, s->rope_dims, cosines, sines);
			rope_row(k, key, s->kv_heads, s->head_dim, s->rope_dims, cosines, sines);
		}
		kv_append(k, &s->kv, page, slot, key, p->v + (size_t)r * s->kv_width);
	}
}

static uint32_t heads_each(const struct block_pass *p, uint32_t rows)
{
	return rows == 1 ? p->heads_each : 1;
}

uint32_t block_attention_tasks(const struct block_pass *p, uint32_t rows)
{
	uint32_t each = heads_each(p, rows);

	return (p->shape->kv_heads + each - 1) / each *
	       ((rows + ATTENTION_ROWS - 1) / ATTENTION_ROWS);
}

static const struct batch_part *part_of_task(const struct block_pass *p, uint32_t task)
{
	uint32_t low = 0, high = p->parts;

	while (high - low > 1) {
		uint32_t middle = (low + high) / 2;

		if (p->part[middle].first_task <= task)
			low = middle;
		else
			high = middle;
	}
	return &p->part[low];
}

static void attention_task(void *ctx, uint32_t index, uint32_t worker)
{
	const struct block_pass *p = ctx;
	const struct block_shape *s = p->shape;
	const struct batch_part *part = part_of_task(p, index);
	uint32_t tiles = (part->rows + ATTENTION_ROWS - 1) / ATTENTION_ROWS;
	uint32_t each = heads_each(p, part->rows), groups = (s->kv_heads + each - 1) / each;
	/* The last rows see most: they go first, so that no thread is left with one. */
	uint32_t task = index - part->first_task, tile = tiles - 1 - task / groups;
	uint32_t head = task % groups * each;
	struct attention_args a = {
		.layout = &s->kv,
		.pages = part->pages,
		.position = part->position,
		.rows = part->rows,
		.heads = s->heads,
		.window = s->window,
		.scale = s->scale,
		.slopes = s->slopes,
		.q = p->q + (size_t)part->first_row * s->q_width,
		.q_stride = s->q_width,
		.out = p->mixed + (size_t)part->first_row * s->q_width,
		.out_stride = s->q_width,
	};

	attention(p->device->kernels, &a, head, MIN(head + each, s->kv_heads),
		  tile * ATTENTION_ROWS, MIN((tile + 1) * ATTENTION_ROWS, part->rows),
		  p->scratch + worker * p->scratch_bytes);
}

/* x += attention(in) */
static void attention_part(const struct block_pass *p, const struct block_weights *w,
			   const float *in)
{
	const struct block_shape *s = p->shape;
	const struct kernels *k = p->device->kernels;
	const struct matrix *qkv[] = { &w->q, &w->k, &w->v };
	struct linear_out out[] = {
		{ .out = p->q, .out_stride = s->q_width },
		{ .out = p->k, .out_stride = s->kv_width },
		{ .out = p->v, .out_stride = s->kv_width },
	};
	struct linear_out residual = { p->x, s->hidden, p->x, s->hidden, LINEAR_NONE };

	prepare(p, &w->q, in);
	linear_many(k, p->device->team, qkv, out, 3, p->operand, p->rows);
	device_split(p->device, p->rows, ROWS_EACH, append_rows, (void *)p);
	team_run(p->device->team, p->attention_tasks, attention_task, (void *)p);
	prepare(p, &w->o, p->mixed);
	linear(k, p->device->team, &w->o, p->operand, p->rows, &residual);
}

/* ---- MLP ---- */

static enum linear_act linear_act_of(enum activation_kind a)
{
	switch (a) {
	case ACT_GELU_TANH:
		return LINEAR_GELU_TANH;
	case ACT_GELU_ERF:
		return LINEAR_GELU_ERF;
	case ACT_RELU:
		return LINEAR_RELU;
	case ACT_SILU:
		break;
	}
	assert(!"refused by block_shape_init()");
	return LINEAR_NONE;
}

/* x += mlp(in) */
static void mlp_part(const struct block_pass *p, const struct block_weights *w, const float *in)
{
	const struct block_shape *s = p->shape;
	const struct kernels *k = p->device->kernels;
	struct linear_out residual = { p->x, s->hidden, p->x, s->hidden, LINEAR_NONE };

	prepare(p, &w->up, in);
	if (s->arch->gated_mlp) {
		linear_gated(k, p->device->team, &w->gate, &w->up, p->operand, p->rows,
			     s->activation, p->inner, s->intermediate);
	} else {
		struct linear_out inner = { .out = p->inner, .out_stride = s->intermediate,
					    .act = linear_act_of(s->activation) };

		linear(k, p->device->team, &w->up, p->operand, p->rows, &inner);
	}
	prepare(p, &w->down, p->inner);
	linear(k, p->device->team, &w->down, p->operand, p->rows, &residual);
}

static void round_rows(void *ctx, uint32_t first, uint32_t end, uint32_t worker)
{
	const struct block_pass *p = ctx;

	row_round(p->shape->round, p->x + (size_t)first * p->shape->hidden, end - first,
		  p->shape->hidden);
}

void block_run(const struct block_pass *p, const struct block_weights *w)
{
	if (p->shape->norm_place == NORM_BEFORE) {
		norm(p, p->x, w->norm1_w, w->norm1_b, p->normed);
		attention_part(p, w, p->normed);
		norm(p, p->x, w->norm2_w, w->norm2_b, p->normed);
		mlp_part(p, w, p->normed);
	} else {
		attention_part(p, w, p->x);
		norm(p, p->x, w->norm1_w, w->norm1_b, p->x);
		mlp_part(p, w, p->x);
		norm(p, p->x, w->norm2_w, w->norm2_b, p->x);
	}
	if (p->shape->round != ROW_F32)
		device_split(p->device, p->rows, ROWS_EACH, round_rows, (void *)p);
}
