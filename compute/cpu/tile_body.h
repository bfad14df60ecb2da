/* tile_body.h - the innermost loops of every matrix format, for one path.
 *
 * Included once by each path file after its lanes_*.h.  A tile has 1 to TILE_ROWS
 * rows and 32 outputs; the loops are written for a constant number of rows and
 * unrolled, so that all sums of a part stay in registers.  A part is what fits there: at most
 * TILE_SUB_ROWS rows (TILE_BF16_ROWS, as both need their halves apart) by TILE_VECTORS vectors
 * of 16 outputs, or both vectors of up to TILE_PAIR_ROWS (TILE_BF16_PAIR_ROWS): so many sums
 * that none waits for itself.  A tile's rows go in the fewest parts, as evenly as can be.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Elements.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_TILE_BODY_H
#define PETALS_COMPUTE_CPU_TILE_BODY_H

/* The part of row0.. and vector v0.. of a float tile.  x[row x_row + step x_step] is what
 * is broadcast at a step.
 */
#define FLOAT_PART(name, number, multiply_add)                                         \
	LANES_FN void name(const struct tile *t, const uint32_t row0, const uint32_t rows, \
			   const uint32_t v0, const uint32_t vectors, const size_t x_row, \
			   const size_t x_step)                                         \
	{                                                                               \
		const number *x = (const number *)t->x + row0 * x_row;                  \
		const uint8_t *w[2], *ahead[2];                                         \
		const size_t stride = t->sums_stride, w_bytes = t->w_bytes;             \
		const bool fetch = row0 == 0 && t->ahead[v0];                           \
		const bool first = t->first;                                            \
		float *sums = t->sums + row0 * stride + v0 * LANES;                     \
		lanes acc[TILE_SUB_ROWS][2];                                            \
									       \
		UNROLLED for (uint32_t v = 0; v < vectors; v++) {                       \
			w[v] = t->w[v0 + v];                                            \
			ahead[v] = t->ahead[v0 + v];                                    \
		}                                                                       \
		UNROLLED for (uint32_t r = 0; r < rows; r++)                            \
			UNROLLED for (uint32_t v = 0; v < vectors; v++)                 \
				acc[r][v] = first ? l_set(0) :                          \
					l_load(sums + r * stride + v * LANES);          \
		for (uint32_t s = t->steps; s; s--, x += x_step) {                      \
			UNROLLED for (uint32_t v = 0; fetch && v < vectors; v++) {      \
				__builtin_prefetch(ahead[v], 0, 2);                     \
				ahead[v] += w_bytes;                                    \
			}                                                               \
			UNROLLED for (uint32_t r = 0; r < rows; r++)                    \
				UNROLLED for (uint32_t v = 0; v < vectors; v++)         \
					acc[r][v] = multiply_add(acc[r][v], w[v], x[r * x_row]); \
			UNROLLED for (uint32_t v = 0; v < vectors; v++)                 \
				w[v] += w_bytes;                                        \
		}                                                                       \
		UNROLLED for (uint32_t r = 0; r < rows; r++)                            \
			UNROLLED for (uint32_t v = 0; v < vectors; v++)                 \
				l_store(sums + r * stride + v * LANES, acc[r][v]);      \
	}

LANES_FN lanes multiply_add_f32(lanes acc, const uint8_t *w, float x)
{
	return l_fma(l_set(x), l_load((const float *)w), acc);
}

LANES_FN lanes multiply_add_bf16(lanes acc, const uint8_t *w, int32_t pair)
{
	return l_dot_bf16(acc, li_load(w), li_set(pair));
}

FLOAT_PART(part_f32, float, multiply_add_f32)
FLOAT_PART(part_bf16, int32_t, multiply_add_bf16)

