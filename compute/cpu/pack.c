/* pack.c - weights from a checkpoint's layout to panels; sizes of the layouts. */
#include "compute/cpu/path.h"
#include "compute/quantise.h"

enum { CHUNK = 256 };                   /* columns widened at a time; whole groups */

static const struct format_row {
	uint32_t head_bytes, step_bytes;        /* of PANEL outputs */
	uint32_t weights_at;                    /* quantised: behind the scales */
	enum dtype raw;                         /* taken as it is; DTYPE_COUNT: none */
} formats[PANEL_FORMATS] = {
	[PANEL_F32]  = { 0, PANEL * 4, 0, DTYPE_COUNT },
	[PANEL_F16]  = { 0, PANEL * 2, 0, DTYPE_COUNT },
	[PANEL_BF16] = { 0, PANEL * 4, 0, DTYPE_COUNT },
	[PANEL_Q8]   = { 0, PANEL * (2 + GROUP), PANEL * 2, DTYPE_Q8_0 },
	[PANEL_Q4_0] = { 0, PANEL * (2 + GROUP / 2), PANEL * 2, DTYPE_Q4_0 },
	[PANEL_Q4_1] = { 0, PANEL * (4 + GROUP / 2), PANEL * 4, DTYPE_Q4_1 },
	[PANEL_I8]   = { PANEL * 4, PANEL * GROUP, 0, DTYPE_COUNT },
};

uint32_t panel_head_bytes(enum panel_format f)
{
	return formats[f].head_bytes;
}

uint32_t panel_step_bytes(enum panel_format f)
{
	return formats[f].step_bytes;
}

uint64_t matrix_bytes(enum panel_format f, uint32_t rows, uint32_t columns)
{
	uint64_t panels = ((uint64_t)rows + PANEL - 1) / PANEL;

	return panels * panel_bytes(f, columns);
}

/* ---- where `columns` numbers of output n go; panel points at the first one's step ---- */

static void put_f32(const float *row, uint32_t columns, uint32_t n, uint8_t *panel)
{
	for (uint32_t k = 0; k < columns; k++)
		memcpy(panel + ((size_t)k * PANEL + n) * 4, &row[k], 4);
}

static void put_f16(const float *row, uint32_t columns, uint32_t n, uint8_t *panel)
{
	for (uint32_t k = 0; k < columns; k++) {
		uint16_t h = f16_of_f32(row[k]);

		memcpy(panel + ((size_t)k * PANEL + n) * 2, &h, 2);
	}
}

static void put_bf16(const float *row, uint32_t columns, uint32_t n, uint8_t *panel)
{
	for (uint32_t k = 0; k < columns; k++) {
		uint16_t b = bf16_of_f32(row[k]);

		memcpy(panel + (((size_t)(k / 2) * PANEL + n) * 2 + k % 2) * 2, &b, 2);
	}
}

static void put_bytes(const int8_t *q, uint32_t columns, uint32_t n, uint8_t *bytes)
{
	for (uint32_t k = 0; k < columns; k++)
		bytes[((size_t)(k / 4) * PANEL + n) * 4 + k % 4] = (uint8_t)(q[k] + 128);
}

/* 16 bytes of a group, i and i + 16 sharing one, as Q4_0, Q4_1 and INT4 have them. */
static void put_nibbles(const uint8_t *stored, uint32_t n, uint8_t *bytes)
{
	uint8_t q[GROUP];

	for (uint32_t i = 0; i < GROUP / 2; i++) {
		q[i] = stored[i] & 15;
		q[i + GROUP / 2] = stored[i] >> 4;
	}
	for (uint32_t i = 0; i < GROUP; i += 8)
		for (uint32_t j = 0; j < 4; j++)
			bytes[(i / 8 * PANEL + n) * 4 + j] =
				(uint8_t)(q[i + j] | q[i + 4 + j] << 4);
}

/* ---- quantised checkpoints, as they are ---- */

static void put_raw(enum panel_format f, const uint8_t *raw, uint32_t columns, uint32_t n,
		    uint8_t *panel)
{
	const struct dtype_row *stored = &dtypes[formats[f].raw];
	uint32_t scales = formats[f].weights_at / PANEL;

	for (uint32_t k = 0; k < columns; k += GROUP) {
		uint8_t *bytes = panel + formats[f].weights_at;

		memcpy(panel + 2 * n, raw, 2);
		if (f == PANEL_Q4_1)
			memcpy(panel + 2 * PANEL + 2 * n, raw + 2, 2);
		if (f == PANEL_Q8)
			put_bytes((const int8_t *)raw + scales, GROUP, n, bytes);
		else
			put_nibbles(raw + scales, n, bytes);
		raw += stored->group_bytes;
		panel += formats[f].step_bytes;
	}
}

