/* span.c - opens a span: what of the device's memory it needs, all of it at once, and what is
 * in there.  Its steps are step.c's.
 */
#include "compute/cuda/span.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum {
	STAGE_ALIGNMENT = 64, PAGE_TOKENS_STEP = 16,
	TABLE_UNIT = 4,                 /* page numbers of 16 bytes: sheet.cu */
	/* load_positions() */
	STAGE_LEAST = 4 * MAX((int)CONFIG_HEADS_MAX, (int)CONFIG_HEAD_DIM_MAX),
};

const struct span_info *cuda_span_info(const struct span *s)
{
	return &s->info;
}

/* ---- opening ---- */

static int check_options(const struct span_options *o, struct error *e)
{
	const struct model_config *c = model_config(o->model);

	if (o->page_tokens == 0 || o->page_tokens % PAGE_TOKENS_STEP != 0)
		return error_set(e, -EINVAL, "a KV page of %u tokens: it must be a multiple of %d",
				 o->page_tokens, PAGE_TOKENS_STEP);
	if (o->rows_max == 0 || o->entries_max == 0 || o->tokens_max == 0)
		return error_set(e, -EINVAL, "a span of no rows, entries or tokens");
	if (c->arch->position == POSITION_LEARNED && o->tokens_max > c->positions)
		return error_set(e, -EINVAL, "%s has %u positions; sequences of %u tokens are not "
				 "possible", model_path(o->model), c->positions, o->tokens_max);
	if (o->first >= o->end)
		return error_set(e, -EINVAL, "a span of blocks [%u, %u) is empty", o->first,
				 o->end);
	return model_check(o->model, o->first, o->end, false, e);
}

/* A row in whichever encoding takes most. */
static uint64_t widest_row(uint32_t hidden)
{
	return align_up(MAX(row_bytes(ROW_F32, hidden), row_bytes(ROW_INT8, hidden)),
			STAGE_ALIGNMENT);
}

static void set_info(struct span *s, const struct span_options *o, enum compute_mode mode)
{
	s->info.first = o->first;
	s->info.end = o->end;
	s->info.hidden = model_config(o->model)->hidden;
	s->info.compute = compute_mode_name(mode);
	s->info.page_tokens = o->page_tokens;
	s->info.kind = s->kind;
	s->rows_max = o->rows_max;
	s->entries_max = o->entries_max;
	s->tokens_max = o->tokens_max;
	s->stage_row_bytes = widest_row(s->info.hidden);
}

static int want_weights(struct span *s, const struct span_options *o, struct error *e)
{
	struct cuda_weights_as as = { s->device->weights, s->device->fast };
	uint32_t blocks = o->end - o->first;
	int rc;

	s->blocks = mem_calloc(blocks, sizeof(*s->blocks));
	if (!s->blocks)
		return error_set(e, -ENOMEM, "out of memory for %u blocks", blocks);
	rc = cuda_weights_open(&s->weights, o->model, as, &s->weight_arena,
			       blocks * CUDA_BLOCK_ITEMS, e);
	if (rc < 0)
		return rc;
	for (uint32_t b = 0; b < blocks; b++) {
		cuda_block_want(s->weights, s->shape.bf16, o->first + b, &s->blocks[b]);
		s->info.step_bytes += cuda_block_step_bytes(&s->blocks[b]);
	}
	s->info.weight_bytes = s->weight_arena.bytes;
	return 0;
}

static int want_pages(struct span *s, const struct span_options *o, struct error *e)
{
	uint64_t pages;

	s->info.page_bytes = s->shape.share_bytes * (o->end - o->first);
	pages = o->kv_bytes / s->info.page_bytes;
	if (pages == 0)
		return error_set(e, -EINVAL, "a KV cache of %" PRIu64 " bytes holds no page: a "
				 "page of %u tokens takes %" PRIu64 " bytes", o->kv_bytes,
				 o->page_tokens, s->info.page_bytes);
	s->info.pages = (uint32_t)MIN(pages, UINT32_MAX);
	cuda_arena_want(&s->page_arena, &s->pages, s->info.pages * s->info.page_bytes);
	return 0;
}

