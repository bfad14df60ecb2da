/* edge.c - from token ids to what enters block 0, and from what leaves the last block to
 * logits, on the device; rows and logits come and go through pinned memory.
 *
 * A head that is the embedding, too, is held once.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "compute/cuda/block.h"
#include "dataplane/base/memory.h"

struct edge {
	struct device *device;
	struct cuda_queue queue;
	pthread_mutex_t lock;           /* any thread embeds */
	struct model_config config;
	struct cuda_norm_shape norm;
	uint32_t rows_max;
	bool bf16;

	struct cuda_weights *weights;
	struct cuda_arena weight_arena, step_arena;
	struct cuda_matrix embed, head, project_in, project_out;
	float *positions, *embed_norm_w, *embed_norm_b, *final_norm_w, *final_norm_b;

	uint32_t *tokens;               /* (rows_max) */
	float *x;                       /* (rows_max, hidden) */
	float *narrow;                  /* (rows_max, embed) */
	float *logits;                  /* (rows_max, vocabulary) */
	struct cuda_best *best;         /* (rows_max) */
	struct cuda_draw *draws;        /* (rows_max) */
	float *sums;                    /* (rows_max, DRAW_SUMS) */
	void *operand;

	/* (rows_max, the longest of tokens, hidden and logits), and behind: */
	void *pinned;
	struct cuda_draw *host_draws;   /* (rows_max) */
	struct cuda_best *host_best;    /* (rows_max) */
};

uint64_t cuda_edge_bytes(const struct edge *g)
{
	return g->weight_arena.bytes;
}

/* ---- opening ---- */

static int want_weights(struct edge *g, const struct model *m, struct error *e)
{
	struct cuda_weights_as as = { g->device->weights, g->device->fast };
	int rc = cuda_weights_open(&g->weights, m, as, &g->weight_arena, 2 * ROLE_EDGE_COUNT, e);

	if (rc < 0)
		return rc;
	cuda_weights_matrix(g->weights, ROLE_HEAD_W, 0, g->bf16, &g->head);
	if (!g->config.tied)
		cuda_weights_matrix(g->weights, ROLE_EMBED_W, 0, g->bf16, &g->embed);
	cuda_weights_matrix(g->weights, ROLE_PROJECT_IN_W, 0, g->bf16, &g->project_in);
	cuda_weights_matrix(g->weights, ROLE_PROJECT_OUT_W, 0, g->bf16, &g->project_out);
	cuda_weights_table(g->weights, ROLE_POSITION_W, &g->positions);
	cuda_weights_vector(g->weights, ROLE_EMBED_NORM_W, 0, &g->embed_norm_w);
	cuda_weights_vector(g->weights, ROLE_EMBED_NORM_B, 0, &g->embed_norm_b);
	cuda_weights_vector(g->weights, ROLE_FINAL_NORM_W, 0, &g->final_norm_w);
	cuda_weights_vector(g->weights, ROLE_FINAL_NORM_B, 0, &g->final_norm_b);
	return 0;
}

static void want_step(struct edge *g)
{
	const struct model_config *c = &g->config;
	struct cuda_arena *a = &g->step_arena;
	uint64_t rows = g->rows_max;

	cuda_arena_want(a, &g->tokens, rows * sizeof(*g->tokens));
	cuda_arena_want(a, &g->x, rows * c->hidden * sizeof(float));
	cuda_arena_want(a, &g->narrow, rows * c->embed * sizeof(float));
	cuda_arena_want(a, &g->logits, rows * c->vocabulary * sizeof(float));
	cuda_arena_want(a, &g->best, rows * sizeof(*g->best));
	cuda_arena_want(a, &g->draws, rows * sizeof(*g->draws));
	cuda_arena_want(a, &g->sums, rows * DRAW_SUMS(c->vocabulary) * sizeof(float));
	cuda_arena_want(a, &g->operand, rows * cuda_operand_stride(MAX(c->hidden, c->embed)) *
			(g->bf16 ? 2 : 4));
}

