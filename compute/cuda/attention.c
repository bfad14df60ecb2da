/* attention.c - makes the lists that the attention kernels work through. */
#include "compute/cuda/attention.h"

#include "compute/cuda/linear.h"

enum {
	TURNS = 4,                      /* thread blocks of a processor, of kernels that take any */
	WARPS = ATTEND_THREADS / 32,
	STEPS = ATTEND_RANGE / ATTEND_STEP,
	FRAGMENT_BYTES = 512,
	UNIT = 16,                      /* of segments */
};

static uint32_t parts_of(uint64_t count, uint32_t each)
{
	return (uint32_t)((count + each - 1) / each);
}

static uint32_t group(const struct cuda_attention *t)
{
	return t->o.heads / t->o.kv.kv_heads;
}

static uint32_t dim_steps(const struct cuda_attention *t)
{
	return parts_of(t->o.kv.dims, 32);
}

/* ---- memory ---- */

/* Weights and maxima of a range, queries, the ring: as attend_few.cu cuts it. */
static uint32_t few_shared(const struct cuda_attention *t)
{
	uint32_t weights = ATTEND_QUERIES * ATTEND_RANGE * 2;
	uint32_t maxima = STEPS * WARPS * ATTEND_QUERIES * 4;

	return weights + maxima +
	       dim_steps(t) * (2 * FRAGMENT_BYTES + t->stages * ATTEND_STAGE_BYTES);
}

/* Keys, values, and each warp's queries and total: as attend_many.cu cuts it. */
static uint32_t many_shared(const struct cuda_attention *t)
{
	return dim_steps(t) * (2 * ATTEND_STAGE_BYTES + WARPS * 2 * FRAGMENT_BYTES) +
	       WARPS * t->o.kv.dims / 8 * FRAGMENT_BYTES;
}

static uint32_t even(uint32_t n)
{
	return n + n % 2;
}

void cuda_attention_init(struct cuda_attention *t, const struct device *d,
			 const struct cuda_attention_options *o)
{
	uint32_t dims = o->kv.dims;
	uint64_t ranges = MIN((uint64_t)o->entries_max * parts_of(o->tokens_max, ATTEND_RANGE),
			      o->tokens_room / ATTEND_RANGE + o->entries_max);

	*t = (struct cuda_attention){ .o = *o };
	t->stages = dims <= 128 ? ATTEND_STAGES_MAX : 2;
	t->many = dims <= 64 ? CUDA_KERNEL_ATTEND_MANY_64 :
		  dims <= 128 ? CUDA_KERNEL_ATTEND_MANY_128 : CUDA_KERNEL_ATTEND_MANY_256;
	t->tiled = o->kv.bf16 && dims <= ATTEND_DIMS_MAX &&
		   MAX(few_shared(t), many_shared(t)) <= d->shared_bytes_max;
	if (!t->tiled)
		return;
	/* Even: lists begin at whole units. */
	t->few_room = even((uint32_t)ranges * parts_of(group(t), ATTEND_QUERIES));
	t->merge_room = even(o->entries_max * parts_of(group(t), ATTEND_QUERIES));
	t->many_room = even(parts_of((uint64_t)o->rows_max * group(t),
				     ATTEND_TILES * ATTEND_QUERIES) + o->entries_max);
	t->vector_room = (uint32_t)ranges * o->heads;
}

static_assert(2 * sizeof(struct cuda_attend_item) % UNIT == 0 &&
	      sizeof(struct cuda_attend_sheet) % UNIT == 0, "two items are whole units");

static uint64_t sheet_bytes(const struct cuda_attention *t)
{
	uint64_t items = (uint64_t)t->few_room + t->merge_room + t->many_room;

	return t->tiled ? sizeof(*t->sheet) + items * sizeof(struct cuda_attend_item) : 0;
}

void cuda_attention_want(struct cuda_attention *t, struct cuda_arena *a)
{
	cuda_arena_want(a, &t->sheet, sheet_bytes(t));
	cuda_arena_want(a, &t->parts, (uint64_t)t->vector_room * t->o.kv.dims * sizeof(float));
	cuda_arena_want(a, &t->range_maxima, t->vector_room * sizeof(float));
	cuda_arena_want(a, &t->range_sums, t->vector_room * sizeof(float));
}

uint64_t cuda_attention_host_bytes(const struct cuda_attention *t)
{
	return sheet_bytes(t);
}

void cuda_attention_host(struct cuda_attention *t, void *pinned)
{
	t->host = pinned;
}

uint32_t cuda_attention_q_width(const struct cuda_attention *t)
{
	return t->tiled ? t->o.heads * dim_steps(t) * 32 : 0;
}

/* Where a sheet's items begin, on the device or the host. */
static struct cuda_attend_item *few_of(struct cuda_attend_sheet *sheet)
{
	return (struct cuda_attend_item *)(sheet + 1);
}

static struct cuda_attend_item *merge_of(const struct cuda_attention *t,
					 struct cuda_attend_sheet *sheet)
{
	return few_of(sheet) + t->few_room;
}

static struct cuda_attend_item *many_of(const struct cuda_attention *t,
					struct cuda_attend_sheet *sheet)
{
	return merge_of(t, sheet) + t->merge_room;
}

/* ---- a batch ---- */

void cuda_attention_begin(struct cuda_attention *t)
{
	t->vectors = 0;
	if (t->tiled)
		*t->host = (struct cuda_attend_sheet){ 0 };
}