/* Adds the integer dot products of one group. */
LANES_FN void group_dots(lanes_i dots[TILE_SUB_ROWS][TILE_VECTORS], enum panel_format f,
			 const uint8_t *w, const uint32_t rows, const int8_t *q,
			 const uint32_t tile_rows)
{
	const bool bytes = has_bytes(f);
	const uint32_t chunks = bytes ? 8 : 4;

	UNROLLED for (uint32_t c = 0; c < chunks; c++) {
		lanes_i low[TILE_VECTORS], high[TILE_VECTORS];

		UNROLLED for (uint32_t v = 0; v < TILE_VECTORS; v++) {
			low[v] = li_load(w + (c * 2 + v) * 64);
			if (bytes)
				continue;
			high[v] = li_high_nibbles(low[v]);
			low[v] = li_low_nibbles(low[v]);
		}
		UNROLLED for (uint32_t r = 0; r < rows; r++) {
			int32_t four;
			lanes_i x;

			memcpy(&four, q + ((bytes ? c : 2 * c) * tile_rows + r) * 4, 4);
			x = li_set(four);
			UNROLLED for (uint32_t v = 0; v < TILE_VECTORS; v++)
				dots[r][v] = bytes ? li_dot_q8(dots[r][v], low[v], x) :
						     li_dot_q4(dots[r][v], low[v], x);
			if (bytes)
				continue;
			memcpy(&four, q + ((2 * c + 1) * tile_rows + r) * 4, 4);
			x = li_set(four);
			UNROLLED for (uint32_t v = 0; v < TILE_VECTORS; v++)
				dots[r][v] = li_dot_q4(dots[r][v], high[v], x);
		}
	}
}

/* The part of row0.. and vector v0.. of one group of a quantised tile; x is the operand
 * group.  Sums live in memory: at 12 rows the dot products fill the registers.
 */
LANES_FN void group_part(enum panel_format f, const uint8_t *w, const uint8_t *x,
			 const uint32_t tile_rows, const uint32_t row0, const uint32_t rows,
			 const uint32_t v0, float *sums, size_t sums_stride)
{
	const float *da = (const float *)x + row0, *das = da + tile_rows;
	const int32_t *sum = (const int32_t *)das + tile_rows;  /* x -8 */
	const int8_t *q = (const int8_t *)x + 12 * tile_rows + 4 * row0;
	const bool nibbles = !has_bytes(f);
	lanes_i dots[TILE_SUB_ROWS][TILE_VECTORS];

	UNROLLED for (uint32_t r = 0; r < rows; r++)
		UNROLLED for (uint32_t v = 0; v < TILE_VECTORS; v++)
			dots[r][v] = nibbles ? li_begin_q4(f == PANEL_Q4_0 ? sum[r] : 0) :
					       li_start_q8(sum[r]);
	group_dots(dots, f, w + group_weights_at(f) + v0 * 64, rows, q, tile_rows);
	UNROLLED for (uint32_t r = 0; r < rows; r++)
		UNROLLED for (uint32_t v = 0; nibbles && v < TILE_VECTORS; v++)
			dots[r][v] = li_end_q4(dots[r][v], f == PANEL_Q4_0 ? sum[r] : 0);
	UNROLLED for (uint32_t v = 0; v < TILE_VECTORS; v++) {
		lanes d = f == PANEL_I8 ? l_set(1) : l_load_f16(w + (v0 + v) * 2 * LANES);
		lanes m = f == PANEL_Q4_1 ? l_load_f16(w + 2 * PANEL + (v0 + v) * 2 * LANES) : d;

		UNROLLED for (uint32_t r = 0; r < rows; r++) {
			float *to = sums + (row0 + r) * sums_stride + (v0 + v) * LANES;
			lanes by = f == PANEL_I8 ? l_set(da[r]) : l_mul(d, l_set(da[r]));
			lanes acc = l_fma(l_of_int(dots[r][v]), by, l_load(to));

			if (f == PANEL_Q4_1)
				acc = l_fma(m, l_set(das[r]), acc);
			l_store(to, acc);
		}
	}
}

/* Rows of the larger parts, and all rows in those. */
LANES_FN uint32_t part_rows(const uint32_t rows, const uint32_t most)
{
	const uint32_t parts = (rows + most - 1) / most;

	return (rows + parts - 1) / parts;
}

LANES_FN uint32_t large_rows(const uint32_t rows, const uint32_t most)
{
	const uint32_t parts = (rows + most - 1) / most, large = part_rows(rows, most);

	return rows - (parts * large - rows) * (large - 1);
}

