/* expand_body.h - panel steps widened to what an operand multiplies with, for one path.
 *
 * Included once by each path file after its lanes_*.h, before tile_body.h.  A wide step is
 * PANEL f32, or PANEL pairs of bf16.  Values are those of dtype_widen(), rounded to bf16 as
 * bf16_of_f32() does; PANEL_I8's are its integers.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Elements; *_bytes.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_EXPAND_BODY_H
#define PETALS_COMPUTE_CPU_EXPAND_BODY_H

LANES_FN bool has_bytes(enum panel_format f) { return f == PANEL_Q8 || f == PANEL_I8; }

/* Of a group, behind d and m. */
LANES_FN uint32_t group_weights_at(enum panel_format f)
{
	return f == PANEL_I8 ? 0 : (f == PANEL_Q4_1 ? 4 : 2) * PANEL;
}

LANES_FN uint32_t group_bytes(enum panel_format f)
{
	return group_weights_at(f) + PANEL * GROUP / (has_bytes(f) ? 1 : 2);
}

/* What byte b of a group means is d b + m: exact but for PANEL_Q4_1, which rounds once. */
LANES_FN lanes group_scale(enum panel_format f, const uint8_t *w, uint32_t v)
{
	return f == PANEL_I8 ? l_set(1) : l_load_f16(w + v * 2 * LANES);
}

LANES_FN lanes group_least(enum panel_format f, const uint8_t *w, uint32_t v, lanes d)
{
	if (f == PANEL_Q4_1)
		return l_load_f16(w + 2 * PANEL + v * 2 * LANES);
	return l_mul(d, l_set(f == PANEL_Q4_0 ? -8 : -128));
}

/* Byte `at` of each as f32; for bf16 the upper half is the rounded number. */
LANES_FN lanes widened(enum panel_format f, const bool bf16, lanes_i bytes, const uint32_t at,
		       lanes d, lanes m)
{
	lanes w = l_of_int(li_byte(bytes, (int)at));

	if (f == PANEL_I8)
		return l_add(w, m);
	w = l_fma(w, d, m);
	return bf16 ? l_near_bf16(w) : w;
}

/* Four consecutive k of 16 outputs, bytes of x, to 4 steps of f32 or 2 of bf16 pairs. */
LANES_FN void expand_four(enum panel_format f, const bool bf16, lanes_i x, lanes d, lanes m,
			  uint8_t *out)
{
	lanes w[4];

	UNROLLED for (uint32_t k = 0; k < 4; k++)
		w[k] = widened(f, bf16, x, k, d, m);
	UNROLLED for (uint32_t k = 0; k < 4; k++) {
		if (!bf16)
			l_store((float *)(out + k * WIDE_STEP_BYTES), w[k]);
		else if (k % 2 == 0)
			li_store(out + k / 2 * WIDE_STEP_BYTES, li_pair_bf16(w[k], w[k + 1]));
	}
}

LANES_FN void expand_groups(enum panel_format f, const bool bf16, const uint8_t *w,
			    uint32_t groups, uint8_t *out)
{
	const bool bytes = has_bytes(f);
	const uint32_t four = (bf16 ? 2 : 4) * WIDE_STEP_BYTES;

	for (; groups; groups--, w += group_bytes(f)) {
		for (uint32_t v = 0; v < PANEL / LANES; v++) {
			const uint8_t *from = w + group_weights_at(f) + v * 64;
			lanes d = group_scale(f, w, v), m = group_least(f, w, v, d);
			uint8_t *to = out + v * 64;

			for (uint32_t k = 0; k < GROUP; from += 128) {
				lanes_i x = li_load(from);

				expand_four(f, bf16, bytes ? x : li_low_nibbles(x), d, m, to);
				to += four;
				k += 4;
				if (bytes)
					continue;
				expand_four(f, bf16, li_high_nibbles(x), d, m, to);
				to += four;
				k += 4;
			}
		}
		out += GROUP / 4 * four;
	}
}

#define EXPANDS_OF(name, f)                                                             \
	static void expand_f32_##name(const uint8_t *w, uint32_t steps, void *out)      \
	{                                                                               \
		expand_groups(f, false, w, steps, out);                                 \
	}                                                                               \
	static void expand_bf16_##name(const uint8_t *w, uint32_t steps, void *out)     \
	{                                                                               \
		expand_groups(f, true, w, steps, out);                                  \
	}

EXPANDS_OF(q8, PANEL_Q8)
EXPANDS_OF(q4_0, PANEL_Q4_0)
EXPANDS_OF(q4_1, PANEL_Q4_1)
EXPANDS_OF(i8, PANEL_I8)

static void expand_f32_f16(const uint8_t *w, uint32_t steps, void *out)
{
	for (float *to = out; steps; steps--, w += 2 * PANEL, to += PANEL) {
		l_store(to, l_load_f16(w));
		l_store(to + LANES, l_load_f16(w + 2 * LANES));
	}
}

static void expand_f32_bf16(const uint8_t *w, uint32_t steps, void *out)
{
	for (float *to = out; steps; steps--, w += 4 * PANEL, to += 2 * PANEL) {
		for (uint32_t v = 0; v < PANEL; v += LANES) {
			lanes_i pair = li_load(w + 4 * v);

			l_store(to + v, l_even_bf16(pair));
			l_store(to + PANEL + v, l_odd_bf16(pair));
		}
	}
}

static expand_fn *const expand_f32[PANEL_FORMATS] = {
	[PANEL_F16] = expand_f32_f16,   [PANEL_BF16] = expand_f32_bf16,
	[PANEL_Q8] = expand_f32_q8,     [PANEL_Q4_0] = expand_f32_q4_0,
	[PANEL_Q4_1] = expand_f32_q4_1, [PANEL_I8] = expand_f32_i8,
};
static expand_fn *const expand_bf16[PANEL_FORMATS] = {
	[PANEL_Q8] = expand_bf16_q8,     [PANEL_Q4_0] = expand_bf16_q4_0,
	[PANEL_Q4_1] = expand_bf16_q4_1, [PANEL_I8] = expand_bf16_i8,
};
static expand_fn *const expand_int8[PANEL_FORMATS] = { NULL };

#endif
