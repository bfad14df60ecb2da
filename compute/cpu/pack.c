/* pack.c - weights from a checkpoint's layout to panels; sizes of the layouts. */
#include <math.h>

#include "compute/cpu/path.h"

enum { CHUNK = 256 };                   /* columns widened at a time; whole groups */

static const struct format_row {
	uint32_t panel_step_bytes;      /* of PANEL outputs */
	uint32_t operand_step_bytes;    /* of one row */
	uint32_t weights_at;            /* quantised: behind the scales */
} formats[PANEL_FORMATS] = {
	[PANEL_F32] = { PANEL * 4, 4, 0 },
	[PANEL_BF16] = { PANEL * 4, 4, 0 },
	[PANEL_Q8] = { PANEL * (2 + GROUP), OPERAND_GROUP_BYTES, PANEL * 2 },
	[PANEL_Q4_0] = { PANEL * (2 + GROUP / 2), OPERAND_GROUP_BYTES, PANEL * 2 },
	[PANEL_Q4_1] = { PANEL * (4 + GROUP / 2), OPERAND_GROUP_BYTES, PANEL * 4 },
};

uint32_t panel_step_bytes(enum panel_format f)
{
	return formats[f].panel_step_bytes;
}

uint32_t operand_step_bytes(enum panel_format f)
{
	return formats[f].operand_step_bytes;
}

uint64_t matrix_bytes(enum panel_format f, uint32_t rows, uint32_t columns)
{
	uint64_t panels = ((uint64_t)rows + PANEL - 1) / PANEL;

	return panels * steps_of(f, columns) * formats[f].panel_step_bytes;
}

enum panel_format panel_format_fast(enum dtype d)
{
	static const enum panel_format fast[DTYPE_COUNT] = {
		[DTYPE_F32] = PANEL_BF16,   [DTYPE_F16] = PANEL_BF16,
		[DTYPE_BF16] = PANEL_BF16,  [DTYPE_Q8_0] = PANEL_Q8,
		[DTYPE_Q4_0] = PANEL_Q4_0,  [DTYPE_Q4_1] = PANEL_Q4_1,
	};

	assert(d < DTYPE_COUNT);
	return fast[d];
}

/* Where `columns` numbers of output n go; panel points at the first one's step. */
static void put_f32(const float *row, uint32_t columns, uint32_t n, uint8_t *panel)
{
	for (uint32_t k = 0; k < columns; k++)
		memcpy(panel + ((size_t)k * PANEL + n) * 4, &row[k], 4);
}

static void put_bf16(const float *row, uint32_t columns, uint32_t n, uint8_t *panel)
{
	for (uint32_t k = 0; k < columns; k++) {
		uint16_t b = bf16_of_f32(row[k]);

		memcpy(panel + (((size_t)(k / 2) * PANEL + n) * 2 + k % 2) * 2, &b, 2);
	}
}

static void put_q8_group(uint16_t d, const int8_t *q, uint32_t n, uint8_t *group)
{
	memcpy(group + 2 * n, &d, 2);
	group += formats[PANEL_Q8].weights_at;
	for (uint32_t k = 0; k < GROUP; k++)
		group[(k / 4 * PANEL + n) * 4 + k % 4] = (uint8_t)(q[k] + 128);
}

/* As Q8_0 is made: d = absmax / 127, kept as f16; q = x / d, nearest. */
static void quantise_q8(const float *x, uint16_t *d, int8_t *q)
{
	float absmax = 0, scale, inverse;

	for (uint32_t k = 0; k < GROUP; k++)
		absmax = fmaxf(absmax, fabsf(x[k]));
	*d = f16_of_f32(absmax / 127.0f);
	scale = f32_of_f16(*d);
	inverse = scale > 0 && isfinite(scale) ? 1.0f / scale : 0;
	for (uint32_t k = 0; k < GROUP; k++) {
		float scaled = x[k] * inverse;

		q[k] = scaled >= -127.0f && scaled <= 127.0f ? (int8_t)lrintf(scaled) :
		       scaled > 0 ? 127 : scaled < 0 ? -127 : 0;
	}
}

static void put_widened_q8(const float *row, uint32_t columns, uint32_t n, uint8_t *panel)
{
	for (uint32_t k = 0; k < columns; k += GROUP) {
		float group[GROUP] = { 0 };
		int8_t q[GROUP];
		uint16_t d;

		memcpy(group, row + k, MIN(columns - k, GROUP) * sizeof(float));
		quantise_q8(group, &d, q);
		put_q8_group(d, q, n, panel);
		panel += formats[PANEL_Q8].panel_step_bytes;
	}
}

