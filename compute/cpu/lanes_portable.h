/* lanes_portable.h - 16 f32 lanes in plain C, the meaning of every primitive.
 *
 * Each primitive acts lane by lane as one IEEE operation (or one FMA) under flushed
 * denormals.  lanes_avx2.h and lanes_avx512.h provide the same names with the
 * same bits.  l_* work on floats, li_* on 32-bit integers; _n takes the first n lanes.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Lanes.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_LANES_PORTABLE_H
#define PETALS_COMPUTE_CPU_LANES_PORTABLE_H

#include <math.h>

#include "compute/cpu/path.h"

#define LANES_FN static inline __attribute__((unused))

typedef struct { float f[LANES]; } lanes;
typedef struct { uint32_t i[LANES]; } lanes_i;  /* two's complement */

/* A tile is computed so many rows and vectors of 16 outputs at a time. */
enum {
	TILE_SUB_ROWS = 1, TILE_BF16_ROWS = 1, TILE_VECTORS = 1,
	TILE_PAIR_ROWS = 0, TILE_BF16_PAIR_ROWS = 0,
};

#define EACH_LANE(expression)                   \
	do {                                    \
		for (int n_ = 0; n_ < LANES; n_++) { \
			expression;             \
		}                               \
	} while (0)

LANES_FN lanes l_set(float f)
{
	lanes r;

	EACH_LANE(r.f[n_] = f);
	return r;
}
LANES_FN lanes l_load(const float *p)
{
	lanes r;

	memcpy(&r, p, sizeof(r));
	return r;
}
LANES_FN void l_store(float *p, lanes a) { memcpy(p, &a, sizeof(a)); }
/* The other lanes are 0. */
LANES_FN lanes l_load_n(const float *p, uint32_t n)
{
	lanes r = { { 0 } };

	memcpy(&r, p, n * sizeof(float));
	return r;
}
LANES_FN void l_store_n(float *p, lanes a, uint32_t n) { memcpy(p, &a, n * sizeof(float)); }
LANES_FN lanes l_add(lanes a, lanes b)
{
	EACH_LANE(a.f[n_] += b.f[n_]);
	return a;
}
LANES_FN lanes l_sub(lanes a, lanes b)
{
	EACH_LANE(a.f[n_] -= b.f[n_]);
	return a;
}
LANES_FN lanes l_mul(lanes a, lanes b)
{
	EACH_LANE(a.f[n_] *= b.f[n_]);
	return a;
}
LANES_FN lanes l_div(lanes a, lanes b)
{
	EACH_LANE(a.f[n_] /= b.f[n_]);
	return a;
}
/* a b + c, rounded once. */
LANES_FN lanes l_fma(lanes a, lanes b, lanes c)
{
	EACH_LANE(c.f[n_] = fmaf(a.f[n_], b.f[n_], c.f[n_]));
	return c;
}
/* b when either is NaN. */
LANES_FN lanes l_max(lanes a, lanes b)
{
	EACH_LANE(a.f[n_] = a.f[n_] > b.f[n_] ? a.f[n_] : b.f[n_]);
	return a;
}
LANES_FN lanes l_abs(lanes a)
{
	EACH_LANE(a.f[n_] = fabsf(a.f[n_]));
	return a;
}
LANES_FN lanes l_negate(lanes a)
{
	EACH_LANE(a.f[n_] = -a.f[n_]);
	return a;
}
LANES_FN lanes l_if_less(lanes a, lanes b, lanes yes, lanes no)
{
	EACH_LANE(no.f[n_] = a.f[n_] < b.f[n_] ? yes.f[n_] : no.f[n_]);
	return no;
}
/* Lanes [first, end) of a, the rest of other. */
LANES_FN lanes l_keep(lanes a, uint32_t first, uint32_t end, lanes other)
{
	for (uint32_t n = first; n < end; n++)
		other.f[n] = a.f[n];
	return other;
}
/* 0, 1, ... 15 */
LANES_FN lanes l_count(void)
{
	lanes r;

	EACH_LANE(r.f[n_] = (float)n_);
	return r;
}
/* 2^n for t = 1.5 x 2^23 + n, whose low bits are n. */
LANES_FN lanes l_two_to(lanes t)
{
	EACH_LANE(t.f[n_] = f32_of_bits((f32_bits(t.f[n_]) << 23) + 0x3f800000));
	return t;
}
/* Lanes i and i + 8, then + 4, + 2, + 1. */
LANES_FN float l_sum(lanes a)
{
	for (int width = LANES / 2; width > 0; width /= 2)
		for (int i = 0; i < width; i++)
			a.f[i] += a.f[i + width];
	return a.f[0];
}
LANES_FN float l_maximum(lanes a)
{
	for (int width = LANES / 2; width > 0; width /= 2)
		for (int i = 0; i < width; i++)
			a.f[i] = a.f[i] > a.f[i + width] ? a.f[i] : a.f[i + width];
	return a.f[0];
}
LANES_FN lanes l_load_f16(const void *p)
{
	uint16_t h[LANES];
	lanes r;

	memcpy(h, p, sizeof(h));
	EACH_LANE(r.f[n_] = f32_of_f16(h[n_]));
	return r;
}
/* Nearest even, denormals to zero. */
LANES_FN void l_store_bf16(void *p, lanes a)
{
	uint16_t h[LANES];

	for (int n = 0; n < LANES; n++) {
		uint32_t bits = f32_bits(a.f[n]);

		h[n] = bits & 0x7f800000 ? bf16_of_f32(a.f[n]) : (uint16_t)(bits >> 16 & 0x8000);
	}
	memcpy(p, h, sizeof(h));
}
/* Each 32 bits are a pair of bf16: acc + the odd product, then + the even one. */
LANES_FN lanes l_dot_bf16(lanes acc, lanes_i w, lanes_i x)
{
	for (int n = 0; n < LANES; n++) {
		acc.f[n] = fmaf(f32_of_bits(x.i[n] & 0xffff0000),
				f32_of_bits(w.i[n] & 0xffff0000), acc.f[n]);
		acc.f[n] = fmaf(f32_of_bits(x.i[n] << 16), f32_of_bits(w.i[n] << 16), acc.f[n]);
	}
	return acc;
}

