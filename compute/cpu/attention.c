/* attention.c - KV page layout, and attention as products of tiles.
 *
 * Query vectors (a row's query heads, row after row) go in tiles of up to TILE_ROWS.
 * A step of STEP_KEYS keys takes the products with K (a panel of 16 keys is one
 * vector of a matrix tile), one softmax step per vector, and the products of the weights
 * with V, added onto the running output.  Rows of a tile see different keys; what
 * all of them see is done together, the rest row by row, in the order of keys.
 */
#include <math.h>

#include "compute/cpu/path.h"

struct span_of_keys { uint32_t first, end; };   /* within a step */

struct attend {
	const struct kernels *kernels;
	const struct attention_args *args;
	uint32_t kv_head, group;
	uint32_t first_head, end_head;          /* kv heads of this call */
	bool fetch;                             /* a single row: see key_place() */
	uint32_t next_head, next_base;          /* the step after this one; end_head: none */
	uint32_t first_vector, vectors;         /* this tile's; vector = row x group + i */

	/* Scratch, by vector of the tile. */
	uint8_t *q;                             /* operand tile */
	float *dots;                            /* x STEP_KEYS */
	uint8_t *weights;                       /* x STEP_KEYS, f32 or bf16 */
	float *out;                             /* x v_dims */
	float *sum_lanes;                       /* x LANES */
	uint32_t *pair;                         /* v_dims: half a pair of V rows */
	float maximum[TILE_ROWS];
	struct span_of_keys keys[TILE_ROWS];    /* seen in this step */
};

static uint32_t element_bytes(const struct kv_layout *l)
{
	return l->f32 ? 4 : 2;
}

void kv_layout_init(struct kv_layout *l, bool f32, uint32_t kv_heads, uint32_t head_dim,
		    uint32_t page_tokens)
{
	assert(page_tokens > 0 && page_tokens % LANES == 0);
	*l = (struct kv_layout){
		.f32 = f32,
		.kv_heads = kv_heads,
		.head_dim = head_dim,
		.page_tokens = page_tokens,
		.k_dims = (uint32_t)align_up(head_dim, 2),
		.v_dims = (uint32_t)align_up(head_dim, PANEL),
	};
	l->k_bytes = (uint64_t)kv_heads * page_tokens * l->k_dims * element_bytes(l);
	l->v_bytes = (uint64_t)kv_heads * page_tokens * l->v_dims * element_bytes(l);
}

/* The tile of 16 keys that holds `slot` of a page, one kv head. */
static uint8_t *key_tile(const struct kv_layout *l, uint8_t *page, uint32_t kv_head,
			 uint32_t slot)
{
	uint64_t token = (uint64_t)kv_head * l->page_tokens + slot / LANES * LANES;

	return page + token * l->k_dims * element_bytes(l);
}

/* The values of `slot`, or of the pair of slots that it is in. */
static uint8_t *value_row(const struct kv_layout *l, uint8_t *page, uint32_t kv_head,
			  uint32_t slot)
{
	uint64_t token = (uint64_t)kv_head * l->page_tokens + (l->f32 ? slot : slot & ~1u);

	return page + l->k_bytes + token * l->v_dims * element_bytes(l);
}

static void append_f32(const struct kv_layout *l, uint8_t *keys, uint8_t *values, uint32_t slot,
		       const float *k, const float *v)
{
	for (uint32_t d = 0; d < l->k_dims; d++)
		memcpy(keys + (d * LANES + slot % LANES) * 4,
		       &(float){ d < l->head_dim ? k[d] : 0 }, 4);
	memset(values, 0, l->v_dims * 4);
	memcpy(values, v, l->head_dim * 4);
}