static void put_raw_q8(const uint8_t *raw, uint32_t columns, uint32_t n, uint8_t *panel)
{
	for (uint32_t k = 0; k < columns; k += GROUP) {
		uint16_t d;

		memcpy(&d, raw, 2);
		put_q8_group(d, (const int8_t *)raw + 2, n, panel);
		raw += dtypes[DTYPE_Q8_0].group_bytes;
		panel += formats[PANEL_Q8].panel_step_bytes;
	}
}

/* Q4_0 and Q4_1: byte i of a stored group holds q[i] and q[i + 16]. */
static void put_raw_q4(enum panel_format f, const uint8_t *raw, uint32_t columns, uint32_t n,
		       uint8_t *panel)
{
	uint32_t scales = f == PANEL_Q4_1 ? 4 : 2;

	for (uint32_t k = 0; k < columns; k += GROUP) {
		const uint8_t *stored = raw + scales;
		uint8_t *to = panel + formats[f].weights_at + 4 * n, q[GROUP];

		memcpy(panel + 2 * n, raw, 2);
		if (f == PANEL_Q4_1)
			memcpy(panel + 2 * PANEL + 2 * n, raw + 2, 2);
		for (uint32_t i = 0; i < GROUP / 2; i++) {
			q[i] = stored[i] & 15;
			q[i + GROUP / 2] = stored[i] >> 4;
		}
		for (uint32_t i = 0; i < GROUP; i += 8)
			for (uint32_t j = 0; j < 4; j++)
				to[i / 8 * 4 * PANEL + j] =
					(uint8_t)(q[i + j] | q[i + 4 + j] << 4);
		raw += scales + GROUP / 2;
		panel += formats[f].panel_step_bytes;
	}
}

static bool packs_raw(enum panel_format f, const struct weight *w)
{
	static const enum dtype raw[PANEL_FORMATS] = {
		[PANEL_F32] = DTYPE_COUNT,   [PANEL_BF16] = DTYPE_COUNT,
		[PANEL_Q8] = DTYPE_Q8_0,     [PANEL_Q4_0] = DTYPE_Q4_0,
		[PANEL_Q4_1] = DTYPE_Q4_1,
	};

	return raw[f] == w->dtype;
}

static void put_raw(enum panel_format f, const uint8_t *raw, uint32_t columns, uint32_t n,
		    uint8_t *panel)
{
	if (f == PANEL_Q8)
		put_raw_q8(raw, columns, n, panel);
	else
		put_raw_q4(f, raw, columns, n, panel);
}

static void put_widened(enum panel_format f, const float *row, uint32_t columns, uint32_t n,
			uint8_t *panel)
{
	if (f == PANEL_F32)
		put_f32(row, columns, n, panel);
	else if (f == PANEL_BF16)
		put_bf16(row, columns, n, panel);
	else
		put_widened_q8(row, columns, n, panel);
}

static void pack_widened(enum panel_format f, const struct weight *w, uint32_t row,
			 uint32_t rows, uint8_t *panel)
{
	float chunk[PANEL * CHUNK];

	for (uint32_t k = 0; k < w->columns; k += CHUNK) {
		uint32_t columns = MIN(w->columns - k, CHUNK);
		uint8_t *to = panel + (size_t)(k / step_elements(f)) * formats[f].panel_step_bytes;

		weight_part(w, row, rows, k, columns, chunk, CHUNK);
		for (uint32_t n = 0; n < rows; n++)
			put_widened(f, chunk + (size_t)n * CHUNK, columns, n, to);
	}
}

void matrix_pack(enum panel_format f, const struct weight *w, uint32_t first_panel,
		 uint32_t end_panel, void *panels)
{
	uint64_t panel_bytes = (uint64_t)steps_of(f, w->columns) * formats[f].panel_step_bytes;

	assert(f < PANEL_FORMATS && w->dtype < DTYPE_COUNT);
	assert(packs_raw(f, w) || (f != PANEL_Q4_0 && f != PANEL_Q4_1));
	assert((uint64_t)end_panel * PANEL < (uint64_t)w->rows + PANEL);
	for (uint32_t p = first_panel; p < end_panel; p++) {
		uint8_t *panel = (uint8_t *)panels + p * panel_bytes;
		uint32_t row = p * PANEL, rows = MIN(w->rows - row, PANEL);

		/* What no weight fills must add nothing: 0, or a scale of 0. */
		if (rows < PANEL || w->columns % step_elements(f))
			memset(panel, 0, panel_bytes);
		if (!packs_raw(f, w))
			pack_widened(f, w, row, rows, panel);
		for (uint32_t n = 0; packs_raw(f, w) && n < rows; n++)
			put_raw(f, weight_row_raw(w, row + n), w->columns, n, panel);
	}
}
