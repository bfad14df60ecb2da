/* narrow_body.h - tiles of 1 to NARROW_ROWS rows over panels that are not the operand's own: a
 * weight is widened in a register and used there.
 *
 * Included once by each path file after expand_body.h.  The sums of both vectors stay in
 * registers over all steps; every element adds its terms in the order of the wide tiles.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Elements; *_bytes.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_NARROW_BODY_H
#define PETALS_COMPUTE_CPU_NARROW_BODY_H

/* Column k of row r of an interleaved operand that begins at x. */
LANES_FN lanes operand_at(const bool bf16, const uint32_t *x, const uint32_t k, const uint32_t r,
			  const uint32_t rows)
{
	uint32_t word = x[(bf16 ? k / 2 : k) * rows + r];

	if (bf16)
		word = k % 2 ? word & 0xffff0000 : word << 16;
	return l_set(f32_of_bits(word));
}

/* Four consecutive columns of one vector of outputs; of a pair of bf16 the odd one goes first. */
LANES_FN void narrow_four(enum panel_format f, const bool bf16, lanes_i bytes, lanes d, lanes m,
			  const uint32_t *x, const uint32_t rows, lanes acc[NARROW_ROWS][2],
			  const uint32_t v)
{
	UNROLLED for (uint32_t i = 0; i < 4; i++) {
		const uint32_t k = bf16 ? i ^ 1 : i;
		lanes w = widened(f, bf16, bytes, k, d, m);

		if (bf16 && f != PANEL_I8)
			w = l_trunc_bf16(w);
		UNROLLED for (uint32_t r = 0; r < rows; r++)
			acc[r][v] = l_fma(operand_at(bf16, x, k, r, rows), w, acc[r][v]);
	}
}

LANES_FN void narrow_load(const struct tile *t, const uint32_t rows, lanes acc[NARROW_ROWS][2])
{
	UNROLLED for (uint32_t r = 0; r < rows; r++)
		UNROLLED for (uint32_t v = 0; v < 2; v++)
			acc[r][v] = t->first ? l_set(0) :
				    l_load(t->sums + r * t->sums_stride + v * LANES);
}

LANES_FN void narrow_store(const struct tile *t, const uint32_t rows, lanes acc[NARROW_ROWS][2])
{
	UNROLLED for (uint32_t r = 0; r < rows; r++)
		UNROLLED for (uint32_t v = 0; v < 2; v++)
			l_store(t->sums + r * t->sums_stride + v * LANES, acc[r][v]);
}

LANES_FN void narrow_groups(const struct tile *t, enum panel_format f, const bool bf16,
			    const uint32_t rows)
{
	const bool bytes = has_bytes(f);
	const uint32_t four = (bf16 ? 2 : 4) * rows;    /* words of four columns */
	const uint8_t *w = t->w[0];
	const uint32_t *x = t->x;
	lanes acc[NARROW_ROWS][2];

	narrow_load(t, rows, acc);
	for (uint32_t left = t->steps * (bf16 ? 2 : 1); left; left -= GROUP) {
		const uint8_t *from = w + group_weights_at(f);
		lanes d[2], m[2];

		UNROLLED for (uint32_t v = 0; v < 2; v++) {
			d[v] = group_scale(f, w, v);
			m[v] = group_least(f, w, v, d[v]);
		}
		w += group_bytes(f);
		for (; from < w; from += 128, x += four * (bytes ? 1 : 2)) {
			UNROLLED for (uint32_t v = 0; v < 2; v++) {
				lanes_i q = li_load(from + v * 64);
				lanes_i low = bytes ? q : li_low_nibbles(q);

				narrow_four(f, bf16, low, d[v], m[v], x, rows, acc, v);
				if (bytes)
					continue;
				narrow_four(f, bf16, li_high_nibbles(q), d[v], m[v], x + four,
					    rows, acc, v);
			}
		}
	}
	narrow_store(t, rows, acc);
}

