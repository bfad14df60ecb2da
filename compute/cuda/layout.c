/* layout.c - rows, quantised or as stored, dealt out to the tiles that layout.h draws.
 *
 * A band is first gathered as 32 rows of values and of scales, row-major, filled up with what
 * stands for 0; then each tile takes its part.
 */
#include "compute/cuda/layout.h"

#include "compute/cuda/kernels.h"

static_assert((int)TILE_COLUMNS == (int)CUDA_K_STEP && (int)TILE_COLUMNS == (int)GROUP,
	      "a step of k is a group of the quantised formats");

static const struct layout {
	const char *name;
	uint32_t row_bytes;             /* of the values of a step of one feature */
	uint32_t scale_bytes;           /* of that step's scale */
	uint8_t zero;                   /* the byte that fills up */
} layouts[CUDA_FORMATS] = {
	[CUDA_F32]       = { "f32",  128, 0, 0 },
	[CUDA_BF16_ROWS] = { "bf16", 64, 0, 0 },
	[CUDA_BF16]      = { "bf16", 64, 0, 0 },
	[CUDA_F16]       = { "f16",  64, 0, 0 },
	[CUDA_INT8]      = { "int8", 32, 0, 0 },
	[CUDA_Q8_0]      = { "q8_0", 32, 2, 0 },
	[CUDA_Q4_0]      = { "q4_0", 16, 2, 0x88 },
	[CUDA_Q4_1]      = { "q4_1", 16, 4, 0 },
};

const char *cuda_format_name(enum cuda_format f)
{
	assert(f < CUDA_FORMATS);
	return layouts[f].name;
}

static enum cuda_format kept(enum dtype d, bool rows)
{
	static const enum cuda_format formats[DTYPE_COUNT] = {
		[DTYPE_F32] = CUDA_BF16, [DTYPE_F16] = CUDA_F16, [DTYPE_BF16] = CUDA_BF16,
		[DTYPE_Q8_0] = CUDA_Q8_0, [DTYPE_Q4_0] = CUDA_Q4_0, [DTYPE_Q4_1] = CUDA_Q4_1,
	};

	return rows && d == DTYPE_F16 ? CUDA_BF16 : formats[d];
}

enum cuda_format cuda_format_of(const struct weight *w, enum weight_format f, bool bf16,
				bool rows)
{
	static const enum cuda_format formats[WEIGHT_FORMATS] = {
		[WEIGHTS_BF16] = CUDA_BF16, [WEIGHTS_INT8] = CUDA_INT8, [WEIGHTS_INT4] = CUDA_Q4_0,
	};
	enum cuda_format out;

	assert(f < WEIGHT_FORMATS && w->dtype < DTYPE_COUNT);
	if (!bf16)
		return CUDA_F32;
	out = f == WEIGHTS_KEEP ? kept(w->dtype, rows) : formats[f];
	return rows && out == CUDA_BF16 ? CUDA_BF16_ROWS : out;
}