static int check_room(const struct edge *g, struct error *e)
{
	uint64_t need = g->weight_arena.bytes + g->step_arena.bytes, left, all;
	int rc = cuda_device_memory(g->device, &left, &all, e);

	if (rc < 0 || need <= left)
		return rc;
	return error_set(e, -ENOMEM, "embedding and head of %s need %.3f GB; cuda:%u (%s) has %.3f "
			 "of %.3f GB free: use another device, or cpu", g->config.name,
			 (double)need / 1e9, g->device->index, g->device->info.name,
			 (double)left / 1e9, (double)all / 1e9);
}

static int open_pinned(struct edge *g, struct error *e)
{
	uint64_t widest = MAX(g->config.hidden, g->config.vocabulary) * sizeof(float);
	uint64_t draws = align_up(g->rows_max * widest, alignof(struct cuda_draw));
	uint64_t best = draws + g->rows_max * sizeof(*g->draws);
	int rc = cuda_host_alloc(g->device, &g->pinned, best + g->rows_max * sizeof(*g->best), e);

	if (rc < 0)
		return rc;
	g->host_draws = (struct cuda_draw *)((uint8_t *)g->pinned + draws);
	g->host_best = (struct cuda_best *)((uint8_t *)g->pinned + best);
	return 0;
}

static int open_all(struct edge *g, const struct model *m, struct load_progress progress,
		    struct error *e)
{
	int rc = cuda_queue_open(&g->queue, g->device, e);

	if (rc == 0)
		rc = want_weights(g, m, e);
	if (rc < 0)
		return rc;
	want_step(g);
	rc = check_room(g, e);
	if (rc == 0)
		rc = cuda_arena_open(&g->weight_arena, g->device, "the edge's weights", e);
	if (rc == 0)
		rc = cuda_arena_open(&g->step_arena, g->device, "the edge's rows", e);
	if (rc == 0)
		rc = open_pinned(g, e);
	if (rc == 0)
		rc = cuda_weights_load(g->weights, &g->queue, progress, e);
	cuda_weights_close(g->weights);
	g->weights = NULL;
	return rc;
}

int cuda_edge_open(struct edge **out, struct device *d, const struct model *m, uint32_t rows_max,
		   struct load_progress progress, struct error *e)
{
	enum compute_mode mode;
	struct edge *g;
	int rc;

	*out = NULL;
	assert(rows_max > 0);
	rc = model_check(m, 0, 0, true, e);
	if (rc == 0)
		rc = cuda_device_mode(d, m, &mode, e);
	if (rc < 0)
		return rc;
	g = mem_calloc(1, sizeof(*g));
	if (!g)
		return error_set(e, -ENOMEM, "out of memory for the edge");
	pthread_mutex_init(&g->lock, NULL);
	g->device = d;
	g->config = *model_config(m);
	g->norm = cuda_norm_shape(&g->config);
	g->rows_max = rows_max;
	g->bf16 = mode == COMPUTE_BF16;
	rc = open_all(g, m, progress, e);
	if (rc < 0) {
		cuda_edge_close(g);
		return rc;
	}
	*out = g;
	return 0;
}

void cuda_edge_close(struct edge *g)
{
	if (!g)
		return;
	cuda_queue_close(&g->queue);
	cuda_host_free(g->device, g->pinned);
	cuda_arena_close(&g->step_arena);
	cuda_weights_close(g->weights);
	cuda_arena_close(&g->weight_arena);
	pthread_mutex_destroy(&g->lock);
	mem_free(g);
}

/* ---- embedding ---- */

