/* weights.c - the list of what is wanted, and the pass that copies it over.
 *
 * An item is pieces: bands of a matrix, or rows.  The device's threads lay pieces out side by
 * side in one half of a pinned buffer while the other half travels; where a piece goes does not
 * depend on who lays it out.
 */
#include "compute/cuda/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "compute/team.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum {
	CACHE_LINE = 64,
	TASK_BYTES = 128 << 10,         /* laid out by one task, at least */
	PIECES_EACH = 4,                /* of a thread in a half: all end at about the same time */
};

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

struct load {
	const struct cuda_weights *weights;
	struct cuda_queue *queue;
	struct team *team;
	uint8_t *scratch;               /* of the widest band, one per thread */
	uint64_t scratch_bytes;
	float *row_scales;              /* of the matrix that is laid out */

	/* The halves, and how full the one being filled is. */
	void *staging;                  /* CUDA_WEIGHTS_HALVES x half_bytes */
	uint64_t half_bytes, used;
	uint32_t half;
	uint8_t *to;                    /* where `used` bytes belong */
};

/* Sends what the half holds, and goes on with the other once that is free. */
static void flush(struct load *l)
{
	(void)cuda_queue_wait(l->queue);
	cuda_copy_in(l->queue, l->to, (uint8_t *)l->staging + l->half * l->half_bytes, l->used);
	l->to += l->used;
	l->used = 0;
	l->half = (l->half + 1) % CUDA_WEIGHTS_HALVES;
}

/* Room for the next pieces of an item: *count of them, or as many as the half holds. */
static uint8_t *room(struct load *l, uint64_t bytes, uint32_t *count)
{
	uint8_t *at;

	assert(bytes <= l->half_bytes);
	if (l->used + bytes > l->half_bytes)
		flush(l);
	at = (uint8_t *)l->staging + l->half * l->half_bytes + l->used;
	*count = (uint32_t)MIN(*count, (l->half_bytes - l->used) / bytes);
	l->used += *count * bytes;
	return at;
}

static uint32_t piece_count(const struct item *item)
{
	uint32_t rows = item->weight.rows;

	return item->matrix ? (rows + TILE_FEATURES - 1) / TILE_FEATURES : rows;
}

static uint64_t piece_bytes(const struct item *item)
{
	uint32_t columns = item->weight.columns;

	return item->matrix ? cuda_layout_band_bytes(item->format, columns) :
			      columns * sizeof(float);
}

/* Pieces [first, end) of an item, cut into tasks. */
struct fill {
	const struct load *load;
	const struct item *item;
	uint32_t first, end, each;
	uint8_t *to;
	_Atomic uint64_t absurd;
};

static void fill_task(void *ctx, uint32_t index, uint32_t worker)
{
	struct fill *f = ctx;
	const struct load *l = f->load;
	const struct item *item = f->item;
	uint32_t piece = f->first + index * f->each, end = MIN(piece + f->each, f->end);
	uint8_t *to = f->to + (piece - f->first) * piece_bytes(item);
	uint64_t absurd = 0;

	for (; piece < end; piece++, to += piece_bytes(item)) {
		uint32_t row = item->matrix ? piece * TILE_FEATURES : piece;

		if (item->matrix)
			absurd += cuda_layout_band(item->format, &item->weight, row, to,
						   item->format == CUDA_INT8 ?
							   l->row_scales + row : NULL,
						   l->scratch + worker * l->scratch_bytes);
		else
			weight_row(&item->weight, row, (float *)to);
	}
	atomic_fetch_add(&f->absurd, absurd);
}

static void load_pieces(struct load *l, const struct item *item)
{
	uint64_t bytes = piece_bytes(item);
	struct fill f = { .load = l, .item = item, .each = (uint32_t)MAX(TASK_BYTES / bytes, 1) };

	for (uint32_t count; f.first < piece_count(item) && l->queue->status == 0;
	     f.first += count) {
		count = piece_count(item) - f.first;
		f.to = room(l, bytes, &count);
		f.end = f.first + count;
		team_run(l->team, (count + f.each - 1) / f.each, fill_task, &f);
	}
	if (f.absurd > 0)
		log_warn("cuda", "%s of %s: %" PRIu64 " weights are NaN or infinite and were "
			 "taken as 0 or the largest beside them", item->weight.name,
			 model_path(l->weights->model), f.absurd);
}