static void append_bf16(const struct kernels *kernels, const struct kv_layout *l, uint8_t *keys,
			uint8_t *values, uint32_t slot, const float *k, const float *v)
{
	uint16_t b[PANEL];

	for (uint32_t d = 0; d < l->v_dims; d += PANEL) {
		uint32_t n = MIN(l->head_dim - d, PANEL), pairs = (n + 1) / 2;

		memset(b, 0, sizeof(b));
		kernels->to_bf16(k + d, n, b);
		for (uint32_t p = 0; p < pairs; p++)
			memcpy(keys + ((d / 2 + p) * LANES + slot % LANES) * 4, &b[2 * p], 4);
		memset(b, 0, sizeof(b));
		kernels->to_bf16(v + d, n, b);
		for (uint32_t i = 0; i < PANEL; i++)
			memcpy(values + (d + i) * 4 + slot % 2 * 2, &b[i], 2);
	}
}

void kv_append(const struct kernels *k, const struct kv_layout *l, uint8_t *page,
	       uint32_t slot, const float *k_row, const float *v_row)
{
	assert(slot < l->page_tokens);
	for (uint32_t h = 0; h < l->kv_heads; h++) {
		uint8_t *keys = key_tile(l, page, h, slot), *values = value_row(l, page, h, slot);

		if (l->f32)
			append_f32(l, keys, values, slot, k_row, v_row);
		else
			append_bf16(k, l, keys, values, slot, k_row, v_row);
		k_row += l->head_dim;
		v_row += l->head_dim;
	}
}

enum scratch_part { S_Q, S_DOTS, S_WEIGHTS, S_OUT, S_SUMS, S_PAIR, SCRATCH_PARTS };

/* Offsets of the parts, and behind them the size of all. */
static void scratch_parts(const struct kv_layout *l, uint64_t at[SCRATCH_PARTS + 1])
{
	const uint64_t bytes[SCRATCH_PARTS] = {
		[S_Q] = (uint64_t)TILE_ROWS * l->k_dims * 4,
		[S_DOTS] = TILE_ROWS * STEP_KEYS * 4,
		[S_WEIGHTS] = TILE_ROWS * STEP_KEYS * 4,
		[S_OUT] = (uint64_t)TILE_ROWS * l->v_dims * 4,
		[S_SUMS] = TILE_ROWS * LANES * 4,
		[S_PAIR] = (uint64_t)l->v_dims * 4,
	};

	at[0] = 0;
	for (int i = 0; i < SCRATCH_PARTS; i++)
		at[i + 1] = at[i] + align_up(bytes[i], 64);
}

uint64_t attention_scratch_bytes(const struct kv_layout *l, uint32_t heads)
{
	uint64_t at[SCRATCH_PARTS + 1];

	(void)heads;                    /* tiles have a fixed size */
	scratch_parts(l, at);
	return at[SCRATCH_PARTS];
}

/* Position of the query of vector r of the tile, and the number of its head. */
static uint32_t query_position(const struct attend *t, uint32_t r)
{
	return t->args->position + (t->first_vector + r) / t->group;
}

static uint32_t query_head(const struct attend *t, uint32_t r)
{
	return t->kv_head * t->group + (t->first_vector + r) % t->group;
}

static const float *query(const struct attend *t, uint32_t r)
{
	return t->args->q + (size_t)((t->first_vector + r) / t->group) * t->args->q_stride +
	       (size_t)query_head(t, r) * t->args->layout->head_dim;
}

/* First vector of the next row behind vector r. */
static uint32_t row_end(const struct attend *t, uint32_t r)
{
	uint32_t end = ((t->first_vector + r) / t->group + 1) * t->group - t->first_vector;

	return MIN(end, t->vectors);
}

static void load_queries(struct attend *t)
{
	const struct kv_layout *l = t->args->layout;

	for (uint32_t r = 0; r < t->vectors; r++) {
		const float *q = query(t, r);

		if (!l->f32) {
			t->kernels->operand_bf16(q, l->head_dim, r, t->vectors, (uint16_t *)t->q);
			continue;
		}
		for (uint32_t d = 0; d < l->k_dims; d++)
			((float *)t->q)[d * t->vectors + r] = d < l->head_dim ? q[d] : 0;
	}
}

