/* pack_test.c - panels hold the weights that weight_row() gives, wherever they came from. */
#include "compute/cpu/kernels.h"

#include <math.h>

#include "compute/cpu/path.h"
#include "compute/quantise.h"
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
	const uint8_t *panel = panels + n / PANEL * panel_bytes(f, columns);
	const uint8_t *step = panel + panel_head_bytes(f) +
			      (size_t)(k / panel_step_columns(f)) * panel_step_bytes(f);
	const uint8_t *weights = step + (f == PANEL_I8 ? 0 : f == PANEL_Q4_1 ? 4 : 2) * PANEL;
	uint16_t h;
	float w;

	switch (f) {
	case PANEL_F32:
		memcpy(&w, step + 4 * at, 4);
		return w;
	case PANEL_F16:
		memcpy(&h, step + 2 * at, 2);
		return f32_of_f16(h);
	case PANEL_BF16:
		memcpy(&h, step + 4 * at + 2 * (k % 2), 2);
		return f32_of_bf16(h);
	case PANEL_I8:
		memcpy(&w, panel + 4 * at, 4);
		return w * (float)(weights[(i / 4 * PANEL + at) * 4 + i % 4] - 128);
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

/* What row n of w is meant to be in a format. */
static void wanted_row(enum panel_format f, const struct weight *w, uint32_t n, float *row)
{
	enum weight_format kept = f == PANEL_BF16 ? WEIGHTS_BF16 : f == PANEL_I8 ? WEIGHTS_INT8 :
				  f == PANEL_Q4_0 ? WEIGHTS_INT4 : WEIGHTS_KEEP;
	uint8_t values[2048], scales[2048];

	if (kept == WEIGHTS_KEEP) {
		weight_row(w, n, row);
		return;
	}
	CHECK(quantised_values_bytes(kept, w->columns) <= sizeof(values));
	quantise_rows(kept, w, n, n + 1, values, scales);
	quantised_widen(kept, values, scales, w->columns, row);
}

/* Goal: every element of every format is the stored weight where the format can hold it, else
 * what quantise.h says, and what is beyond the matrix is 0.
 */
TEST(matrix_pack__holds_the_weights)
{
	static const struct { enum panel_format format; enum dtype dtype; } cases[] = {
		{ PANEL_F32, DTYPE_F32 },   { PANEL_F32, DTYPE_F16 },   { PANEL_F32, DTYPE_BF16 },
		{ PANEL_F32, DTYPE_Q8_0 },  { PANEL_F32, DTYPE_Q4_0 },  { PANEL_F32, DTYPE_Q4_1 },
		{ PANEL_BF16, DTYPE_F32 },  { PANEL_BF16, DTYPE_BF16 }, { PANEL_BF16, DTYPE_Q4_1 },
		{ PANEL_F16, DTYPE_F16 },   { PANEL_Q8, DTYPE_Q8_0 },   { PANEL_Q4_1, DTYPE_Q4_1 },
		{ PANEL_Q4_0, DTYPE_Q4_0 }, { PANEL_Q4_0, DTYPE_F32 },  { PANEL_Q4_0, DTYPE_F16 },
		{ PANEL_Q4_0, DTYPE_Q4_1 }, { PANEL_I8, DTYPE_F32 },    { PANEL_I8, DTYPE_BF16 },
		{ PANEL_I8, DTYPE_Q8_0 },   { PANEL_I8, DTYPE_F32 },    { PANEL_I8, DTYPE_Q4_0 },
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
		uint32_t padded = panel_steps(f, columns) * panel_step_columns(f);
		float *row = mem_calloc(padded, sizeof(*row));
		struct weight w;

		numbers_weight(&r, cases[c].dtype, rows, columns, &w);
		for (uint32_t p = 0; p < panels; p++)
			CHECK_EQ(matrix_pack(f, &w, p, p + 1, packed), 0);
		for (uint32_t n = 0; n < panels * PANEL; n++) {
			memset(row, 0, columns * sizeof(*row));
			if (n < rows)
				wanted_row(f, &w, n, row);
			for (uint32_t k = 0; k < padded; k++)
				CHECK(element(f, packed, columns, n, k) == row[k]);
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

/* Goal: weights that are not finite are counted by the formats that cannot keep them. */
TEST(matrix_pack__counts_what_is_not_finite)
{
	enum { ROWS = 40, COLUMNS = 70 };
	static const struct { enum panel_format format; uint64_t count; } cases[] = {
		{ PANEL_I8, 3 }, { PANEL_Q4_0, 3 }, { PANEL_F32, 0 }, { PANEL_BF16, 0 },
	};
	struct random r;
	struct weight w;

	random_seed(&r, test_seed() + 2);
	numbers_weight(&r, DTYPE_F32, ROWS, COLUMNS, &w);
	((float *)w.data)[5] = NAN;
	((float *)w.data)[33 * COLUMNS + 69] = INFINITY;
	((float *)w.data)[39 * COLUMNS] = -INFINITY;
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
		void *packed = numbers_poison(matrix_bytes(cases[c].format, ROWS, COLUMNS));

		CHECK_EQ(matrix_pack(cases[c].format, &w, 0, 2, packed), cases[c].count);
		mem_free(packed);
	}
	mem_free((void *)w.data);
}