/* Behind all bands of an int8 matrix. */
static void load_row_scales(struct load *l, const struct item *item)
{
	uint32_t bytes = TILE_FEATURES * sizeof(float), bands = piece_count(item);

	for (uint32_t i = 0, count; i < bands; i += count) {
		uint8_t *to;

		count = bands - i;
		to = room(l, bytes, &count);
		memcpy(to, l->row_scales + i * TILE_FEATURES, (size_t)count * bytes);
	}
}

static int load_items(struct load *l, struct load_progress progress)
{
	const struct cuda_weights *w = l->weights;
	uint64_t done = 0, total = w->arena->bytes;

	for (uint32_t i = 0; i < w->count && l->queue->status == 0; i++) {
		const struct item *item = &w->items[i];

		l->to = *item->to;
		load_pieces(l, item);
		if (item->matrix && item->format == CUDA_INT8)
			load_row_scales(l, item);
		flush(l);
		done += item_bytes(item);
		if (progress.report && i + 1 < w->count && l->queue->status == 0)
			progress.report(progress.ctx, done, total);
	}
	return cuda_queue_wait(l->queue);
}

/* What the largest of the items wants at a time, of how many threads. */
static uint32_t size(struct load *l, uint64_t *features)
{
	const struct cuda_weights *w = l->weights;
	uint64_t widest = 1;
	uint32_t threads;

	*features = 1;
	l->scratch_bytes = CACHE_LINE;
	for (uint32_t i = 0; i < w->count; i++) {
		const struct item *item = &w->items[i];
		const struct weight *weight = &item->weight;

		widest = MAX(widest, piece_bytes(item));
		if (!item->matrix)
			continue;
		l->scratch_bytes = MAX(l->scratch_bytes,
				       cuda_layout_scratch_bytes(item->format, weight->columns));
		*features = MAX(*features, align_up(weight->rows, TILE_FEATURES));
	}
	l->scratch_bytes = align_up(l->scratch_bytes, CACHE_LINE);
	threads = (uint32_t)MIN(l->queue->device->threads,
				MAX(CUDA_WEIGHTS_HALF_BYTES / widest, 1));
	l->half_bytes = MIN(widest * PIECES_EACH * threads, CUDA_WEIGHTS_HALF_BYTES);
	l->half_bytes = MAX(l->half_bytes, MAX(widest, CUDA_WEIGHTS_HALF_BYTES_LEAST));
	return threads;
}

static int load_open(struct load *l, struct error *e)
{
	uint64_t features;
	uint32_t threads = size(l, &features);
	int rc;

	l->scratch = mem_aligned(CACHE_LINE, threads * l->scratch_bytes);
	l->row_scales = mem_alloc(features * sizeof(float));
	if (!l->scratch || !l->row_scales)
		return error_set(e, -ENOMEM, "out of memory for rows of weights");
	rc = team_open(&l->team, threads);
	if (rc < 0)
		return error_errno(e, rc, "cannot start %u threads to lay weights out", threads);
	return cuda_host_alloc(l->queue->device, &l->staging,
			       CUDA_WEIGHTS_HALVES * l->half_bytes, e);
}

static void load_close(struct load *l)
{
	cuda_host_free(l->queue->device, l->staging);
	team_close(l->team);
	mem_free(l->row_scales);
	mem_free(l->scratch);
}

int cuda_weights_load(struct cuda_weights *w, struct cuda_queue *q,
		      struct load_progress progress, struct error *e)
{
	struct load l = { .weights = w, .queue = q };
	int rc = load_open(&l, e);

	if (rc < 0)
		goto out;
	if (progress.report)
		progress.report(progress.ctx, 0, w->arena->bytes);
	rc = load_items(&l, progress);
	if (rc < 0)
		error_set(e, rc, "cuda:%u: the weights of %s could not be copied over",
			  q->device->index, model_path(w->model));
	else if (progress.report)
		progress.report(progress.ctx, w->arena->bytes, w->arena->bytes);
out:
	load_close(&l);
	return rc;
}
