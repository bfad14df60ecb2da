/* pointwise_body.h - what happens to single rows, for one path: exp and the activations,
 * the end of a linear, norms, rotation, operand rows, softmax steps.
 *
 * Included once by each path file after its lanes_*.h.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Elements.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_POINTWISE_BODY_H
#define PETALS_COMPUTE_CPU_POINTWISE_BODY_H

#include <math.h>

/* e^x for x <= 0, 1 ulp; 0 below -87.3; NaN stays NaN.  x = n ln 2 + r, |r| <= ln 2 / 2, a
 * polynomial in r; ln 2 in two parts, so that n times the first is exact.
 */
LANES_FN lanes l_exp(lanes x)
{
	static const float c[] = { 1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6,
				   0.5f, 1.0f, 1.0f };
	lanes round = l_set(0x1.8p23f), near = l_max(l_set(-87.5f), x);
	lanes t = l_fma(near, l_set(0x1.715476p0f), round), n = l_sub(t, round);
	lanes r = l_fma(n, l_set(-0x1.62e4p-1f), near), p = l_set(c[0]);

	r = l_fma(n, l_set(-0x1.7f7d1cp-20f), r);
	for (size_t i = 1; i < ARRAY_LENGTH(c); i++)
		p = l_fma(p, r, l_set(c[i]));
	return l_if_less(x, l_set(-87.3f), l_set(0), l_mul(p, l_two_to(t)));
}

/* 1 / (1 + e^-x) without overflow. */
LANES_FN lanes l_sigmoid(lanes x)
{
	lanes e = l_exp(l_negate(l_abs(x))), one = l_set(1);

	return l_div(l_if_less(x, l_set(0), e, one), l_add(one, e));
}

/* x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh form of GELU. */
LANES_FN lanes l_gelu_tanh(lanes x)
{
	lanes cube = l_mul(l_mul(x, x), x);
	lanes u = l_fma(l_set(0.044715f), cube, x);

	return l_mul(x, l_sigmoid(l_mul(u, l_set(1.5957691216f))));
}

/* x Phi(x), Phi(-|x|) = erfc(|x| / sqrt(2)) / 2 by Abramowitz and Stegun 7.1.26. */
LANES_FN lanes l_gelu_erf(lanes x)
{
	static const float c[] = { 1.061405429f, -1.453152027f, 1.421413741f, -0.284496736f,
				   0.254829592f };
	lanes z = l_mul(l_abs(x), l_set(0.70710678118f)), one = l_set(1);
	lanes t = l_div(one, l_fma(l_set(0.3275911f), z, one)), p = l_set(c[0]), below;

	for (size_t i = 1; i < ARRAY_LENGTH(c); i++)
		p = l_fma(p, t, l_set(c[i]));
	p = l_mul(l_mul(p, t), l_exp(l_mul(z, l_negate(z))));
	below = l_mul(l_mul(p, l_set(0.5f)), x);
	return l_if_less(x, l_set(0), below, l_sub(x, below));
}

LANES_FN lanes l_act(lanes x, enum linear_act act)
{
	switch (act) {
	case LINEAR_GELU_TANH:
		return l_gelu_tanh(x);
	case LINEAR_GELU_ERF:
		return l_gelu_erf(x);
	case LINEAR_RELU:
		return l_max(l_set(0), x);
	default:
		return x;
	}
}

LANES_FN lanes l_gate(lanes x, enum activation_kind act)
{
	switch (act) {
	case ACT_SILU:
		return l_mul(x, l_sigmoid(x));
	case ACT_GELU_TANH:
		return l_gelu_tanh(x);
	case ACT_GELU_ERF:
		return l_gelu_erf(x);
	default:
		return l_max(l_set(0), x);
	}
}

static void finish_rows(const struct finish *f)
{
	for (uint32_t r = 0; r < f->rows; r++) {
		for (uint32_t i = 0; i < f->n; i += LANES) {
			uint32_t n = MIN(f->n - i, LANES);
			lanes x = l_load(f->sums + r * PANEL + i);

			if (f->scales)
				x = l_mul(x, l_load(f->scales + i));
			if (f->bias)
				x = l_add(x, l_load_n(f->bias + i, n));
			if (f->up_sums) {
				lanes up = l_load(f->up_sums + r * PANEL + i);

				if (f->up_scales)
					up = l_mul(up, l_load(f->up_scales + i));
				if (f->up_bias)
					up = l_add(up, l_load_n(f->up_bias + i, n));
				x = l_mul(l_gate(x, f->gate), up);
			}
			if (f->add)
				x = l_add(x, l_load_n(f->add + (size_t)r * f->add_stride + i, n));
			l_store_n(f->out + (size_t)r * f->out_stride + i, l_act(x, f->act), n);
		}
	}
}

