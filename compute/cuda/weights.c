/* weights.c - the list of what is wanted, and the pass that copies it over.
 *
 * Bands of rows are laid out in one half of a pinned buffer while the other half travels.
 */
#include "compute/cuda/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { HALF_BYTES = 4 << 20, HALVES = 2 };

struct item {
	struct weight weight;
	void **to;                      /* filled in by the arena */
	bool matrix;                    /* else f32 rows, without padding */
	enum cuda_format format;
};

struct cuda_weights {
	const struct model *model;
	struct cuda_weights_as as;
	struct cuda_arena *arena;
	struct item *items;
	uint32_t count, items_max;
	void *scratch;                  /* of the widest band */
	float *row_scales;              /* of the matrix that is laid out */
};

/* The halves, and how full the one being filled is. */
struct staging {
	struct cuda_queue *queue;
	uint8_t *base;
	uint64_t half_bytes, used;
	uint32_t half;
	uint8_t *to;                    /* where `used` bytes belong */
};

int cuda_weights_open(struct cuda_weights **out, const struct model *m,
		      struct cuda_weights_as as, struct cuda_arena *a, uint32_t items_max,
		      struct error *e)
{
	struct cuda_weights *w = mem_calloc(1, sizeof(*w));

	*out = NULL;
	if (w)
		w->items = mem_calloc(items_max, sizeof(*w->items));
	if (!w || !w->items) {
		mem_free(w);
		return error_set(e, -ENOMEM, "out of memory for the list of weights");
	}
	w->model = m;
	w->as = as;
	w->arena = a;
	w->items_max = items_max;
	*out = w;
	return 0;
}

void cuda_weights_close(struct cuda_weights *w)
{
	if (!w)
		return;
	mem_free(w->row_scales);
	mem_free(w->scratch);
	mem_free(w->items);
	mem_free(w);
}

static uint64_t item_bytes(const struct item *item)
{
	const struct weight *w = &item->weight;

	return item->matrix ? cuda_layout_bytes(item->format, w->rows, w->columns) :
			      (uint64_t)w->rows * w->columns * sizeof(float);
}

static struct item *want(struct cuda_weights *w, enum role role, uint32_t block)
{
	struct item *item = &w->items[w->count];

	assert(w->count < w->items_max);
	if (!model_weight(w->model, role, block, &item->weight))
		return NULL;
	w->count++;
	return item;
}

static void place(struct cuda_weights *w, struct item *item, void **to)
{
	item->to = to;
	cuda_arena_want(w->arena, to, item_bytes(item));
}

void cuda_weights_vector(struct cuda_weights *w, enum role role, uint32_t block, float **out)
{
	struct item *item = want(w, role, block);

	*out = NULL;
	if (item)
		place(w, item, (void **)out);
}

void cuda_weights_table(struct cuda_weights *w, enum role role, float **out)
{
	cuda_weights_vector(w, role, 0, out);
}

void cuda_weights_matrix(struct cuda_weights *w, enum role role, uint32_t block, bool bf16,
			 struct cuda_matrix *out)
{
	struct item *item = want(w, role, block);
	/* What is looked up and not multiplied is kept. */
	enum weight_format format = role == ROLE_EMBED_W ? WEIGHTS_KEEP : w->as.format;

	*out = (struct cuda_matrix){ 0 };
	if (!item)
		return;
	item->matrix = true;
	item->format = cuda_format_of(&item->weight, format, bf16, w->as.rows);
	out->rows = item->weight.rows;
	out->columns = item->weight.columns;
	out->stride = cuda_operand_stride(out->columns);
	out->format = item->format;
	place(w, item, &out->w);
	/* A weight's bias is the role behind it; projections and tables have none. */
	if (role >= ROLE_EDGE_COUNT)
		cuda_weights_vector(w, role + 1, block, &out->bias);
}

/* ---- loading ---- */

/* Sends what the half holds, and goes on with the other once that is free. */
static void flush(struct staging *s)
{
	(void)cuda_queue_wait(s->queue);
	cuda_copy_in(s->queue, s->to, s->base + s->half * s->half_bytes, s->used);
	s->to += s->used;
	s->used = 0;
	s->half = (s->half + 1) % HALVES;
}

