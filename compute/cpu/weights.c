/* weights.c - the list of what is wanted, and the one pass that lays it out. */
#include "compute/cpu/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "compute/cpu/path.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum {
	ALIGNMENT = 64,
	TASK_BYTES = 128 * 1024,        /* laid out by one task */
};

enum item_kind { ITEM_MATRIX, ITEM_VECTOR, ITEM_TABLE };

struct item {
	enum item_kind kind;
	struct weight weight;
	uint64_t offset, bytes;
	struct matrix *matrix;
	const float **vector;
	struct table *table;
};

struct weights {
	const struct model *model;
	struct item *items;
	uint32_t count, items_max;
	uint64_t bytes;
	struct memory_region region;
};

int weights_open(struct weights **out, const struct model *m, uint32_t items_max,
		 struct error *e)
{
	struct weights *w = mem_calloc(1, sizeof(*w));

	*out = NULL;
	if (!w)
		return error_set(e, -ENOMEM, "out of memory for the list of weights");
	w->items = mem_calloc(items_max, sizeof(*w->items));
	if (!w->items) {
		mem_free(w);
		return error_set(e, -ENOMEM, "out of memory for the list of weights");
	}
	w->model = m;
	w->items_max = items_max;
	*out = w;
	return 0;
}

void weights_close(struct weights *w)
{
	if (!w)
		return;
	memory_region_close(&w->region);
	mem_free(w->items);
	mem_free(w);
}

uint64_t weights_bytes(const struct weights *w)
{
	return w->bytes;
}

/* The layout that holds a dtype as it is; `fast` makes every float bf16. */
static enum panel_format kept(enum dtype d, bool fast)
{
	static const enum panel_format formats[DTYPE_COUNT] = {
		[DTYPE_F32] = PANEL_F32,   [DTYPE_F16] = PANEL_F16,   [DTYPE_BF16] = PANEL_BF16,
		[DTYPE_Q8_0] = PANEL_Q8,   [DTYPE_Q4_0] = PANEL_Q4_0, [DTYPE_Q4_1] = PANEL_Q4_1,
	};

	assert(d < DTYPE_COUNT);
	return fast && !dtype_is_quantised(d) ? PANEL_BF16 : formats[d];
}

struct matrix_kind weights_kind(enum compute_mode mode, enum weight_format f, enum dtype d)
{
	static const enum panel_format formats[WEIGHT_FORMATS] = {
		[WEIGHTS_BF16] = PANEL_BF16, [WEIGHTS_INT8] = PANEL_I8, [WEIGHTS_INT4] = PANEL_Q4_0,
	};
	struct matrix_kind kind = { .operand = OPERAND_F32 };

	assert(mode != COMPUTE_AUTO && f < WEIGHT_FORMATS);
	kind.format = f == WEIGHTS_KEEP ? kept(d, mode != COMPUTE_F32) : formats[f];
	if (mode == COMPUTE_BF16 || (mode == COMPUTE_INT8 && kind.format == PANEL_BF16))
		kind.operand = OPERAND_BF16;
	else if (mode == COMPUTE_INT8)
		kind.operand = OPERAND_INT8;
	return kind;
}

static struct item *want(struct weights *w, enum item_kind kind, enum role role, uint32_t block)
{
	struct item *item = &w->items[w->count];

	assert(w->count < w->items_max);
	if (!model_weight(w->model, role, block, &item->weight))
		return NULL;
	item->kind = kind;
	w->count++;
	return item;
}

static void place(struct weights *w, struct item *item, uint64_t bytes)
{
	item->offset = w->bytes;
	item->bytes = bytes;
	w->bytes += align_up(bytes, ALIGNMENT);
}

void weights_want_matrix(struct weights *w, enum role role, uint32_t block,
			 struct matrix_kind kind, struct matrix *out)
{
	struct item *item = want(w, ITEM_MATRIX, role, block);

	*out = (struct matrix){ .format = kind.format, .operand = kind.operand };
	if (!item)
		return;
	out->rows = item->weight.rows;
	out->columns = item->weight.columns;
	item->matrix = out;
	place(w, item, matrix_bytes(kind.format, out->rows, out->columns));
}

void weights_want_vector(struct weights *w, enum role role, uint32_t block, uint32_t padded,
			 const float **out)
{
	struct item *item = want(w, ITEM_VECTOR, role, block);

	*out = NULL;
	if (!item)
		return;
	item->vector = out;
	place(w, item, MAX(item->weight.columns, padded) * sizeof(float));
}

void weights_want_table(struct weights *w, enum role role, struct table *out)
{
	struct item *item = want(w, ITEM_TABLE, role, 0);

	*out = (struct table){ .data = NULL };
	if (!item)
		return;
	item->table = out;
	out->rows = item->weight.rows;
	out->columns = item->weight.columns;
	/* Rows that are not stored in one piece are widened. */
	out->dtype = weight_row_raw(&item->weight, 0) ? item->weight.dtype : DTYPE_F32;
	place(w, item, out->rows * dtype_row_bytes(out->dtype, out->columns));
}

struct load {
	const struct item *item;
	uint8_t *to;
	uint32_t each;                  /* panels or rows of a task */
	_Atomic uint64_t not_finite;
};

