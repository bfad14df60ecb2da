/* span.c - consecutive blocks on the CPU: their weights, their KV pages, and the
 * memory that a step passes through, all of it allocated when the span opens.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "compute/cpu/angle.h"
#include "compute/cpu/block.h"
#include "compute/cpu/device.h"
#include "compute/cpu/weights.h"
#include "dataplane/base/memory.h"

enum {
	ALIGNMENT = 64, ROWS_EACH = 16, KV_TILE_TOKENS = 16,
	ATTENTION_TASKS_EACH = 4,       /* of a thread, where there are enough heads */
};

struct span {
	struct device *device;
	struct span_info info;
	char kind[KIND_BYTES];
	uint32_t rows_max, entries_max, tokens_max;

	struct block_shape shape;
	struct weights *weights;
	struct block_weights *blocks;   /* (end - first) */
	float *frequencies;             /* (rope_dims / 2) */
	float *slopes;                  /* (heads) */

	struct memory_region pages;
	uint64_t share_bytes;           /* of a page, per block */

	struct memory_region activations;
	struct block_pass pass;
	uint8_t **page_addresses;       /* cut up among the parts */
	const struct batch *batch;
};

const struct span_info *cpu_span_info(const struct span *s)
{
	return &s->info;
}

/* ---- opening ---- */

