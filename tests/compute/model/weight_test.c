/* weight_test.c - each order of storage, element by element. */
#include "tests/test.h"

#include "compute/model/model.h"

static float number(uint32_t row, uint32_t column)
{
	return (float)(row * 100 + column);
}

/* Goal: row r of a plain view is stored row row0 + r, raw and widened. */
TEST(weight_row__plain)
{
	float stored[5][3], row[3];
	struct weight w = { .dtype = DTYPE_F32, .order = WEIGHT_PLAIN, .rows = 2, .columns = 3,
			    .row0 = 2, .stored_columns = 3, .data = (const uint8_t *)stored };

	for (uint32_t r = 0; r < 5; r++)
		for (uint32_t c = 0; c < 3; c++)
			stored[r][c] = number(r, c);
	for (uint32_t r = 0; r < 2; r++) {
		weight_row(&w, r, row);
		CHECK_BYTES(row, stored[2 + r], sizeof(row));
		CHECK(weight_row_raw(&w, r) == stored[2 + r]);
	}
}

/* Goal: a transposed view's rows are columns, starting at row0; raw bytes
 * of one do not exist.
 */
TEST(weight_row__transposed)
{
	float stored[3][7], row[3];     /* [in][out] */
	struct weight w = { .dtype = DTYPE_F32, .order = WEIGHT_TRANSPOSED, .rows = 2, .columns = 3,
			    .row0 = 4, .stored_columns = 7, .data = (const uint8_t *)stored };

	for (uint32_t c = 0; c < 3; c++)
		for (uint32_t r = 0; r < 7; r++)
			stored[c][r] = number(r, c);
	for (uint32_t r = 0; r < 2; r++) {
		weight_row(&w, r, row);
		for (uint32_t c = 0; c < 3; c++)
			CHECK(row[c] == number(4 + r, c));
		CHECK(weight_row_raw(&w, r) == NULL);
	}
}

/* Goal: per-head rows: q, k, v of head 0, then of head 1. */
TEST(weight_row__per_head)
{
	float stored[12], row[2];       /* 2 heads x 3 parts x 2 rows x 1 column */
	struct weight w = { .dtype = DTYPE_F32, .order = WEIGHT_PER_HEAD, .rows = 4, .columns = 1,
			    .stored_columns = 1, .head_dim = 2, .data = (const uint8_t *)stored };
	static const float expected[3][4] = { { 0, 1, 6, 7 }, { 2, 3, 8, 9 }, { 4, 5, 10, 11 } };

	for (int i = 0; i < 12; i++)
		stored[i] = (float)i;
	for (w.part = 0; w.part < 3; w.part++)
		for (uint32_t r = 0; r < 4; r++) {
			weight_row(&w, r, row);
			CHECK(row[0] == expected[w.part][r]);
			CHECK(*(const float *)weight_row_raw(&w, r) == row[0]);
		}
}

/* Goal: pairs: within a head, stored 2 i + j is logical i + j head_dim / 2. */
TEST(weight_row__rotary_pairs)
{
	static const float expected[8] = { 0, 2, 1, 3, 4, 6, 5, 7 };
	float stored[8], row[8];
	struct weight w = { .dtype = DTYPE_F32, .order = WEIGHT_ROTARY_PAIRS, .rows = 8,
			    .columns = 1, .stored_columns = 1, .head_dim = 4,
			    .data = (const uint8_t *)stored };

	for (int i = 0; i < 8; i++)
		stored[i] = (float)i;
	for (uint32_t r = 0; r < 8; r++) {
		weight_row(&w, r, row);
		CHECK(row[0] == expected[r]);
	}
	/* The same as one vector, which has no raw row then. */
	w.rows = 1;
	w.columns = 8;
	w.stored_columns = 8;
	weight_row(&w, 0, row);
	CHECK_BYTES(row, expected, sizeof(row));
	CHECK(weight_row_raw(&w, 0) == NULL);
}

/* Goal: rows of quantised views begin at whole rows of groups. */
TEST(weight_row__quantised)
{
	uint8_t stored[3 * 2 * 34];
	float row[64];
	struct weight w = { .dtype = DTYPE_Q8_0, .order = WEIGHT_PLAIN, .rows = 2, .columns = 64,
			    .row0 = 1, .stored_columns = 64, .data = stored };

	for (int g = 0; g < 6; g++) {
		memcpy(stored + g * 34, "\x00\x3c", 2);         /* d = 1 */
		memset(stored + g * 34 + 2, g, 32);
	}
	for (uint32_t r = 0; r < 2; r++) {
		weight_row(&w, r, row);
		CHECK(row[0] == (float)(2 * r + 2) && row[63] == (float)(2 * r + 3));
		CHECK(weight_row_raw(&w, r) == stored + (r + 1) * 68);
	}
}

/* Goal: a part is what the rows hold, in every order, also from a column in the middle. */
TEST(weight_part__is_the_rows)
{
	enum { ROWS = 36, COLUMNS = 21, STORED = 108, STRIDE = 25 };
	static const enum weight_order orders[] = { WEIGHT_PLAIN, WEIGHT_TRANSPOSED,
						    WEIGHT_PER_HEAD, WEIGHT_ROTARY_PAIRS };
	float stored[STORED * COLUMNS], part[WEIGHT_PART_ROWS * STRIDE], row[COLUMNS];

	for (uint32_t i = 0; i < STORED * COLUMNS; i++)
		stored[i] = (float)i;
	for (size_t o = 0; o < ARRAY_LENGTH(orders); o++) {
		bool transposed = orders[o] == WEIGHT_TRANSPOSED;
		struct weight w = {
			.dtype = DTYPE_F32, .order = orders[o], .rows = ROWS, .columns = COLUMNS,
			.stored_columns = transposed ? STORED : COLUMNS, .head_dim = 12, .part = 1,
			.row0 = transposed ? ROWS : 0, .data = (const uint8_t *)stored,
		};

		weight_part(&w, 3, WEIGHT_PART_ROWS, 5, 14, part, STRIDE);
		for (uint32_t r = 0; r < WEIGHT_PART_ROWS; r++) {
			weight_row(&w, 3 + r, row);
			CHECK_BYTES(part + (size_t)r * STRIDE, row + 5, 14 * sizeof(float));
		}
	}
}
