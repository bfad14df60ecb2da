/* block.c - composes a block from launches: what is normed, projected, attended and added
 * when, by the rows of the architecture table.
 */
#include "compute/cuda/block.h"

#include <math.h>

enum { KV_ALIGNMENT = 8 };              /* dims: 16 bytes of bf16 */

static_assert(CONFIG_HEAD_DIM_MAX <= ATTENTION_DIMS * ATTENTION_KEYS,
	      "attention.cu takes every head there may be");

struct cuda_norm_shape cuda_norm_shape(const struct model_config *c)
{
	return (struct cuda_norm_shape){
		c->hidden, c->arch->norm == NORM_LAYER, c->norm_epsilon,
	};
}

void cuda_shape_init(struct cuda_shape *s, const struct model_config *c, bool bf16,
		     uint32_t page_tokens, enum row_encoding round)
{
	*s = (struct cuda_shape){
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
		.norm = cuda_norm_shape(c),
		.scale = (float)(1 / sqrt((double)c->head_dim)),
		.norm_place = c->norm_place,
		.activation = c->activation,
		.round = round,
		.bf16 = bf16,
		.kv = {
			.kv_heads = c->kv_heads, .head_dim = c->head_dim,
			.dims = (uint32_t)align_up(c->head_dim, KV_ALIGNMENT),
			.page_tokens = page_tokens, .bf16 = bf16,
		},
	};
	s->kv.v_bytes = (uint64_t)c->kv_heads * page_tokens * s->kv.dims * (bf16 ? 2 : 4);
	s->share_bytes = 2 * s->kv.v_bytes;
}

void cuda_block_want(struct cuda_weights *w, bool bf16, uint32_t block, struct cuda_block *out)
{
	cuda_weights_vector(w, ROLE_NORM1_W, block, &out->norm1_w);
	cuda_weights_vector(w, ROLE_NORM1_B, block, &out->norm1_b);
	cuda_weights_matrix(w, ROLE_Q_W, block, bf16, &out->q);
	cuda_weights_matrix(w, ROLE_K_W, block, bf16, &out->k);
	cuda_weights_matrix(w, ROLE_V_W, block, bf16, &out->v);
	cuda_weights_matrix(w, ROLE_O_W, block, bf16, &out->o);
	cuda_weights_vector(w, ROLE_NORM2_W, block, &out->norm2_w);
	cuda_weights_vector(w, ROLE_NORM2_B, block, &out->norm2_b);
	cuda_weights_matrix(w, ROLE_GATE_W, block, bf16, &out->gate);
	cuda_weights_matrix(w, ROLE_UP_W, block, bf16, &out->up);
	cuda_weights_matrix(w, ROLE_DOWN_W, block, bf16, &out->down);
}

int cuda_block_prepare(struct cuda_lt *lt, const struct cuda_block *b, struct error *e)
{
	const struct cuda_matrix *all[] = { &b->q, &b->k, &b->v, &b->o, &b->gate, &b->up,
					    &b->down };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(all) && rc == 0; i++)
		if (all[i]->w && all[i]->format == CUDA_BF16_ROWS)
			rc = cuda_lt_prepare(lt, all[i], e);
	return rc;
}

uint64_t cuda_block_step_bytes(const struct cuda_block *b)
{
	const struct cuda_matrix *all[] = { &b->q, &b->k, &b->v, &b->o, &b->gate, &b->up,
					    &b->down };
	uint64_t bytes = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
		bytes += cuda_matrix_bytes(all[i]);
	return bytes;
}

uint32_t cuda_operand_widest(const struct cuda_shape *s)
{
	return cuda_operand_stride(MAX(s->hidden, s->q_width));
}

void cuda_norm(struct cuda_queue *q, const struct cuda_norm_shape *n, const float *x,
	       uint32_t rows, const float *weight, const float *bias, float *out, void *operand,
	       bool bf16)
{
	struct norm_args a = {
		.x = x, .weight = weight, .bias = bias, .out = out, .operand = operand,
		.columns = n->columns, .stride = cuda_operand_stride(n->columns), .bf16 = bf16,
		.layer = n->layer, .epsilon = n->epsilon,
	};

	cuda_launch(q, CUDA_KERNEL_NORM, (struct cuda_grid){ rows, 1, NORM_THREADS }, &a);
}