/* First position that the query of vector r may see. */
static uint32_t visible_from(const struct attend *t, uint32_t r)
{
	uint32_t end = query_position(t, r) + 1, window = t->args->window;

	return window && end > window ? end - window : 0;
}

/* Fills keys[] for the step of keys at `base`; returns what any vector sees. */
static struct span_of_keys visible_keys(struct attend *t, uint32_t base)
{
	struct span_of_keys any = { STEP_KEYS, 0 };

	for (uint32_t r = 0; r < t->vectors; r++) {
		uint32_t first = MAX(visible_from(t, r), base) - base;
		uint32_t end = query_position(t, r) + 1;

		end = end > base ? MIN(end - base, STEP_KEYS) : 0;
		t->keys[r] = first < end ? (struct span_of_keys){ first, end } :
					   (struct span_of_keys){ 0, 0 };
		if (first < end) {
			any.first = MIN(any.first, first);
			any.end = MAX(any.end, end);
		}
	}
	return any;
}

static uint8_t *page_of(const struct attend *t, uint32_t position)
{
	return t->args->pages[position / t->args->layout->page_tokens];
}

/* A single row reads each byte but once, in pieces too short for the hardware to run ahead,
 * and more than a core has room to wait for.  So products with K fetch V of the same keys,
 * line by line, and products with V fetch K of the step after: a page holds as much of
 * one as of the other.  NULL: nothing is to be fetched.
 */
static const uint8_t *value_place(const struct attend *t, uint32_t position)
{
	const struct kv_layout *l = t->args->layout;

	return !t->fetch ? NULL : value_row(l, page_of(t, position), t->kv_head,
					    position % l->page_tokens);
}

static const uint8_t *key_place(const struct attend *t, uint32_t key)
{
	const struct kv_layout *l = t->args->layout;
	uint32_t position = t->next_base + key, slot = position % l->page_tokens;

	if (!t->fetch || t->next_head == t->end_head || position > t->args->position)
		return NULL;
	return key_tile(l, page_of(t, position), t->next_head, slot) +
	       slot % LANES * l->k_dims * element_bytes(l);
}

static void products_with_keys(struct attend *t, uint32_t base, struct span_of_keys any)
{
	const struct kv_layout *l = t->args->layout;
	enum panel_format f = l->f32 ? PANEL_F32 : PANEL_BF16;

	for (uint32_t at = any.first / PANEL * PANEL; at < any.end; at += PANEL) {
		uint32_t one = MAX(at, any.first / LANES * LANES);
		uint32_t two = at + LANES < any.end ? at + LANES : one;
		struct tile tile = {
			.w = {
				key_tile(l, page_of(t, base + one), t->kv_head,
					 (base + one) % l->page_tokens),
				key_tile(l, page_of(t, base + two), t->kv_head,
					 (base + two) % l->page_tokens),
			},
			.w_bytes = LANES * 4,
			.ahead = { value_place(t, base + one), value_place(t, base + two) },
			.x = t->q,
			.sums = t->dots + at,
			.sums_stride = STEP_KEYS,
			.steps = l->k_dims / (l->f32 ? 1 : 2),
			.first = true,
		};

		t->kernels->tile[f][t->vectors - 1](&tile);
	}
}

static void softmax_vectors(struct attend *t, uint32_t base)
{
	const struct kv_layout *l = t->args->layout;

	for (uint32_t r = 0; r < t->vectors; r++) {
		struct softmax_row row = {
			.dots = t->dots + r * STEP_KEYS,
			.scale = t->args->scale,
			.slope = t->args->slopes ? t->args->slopes[query_head(t, r)] : 0,
			.distance = (float)((int64_t)base - query_position(t, r)),
			.first = t->keys[r].first,
			.end = t->keys[r].end,
			.maximum = &t->maximum[r],
			.sum_lanes = t->sum_lanes + r * LANES,
			.out = t->out + (size_t)r * l->v_dims,
			.dims = l->v_dims,
			.weights = t->weights + (size_t)r * STEP_KEYS * element_bytes(l),
		};

		if (row.first < row.end)
			(l->f32 ? t->kernels->softmax_f32 : t->kernels->softmax_bf16)(&row);
	}
}

