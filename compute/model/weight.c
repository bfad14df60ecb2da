/* weight.c - reads logical rows out of however they are stored. */
#include "compute/model/model.h"

/* Where logical row r is stored; for a vector, where its element r is. */
static uint64_t stored_row(const struct weight *w, uint32_t r)
{
	uint32_t head, within;

	if (w->order == WEIGHT_PLAIN || w->order == WEIGHT_TRANSPOSED)
		return (uint64_t)w->row0 + r;
	head = r / w->head_dim;
	within = r % w->head_dim;
	if (w->order == WEIGHT_PER_HEAD)
		return (3 * (uint64_t)head + w->part) * w->head_dim + within;
	within = 2 * (within % (w->head_dim / 2)) + within / (w->head_dim / 2);
	return (uint64_t)head * w->head_dim + within;
}

/* Element by element, for vectors and columns. */
static void gather(const struct weight *w, uint32_t r, float *out)
{
	uint32_t bytes = dtypes[w->dtype].group_bytes;

	assert(!dtype_is_quantised(w->dtype));
	for (uint32_t c = 0; c < w->columns; c++) {
		uint64_t at = w->order == WEIGHT_TRANSPOSED
				      ? (uint64_t)c * w->stored_columns + stored_row(w, r)
				      : stored_row(w, c);

		dtype_widen(w->dtype, w->data + at * bytes, 1, &out[c]);
	}
}

static bool is_scattered(const struct weight *w)
{
	return w->order == WEIGHT_TRANSPOSED || (w->rows == 1 && w->order != WEIGHT_PLAIN);
}

const void *weight_row_raw(const struct weight *w, uint32_t r)
{
	assert(r < w->rows);
	if (is_scattered(w))
		return NULL;
	return w->data + stored_row(w, r) * dtype_row_bytes(w->dtype, w->stored_columns);
}

void weight_row(const struct weight *w, uint32_t r, float *out)
{
	assert(r < w->rows);
	if (is_scattered(w))
		gather(w, r, out);
	else
		dtype_widen(w->dtype, weight_row_raw(w, r), w->columns, out);
}

void weight_part(const struct weight *w, uint32_t row, uint32_t rows, uint32_t column,
		 uint32_t columns, float *out, size_t stride)
{
	uint32_t bytes = dtypes[w->dtype].group_bytes;
	float side_by_side[WEIGHT_PART_ROWS];

	assert(row + rows <= w->rows && column + columns <= w->columns);
	if (!is_scattered(w)) {
		for (uint32_t r = 0; r < rows; r++)
			dtype_widen(w->dtype,
				    (const uint8_t *)weight_row_raw(w, row + r) +
					    dtype_row_bytes(w->dtype, column),
				    columns, out + r * stride);
		return;
	}
	/* Neighbouring rows are stored side by side. */
	assert(w->order == WEIGHT_TRANSPOSED && rows <= WEIGHT_PART_ROWS);
	for (uint32_t c = 0; c < columns; c++) {
		uint64_t at = ((uint64_t)column + c) * w->stored_columns + w->row0 + row;

		dtype_widen(w->dtype, w->data + at * bytes, rows, side_by_side);
		for (uint32_t r = 0; r < rows; r++)
			out[r * stride + c] = side_by_side[r];
	}
}