void cuda_operand(struct cuda_queue *q, const float *x, uint32_t rows, uint32_t columns,
		  bool bf16, void *out)
{
	struct operand_args a = { x, out, columns, cuda_operand_stride(columns), bf16 };

	cuda_launch(q, CUDA_KERNEL_OPERAND, cuda_by_row(rows, columns), &a);
}

static void norm(const struct cuda_pass *p, const float *weight, const float *bias, float *out,
		 void *operand)
{
	cuda_norm(p->queue, &p->shape->norm, p->x, p->rows, weight, bias, out, operand,
		  p->shape->bf16);
}

static void append(const struct cuda_pass *p, const struct cuda_kv *kv)
{
	const struct cuda_shape *s = p->shape;
	struct append_args a = {
		.kv = *kv, .row = p->row, .pages = p->pages, .q = p->q, .q_bf16 = p->q_bf16,
		.k = p->k, .v = p->v, .cosines = p->cosines, .sines = p->sines, .out = p->operand,
		.heads = s->heads, .rope_dims = s->rope_dims,
		.stride = cuda_operand_stride(s->q_width), .operand_bf16 = s->bf16,
	};
	struct cuda_grid grid = { p->rows, s->kv_heads, CUDA_ROW_THREADS };

	cuda_launch(p->queue, CUDA_KERNEL_APPEND, grid, &a);
}

static void attend(const struct cuda_pass *p, const struct cuda_kv *kv)
{
	struct cuda_attention_rows rows = {
		.kv = *kv, .row = p->row, .pages = p->pages, .q = p->q, .q_bf16 = p->q_bf16,
		.slopes = p->slopes, .out = p->operand, .operand_bf16 = p->shape->bf16,
		.rows = p->rows, .recorded = p->recorded,
	};

	cuda_attend(&p->attention, p->queue, &rows);
}

/* x += attention(operand) */
static void attention_part(const struct cuda_pass *p, const struct cuda_block *b,
			   const struct cuda_kv *kv)
{
	const struct cuda_product all[] = { { &b->q, p->q }, { &b->k, p->k }, { &b->v, p->v } };

	cuda_linear_all(p->queue, all, ARRAY_LENGTH(all), p->operand, p->rows);
	append(p, kv);
	attend(p, kv);
	cuda_linear(p->queue, &b->o, p->operand, p->rows, p->x, p->x);
}

/* x += mlp(operand) */
static void mlp_part(const struct cuda_pass *p, const struct cuda_block *b)
{
	const struct cuda_shape *s = p->shape;
	struct cuda_activation a = {
		.gate = &b->up, .gate_room = p->up, .kind = s->activation, .out = p->inner,
	};

	if (s->arch->gated_mlp) {
		a.gate = &b->gate;
		a.gate_room = p->gate;
		a.up = &b->up;
		a.up_room = p->up;
	}
	cuda_linear_activate(p->queue, &a, p->operand, p->rows);
	cuda_linear(p->queue, &b->down, p->inner, p->rows, p->x, p->x);
}

void cuda_block_run(const struct cuda_pass *p, const struct cuda_block *b, uint8_t *pages,
		    uint64_t page_bytes)
{
	const struct cuda_shape *s = p->shape;
	struct row_round_args round = { p->x, s->hidden, s->round };
	struct cuda_kv kv = s->kv;

	kv.pages = pages;
	kv.page_bytes = page_bytes;
	if (s->norm_place == NORM_BEFORE) {
		norm(p, b->norm1_w, b->norm1_b, NULL, p->operand);
		attention_part(p, b, &kv);
		norm(p, b->norm2_w, b->norm2_b, NULL, p->operand);
		mlp_part(p, b);
	} else {
		cuda_operand(p->queue, p->x, p->rows, s->hidden, s->bf16, p->operand);
		attention_part(p, b, &kv);
		norm(p, b->norm1_w, b->norm1_b, p->x, p->operand);
		mlp_part(p, b);
		norm(p, b->norm2_w, b->norm2_b, p->x, NULL);
	}
	if (s->round != ROW_F32)
		cuda_launch(p->queue, CUDA_KERNEL_ROW_ROUND, cuda_by_row(p->rows, s->hidden),
			    &round);
}