static void load_task(void *ctx, uint32_t index, uint32_t worker)
{
	struct load *l = ctx;
	const struct item *item = l->item;
	const struct matrix *m = item->matrix;
	uint32_t first = index * l->each, end = first + l->each;

	if (item->kind == ITEM_MATRIX) {
		atomic_fetch_add(&l->not_finite,
				 matrix_pack(m->format, &item->weight, first,
					     MIN(end, (m->rows + PANEL - 1) / PANEL), l->to));
		return;
	}
	for (uint32_t r = first; r < MIN(end, item->weight.rows); r++) {
		uint64_t bytes = item->kind == ITEM_TABLE ?
			dtype_row_bytes(item->table->dtype, item->table->columns) : 0;
		uint8_t *to = l->to + r * bytes;

		if (item->kind == ITEM_TABLE && item->table->dtype == item->weight.dtype)
			memcpy(to, weight_row_raw(&item->weight, r), bytes);
		else
			weight_row(&item->weight, r, (float *)to);
	}
}

static void load_item(struct weights *w, struct item *item, struct team *t)
{
	uint32_t parts = item->weight.rows;
	struct load l = { item, (uint8_t *)w->region.base + item->offset, 1, 0 };

	if (item->kind == ITEM_MATRIX)
		parts = (parts + PANEL - 1) / PANEL;
	l.each = (uint32_t)MAX(TASK_BYTES / MAX(item->bytes / parts, 1), 1);
	if (l.each >= parts)
		load_task(&l, 0, 0);
	else
		team_run(t, (parts + l.each - 1) / l.each, load_task, &l);
	if (l.not_finite > 0)
		log_warn("weights", "%s of %s: %" PRIu64 " weights are NaN or infinite and were "
			 "taken as 0 or the largest beside them", item->weight.name,
			 model_path(w->model), l.not_finite);
	if (item->kind == ITEM_MATRIX)
		item->matrix->panels = l.to;
	else if (item->kind == ITEM_VECTOR)
		*item->vector = (const float *)l.to;
	else
		item->table->data = l.to;
}

int weights_load(struct weights *w, struct team *t, struct load_progress progress,
		 struct error *e)
{
	uint64_t done = 0;
	int rc;

	rc = memory_region_open(&w->region, w->bytes, true);
	if (rc < 0)
		return error_set(e, rc, "out of memory for %" PRIu64 " MB of weights of %s",
				 w->bytes / 1000000, model_path(w->model));
	if (progress.report)
		progress.report(progress.ctx, 0, w->bytes);
	for (uint32_t i = 0; i < w->count; i++) {
		load_item(w, &w->items[i], t);
		done += align_up(w->items[i].bytes, ALIGNMENT);
		if (progress.report)
			progress.report(progress.ctx, done, w->bytes);
	}
	/* The model may go now. */
	mem_free(w->items);
	w->items = NULL;
	w->model = NULL;
	return 0;
}

void table_row(const struct table *t, uint32_t r, float *out)
{
	assert(r < t->rows);
	dtype_widen(t->dtype, t->data + r * dtype_row_bytes(t->dtype, t->columns), t->columns, out);
}

/* One group of one of the quantised formats, as kernels.h draws them; scale is PANEL_I8's. */
static void group_row(enum panel_format f, const uint8_t *group, uint32_t lane, float scale,
		      float *out)
{
	const uint16_t *scales = (const uint16_t *)group;
	float d = f == PANEL_I8 ? scale : f32_of_f16(scales[lane]);
	float m = f == PANEL_Q4_1 ? f32_of_f16(scales[PANEL + lane]) : 0;
	const uint8_t *q = group + (f == PANEL_I8 ? 0 : f == PANEL_Q4_1 ? 4 : 2) * PANEL;

	for (uint32_t k = 0; k < GROUP; k++) {
		uint8_t byte;

		if (f == PANEL_Q8 || f == PANEL_I8) {
			out[k] = d * (float)(q[(k / 4 * PANEL + lane) * 4 + k % 4] - 128);
			continue;
		}
		byte = q[(k / 8 * PANEL + lane) * 4 + k % 4];
		byte = k % 8 < 4 ? byte & 15 : byte >> 4;
		out[k] = f == PANEL_Q4_0 ? d * (float)(byte - 8) : d * (float)byte + m;
	}
}

static void float_row(const struct matrix *m, const uint8_t *panel, uint32_t lane, float *out)
{
	const float *f32 = (const float *)panel;
	const uint16_t *f16 = (const uint16_t *)panel;

	for (uint32_t k = 0; k < m->columns; k++) {
		if (m->format == PANEL_F32)
			out[k] = f32[(size_t)k * PANEL + lane];
		else if (m->format == PANEL_F16)
			out[k] = f32_of_f16(f16[(size_t)k * PANEL + lane]);
		else
			out[k] = f32_of_bf16(f16[((size_t)(k / 2) * PANEL + lane) * 2 + k % 2]);
	}
}

void matrix_row(const struct matrix *m, uint32_t r, float *out)
{
	const uint8_t *panel = (const uint8_t *)m->panels +
			       r / PANEL * panel_bytes(m->format, m->columns);
	const float *scales = (const float *)panel;
	uint32_t lane = r % PANEL, head = panel_head_bytes(m->format);

	assert(r < m->rows);
	if (panel_step_columns(m->format) < GROUP) {
		float_row(m, panel, lane, out);
		return;
	}
	for (uint32_t k = 0; k < m->columns; k += GROUP) {
		float widened[GROUP];

		group_row(m->format, panel + head + (size_t)k / GROUP * panel_step_bytes(m->format),
			  lane, head ? scales[lane] : 0, widened);
		memcpy(out + k, widened, MIN(m->columns - k, GROUP) * sizeof(float));
	}
}