/* Whether attend_few may take them: few queries, and room for what it leaves. */
static bool is_few(const struct cuda_attention *t, uint32_t queries, uint32_t rows,
		   uint32_t ranges)
{
	uint32_t tiles = parts_of(queries, ATTEND_QUERIES);
	uint64_t vectors = (uint64_t)ranges * queries * t->o.kv.kv_heads;

	if (queries > ATTEND_QUERIES && rows > 1)
		return false;
	return t->host->few + (uint64_t)tiles * ranges <= t->few_room &&
	       t->host->merge + tiles <= t->merge_room &&
	       (ranges == 1 || t->vectors + vectors <= t->vector_room);
}

/* One item a range; and one to put them together. */
static void add_few(struct cuda_attention *t, struct cuda_attend_item item, uint32_t first_range)
{
	uint32_t each = item.count * t->o.kv.kv_heads;

	item.vector = t->vectors;
	if (item.ranges > 1) {
		merge_of(t, t->host)[t->host->merge++] = item;
		t->vectors += item.ranges * each;
	}
	for (uint32_t i = 0; i < item.ranges; i++) {
		item.range = first_range + i;
		few_of(t->host)[t->host->few++] = item;
		item.vector += each;
	}
}

void cuda_attention_add(struct cuda_attention *t, uint32_t first_row, uint32_t rows,
			uint32_t position)
{
	uint32_t queries = rows * group(t), window = t->o.window;
	uint32_t first = window && position + 1 > window ? position + 1 - window : 0;
	uint32_t ranges = (position + rows - 1) / ATTEND_RANGE - first / ATTEND_RANGE + 1;
	bool few = t->tiled && is_few(t, queries, rows, ranges);
	uint32_t each = few ? ATTEND_QUERIES : ATTEND_TILES * ATTEND_QUERIES;

	for (uint32_t q = 0; t->tiled && q < queries; q += each) {
		struct cuda_attend_item item = {
			.row = first_row, .query = q, .count = MIN(each, queries - q),
			.ranges = ranges,
		};

		if (few) {
			add_few(t, item, first / ATTEND_RANGE);
			continue;
		}
		assert(t->host->many < t->many_room);
		many_of(t, t->host)[t->host->many++] = item;
	}
}

static uint32_t units_of(uint32_t items)
{
	return parts_of((uint64_t)items * sizeof(struct cuda_attend_item), UNIT);
}

void cuda_attention_segments(const struct cuda_attention *t,
			     struct cuda_segment out[CUDA_ATTENTION_SEGMENTS],
			     uint32_t units[CUDA_ATTENTION_SEGMENTS])
{
	const struct cuda_attend_sheet *h = t->host;

	for (uint32_t i = 0; i < CUDA_ATTENTION_SEGMENTS; i++) {
		out[i] = (struct cuda_segment){ NULL, NULL };
		units[i] = 0;
	}
	if (!t->tiled)
		return;
	out[0] = (struct cuda_segment){ h, t->sheet };
	out[1] = (struct cuda_segment){ merge_of(t, t->host), merge_of(t, t->sheet) };
	out[2] = (struct cuda_segment){ many_of(t, t->host), many_of(t, t->sheet) };
	units[0] = sizeof(*h) / UNIT + units_of(h->few);
	units[1] = units_of(h->merge);
	units[2] = units_of(h->many);
}

bool cuda_attention_is_few(const struct cuda_attention *t)
{
	return !t->tiled || t->host->many == 0;
}

/* ---- launches ---- */

static struct attend_args args_of(const struct cuda_attention *t,
				  const struct cuda_attention_rows *r)
{
	struct attend_args a = {
		.kv = r->kv, .row = r->row, .pages = r->pages, .q = r->q, .q_bf16 = r->q_bf16,
		.slopes = r->slopes, .out = r->out, .heads = t->o.heads, .window = t->o.window,
		.stride = cuda_operand_stride(t->o.heads * t->o.kv.head_dim),
		.operand_bf16 = r->operand_bf16, .stages = t->stages, .scale = t->o.scale,
		.sheet = t->sheet, .parts = t->parts, .range_maxima = t->range_maxima,
		.range_sums = t->range_sums,
	};

	if (t->tiled) {
		a.few = few_of(t->sheet);
		a.merge = merge_of(t, t->sheet);
		a.many = many_of(t, t->sheet);
	}
	return a;
}

void cuda_attend(const struct cuda_attention *t, struct cuda_queue *q,
		 const struct cuda_attention_rows *rows)
{
	struct attend_args a = args_of(t, rows);
	uint32_t kv_heads = t->o.kv.kv_heads, most = TURNS * q->device->processors;
	const struct cuda_attend_sheet *h = t->host;
	struct cuda_grid grid = { .y = 1, .threads = ATTEND_THREADS };

	if (!t->tiled) {
		grid = (struct cuda_grid){ t->o.heads, rows->rows, ATTENTION_KEYS };
		cuda_launch(q, CUDA_KERNEL_ATTENTION, grid, &a);
		return;
	}
	grid.x = rows->recorded ? most : MIN(h->few * kv_heads, most);
	if (grid.x > 0)
		cuda_launch_shared(q, CUDA_KERNEL_ATTEND_FEW, grid, few_shared(t), &a);
	grid.x = rows->recorded ? most : MIN(h->merge * kv_heads, most);
	if (grid.x > 0)
		cuda_launch(q, CUDA_KERNEL_ATTEND_MERGE, grid, &a);
	grid.x = rows->recorded ? 0 : h->many * kv_heads;
	if (grid.x > 0)
		cuda_launch_shared(q, t->many, grid, many_shared(t), &a);
}