/* ---- everything else: by chunks of columns ---- */

struct pack {
	enum panel_format format;
	const struct weight *weight;
	uint32_t row, rows;                     /* the panel's */
	uint8_t *panel;
	float scales[PANEL];                    /* PANEL_I8 */
	uint32_t not_finite;
};

static void put_int4(struct pack *p, const float *row, uint32_t columns, uint32_t n,
		     uint8_t *panel)
{
	for (uint32_t k = 0; k < columns; k += GROUP, panel += formats[PANEL_Q4_0].step_bytes) {
		uint8_t stored[INT4_GROUP_BYTES];
		uint16_t d = quantise_int4(row + k, MIN(columns - k, GROUP), stored,
					   &p->not_finite);

		memcpy(panel + 2 * n, &d, 2);
		put_nibbles(stored, n, panel + formats[PANEL_Q4_0].weights_at);
	}
}

static void put_int8(const struct pack *p, const float *row, uint32_t columns, uint32_t n,
		     uint8_t *panel)
{
	int8_t q[CHUNK];

	quantise_int8(row, columns, p->scales[n], q);
	put_bytes(q, columns, n, panel);
}

static void put_widened(struct pack *p, const float *row, uint32_t columns, uint32_t n,
			uint8_t *panel)
{
	switch (p->format) {
	case PANEL_F32:
		put_f32(row, columns, n, panel);
		return;
	case PANEL_F16:
		put_f16(row, columns, n, panel);
		return;
	case PANEL_BF16:
		put_bf16(row, columns, n, panel);
		return;
	case PANEL_Q4_0:
		put_int4(p, row, columns, n, panel);
		return;
	case PANEL_I8:
		put_int8(p, row, columns, n, panel);
		return;
	default:
		assert(!"a format that takes any dtype");
	}
}

static void find_scales(struct pack *p)
{
	struct row_seen seen[PANEL] = { 0 };
	float chunk[PANEL * CHUNK];

	for (uint32_t k = 0; k < p->weight->columns; k += CHUNK) {
		uint32_t columns = MIN(p->weight->columns - k, CHUNK);

		weight_part(p->weight, p->row, p->rows, k, columns, chunk, CHUNK);
		for (uint32_t n = 0; n < p->rows; n++)
			quantise_see(&seen[n], chunk + (size_t)n * CHUNK, columns);
	}
	for (uint32_t n = 0; n < p->rows; n++) {
		p->scales[n] = quantise_int8_scale(&seen[n]);
		p->not_finite += seen[n].not_finite;
	}
	memcpy(p->panel, p->scales, sizeof(p->scales));
}

static void pack_chunks(struct pack *p)
{
	float chunk[PANEL * CHUNK];

	if (p->format == PANEL_I8)
		find_scales(p);
	for (uint32_t k = 0; k < p->weight->columns; k += CHUNK) {
		uint32_t columns = MIN(p->weight->columns - k, CHUNK);
		uint8_t *to = p->panel + formats[p->format].head_bytes +
			      (size_t)(k / panel_step_columns(p->format)) *
				      formats[p->format].step_bytes;

		weight_part(p->weight, p->row, p->rows, k, columns, chunk, CHUNK);
		for (uint32_t n = 0; n < p->rows; n++)
			put_widened(p, chunk + (size_t)n * CHUNK, columns, n, to);
	}
}

/* What no weight fills adds nothing: 0, or a scale of 0, or the byte that means 0. */
static void blank(enum panel_format f, uint32_t columns, uint8_t *panel)
{
	uint32_t head = formats[f].head_bytes;

	memset(panel, 0, head);
	memset(panel + head, f == PANEL_I8 ? 128 : 0, panel_bytes(f, columns) - head);
}

uint64_t matrix_pack(enum panel_format f, const struct weight *w, uint32_t first_panel,
		     uint32_t end_panel, void *panels)
{
	uint64_t not_finite = 0;

	assert(f < PANEL_FORMATS && w->dtype < DTYPE_COUNT);
	assert((uint64_t)end_panel * PANEL < (uint64_t)w->rows + PANEL);
	for (uint32_t i = first_panel; i < end_panel; i++) {
		struct pack p = {
			.format = f, .weight = w, .row = i * PANEL,
			.rows = MIN(w->rows - i * PANEL, PANEL),
			.panel = (uint8_t *)panels + i * panel_bytes(f, w->columns),
		};

		if (p.rows < PANEL || w->columns % panel_step_columns(f))
			blank(f, w->columns, p.panel);
		if (formats[f].raw == w->dtype)
			for (uint32_t n = 0; n < p.rows; n++)
				put_raw(f, weight_row_raw(w, p.row + n), w->columns, n, p.panel);
		else
			pack_chunks(&p);
		not_finite += p.not_finite;
	}
	return not_finite;
}