/* x = the embedding of the tokens, which are on the device. */
static void look_up(struct edge *g, uint32_t rows)
{
	const struct model_config *c = &g->config;
	const struct cuda_matrix *table = c->tied ? &g->head : &g->embed;
	struct embed_args a = {
		.tokens = g->tokens, .table = table->w,
		.out = g->project_in.w ? g->narrow : g->x, .columns = c->embed,
		.stride = table->stride, .rows = table->rows, .format = table->format,
		.scale = c->embed_scale,
	};

	cuda_launch(&g->queue, CUDA_KERNEL_EMBED, cuda_by_row(rows, c->embed), &a);
	if (!g->project_in.w)
		return;
	cuda_operand(&g->queue, g->narrow, rows, c->embed, g->bf16, g->operand);
	cuda_linear(&g->queue, &g->project_in, g->operand, rows, NULL, g->x);
}

static int embed(struct edge *g, const uint32_t *tokens, uint32_t rows, uint32_t position,
		 float *out)
{
	const struct model_config *c = &g->config;
	struct add_positions_args positions = {
		.x = g->x, .table = g->positions, .columns = c->hidden,
		.first = position + c->arch->position_offset,
	};
	uint64_t bytes = (uint64_t)rows * c->hidden * sizeof(float);
	int rc;

	for (uint32_t r = 0; r < rows; r++)
		assert(tokens[r] < c->vocabulary);
	memcpy(g->pinned, tokens, rows * sizeof(*tokens));
	cuda_copy_in(&g->queue, g->tokens, g->pinned, rows * sizeof(*tokens));
	look_up(g, rows);
	if (g->positions)
		cuda_launch(&g->queue, CUDA_KERNEL_ADD_POSITIONS,
			    cuda_by_row(rows, c->hidden), &positions);
	if (g->embed_norm_w)
		cuda_norm(&g->queue, &g->norm, g->x, rows, g->embed_norm_w, g->embed_norm_b, g->x,
			  NULL, g->bf16);
	cuda_copy_out(&g->queue, g->pinned, g->x, bytes);
	rc = cuda_queue_wait(&g->queue);
	if (rc == 0)
		memcpy(out, g->pinned, bytes);
	return rc;
}