static int check_options(const struct span_options *o, struct error *e)
{
	const struct model_config *c = model_config(o->model);

	if (o->page_tokens == 0 || o->page_tokens % KV_TILE_TOKENS != 0)
		return error_set(e, -EINVAL, "a KV page of %u tokens: it must be a multiple of %d",
				 o->page_tokens, KV_TILE_TOKENS);
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

static int open_weights(struct span *s, const struct span_options *o, enum compute_mode mode,
			struct error *e)
{
	uint32_t blocks = o->end - o->first;
	int rc;

	s->blocks = mem_calloc(blocks, sizeof(*s->blocks));
	if (!s->blocks)
		return error_set(e, -ENOMEM, "out of memory for %u blocks", blocks);
	rc = weights_open(&s->weights, o->model, blocks * BLOCK_ITEMS, e);
	if (rc < 0)
		return rc;
	for (uint32_t b = 0; b < blocks; b++) {
		block_want(s->weights, o->model, mode, s->device->weights, o->first + b,
			   &s->blocks[b]);
		s->info.step_bytes += block_step_bytes(&s->blocks[b]);
	}
	s->info.weight_bytes = weights_bytes(s->weights);
	return weights_load(s->weights, s->device->team, o->progress, e);
}

static int open_positions(struct span *s, const struct model_config *c, struct error *e)
{
	s->frequencies = mem_calloc(c->head_dim, sizeof(*s->frequencies));
	s->slopes = mem_calloc(c->heads, sizeof(*s->slopes));
	if (!s->frequencies || !s->slopes)
		return error_set(e, -ENOMEM, "out of memory for %u heads", c->heads);
	if (c->arch->position == POSITION_ROPE)
		rope_frequencies(&c->rope, s->frequencies);
	if (c->arch->position == POSITION_ALIBI) {
		alibi_slopes(c->heads, s->slopes);
		s->shape.slopes = s->slopes;
	}
	return 0;
}

static int open_pages(struct span *s, const struct span_options *o, struct error *e)
{
	uint64_t pages;
	int rc;

	s->share_bytes = s->shape.kv.k_bytes + s->shape.kv.v_bytes;
	s->info.page_bytes = s->share_bytes * (o->end - o->first);
	pages = o->kv_bytes / s->info.page_bytes;
	if (pages == 0)
		return error_set(e, -EINVAL, "a KV cache of %" PRIu64 " bytes holds no page: a "
				 "page of %u tokens takes %" PRIu64 " bytes", o->kv_bytes,
				 o->page_tokens, s->info.page_bytes);
	s->info.pages = (uint32_t)MIN(pages, UINT32_MAX);
	s->info.page_tokens = o->page_tokens;
	rc = memory_region_open(&s->pages, s->info.pages * s->info.page_bytes, true);
	if (rc < 0)
		return error_set(e, rc, "out of memory for a KV cache of %" PRIu64 " MB",
				 o->kv_bytes / 1000000);
	return 0;
}

/* Where the parts of a step's memory begin; with a base, also sets the pointers. */
static uint64_t place_activations(struct span *s, uint8_t *base)
{
	const struct block_shape *h = &s->shape;
	uint64_t rows = s->rows_max, at = 0, pages;
	struct block_pass *p = &s->pass;
	uint32_t threads = team_threads(s->device->team);
	uint64_t operand = 0;

	pages = (s->tokens_max + h->kv.page_tokens - 1) / h->kv.page_tokens;
	for (uint32_t b = 0; b < s->info.end - s->info.first; b++) {
		uint64_t bytes = block_operand_bytes(&s->blocks[b], s->rows_max);

		operand = MAX(operand, bytes);
	}
	p->scratch_bytes = align_up(attention_scratch_bytes(&h->kv, h->heads), ALIGNMENT);
#define PLACE(pointer, bytes)                                          \
	do {                                                           \
		if (base)                                              \
			(pointer) = (void *)(base + at);               \
		at += align_up(bytes, ALIGNMENT);                      \
	} while (0)
	PLACE(p->part, s->entries_max * sizeof(*p->part));
	PLACE(p->row, rows * sizeof(*p->row));
	PLACE(p->cosines, rows * (h->rope_dims / 2) * sizeof(float));
	PLACE(p->sines, rows * (h->rope_dims / 2) * sizeof(float));
	PLACE(p->scratch, threads * p->scratch_bytes);
	PLACE(p->x, rows * h->hidden * sizeof(float));
	PLACE(p->normed, rows * h->hidden * sizeof(float));
	PLACE(p->q, rows * h->q_width * sizeof(float));
	PLACE(p->k, rows * h->kv_width * sizeof(float));
	PLACE(p->v, rows * h->kv_width * sizeof(float));
	PLACE(p->mixed, rows * h->q_width * sizeof(float));
	PLACE(p->inner, rows * h->intermediate * sizeof(float));
	PLACE(p->operand, operand);
	PLACE(s->page_addresses, s->entries_max * pages * sizeof(*s->page_addresses));
#undef PLACE
	return at;
}

static int open_activations(struct span *s, struct error *e)
{
	uint64_t bytes = place_activations(s, NULL);
	int rc;

	rc = memory_region_open(&s->activations, bytes, false);
	if (rc < 0)
		return error_set(e, rc, "out of memory for %" PRIu64 " MB of activations",
				 bytes / 1000000);
	place_activations(s, s->activations.base);
	s->pass.device = s->device;
	s->pass.shape = &s->shape;
	return 0;
}

static void set_info(struct span *s, const struct span_options *o, enum compute_mode mode)
{
	s->info.first = o->first;
	s->info.end = o->end;
	s->info.hidden = model_config(o->model)->hidden;
	s->info.compute = compute_mode_name(mode);
	s->info.kind = s->kind;
	s->rows_max = o->rows_max;
	s->entries_max = o->entries_max;
	s->tokens_max = o->tokens_max;
}

int cpu_span_open(struct span **out, struct device *d, const struct span_options *o,
		  struct error *e)
{
	const struct model_config *c = model_config(o->model);
	enum compute_mode mode;
	struct span *s;
	int rc;

	*out = NULL;
	rc = check_options(o, e);
	if (rc < 0)
		return rc;
	rc = device_mode(d, o->model, &mode, e);
	if (rc < 0)
		return rc;
	s = mem_calloc(1, sizeof(*s));
	if (!s)
		return error_set(e, -ENOMEM, "out of memory for a span");
	s->device = d;
	set_info(s, o, mode);
	rc = device_kind(d, o, s->kind, e);
	if (rc == 0)
		rc = block_shape_init(&s->shape, c, mode, o->page_tokens, o->round, e);
	if (rc == 0)
		rc = open_positions(s, c, e);
	if (rc == 0)
		rc = open_pages(s, o, e);
	if (rc == 0)
		rc = open_weights(s, o, mode, e);
	if (rc == 0)
		rc = open_activations(s, e);
	if (rc < 0) {
		cpu_span_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void cpu_span_close(struct span *s)
{
	if (!s)
		return;
	memory_region_close(&s->activations);
	weights_close(s->weights);
	mem_free(s->blocks);
	memory_region_close(&s->pages);
	mem_free(s->slopes);
	mem_free(s->frequencies);
	mem_free(s);
}

/* ---- a step ---- */

static uint8_t *page_at(const struct span *s, uint32_t page, uint32_t block)
{
	assert(page < s->info.pages);
	return (uint8_t *)s->pages.base + page * s->info.page_bytes +
	       (block - s->info.first) * s->share_bytes;
}

/* As many as leave every thread a few tasks: each head's keys are fetched while the one before
 * it is attended to, but for a task's first.
 */
static uint32_t choose_heads_each(const struct span *s, const struct batch *b)
{
	uint32_t heads = 0, tasks = team_threads(s->device->team) * ATTENTION_TASKS_EACH;

	for (uint32_t i = 0; i < b->count; i++)
		heads += b->entries[i].rows == 1 ? s->shape.kv_heads : 0;
	return MIN(MAX(heads / tasks, 1), s->shape.kv_heads);
}

/* Notes which row belongs where, and which pages each entry has. */
static void lay_batch(struct span *s, const struct batch *b)
{
	struct block_pass *p = &s->pass;
	uint8_t **addresses = s->page_addresses;

	p->heads_each = choose_heads_each(s, b);
	p->rows = p->attention_tasks = 0;
	p->parts = b->count;
	for (uint32_t i = 0; i < b->count; i++) {
		const struct batch_entry *entry = &b->entries[i];
		struct batch_part *part = &p->part[i];
		uint32_t tokens = entry->position + entry->rows;

		assert(entry->rows > 0 && entry->out_rows <= entry->rows);
		assert(tokens <= s->tokens_max);
		assert(p->rows + entry->rows <= s->rows_max);
		*part = (struct batch_part){
			.first_row = p->rows,
			.rows = entry->rows,
			.position = entry->position,
			.first_task = p->attention_tasks,
			.pages = addresses,
			.page_count = (tokens + s->info.page_tokens - 1) / s->info.page_tokens,
		};
		for (uint32_t n = 0; n < part->page_count; n++)
			addresses[n] = page_at(s, entry->pages[n], b->first);
		addresses += part->page_count;
		for (uint32_t r = 0; r < entry->rows; r++)
			p->row[p->rows++] = (struct batch_row){ i, entry->position + r };
		p->attention_tasks += block_attention_tasks(p, entry->rows);
	}
}

static void next_block(struct span *s)
{
	const struct batch_part *last = &s->pass.part[s->pass.parts - 1];
	size_t count = (size_t)(last->pages + last->page_count - s->page_addresses);

	for (size_t i = 0; i < count; i++)
		s->page_addresses[i] += s->share_bytes;
}

/* Rows in, and the angles of their positions.  Angles are f32 products, as the
 * models were trained with.
 */
static void read_rows(void *ctx, uint32_t first, uint32_t end, uint32_t worker)
{
	struct span *s = ctx;
	const struct block_pass *p = &s->pass;
	uint32_t hidden = s->info.hidden, half = s->shape.rope_dims / 2;

	for (uint32_t r = first; r < end; r++) {
		const struct batch_row *row = &p->row[r];
		const struct batch_entry *entry = &s->batch->entries[row->entry];
		uint32_t in = r - p->part[row->entry].first_row;

		row_decode(entry->in_encoding, (const uint8_t *)entry->in +
			   in * row_bytes(entry->in_encoding, hidden), 1, hidden,
			   p->x + (size_t)r * hidden);
		for (uint32_t i = 0; i < half; i++) {
			double angle = (double)((float)row->position * s->frequencies[i]);

			angle_cos_sin(angle, &p->cosines[(size_t)r * half + i],
				      &p->sines[(size_t)r * half + i]);
		}
	}
}

static void write_rows(void *ctx, uint32_t first, uint32_t end, uint32_t worker)
{
	struct span *s = ctx;
	const struct block_pass *p = &s->pass;
	uint32_t hidden = s->info.hidden;

	for (uint32_t r = first; r < end; r++) {
		const struct batch_row *row = &p->row[r];
		const struct batch_entry *entry = &s->batch->entries[row->entry];
		uint32_t at = r - p->part[row->entry].first_row;
		uint32_t unwanted = entry->rows - entry->out_rows;

		if (at < unwanted)
			continue;
		row_encode(entry->out_encoding, p->x + (size_t)r * hidden, 1, hidden,
			   (uint8_t *)entry->out +
				   (at - unwanted) * row_bytes(entry->out_encoding, hidden));
	}
}

int cpu_span_submit(struct span *s, const struct batch *b)
{
	fenv_t saved;

	assert(b->count > 0 && b->count <= s->entries_max);
	assert(s->info.first <= b->first && b->first < b->end && b->end <= s->info.end);
	device_enter(s->device, &saved);
	s->batch = b;
	lay_batch(s, b);
	device_split(s->device, s->pass.rows, ROWS_EACH, read_rows, s);
	for (uint32_t block = b->first; block < b->end; block++) {
		block_run(&s->pass, &s->blocks[block - s->info.first]);
		next_block(s);
	}
	device_split(s->device, s->pass.rows, ROWS_EACH, write_rows, s);
	s->batch = NULL;
	device_leave(s->device, &saved);
	return 0;
}

/* The calling thread has computed it all in cpu_span_submit(). */
int cpu_span_wait(struct span *s)
{
	return 0;
}

/* ---- pages ---- */

int cpu_page_copy(struct span *s, uint32_t to, uint32_t from)
{
	memcpy(page_at(s, to, s->info.first), page_at(s, from, s->info.first), s->info.page_bytes);
	return 0;
}

int cpu_page_export(struct span *s, uint32_t page, void *out)
{
	memcpy(out, page_at(s, page, s->info.first), s->info.page_bytes);
	return 0;
}

int cpu_page_import(struct span *s, uint32_t page, const void *in)
{
	memcpy(page_at(s, page, s->info.first), in, s->info.page_bytes);
	return 0;
}