/* out += weights x V for vectors [r, end) over `steps` rows or pairs of V at `w`; `key` is
 * the first one's.
 */
static void add_values(struct attend *t, uint32_t r, uint32_t end, const uint8_t *w,
		       uint32_t key, uint32_t steps)
{
	const struct kv_layout *l = t->args->layout;
	tile_fn *const *tiles = l->f32 ? t->kernels->values_f32 : t->kernels->values_bf16;
	const uint8_t *ahead = key_place(t, key);

	for (uint32_t d = 0; d < l->v_dims; d += PANEL) {
		struct tile tile = {
			.w = { w + d * 4, w + (d + LANES) * 4 },
			.w_bytes = (size_t)l->v_dims * 4,
			.ahead = { ahead ? ahead + d * 4 : NULL,
				   ahead ? ahead + (d + LANES) * 4 : NULL },
			.x = t->weights + ((size_t)r * STEP_KEYS + key) * element_bytes(l),
			.sums = t->out + (size_t)r * l->v_dims + d,
			.sums_stride = l->v_dims,
			.steps = steps,
		};

		tiles[end - r - 1](&tile);
	}
}

/* One key of a pair whose other half is out of sight: that half is made 0, because 0
 * times what lies there might not be.
 */
static void add_half_pair(struct attend *t, uint32_t r, uint32_t end, const uint8_t *w,
			  uint32_t key)
{
	uint32_t keep = key % 2 ? 0xffff0000 : 0x0000ffff;

	memcpy(t->pair, w, t->args->layout->v_dims * 4);
	for (uint32_t d = 0; d < t->args->layout->v_dims; d++)
		t->pair[d] &= keep;
	add_values(t, r, end, (const uint8_t *)t->pair, key & ~1u, 1);
}

/* The values of keys [key, end_key) of the step at base for vectors [r, end). */
static void products_with_values(struct attend *t, uint32_t base, uint32_t r, uint32_t end,
				 uint32_t key, uint32_t end_key)
{
	const struct kv_layout *l = t->args->layout;

	while (key < end_key) {
		uint32_t slot = (base + key) % l->page_tokens;
		uint32_t keys = MIN(end_key - key, l->page_tokens - slot);
		const uint8_t *w = value_row(l, page_of(t, base + key), t->kv_head, slot);

		if (l->f32) {
			add_values(t, r, end, w, key, keys);
		} else if (key % 2 || keys == 1) {
			add_half_pair(t, r, end, w, key);
			keys = 1;
		} else {
			keys &= ~1u;
			add_values(t, r, end, w, key, keys / 2);
		}
		key += keys;
	}
}

/* What every vector sees, in whole pairs; end <= first if there is nothing. */
static struct span_of_keys common_keys(const struct attend *t)
{
	struct span_of_keys all = { 0, STEP_KEYS };

	for (uint32_t r = 0; r < t->vectors; r++) {
		all.first = MAX(all.first, t->keys[r].first);
		all.end = MIN(all.end, t->keys[r].end);
	}
	all.first = (all.first + 1) & ~1u;
	all.end &= ~1u;
	return all;
}

static void values_step(struct attend *t, uint32_t base)
{
	struct span_of_keys all = common_keys(t);
	bool together = all.first < all.end;

	for (uint32_t r = 0; r < t->vectors; r = row_end(t, r))
		products_with_values(t, base, r, row_end(t, r), t->keys[r].first,
				     together ? all.first : t->keys[r].end);
	if (!together)
		return;
	products_with_values(t, base, 0, t->vectors, all.first, all.end);
	for (uint32_t r = 0; r < t->vectors; r = row_end(t, r))
		products_with_values(t, base, r, row_end(t, r), all.end, t->keys[r].end);
}