static void norm_rms_row(const float *x, const float *weight, uint32_t n, float epsilon,
			 float *out)
{
	lanes squares = l_set(0), scale;

	for (uint32_t i = 0; i < n; i += LANES) {
		lanes v = l_load_n(x + i, MIN(n - i, LANES));

		squares = l_fma(v, v, squares);
	}
	scale = l_set(1.0f / sqrtf(l_sum(squares) / (float)n + epsilon));
	for (uint32_t i = 0; i < n; i += LANES) {
		uint32_t m = MIN(n - i, LANES);
		lanes v = l_mul(l_load_n(x + i, m), scale);

		l_store_n(out + i, l_mul(v, l_load_n(weight + i, m)), m);
	}
}

static void norm_layer_row(const float *x, const float *weight, const float *bias, uint32_t n,
			   float epsilon, float *out)
{
	lanes sum = l_set(0), squares = l_set(0), mean, scale;

	for (uint32_t i = 0; i < n; i += LANES)
		sum = l_add(sum, l_load_n(x + i, MIN(n - i, LANES)));
	mean = l_set(l_sum(sum) / (float)n);
	for (uint32_t i = 0; i < n; i += LANES) {
		uint32_t m = MIN(n - i, LANES);
		lanes v = l_keep(l_sub(l_load_n(x + i, m), mean), 0, m, l_set(0));

		squares = l_fma(v, v, squares);
	}
	scale = l_set(1.0f / sqrtf(l_sum(squares) / (float)n + epsilon));
	for (uint32_t i = 0; i < n; i += LANES) {
		uint32_t m = MIN(n - i, LANES);
		lanes v = l_mul(l_sub(l_load_n(x + i, m), mean), scale);

		v = l_mul(v, l_load_n(weight + i, m));
		if (bias)
			v = l_add(v, l_load_n(bias + i, m));
		l_store_n(out + i, v, m);
	}
}

static void rope_row_heads(float *x, uint32_t heads, uint32_t head_dim, uint32_t dims,
			   const float *cosines, const float *sines)
{
	uint32_t half = dims / 2;

	for (uint32_t h = 0; h < heads; h++, x += head_dim) {
		for (uint32_t i = 0; i < half; i += LANES) {
			uint32_t n = MIN(half - i, LANES);
			lanes c = l_load_n(cosines + i, n), s = l_load_n(sines + i, n);
			lanes a = l_load_n(x + i, n), b = l_load_n(x + half + i, n);

			l_store_n(x + i, l_fma(a, c, l_negate(l_mul(b, s))), n);
			l_store_n(x + half + i, l_fma(b, c, l_mul(a, s)), n);
		}
	}
}

static void to_bf16_row(const float *x, uint32_t n, uint16_t *out)
{
	uint16_t last[LANES];
	uint32_t whole = n / LANES * LANES;

	for (uint32_t i = 0; i < whole; i += LANES)
		l_store_bf16(out + i, l_load(x + i));
	if (whole == n)
		return;
	l_store_bf16(last, l_load_n(x + whole, n - whole));
	memcpy(out + whole, last, (n - whole) * sizeof(*out));
}

static void operand_bf16_row(const float *x, uint32_t columns, uint32_t r, uint32_t rows,
			     uint16_t *tile)
{
	for (uint32_t i = 0; i < columns; i += LANES) {
		uint32_t n = MIN(columns - i, LANES), pairs = (n + 1) / 2, pair[LANES / 2];

		l_store_bf16(pair, l_load_n(x + i, n));
		for (uint32_t p = 0; p < pairs; p++)
			memcpy(tile + 2 * ((size_t)(i / 2 + p) * rows + r), &pair[p], 4);
	}
}

/* Quantises 32 numbers; returns the scale.  Magnitudes compare as integers, so that a NaN
 * or infinity anywhere makes the scale one, and the scale alone carries it on; a group of
 * next to nothing is 0.
 */
