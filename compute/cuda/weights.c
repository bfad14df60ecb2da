/* weights.c - the list of what is wanted, and the pass that copies it over.
 *
 * Rows are made ready in one half of a pinned buffer while the other half travels.
 */
#include "compute/cuda/weights.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum { HALF_BYTES = 4 << 20, HALVES = 2 };

struct item {
	struct weight weight;
	void **to;                      /* filled in by the arena */
	uint32_t rows, stride;          /* with padding */
	bool bf16;
};

struct cuda_weights {
	const struct model *model;
	struct cuda_arena *arena;
	struct item *items;
	uint32_t count, items_max;
	float *row;                     /* the longest there is, widened */
};

/* The halves, and how full the one being filled is. */
struct staging {
	struct cuda_queue *queue;
	uint8_t *base;
	uint64_t half_bytes, used;
	uint32_t half;
	uint8_t *to;                    /* where `used` bytes belong */
};

int cuda_weights_open(struct cuda_weights **out, const struct model *m, struct cuda_arena *a,
		      uint32_t items_max, struct error *e)
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
	w->arena = a;
	w->items_max = items_max;
	*out = w;
	return 0;
}

void cuda_weights_close(struct cuda_weights *w)
{
	if (!w)
		return;
	mem_free(w->row);
	mem_free(w->items);
	mem_free(w);
}

static uint64_t element_bytes(const struct item *item)
{
	return item->bf16 ? sizeof(uint16_t) : sizeof(float);
}

static struct item *want(struct cuda_weights *w, enum role role, uint32_t block)
{
	struct item *item = &w->items[w->count];

	assert(w->count < w->items_max);
	if (!model_weight(w->model, role, block, &item->weight))
		return NULL;
	w->count++;
	item->rows = item->weight.rows;
	item->stride = item->weight.columns;
	return item;
}

static void place(struct cuda_weights *w, struct item *item, void **to)
{
	item->to = to;
	cuda_arena_want(w->arena, to, (uint64_t)item->rows * item->stride * element_bytes(item));
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

	*out = (struct cuda_matrix){ .bf16 = bf16 };
	if (!item)
		return;
	out->rows = item->weight.rows;
	out->columns = item->weight.columns;
	out->stride = item->stride = cuda_operand_stride(out->columns);
	item->rows = (uint32_t)align_up(out->rows, LINEAR_FEATURES);
	item->bf16 = bf16;
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

/* The bytes of row r when they are stored as the device wants them, else NULL. */
static const void *row_as_stored(const struct item *item, uint32_t r)
{
	enum dtype wanted = item->bf16 ? DTYPE_BF16 : DTYPE_F32;

	return item->weight.dtype == wanted ? weight_row_raw(&item->weight, r) : NULL;
}

/* Row r as it lies on the device; zeros where there is none. */
static void make_row(const struct item *item, uint32_t r, float *row, uint8_t *out)
{
	uint64_t bytes = item->stride * element_bytes(item);
	uint64_t used = item->weight.columns * element_bytes(item);
	const void *stored = r < item->weight.rows ? row_as_stored(item, r) : NULL;

	if (r >= item->weight.rows) {
		memset(out, 0, bytes);
		return;
	}
	if (stored) {
		memcpy(out, stored, used);
		memset(out + used, 0, bytes - used);
		return;
	}
	weight_row(&item->weight, r, row);
	memset(row + item->weight.columns, 0,
	       (item->stride - item->weight.columns) * sizeof(*row));
	if (item->bf16)
		row_encode(ROW_BF16, row, 1, item->stride, out);
	else
		memcpy(out, row, bytes);
}

static void load_item(struct cuda_weights *w, const struct item *item, struct staging *s)
{
	uint64_t bytes = item->stride * element_bytes(item);

	s->to = *item->to;
	for (uint32_t r = 0; r < item->rows; r++) {
		if (s->used + bytes > s->half_bytes)
			flush(s);
		make_row(item, r, w->row, s->base + s->half * s->half_bytes + s->used);
		s->used += bytes;
	}
	flush(s);
}

static int load_items(struct cuda_weights *w, struct staging *s, struct load_progress progress)
{
	uint64_t done = 0, total = w->arena->bytes;

	for (uint32_t i = 0; i < w->count && s->queue->status == 0; i++) {
		const struct item *item = &w->items[i];

		load_item(w, item, s);
		done += (uint64_t)item->rows * item->stride * element_bytes(item);
		if (progress.report && i + 1 < w->count)
			progress.report(progress.ctx, done, total);
	}
	return cuda_queue_wait(s->queue);
}

int cuda_weights_load(struct cuda_weights *w, struct cuda_queue *q,
		      struct load_progress progress, struct error *e)
{
	struct staging s = { .queue = q, .half_bytes = HALF_BYTES };
	uint32_t longest = 0;
	void *base;
	int rc;

	for (uint32_t i = 0; i < w->count; i++)
		longest = MAX(longest, w->items[i].stride);
	s.half_bytes = MAX(s.half_bytes, longest * sizeof(float));
	w->row = mem_alloc(longest * sizeof(float));
	if (!w->row)
		return error_set(e, -ENOMEM, "out of memory for a row of weights");
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