/* Floats of half the size over f32 operands. */
LANES_FN void narrow_halves(const struct tile *t, enum panel_format f, const uint32_t rows)
{
	const uint32_t columns = f == PANEL_BF16 ? 2 : 1;
	const uint8_t *w = t->w[0];
	const uint32_t *x = t->x;
	lanes acc[NARROW_ROWS][2];

	narrow_load(t, rows, acc);
	for (uint32_t left = t->steps; left; left -= columns, x += columns * rows) {
		UNROLLED for (uint32_t v = 0; v < 2; v++) {
			UNROLLED for (uint32_t k = 0; k < columns; k++) {
				lanes wide = f == PANEL_F16 ? l_load_f16(w + v * 2 * LANES) :
					     k ? l_odd_bf16(li_load(w + v * 4 * LANES)) :
						 l_even_bf16(li_load(w + v * 4 * LANES));

				UNROLLED for (uint32_t r = 0; r < rows; r++)
					acc[r][v] = l_fma(operand_at(false, x, k, r, rows), wide,
							  acc[r][v]);
			}
		}
		w += 2 * columns * PANEL;
	}
	narrow_store(t, rows, acc);
}

#define NARROW_OF(name, call)                                                           \
	static void name##_1(const struct tile *t) { call(1); }                         \
	static void name##_2(const struct tile *t) { call(2); }                         \
	static void name##_3(const struct tile *t) { call(3); }                         \
	static tile_fn *const name[NARROW_ROWS] = { name##_1, name##_2, name##_3 };

#define CALL_F32_F16(R) narrow_halves(t, PANEL_F16, R)
#define CALL_F32_BF16(R) narrow_halves(t, PANEL_BF16, R)
#define CALL_F32_Q8(R) narrow_groups(t, PANEL_Q8, false, R)
#define CALL_F32_Q4_0(R) narrow_groups(t, PANEL_Q4_0, false, R)
#define CALL_F32_Q4_1(R) narrow_groups(t, PANEL_Q4_1, false, R)
#define CALL_F32_I8(R) narrow_groups(t, PANEL_I8, false, R)
#define CALL_BF16_Q8(R) narrow_groups(t, PANEL_Q8, true, R)
#define CALL_BF16_Q4_0(R) narrow_groups(t, PANEL_Q4_0, true, R)
#define CALL_BF16_Q4_1(R) narrow_groups(t, PANEL_Q4_1, true, R)
#define CALL_BF16_I8(R) narrow_groups(t, PANEL_I8, true, R)

NARROW_OF(narrow_f32_f16, CALL_F32_F16)
NARROW_OF(narrow_f32_bf16, CALL_F32_BF16)
NARROW_OF(narrow_f32_q8, CALL_F32_Q8)
NARROW_OF(narrow_f32_q4_0, CALL_F32_Q4_0)
NARROW_OF(narrow_f32_q4_1, CALL_F32_Q4_1)
NARROW_OF(narrow_f32_i8, CALL_F32_I8)
NARROW_OF(narrow_bf16_q8, CALL_BF16_Q8)
NARROW_OF(narrow_bf16_q4_0, CALL_BF16_Q4_0)
NARROW_OF(narrow_bf16_q4_1, CALL_BF16_Q4_1)
NARROW_OF(narrow_bf16_i8, CALL_BF16_I8)

static tile_fn *const *const narrow_f32[PANEL_FORMATS] = {
	[PANEL_F16] = narrow_f32_f16,   [PANEL_BF16] = narrow_f32_bf16,
	[PANEL_Q8] = narrow_f32_q8,     [PANEL_Q4_0] = narrow_f32_q4_0,
	[PANEL_Q4_1] = narrow_f32_q4_1, [PANEL_I8] = narrow_f32_i8,
};
static tile_fn *const *const narrow_bf16[PANEL_FORMATS] = {
	[PANEL_Q8] = narrow_bf16_q8,     [PANEL_Q4_0] = narrow_bf16_q4_0,
	[PANEL_Q4_1] = narrow_bf16_q4_1, [PANEL_I8] = narrow_bf16_i8,
};
static tile_fn *const *const narrow_int8[PANEL_FORMATS] = { NULL };

#endif