LANES_FN float quantise_group(lanes a, lanes b, int8_t q[GROUP], int32_t *sum)
{
	uint32_t absmax = l_absmax_bits(a, b);
	float scale = f32_of_bits(absmax);
	lanes inverse;

	if (absmax >= 0x7f800000 || scale < 1e-30f) {
		memset(q, 0, GROUP);
		*sum = 0;
		return absmax >= 0x7f800000 ? scale : 0;
	}
	inverse = l_set(127.0f / scale);
	*sum = l_store_i8(q, l_mul(a, inverse), l_mul(b, inverse));
	return scale / 127.0f;
}

static void operand_int8_row(const float *x, uint32_t columns, uint32_t r, uint32_t rows,
			     uint8_t *tile)
{
	for (uint32_t i = 0; i < columns; i += GROUP, tile += rows * OPERAND_GROUP_BYTES) {
		uint32_t n = MIN(columns - i, GROUP), more = n > LANES ? n - LANES : 0;
		float *scales = (float *)tile + r;
		int8_t q[GROUP];
		int32_t sum;

		scales[0] = quantise_group(l_load_n(x + i, n - more),
					   l_load_n(x + i + n - more, more), q, &sum);
		scales[rows] = scales[0] * (float)sum;
		((int32_t *)tile)[2 * rows + r] = -8 * sum;
		UNROLLED for (uint32_t j = 0; j < GROUP / 4; j++)
			memcpy(tile + 12 * rows + 4 * (j * rows + r), q + 4 * j, 4);
	}
}

/* Scores of vector v of a step; -infinity outside [first, end). */
LANES_FN lanes softmax_scores(const struct softmax_row *s, uint32_t v, bool whole)
{
	lanes score = l_mul(l_load(s->dots + v * LANES), l_set(s->scale)), away;

	if (s->slope != 0) {
		away = l_add(l_count(), l_set(s->distance + (float)(v * LANES)));
		score = l_fma(away, l_set(s->slope), score);
	}
	if (whole)
		return score;
	return l_keep(score, MAX(s->first, v * LANES) - v * LANES, MIN(s->end - v * LANES, LANES),
		      l_set(-INFINITY));
}

LANES_FN void softmax_vectors(const struct softmax_row *s, const bool bf16, const bool whole,
			      const uint32_t v0, const uint32_t v1)
{
	lanes score[STEP_KEYS / LANES], highest = l_set(-INFINITY), sums;
	float before = *s->maximum, now;

	UNROLLED for (uint32_t v = v0; v < v1; v++) {
		score[v] = softmax_scores(s, v, whole);
		highest = l_max(highest, score[v]);
	}
	now = l_maximum(highest);
	now = before > now ? before : now;
	sums = l_load(s->sum_lanes);
	if (before != now) {
		lanes less = l_exp(l_set(before - now));

		sums = l_mul(sums, less);
		for (uint32_t i = 0; i < s->dims; i += LANES)
			l_store(s->out + i, l_mul(l_load(s->out + i), less));
		*s->maximum = now;
	}
	UNROLLED for (uint32_t v = v0; v < v1; v++) {
		lanes weight = l_exp(l_sub(score[v], l_set(now)));

		sums = l_add(sums, weight);
		if (bf16)
			l_store_bf16((uint16_t *)s->weights + v * LANES, weight);
		else
			l_store((float *)s->weights + v * LANES, weight);
	}
	l_store(s->sum_lanes, sums);
}

/* Whole steps are the common case and go without masks. */
LANES_FN void softmax_step(const struct softmax_row *s, const bool bf16)
{
	if (s->first == 0 && s->end == STEP_KEYS)
		softmax_vectors(s, bf16, true, 0, STEP_KEYS / LANES);
	else
		softmax_vectors(s, bf16, false, s->first / LANES, (s->end + LANES - 1) / LANES);
}

static void softmax_f32_row(const struct softmax_row *s) { softmax_step(s, false); }
static void softmax_bf16_row(const struct softmax_row *s) { softmax_step(s, true); }

static void softmax_finish_row(const float *x, const float *sum_lanes, uint32_t n, float *out)
{
	lanes inverse = l_set(1.0f / l_sum(l_load(sum_lanes)));

	for (uint32_t i = 0; i < n; i += LANES)
		l_store_n(out + i, l_mul(l_load(x + i), inverse), MIN(n - i, LANES));
}

#endif