/* Room for the next `bytes` of an item. */
static void *room(struct staging *s, uint64_t bytes)
{
	uint8_t *at;

	assert(bytes <= s->half_bytes);
	if (s->used + bytes > s->half_bytes)
		flush(s);
	at = s->base + s->half * s->half_bytes + s->used;
	s->used += bytes;
	return at;
}

static void load_rows(const struct item *item, struct staging *s)
{
	for (uint32_t r = 0; r < item->weight.rows; r++)
		weight_row(&item->weight, r,
			   room(s, item->weight.columns * sizeof(float)));
}

static void load_matrix(struct cuda_weights *w, const struct item *item, struct staging *s)
{
	uint64_t bytes = cuda_layout_band_bytes(item->format, item->weight.columns), absurd = 0;
	bool scaled = item->format == CUDA_INT8;

	for (uint32_t r = 0; r < item->weight.rows; r += TILE_FEATURES)
		absurd += cuda_layout_band(item->format, &item->weight, r, room(s, bytes),
					   scaled ? w->row_scales + r : NULL, w->scratch);
	for (uint32_t r = 0; scaled && r < item->weight.rows; r += TILE_FEATURES)
		memcpy(room(s, TILE_FEATURES * sizeof(float)), w->row_scales + r,
		       TILE_FEATURES * sizeof(float));
	if (absurd > 0)
		log_warn("cuda", "%s of %s: %" PRIu64 " weights are NaN or infinite and were "
			 "taken as 0 or the largest beside them", item->weight.name,
			 model_path(w->model), absurd);
}

static int load_items(struct cuda_weights *w, struct staging *s, struct load_progress progress)
{
	uint64_t done = 0, total = w->arena->bytes;

	for (uint32_t i = 0; i < w->count && s->queue->status == 0; i++) {
		const struct item *item = &w->items[i];

		s->to = *item->to;
		if (item->matrix)
			load_matrix(w, item, s);
		else
			load_rows(item, s);
		flush(s);
		done += item_bytes(item);
		if (progress.report && i + 1 < w->count)
			progress.report(progress.ctx, done, total);
	}
	return cuda_queue_wait(s->queue);
}

/* What the largest of the items wants at a time. */
static int size_scratch(struct cuda_weights *w, struct staging *s, struct error *e)
{
	uint64_t scratch = 1, features = 1;

	s->half_bytes = HALF_BYTES;
	for (uint32_t i = 0; i < w->count; i++) {
		const struct weight *weight = &w->items[i].weight;
		enum cuda_format f = w->items[i].format;

		s->half_bytes = MAX(s->half_bytes, weight->columns * sizeof(float));
		if (!w->items[i].matrix)
			continue;
		s->half_bytes = MAX(s->half_bytes, cuda_layout_band_bytes(f, weight->columns));
		scratch = MAX(scratch, cuda_layout_scratch_bytes(f, weight->columns));
		features = MAX(features, align_up(weight->rows, TILE_FEATURES));
	}
	w->scratch = mem_alloc(scratch);
	w->row_scales = mem_alloc(features * sizeof(float));
	if (!w->scratch || !w->row_scales)
		return error_set(e, -ENOMEM, "out of memory for rows of weights");
	return 0;
}

int cuda_weights_load(struct cuda_weights *w, struct cuda_queue *q,
		      struct load_progress progress, struct error *e)
{
	struct staging s = { .queue = q };
	void *base;
	int rc = size_scratch(w, &s, e);

	if (rc < 0)
		return rc;
	rc = cuda_host_alloc(q->device, &base, HALVES * s.half_bytes, e);
	if (rc < 0)
		return rc;
	s.base = base;
	if (progress.report)
		progress.report(progress.ctx, 0, w->arena->bytes);
	rc = load_items(w, &s, progress);
	cuda_host_free(q->device, base);
	if (rc < 0)
		return error_set(e, rc, "cuda:%u: the weights of %s could not be copied over",
				 q->device->index, model_path(w->model));
	if (progress.report)
		progress.report(progress.ctx, w->arena->bytes, w->arena->bytes);
	return 0;
}