static void want_step(struct span *s)
{
	const struct cuda_shape *h = &s->shape;
	struct cuda_arena *a = &s->step_arena;
	struct cuda_pass *p = &s->pass;
	uint64_t rows = s->rows_max, angles = rows * (h->rope_dims / 2) * sizeof(float);
	uint64_t per_sequence = (s->tokens_max + h->kv.page_tokens - 1) / h->kv.page_tokens;
	struct cuda_attention_options attention = {
		.kv = h->kv, .heads = h->heads, .window = h->window, .scale = h->scale,
		.rows_max = s->rows_max, .entries_max = s->entries_max,
		.tokens_max = s->tokens_max,
		.tokens_room = (uint64_t)s->info.pages * h->kv.page_tokens,
	};

	s->table_room = align_up(s->entries_max * per_sequence, TABLE_UNIT);
	/* Rows and the tables behind them come over in one copy. */
	cuda_arena_want(a, &p->row, rows * sizeof(*p->row) + s->table_room * sizeof(*p->pages));
	cuda_arena_want(a, &p->x, rows * h->hidden * sizeof(float));
	cuda_attention_init(&p->attention, s->device, &attention);
	cuda_attention_want(&p->attention, a);
	cuda_arena_want(a, &p->q,
			rows * MAX(h->q_width * sizeof(float), s->stage_row_bytes));
	cuda_arena_want(a, &p->q_bf16,
			rows * cuda_attention_q_width(&p->attention) * sizeof(*p->q_bf16));
	cuda_arena_want(a, &p->k, rows * h->kv_width * sizeof(float));
	cuda_arena_want(a, &p->v, rows * h->kv_width * sizeof(float));
	cuda_arena_want(a, &p->up, rows * h->intermediate * sizeof(float));
	cuda_arena_want(a, &p->gate,
			h->arch->gated_mlp ? rows * h->intermediate * sizeof(float) : 0);
	cuda_arena_want(a, &p->operand, rows * cuda_operand_widest(h) * (h->bf16 ? 2 : 4));
	cuda_arena_want(a, &p->inner, rows * cuda_operand_stride(h->intermediate) *
			(h->bf16 ? 2 : 4));
	cuda_arena_want(a, &p->cosines, angles);
	cuda_arena_want(a, &p->sines, angles);
	cuda_arena_want(a, &s->frequencies, h->rope_dims / 2 * sizeof(float));
	cuda_arena_want(a, &p->slopes,
			h->arch->position == POSITION_ALIBI ? h->heads * sizeof(float) : 0);
}

static double gb(uint64_t bytes)
{
	return (double)bytes / 1e9;
}

/* Says with figures when it cannot fit, before anything is allocated. */
static int check_room(const struct span *s, const struct span_options *o, struct error *e)
{
	uint64_t weights = s->weight_arena.bytes, pages = s->page_arena.bytes;
	uint64_t step = s->step_arena.bytes, left, all;
	bool fast = s->device->fast && s->shape.bf16;
	int rc = cuda_device_memory(s->device, &left, &all, e);

	step += fast ? CUDA_LT_WORKSPACE_BYTES : 0;
	if (rc < 0 || weights + pages + step <= left)
		return rc;
	return error_set(e, -ENOMEM, "blocks [%u,%u) of %s need %.3f GB: %.3f GB of weights in %s, "
			 "%.3f GB of KV pages, %.3f GB for a step; cuda:%u (%s) has %.3f of %.3f "
			 "GB free: host fewer blocks (--blocks or --capacity) or fewer pages "
			 "(--kv-bytes)", o->first, o->end, model_config(o->model)->name,
			 gb(weights + pages + step), gb(weights), s->info.compute, gb(pages),
			 gb(step), s->device->index, s->device->info.name, gb(left), gb(all));
}

static int open_memory(struct span *s, const struct span_options *o, struct error *e)
{
	int rc = check_room(s, o, e);

	if (rc == 0)
		rc = cuda_arena_open(&s->weight_arena, s->device, "weights", e);
	if (rc == 0)
		rc = cuda_arena_open(&s->page_arena, s->device, "KV pages", e);
	if (rc == 0)
		rc = cuda_arena_open(&s->step_arena, s->device, "a step", e);
	if (rc == 0)
		s->pass.pages = (uint32_t *)(s->pass.row + s->rows_max);
	return rc;
}

static int open_pinned(struct span *s, struct error *e)
{
	uint64_t rows = s->rows_max, units = align_up(SHEET_SEGMENTS * sizeof(*s->units),
						      STAGE_ALIGNMENT);
	uint64_t head = units + rows * sizeof(*s->rows);
	uint64_t sheet = align_up(head + s->table_room * sizeof(*s->tables), STAGE_ALIGNMENT);
	uint64_t stage = align_up(sheet + cuda_attention_host_bytes(&s->pass.attention),
				  STAGE_ALIGNMENT);
	uint8_t *base;
	int rc;

	rc = cuda_host_alloc(s->device, &s->pinned,
			     stage + MAX(2 * rows * s->stage_row_bytes, STAGE_LEAST), e);
	if (rc < 0)
		return rc;
	base = s->pinned;
	s->units = s->pinned;
	s->rows = (struct cuda_row *)(base + units);
	s->tables = (uint32_t *)(base + head);
	cuda_attention_host(&s->pass.attention, base + sheet);
	s->in_stage = base + stage;
	s->out_stage = s->in_stage + rows * s->stage_row_bytes;
	return 0;
}

