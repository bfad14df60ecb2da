/* pack_test.c - panels hold the weights that weight_row() gives, wherever they came from. */
#include "compute/cpu/kernels.h"

#include <math.h>

#include "compute/cpu/path.h"
#include "dataplane/base/memory.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

static float scale_at(const uint8_t *group, uint32_t n)
{
	uint16_t h;

	memcpy(&h, group + 2 * n, 2);
	return f32_of_f16(h);
}

/* Element (n, k) of a packed matrix, read by the layouts in kernels.h. */
static float element(enum panel_format f, const uint8_t *panels, uint32_t columns, uint32_t n,
		     uint32_t k)
{
	uint32_t at = n % PANEL, i = k % GROUP;
	const uint8_t *step = panels + ((uint64_t)(n / PANEL) * steps_of(f, columns) +
					k / step_elements(f)) * panel_step_bytes(f);
	const uint8_t *weights = step + (f == PANEL_Q4_1 ? 4 : 2) * PANEL;
	uint16_t h;
	float w;

	switch (f) {
	case PANEL_F32:
		memcpy(&w, step + 4 * at, 4);
		return w;
	case PANEL_BF16:
		memcpy(&h, step + 4 * at + 2 * (k % 2), 2);
		return f32_of_bf16(h);
	case PANEL_Q8:
		h = weights[(i / 4 * PANEL + at) * 4 + i % 4];
		return scale_at(step, at) * (float)(h - 128);
	default:
		h = weights[(i / 8 * PANEL + at) * 4 + i % 4];
		h = i % 8 < 4 ? h & 15 : h >> 4;
		if (f == PANEL_Q4_0)
			return scale_at(step, at) * (float)(h - 8);
		return scale_at(step, at) * (float)h + scale_at(step + 2 * PANEL, at);
	}
}

/* Goal: every element of every format is the stored weight: exactly where the format can
 * hold it, the nearest bf16 else, within half a step of Q8; and what is beyond the
 * matrix is 0.
 */
TEST(matrix_pack__holds_the_weights)
{
	static const struct { enum panel_format format; enum dtype dtype; } cases[] = {
		{ PANEL_F32, DTYPE_F32 },   { PANEL_F32, DTYPE_F16 },   { PANEL_F32, DTYPE_BF16 },
		{ PANEL_F32, DTYPE_Q8_0 },  { PANEL_F32, DTYPE_Q4_0 },  { PANEL_F32, DTYPE_Q4_1 },
		{ PANEL_BF16, DTYPE_F32 },  { PANEL_BF16, DTYPE_BF16 }, { PANEL_BF16, DTYPE_Q4_1 },
		{ PANEL_Q8, DTYPE_Q8_0 },   { PANEL_Q8, DTYPE_F32 },    { PANEL_Q8, DTYPE_Q4_0 },
		{ PANEL_Q4_0, DTYPE_Q4_0 }, { PANEL_Q4_1, DTYPE_Q4_1 },
	};
	struct random r;

	random_seed(&r, test_seed());
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
		bool groups = dtype_is_quantised(cases[c].dtype);
		uint32_t rows = numbers_between(&r, 1, 80), panels = (rows + PANEL - 1) / PANEL;
		uint32_t columns = groups ? GROUP * numbers_between(&r, 1, 20) :
					    numbers_between(&r, 1, 600);
		enum panel_format f = cases[c].format;
		uint8_t *packed = numbers_poison(matrix_bytes(f, rows, columns));
		float *row = mem_calloc(steps_of(f, columns) * step_elements(f), sizeof(*row));
		struct weight w;

		numbers_weight(&r, cases[c].dtype, rows, columns, &w);
		for (uint32_t p = 0; p < panels; p++)
			matrix_pack(f, &w, p, p + 1, packed);
		for (uint32_t n = 0; n < panels * PANEL; n++) {
			memset(row, 0, columns * sizeof(*row));
			if (n < rows)
				weight_row(&w, n, row);
			for (uint32_t k = 0; k < steps_of(f, columns) * step_elements(f); k++) {
				float got = element(f, packed, columns, n, k);
				float want = row[k];

				if (f == PANEL_BF16)
					want = f32_of_bf16(bf16_of_f32(want));
				if (f == PANEL_Q8 && cases[c].dtype != DTYPE_Q8_0)
					CHECK_NEAR(got, want, 0.6 / 127 * 0.4);
				else
					CHECK(got == want);
			}
		}
		mem_free((void *)w.data);
		mem_free(packed);
		mem_free(row);
	}
}

/* Goal: transposed and permuted storage packs like the logical rows. */
TEST(matrix_pack__follows_the_order)
{
	enum { ROWS = 48, COLUMNS = 300, STORED = 3 * ROWS };
	static const enum weight_order orders[] = { WEIGHT_TRANSPOSED, WEIGHT_PER_HEAD,
						    WEIGHT_ROTARY_PAIRS };
	struct random r;

	random_seed(&r, test_seed() + 1);
	for (size_t o = 0; o < ARRAY_LENGTH(orders); o++) {
		uint8_t *packed = numbers_poison(matrix_bytes(PANEL_F32, ROWS, COLUMNS));
		float row[COLUMNS];
		struct weight w;

		numbers_weight(&r, DTYPE_F16, STORED, COLUMNS, &w);
		w.rows = ROWS;
		w.order = orders[o];
		w.head_dim = 12;
		w.part = 1;
		if (orders[o] == WEIGHT_TRANSPOSED) {
			w.row0 = ROWS;
			w.stored_columns = STORED;
		}
		matrix_pack(PANEL_F32, &w, 0, (ROWS + PANEL - 1) / PANEL, packed);
		for (uint32_t n = 0; n < ROWS; n++) {
			weight_row(&w, n, row);
			for (uint32_t k = 0; k < COLUMNS; k++)
				CHECK(element(PANEL_F32, packed, COLUMNS, n, k) == row[k]);
		}
		mem_free((void *)w.data);
		mem_free(packed);
	}
}