/* Fetches K of keys [key, STEP_KEYS) of the next step, at once: nothing is there to do it
 * meanwhile.
 */
static void fetch_keys(const struct attend *t, uint32_t key)
{
	const struct kv_layout *l = t->args->layout;
	const uint8_t *p;

	for (; key < STEP_KEYS && (p = key_place(t, key)); key++)
		for (uint32_t i = 0; i < l->k_dims * element_bytes(l); i += 64)
			__builtin_prefetch(p + i, 0, 2);
}

/* What is attended to after the step at base. */
static void set_next(struct attend *t, uint32_t first, uint32_t base, uint32_t last)
{
	bool more = base + STEP_KEYS <= last;

	t->next_base = more ? base + STEP_KEYS : first;
	t->next_head = more ? t->kv_head : t->kv_head + 1;
}

static void attend_tile(struct attend *t)
{
	const struct attention_args *a = t->args;
	const struct kv_layout *l = a->layout;
	uint32_t first = visible_from(t, 0) / STEP_KEYS * STEP_KEYS;
	uint32_t last = query_position(t, t->vectors - 1);

	if (t->kv_head == t->first_head) {
		t->next_head = t->kv_head;
		t->next_base = first;
		fetch_keys(t, 0);
	}
	load_queries(t);
	memset(t->out, 0, (size_t)t->vectors * l->v_dims * 4);
	memset(t->sum_lanes, 0, t->vectors * LANES * 4);
	for (uint32_t r = 0; r < t->vectors; r++)
		t->maximum[r] = -INFINITY;
	for (uint32_t base = first; base <= last; base += STEP_KEYS) {
		products_with_keys(t, base, visible_keys(t, base));
		set_next(t, first, base, last);
		if (base + STEP_KEYS > last)
			fetch_keys(t, last + 1 - base);
		softmax_vectors(t, base);
		values_step(t, base);
	}
	for (uint32_t r = 0; r < t->vectors; r++) {
		uint32_t row = (t->first_vector + r) / t->group;

		t->kernels->softmax_finish(t->out + (size_t)r * l->v_dims,
					   t->sum_lanes + r * LANES, l->head_dim,
					   a->out + (size_t)row * a->out_stride +
						   (size_t)query_head(t, r) * l->head_dim);
	}
}

static void attend_head(struct attend *t, uint32_t first_row, uint32_t end_row)
{
	uint32_t vectors = (end_row - first_row) * t->group;

	for (uint32_t i = 0; i < row_tiles(vectors); i++) {
		uint32_t first = row_tile_first(vectors, i);

		t->first_vector = first_row * t->group + first;
		t->vectors = row_tile_first(vectors, i + 1) - first;
		attend_tile(t);
	}
}

void attention(const struct kernels *k, const struct attention_args *a, uint32_t first_head,
	       uint32_t end_head, uint32_t first_row, uint32_t end_row, void *scratch)
{
	uint64_t at[SCRATCH_PARTS + 1];
	uint8_t *base = scratch;
	struct attend t = {
		.kernels = k, .args = a, .group = a->heads / a->layout->kv_heads,
		.first_head = first_head, .end_head = end_head, .fetch = a->rows == 1,
	};

	assert(first_row < end_row && end_row <= a->rows);
	assert(first_head < end_head && end_head <= a->layout->kv_heads);
	assert(t.group > 0 && t.group * a->layout->kv_heads == a->heads);
	scratch_parts(a->layout, at);
	t.q = base + at[S_Q];
	t.dots = (float *)(base + at[S_DOTS]);
	t.weights = base + at[S_WEIGHTS];
	t.out = (float *)(base + at[S_OUT]);
	t.sum_lanes = (float *)(base + at[S_SUMS]);
	t.pair = (uint32_t *)(base + at[S_PAIR]);
	for (t.kv_head = first_head; t.kv_head < end_head; t.kv_head++)
		attend_head(&t, first_row, end_row);
}