/* The f32 whose upper half is the bf16 nearest to a, to even; finite a. */
LANES_FN lanes l_near_bf16(lanes a)
{
	for (int n = 0; n < LANES; n++) {
		uint32_t bits = f32_bits(a.f[n]);

		a.f[n] = f32_of_bits(bits + 0x7fff + (bits >> 16 & 1));
	}
	return a;
}
LANES_FN lanes l_trunc_bf16(lanes a)
{
	EACH_LANE(a.f[n_] = f32_of_bits(f32_bits(a.f[n_]) & 0xffff0000));
	return a;
}

/* Pairs of bf16: the upper halves of a and b; and each half of a pair. */
LANES_FN lanes_i li_pair_bf16(lanes a, lanes b)
{
	lanes_i r;

	EACH_LANE(r.i[n_] = f32_bits(a.f[n_]) >> 16 | (f32_bits(b.f[n_]) & 0xffff0000));
	return r;
}
LANES_FN lanes l_even_bf16(lanes_i pair)
{
	lanes r;

	EACH_LANE(r.f[n_] = f32_of_bits(pair.i[n_] << 16));
	return r;
}
LANES_FN lanes l_odd_bf16(lanes_i pair)
{
	lanes r;

	EACH_LANE(r.f[n_] = f32_of_bits(pair.i[n_] & 0xffff0000));
	return r;
}

LANES_FN lanes_i li_set(int32_t i)
{
	lanes_i r;

	EACH_LANE(r.i[n_] = (uint32_t)i);
	return r;
}
LANES_FN lanes_i li_load(const void *p)
{
	lanes_i r;

	memcpy(&r, p, sizeof(r));
	return r;
}
LANES_FN void li_store(void *p, lanes_i a) { memcpy(p, &a, sizeof(a)); }
/* Byte `at` of each, 0 to 255. */
LANES_FN lanes_i li_byte(lanes_i a, const int at)
{
	EACH_LANE(a.i[n_] = a.i[n_] >> 8 * at & 0xff);
	return a;
}
LANES_FN lanes_i li_low_nibbles(lanes_i a)
{
	EACH_LANE(a.i[n_] &= 0x0f0f0f0f);
	return a;
}
LANES_FN lanes_i li_high_nibbles(lanes_i a)
{
	EACH_LANE(a.i[n_] = a.i[n_] >> 4 & 0x0f0f0f0f);
	return a;
}
LANES_FN lanes l_of_int(lanes_i a)
{
	lanes r;

	EACH_LANE(r.f[n_] = (float)(int32_t)a.i[n_]);
	return r;
}
/* The greatest magnitude among both, compared as integers: NaN > infinity > numbers. */
LANES_FN uint32_t l_absmax_bits(lanes a, lanes b)
{
	uint32_t most = 0;

	EACH_LANE(most = MAX(most, f32_bits(a.f[n_]) & 0x7fffffff));
	EACH_LANE(most = MAX(most, f32_bits(b.f[n_]) & 0x7fffffff));
	return most;
}
/* 32 bytes, rounded to nearest even; |a|, |b| <= 127.  Returns their sum. */
LANES_FN int32_t l_store_i8(int8_t *p, lanes a, lanes b)
{
	int32_t sum = 0;

	for (int n = 0; n < LANES; n++) {
		p[n] = (int8_t)lrintf(a.f[n]);
		p[n + LANES] = (int8_t)lrintf(b.f[n]);
		sum += p[n] + p[n + LANES];
	}
	return sum;
}

/* Dot products of four bytes: w unsigned with an offset of 8 or 128, x signed.  The
 * offset's share comes in through the start, -8 x sum or, for 8 bits, li_start_q8() of
 * it; or li_dot_q8() takes it off and that is 0.  PANEL_Q4_1 has no offset.  What a path
 * keeps between li_begin_q4() and li_end_q4() is its own; both get the same start, and at
 * most a group lies between them.
 */
LANES_FN lanes_i li_start_q8(int32_t minus_8_sums) { return li_set(16 * minus_8_sums); }
LANES_FN lanes_i li_begin_q4(int32_t start) { return li_set(start); }
LANES_FN lanes_i li_dot_q4(lanes_i acc, lanes_i w, lanes_i x)
{
	for (int n = 0; n < LANES; n++)
		for (int j = 0; j < 32; j += 8)
			acc.i[n] += (w.i[n] >> j & 0xff) * (uint32_t)(int8_t)(x.i[n] >> j);
	return acc;
}
LANES_FN lanes_i li_end_q4(lanes_i acc, int32_t start)
{
	(void)start;
	return acc;
}
LANES_FN lanes_i li_dot_q8(lanes_i acc, lanes_i w, lanes_i x) { return li_dot_q4(acc, w, x); }

#endif