LANES_FN void tile_groups(const struct tile *t, enum panel_format f, const uint32_t rows)
{
	const uint32_t large = part_rows(rows, TILE_SUB_ROWS);
	const uint32_t end = large_rows(rows, TILE_SUB_ROWS);
	const uint8_t *w = t->w[0], *x = t->x, *ahead = t->ahead[0];

	if (t->first)
		for (uint32_t r = 0; r < rows; r++)
			for (uint32_t n = 0; n < PANEL; n += LANES)
				l_store(t->sums + r * t->sums_stride + n, l_set(0));
	for (uint32_t g = 0; g < t->steps; g++) {
		for (uint32_t i = 0; ahead && i < group_bytes(f); i += 64)
			__builtin_prefetch(ahead + g * group_bytes(f) + i, 0, 2);
		for (uint32_t v = 0; v < 2; v += TILE_VECTORS) {
			for (uint32_t r = 0; r < end; r += large)
				group_part(f, w, x, rows, r, large, v, t->sums, t->sums_stride);
			for (uint32_t r = end; r < rows; r += large - 1)
				group_part(f, w, x, rows, r, large - 1, v, t->sums,
					   t->sums_stride);
		}
		w += group_bytes(f);
		x += rows * OPERAND_GROUP_BYTES;
	}
}

#define FLOAT_TILE(name, part, rows, most, pair, x_row, x_step)                         \
	static void name(const struct tile *t)                                          \
	{                                                                               \
		const uint32_t large = part_rows(rows, most), end = large_rows(rows, most); \
		const uint32_t vectors = (rows) <= (pair) ? 2 : TILE_VECTORS;           \
											\
		for (uint32_t v = 0; v < 2; v += vectors) {                             \
			for (uint32_t r = 0; r < end; r += large)                       \
				part(t, r, large, v, vectors, x_row, x_step);           \
			for (uint32_t r = end; r < (rows); r += large - 1)              \
				part(t, r, large - 1, v, vectors, x_row, x_step);       \
		}                                                                       \
	}

#define ALL_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

#define TILES_OF(R)                                                                     \
	FLOAT_TILE(tile_f32_##R, part_f32, R, TILE_SUB_ROWS, TILE_PAIR_ROWS, 1, R)      \
	FLOAT_TILE(tile_bf16_##R, part_bf16, R, TILE_BF16_ROWS, TILE_BF16_PAIR_ROWS, 1, R) \
	FLOAT_TILE(values_f32_##R, part_f32, R, TILE_SUB_ROWS, TILE_PAIR_ROWS, STEP_KEYS, 1) \
	FLOAT_TILE(values_bf16_##R, part_bf16, R, TILE_BF16_ROWS, TILE_BF16_PAIR_ROWS,  \
		   STEP_KEYS / 2, 1)                                                    \
	static void tile_q8_##R(const struct tile *t) { tile_groups(t, PANEL_Q8, R); }  \
	static void tile_i8_##R(const struct tile *t) { tile_groups(t, PANEL_I8, R); }  \
	static void tile_q4_0_##R(const struct tile *t) { tile_groups(t, PANEL_Q4_0, R); } \
	static void tile_q4_1_##R(const struct tile *t) { tile_groups(t, PANEL_Q4_1, R); }
ALL_ROWS(TILES_OF)

#define ROW_OF_tile_f32(R) tile_f32_##R,
#define ROW_OF_tile_bf16(R) tile_bf16_##R,
#define ROW_OF_tile_q8(R) tile_q8_##R,
#define ROW_OF_tile_i8(R) tile_i8_##R,
#define ROW_OF_tile_q4_0(R) tile_q4_0_##R,
#define ROW_OF_tile_q4_1(R) tile_q4_1_##R,
#define ROW_OF_values_f32(R) values_f32_##R,
#define ROW_OF_values_bf16(R) values_bf16_##R,

static tile_fn *const tiles_f32[TILE_ROWS] = { ALL_ROWS(ROW_OF_tile_f32) };
static tile_fn *const tiles_bf16[TILE_ROWS] = { ALL_ROWS(ROW_OF_tile_bf16) };
static tile_fn *const tiles_q8[TILE_ROWS] = { ALL_ROWS(ROW_OF_tile_q8) };
static tile_fn *const tiles_i8[TILE_ROWS] = { ALL_ROWS(ROW_OF_tile_i8) };
static tile_fn *const tiles_q4_0[TILE_ROWS] = { ALL_ROWS(ROW_OF_tile_q4_0) };
static tile_fn *const tiles_q4_1[TILE_ROWS] = { ALL_ROWS(ROW_OF_tile_q4_1) };
static tile_fn *const values_f32[TILE_ROWS] = { ALL_ROWS(ROW_OF_values_f32) };
static tile_fn *const values_bf16[TILE_ROWS] = { ALL_ROWS(ROW_OF_values_bf16) };

#endif