int cuda_edge_embed(struct edge *g, const uint32_t *tokens, uint32_t rows, uint32_t position,
		    float *out)
{
	int rc = 0;

	pthread_mutex_lock(&g->lock);
	for (uint32_t first = 0, take; first < rows && rc == 0; first += take) {
		take = MIN(rows - first, g->rows_max);
		rc = embed(g, tokens + first, take, position + first,
			   out + (size_t)first * g->config.hidden);
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}

/* ---- logits ---- */

/* The logits of rows, on the device. */
static void find_logits(struct edge *g, const float *in, uint32_t rows)
{
	const struct model_config *c = &g->config;
	uint64_t bytes = (uint64_t)rows * c->hidden * sizeof(float);

	memcpy(g->pinned, in, bytes);
	cuda_copy_in(&g->queue, g->x, g->pinned, bytes);
	if (g->final_norm_w)
		cuda_norm(&g->queue, &g->norm, g->x, rows, g->final_norm_w, g->final_norm_b, NULL,
			  g->operand, g->bf16);
	else
		cuda_operand(&g->queue, g->x, rows, c->hidden, g->bf16, g->operand);
	if (g->project_out.w) {
		cuda_linear(&g->queue, &g->project_out, g->operand, rows, NULL, g->narrow);
		cuda_operand(&g->queue, g->narrow, rows, c->embed, g->bf16, g->operand);
	}
	cuda_linear(&g->queue, &g->head, g->operand, rows, NULL, g->logits);
}

static int logits_of(struct edge *g, const float *in, uint32_t rows, float *out)
{
	uint64_t bytes = (uint64_t)rows * g->config.vocabulary * sizeof(float);
	int rc;

	find_logits(g, in, rows);
	cuda_copy_out(&g->queue, g->pinned, g->logits, bytes);
	rc = cuda_queue_wait(&g->queue);
	if (rc == 0)
		memcpy(out, g->pinned, bytes);
	return rc;
}

int cuda_edge_logits(struct edge *g, const float *rows_in, uint32_t rows, float *logits)
{
	int rc = 0;

	pthread_mutex_lock(&g->lock);
	for (uint32_t first = 0, take; first < rows && rc == 0; first += take) {
		take = MIN(rows - first, g->rows_max);
		rc = logits_of(g, rows_in + (size_t)first * g->config.hidden, take,
			       logits + (size_t)first * g->config.vocabulary);
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}

static_assert(sizeof(struct cuda_best) == sizeof(struct logits_summary) &&
	      offsetof(struct cuda_best, sum) == offsetof(struct logits_summary, sum),
	      "the kernels write summaries");
static_assert(sizeof(struct cuda_draw) == sizeof(struct logits_draw) &&
	      offsetof(struct cuda_draw, top_k) == offsetof(struct logits_draw, top_k),
	      "and read draws");

/* Tokens and sums of the rows' logits, which are on the device. */
static int choose(struct edge *g, uint32_t rows, const struct logits_draw *draws,
		  struct logits_summary *summary)
{
	struct best_args best = { g->logits, g->best, g->config.vocabulary };
	struct draw_args draw = { g->logits, g->draws, g->sums, g->best, g->config.vocabulary };
	bool any = false;
	int rc;

	for (uint32_t r = 0; r < rows; r++)
		any |= draws[r].scale > 0;
	cuda_launch(&g->queue, CUDA_KERNEL_BEST, (struct cuda_grid){ rows, 1, BEST_THREADS },
		    &best);
	if (any) {
		memcpy(g->host_draws, draws, rows * sizeof(*draws));
		cuda_copy_in(&g->queue, g->draws, g->host_draws, rows * sizeof(*draws));
		cuda_launch(&g->queue, CUDA_KERNEL_DRAW,
			    (struct cuda_grid){ rows, 1, DRAW_THREADS }, &draw);
	}
	cuda_copy_out(&g->queue, g->host_best, g->best, rows * sizeof(*summary));
	rc = cuda_queue_wait(&g->queue);
	if (rc == 0)
		memcpy(summary, g->host_best, rows * sizeof(*summary));
	return rc;
}

/* The logits of rows for which whole[row]. */
static int fetch(struct edge *g, uint32_t rows, const bool *whole, float *logits)
{
	size_t each = g->config.vocabulary, count = 0;
	float *pinned = g->pinned;
	int rc;

	for (uint32_t r = 0; r < rows; r++)
		if (whole[r])
			cuda_copy_out(&g->queue, pinned + count++ * each, g->logits + r * each,
				      each * sizeof(float));
	if (count == 0)
		return 0;
	rc = cuda_queue_wait(&g->queue);
	for (uint32_t r = 0; r < rows && rc == 0; r++)
		if (whole[r]) {
			memcpy(logits + r * each, pinned, each * sizeof(float));
			pinned += each;
		}
	return rc;
}

static int summary_of(struct edge *g, const float *in, uint32_t rows,
		      const struct logits_draw *draws, bool *whole,
		      struct logits_summary *summary, float *logits)
{
	int rc;

	find_logits(g, in, rows);
	rc = choose(g, rows, draws, summary);
	if (rc < 0)
		return rc;
	for (uint32_t r = 0; r < rows; r++)
		whole[r] |= summary[r].token == CUDA_UNDECIDED;
	return fetch(g, rows, whole, logits);
}

int cuda_edge_summary(struct edge *g, const float *rows_in, uint32_t rows,
		      const struct logits_draw *draws, bool *whole,
		      struct logits_summary *summary, float *logits)
{
	int rc = 0;

	pthread_mutex_lock(&g->lock);
	for (uint32_t first = 0, take; first < rows && rc == 0; first += take) {
		take = MIN(rows - first, g->rows_max);
		rc = summary_of(g, rows_in + (size_t)first * g->config.hidden, take,
				draws + first, whole + first, summary + first,
				logits + (size_t)first * g->config.vocabulary);
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}