static uint32_t steps_of(uint32_t columns)
{
	return (columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
}

static bool in_rows(enum cuda_format f)
{
	return f == CUDA_F32 || f == CUDA_BF16_ROWS;
}

uint64_t cuda_layout_band_bytes(enum cuda_format f, uint32_t columns)
{
	assert(f < CUDA_FORMATS);
	if (in_rows(f))
		return (uint64_t)steps_of(columns) * layouts[f].row_bytes * TILE_FEATURES;
	return (uint64_t)steps_of(columns) * TILE_BYTES(f);
}

uint64_t cuda_layout_bytes(enum cuda_format f, uint32_t features, uint32_t columns)
{
	uint64_t bands = (features + TILE_FEATURES - 1) / TILE_FEATURES;
	uint64_t scales = f == CUDA_INT8 ? TILE_FEATURES * sizeof(float) : 0;

	return bands * (cuda_layout_band_bytes(f, columns) + scales);
}

/* ---- gathering: 32 rows as they are, or as the quantiser makes them ---- */

/* Values and scales of a band, row-major. */
struct band {
	uint64_t row_bytes, scale_bytes;        /* of a row */
	uint8_t *values, *scales;
};

static struct band band_of(enum cuda_format f, uint32_t columns, void *scratch)
{
	uint64_t steps = steps_of(columns);
	struct band b = {
		.row_bytes = steps * layouts[f].row_bytes,
		.scale_bytes = f == CUDA_INT8 ? sizeof(float) : steps * layouts[f].scale_bytes,
		.values = scratch,
	};

	b.scales = b.values + TILE_FEATURES * b.row_bytes;
	return b;
}

uint64_t cuda_layout_scratch_bytes(enum cuda_format f, uint32_t columns)
{
	struct band b = band_of(f, columns, NULL);

	return TILE_FEATURES * (b.row_bytes + b.scale_bytes);
}

/* A stored row of GGUF's groups: scales in front of each. */
static void gather_groups(const struct layout *l, const uint8_t *raw, uint32_t groups,
			  uint8_t *values, uint8_t *scales)
{
	for (uint32_t i = 0; i < groups; i++, raw += l->scale_bytes + l->row_bytes) {
		memcpy(scales + i * l->scale_bytes, raw, l->scale_bytes);
		memcpy(values + i * l->row_bytes, raw + l->scale_bytes, l->row_bytes);
	}
}

/* Exact, also where a row is stored across (GPT-2). */
static void gather_f16(const struct weight *w, uint32_t r, uint8_t *values)
{
	const void *raw = weight_row_raw(w, r);
	float part[64];

	if (raw) {
		memcpy(values, raw, w->columns * sizeof(uint16_t));
		return;
	}
	for (uint32_t k = 0, count; k < w->columns; k += count) {
		count = MIN(w->columns - k, (uint32_t)ARRAY_LENGTH(part));
		weight_part(w, r, 1, k, count, part, ARRAY_LENGTH(part));
		row_encode(ROW_F16, part, 1, count, values + k * sizeof(uint16_t));
	}
}

static uint64_t gather_row(enum cuda_format f, const struct weight *w, uint32_t r, uint8_t *values,
			   uint8_t *scales)
{
	static const enum weight_format made[CUDA_FORMATS] = {
		[CUDA_BF16_ROWS] = WEIGHTS_BF16, [CUDA_BF16] = WEIGHTS_BF16,
		[CUDA_INT8] = WEIGHTS_INT8, [CUDA_Q4_0] = WEIGHTS_INT4,
	};

	switch (f) {
	case CUDA_F32:
		weight_row(w, r, (float *)values);
		return 0;
	case CUDA_F16:
		gather_f16(w, r, values);
		return 0;
	case CUDA_Q8_0:
	case CUDA_Q4_1:
		gather_groups(&layouts[f], weight_row_raw(w, r), steps_of(w->columns), values,
			      scales);
		return 0;
	default:
		return quantise_rows(made[f], w, r, r + 1, values, scales);
	}
}

/* ---- dealing out ---- */

static uint32_t word(const uint8_t *at)
{
	uint32_t w;

	memcpy(&w, at, sizeof(w));
	return w;
}

static void put_word(uint8_t *at, uint32_t w)
{
	memcpy(at, &w, sizeof(w));
}

static void deal_16_bits(const struct band *b, uint32_t step, uint8_t *tile)
{
	for (uint32_t feature = 0; feature < TILE_FEATURES; feature++)
		for (uint32_t t = 0; t < 4; t++)
			memcpy(tile + feature / 8 * 512 + (feature % 8 * 4 + t) * 16,
			       b->values + feature * b->row_bytes + step * 64 + t * 16, 16);
}

static void deal_8_bits(const struct band *b, uint32_t step, uint8_t *tile)
{
	for (uint32_t feature = 0; feature < TILE_FEATURES; feature++)
		for (uint32_t j = 0; j < 8; j++) {
			uint32_t w = word(b->values + feature * b->row_bytes + step * 32 + j * 4);
			uint8_t *lane = tile + feature / 16 * 512 + (feature % 8 * 4 + j / 2) * 16;

			w = (w & 0xff0000ff) | (w & 0xff00) << 8 | (w >> 8 & 0xff00);
			put_word(lane + feature / 8 % 2 * 8 + j % 2 * 4, w);
		}
}

/* Column k of a group: byte k % 16, low half first (quantise.h). */
static uint32_t nibble(const uint8_t *group, uint32_t k)
{
	return group[k % 16] >> k / 16 * 4 & 15;
}

static void deal_4_bits(const struct band *b, uint32_t step, uint8_t *tile)
{
	for (uint32_t feature = 0; feature < TILE_FEATURES; feature++) {
		const uint8_t *group = b->values + feature * b->row_bytes + step * 16;

		for (uint32_t t = 0; t < 4; t++) {
			uint32_t w = 0;

			for (uint32_t i = 0; i < 8; i++)
				w |= nibble(group, 8 * t + i) << (i / 2 + i % 2 * 4) * 4;
			put_word(tile + (feature % 8 * 4 + t) * 16 + feature / 8 * 4, w);
		}
	}
}

static void deal_scales(const struct band *b, uint32_t step, uint32_t bytes, uint8_t *to)
{
	for (uint32_t feature = 0; feature < TILE_FEATURES; feature++)
		memcpy(to + (feature % 8 * 4 + feature / 8) * bytes,
		       b->scales + feature * b->scale_bytes + step * bytes, bytes);
}

static void deal(enum cuda_format f, const struct band *b, uint32_t columns, uint8_t *out)
{
	for (uint32_t step = 0; step < steps_of(columns); step++, out += TILE_BYTES(f)) {
		if (f <= CUDA_F16)
			deal_16_bits(b, step, out);
		else if (f <= CUDA_Q8_0)
			deal_8_bits(b, step, out);
		else
			deal_4_bits(b, step, out);
		deal_scales(b, step, layouts[f].scale_bytes, out + TILE_VALUES_BYTES(f));
	}
}

uint64_t cuda_layout_band(enum cuda_format f, const struct weight *w, uint32_t first, void *out,
			  float *row_scales, void *scratch)
{
	struct band b = band_of(f, w->columns, in_rows(f) ? out : scratch);
	uint8_t unused[sizeof(float)];
	uint64_t absurd = 0;

	assert(!row_scales == (f != CUDA_INT8));
	memset(b.values, layouts[f].zero, TILE_FEATURES * b.row_bytes);
	if (!in_rows(f))
		memset(b.scales, 0, TILE_FEATURES * b.scale_bytes);
	for (uint32_t i = 0; i < TILE_FEATURES && first + i < w->rows; i++)
		absurd += gather_row(f, w, first + i, b.values + i * b.row_bytes,
				     in_rows(f) ? unused : b.scales + i * b.scale_bytes);
	if (f == CUDA_INT8)
		memcpy(row_scales, b.scales, TILE_FEATURES * sizeof(float));
	if (!in_rows(f))
		deal(f, &b, w->columns, out);
	return absurd;
}