/* By way of the pinned rows, which are not in use yet. */
static int copy_numbers(struct span *s, float *to, const float *numbers, uint32_t count)
{
	memcpy(s->in_stage, numbers, count * sizeof(*numbers));
	cuda_copy_in(&s->queue, to, s->in_stage, count * sizeof(*numbers));
	return cuda_queue_wait(&s->queue);
}

static int load_positions(struct span *s, const struct model_config *c, struct error *e)
{
	uint32_t half = s->shape.rope_dims / 2;
	float *numbers = mem_calloc(MAX(c->head_dim, c->heads), sizeof(*numbers));
	int rc = 0;

	if (!numbers)
		return error_set(e, -ENOMEM, "out of memory for %u heads", c->heads);
	if (half > 0) {
		rope_frequencies(&c->rope, numbers);
		rc = copy_numbers(s, s->frequencies, numbers, half);
	}
	if (rc == 0 && s->pass.slopes) {
		alibi_slopes(c->heads, numbers);
		rc = copy_numbers(s, s->pass.slopes, numbers, c->heads);
	}
	mem_free(numbers);
	return rc < 0 ? error_set(e, rc, "cuda:%u: positions could not be copied over",
				  s->device->index) : 0;
}

static int open_fast(struct span *s, struct error *e)
{
	int rc = cuda_lt_open(&s->queue.lt, &s->queue, CUDA_FAST_ROWS, s->rows_max, e);

	for (uint32_t b = 0; b < s->info.end - s->info.first && rc == 0; b++)
		rc = cuda_block_prepare(s->queue.lt, &s->blocks[b], e);
	return rc;
}

static int open_all(struct span *s, const struct span_options *o, struct error *e)
{
	int rc = cuda_queue_open(&s->queue, s->device, e);

	if (rc == 0)
		rc = cuda_queue_open(&s->copies, s->device, e);
	if (rc == 0)
		rc = want_weights(s, o, e);
	if (rc == 0)
		rc = want_pages(s, o, e);
	if (rc < 0)
		return rc;
	want_step(s);
	rc = open_memory(s, o, e);
	if (rc == 0)
		rc = open_pinned(s, e);
	if (rc == 0)
		rc = load_positions(s, model_config(o->model), e);
	if (rc == 0)
		rc = cuda_weights_load(s->weights, &s->queue, o->progress, e);
	if (rc == 0 && s->device->fast && s->shape.bf16)
		rc = open_fast(s, e);
	if (rc == 0)
		rc = cuda_step_open(s, e);
	/* The model may go now. */
	cuda_weights_close(s->weights);
	s->weights = NULL;
	return rc;
}

int cuda_span_open(struct span **out, struct device *d, const struct span_options *o,
		   struct error *e)
{
	enum compute_mode mode;
	struct span *s;
	int rc;

	*out = NULL;
	rc = check_options(o, e);
	if (rc == 0)
		rc = cuda_device_mode(d, o->model, &mode, e);
	if (rc < 0)
		return rc;
	s = mem_calloc(1, sizeof(*s));
	if (!s)
		return error_set(e, -ENOMEM, "out of memory for a span");
	s->device = d;
	(void)cuda_device_kind(d, o, s->kind, e);       /* its mode was found above */
	set_info(s, o, mode);
	cuda_shape_init(&s->shape, model_config(o->model), mode == COMPUTE_BF16, o->page_tokens,
			o->round);
	s->pass.queue = &s->queue;
	s->pass.shape = &s->shape;
	rc = open_all(s, o, e);
	if (rc < 0) {
		cuda_span_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void cuda_span_close(struct span *s)
{
	if (!s)
		return;
	cuda_step_close(s);
	cuda_lt_close(s->queue.lt);
	cuda_queue_close(&s->copies);
	cuda_queue_close(&s->queue);
	cuda_host_free(s->device, s->pinned);
	cuda_arena_close(&s->step_arena);
	cuda_arena_close(&s->page_arena);
	cuda_weights_close(s->weights);
	cuda_arena_close(&s->weight_arena);
	mem_free(s->blocks);
	mem_free(s);
}
