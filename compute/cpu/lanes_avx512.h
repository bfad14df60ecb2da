/* lanes_avx512.h - 16 f32 lanes in one AVX-512 register; see lanes_portable.h for
 * what each primitive means.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Lanes.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_LANES_AVX512_H
#define PETALS_COMPUTE_CPU_LANES_AVX512_H

#include <immintrin.h>

#include "compute/cpu/path.h"

#define LANES_FN static inline __attribute__((always_inline, unused))

typedef __m512 lanes;
typedef __m512i lanes_i;

enum {
	TILE_SUB_ROWS = TILE_ROWS, TILE_BF16_ROWS = TILE_ROWS, TILE_VECTORS = 2,
	TILE_PAIR_ROWS = TILE_ROWS, TILE_BF16_PAIR_ROWS = TILE_ROWS,
};

LANES_FN __mmask16 lanes_mask(uint32_t n) { return (__mmask16)((1u << n) - 1); }

LANES_FN lanes l_set(float f) { return _mm512_set1_ps(f); }
LANES_FN lanes l_load(const float *p) { return _mm512_loadu_ps(p); }
LANES_FN void l_store(float *p, lanes a) { _mm512_storeu_ps(p, a); }
LANES_FN lanes l_load_n(const float *p, uint32_t n)
{
	return _mm512_maskz_loadu_ps(lanes_mask(n), p);
}
LANES_FN void l_store_n(float *p, lanes a, uint32_t n)
{
	_mm512_mask_storeu_ps(p, lanes_mask(n), a);
}
LANES_FN lanes l_add(lanes a, lanes b) { return _mm512_add_ps(a, b); }
LANES_FN lanes l_sub(lanes a, lanes b) { return _mm512_sub_ps(a, b); }
LANES_FN lanes l_mul(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
LANES_FN lanes l_div(lanes a, lanes b) { return _mm512_div_ps(a, b); }
LANES_FN lanes l_fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
LANES_FN lanes l_max(lanes a, lanes b) { return _mm512_max_ps(a, b); }
LANES_FN lanes l_abs(lanes a) { return _mm512_abs_ps(a); }
LANES_FN lanes l_negate(lanes a)
{
	return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a),
						    _mm512_set1_epi32(INT32_MIN)));
}
LANES_FN lanes l_if_less(lanes a, lanes b, lanes yes, lanes no)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
LANES_FN lanes l_keep(lanes a, uint32_t first, uint32_t end, lanes other)
{
	return _mm512_mask_blend_ps((__mmask16)(lanes_mask(end) & ~lanes_mask(first)), other, a);
}
LANES_FN lanes l_count(void)
{
	return _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}
LANES_FN lanes l_two_to(lanes t)
{
	__m512i bits = _mm512_slli_epi32(_mm512_castps_si512(t), 23);

	return _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_set1_epi32(0x3f800000)));
}
LANES_FN float l_sum(lanes a)
{
	__m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
	__m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_add_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
LANES_FN float l_maximum(lanes a)
{
	__m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
	__m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_max_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
LANES_FN lanes l_load_f16(const void *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
LANES_FN void l_store_bf16(void *p, lanes a)
{
	_mm256_storeu_si256(p, (__m256i)_mm512_cvtneps_pbh(a));
}
LANES_FN lanes l_dot_bf16(lanes acc, lanes_i w, lanes_i x)
{
	return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)x);
}

LANES_FN lanes l_near_bf16(lanes a)
{
	__m512i bits = _mm512_castps_si512(a);
	__m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));

	bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
	return _mm512_castsi512_ps(bits);
}
LANES_FN lanes l_trunc_bf16(lanes a)
{
	return _mm512_and_ps(a, _mm512_castsi512_ps(_mm512_set1_epi32((int)0xffff0000)));
}
LANES_FN lanes_i li_pair_bf16(lanes a, lanes b)
{
	__m512i even = _mm512_srli_epi32(_mm512_castps_si512(a), 16);

	return _mm512_mask_blend_epi16(0xaaaaaaaa, even, _mm512_castps_si512(b));
}
LANES_FN lanes l_even_bf16(lanes_i pair)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16));
}
LANES_FN lanes l_odd_bf16(lanes_i pair)
{
	return _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32((int)0xffff0000)));
}

LANES_FN lanes_i li_set(int32_t i) { return _mm512_set1_epi32(i); }
LANES_FN lanes_i li_load(const void *p) { return _mm512_loadu_si512(p); }
LANES_FN void li_store(void *p, lanes_i a) { _mm512_storeu_si512(p, a); }
/* The shift's count may be a variable where loops are kept. */
LANES_FN lanes_i li_byte(lanes_i a, const int at)
{
	return _mm512_and_si512((__m512i)((__v16su)a >> 8 * at), _mm512_set1_epi32(0xff));
}
LANES_FN lanes_i li_low_nibbles(lanes_i a)
{
	return _mm512_and_si512(a, _mm512_set1_epi8(15));
}
LANES_FN lanes_i li_high_nibbles(lanes_i a)
{
	return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15));
}
LANES_FN lanes l_of_int(lanes_i a) { return _mm512_cvtepi32_ps(a); }
LANES_FN uint32_t l_absmax_bits(lanes a, lanes b)
{
	__m512i c = _mm512_castps_si512(l_abs(a)), d = _mm512_castps_si512(l_abs(b));

	return (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(c, d));
}
LANES_FN int32_t l_store_i8(int8_t *p, lanes a, lanes b)
{
	__m512i x = _mm512_cvtps_epi32(a), y = _mm512_cvtps_epi32(b);

	_mm_storeu_si128((__m128i *)p, _mm512_cvtsepi32_epi8(x));
	_mm_storeu_si128((__m128i *)p + 1, _mm512_cvtsepi32_epi8(y));
	return _mm512_reduce_add_epi32(_mm512_add_epi32(x, y));
}

/* The dot products take unsigned weights; the offset leaves through the start. */
LANES_FN lanes_i li_start_q8(int32_t minus_8_sums)
{
	return _mm512_slli_epi32(li_set(minus_8_sums), 4);
}
LANES_FN lanes_i li_begin_q4(int32_t start) { return li_set(start); }
LANES_FN lanes_i li_dot_q4(lanes_i acc, lanes_i w, lanes_i x)
{
	return _mm512_dpbusd_epi32(acc, w, x);
}
LANES_FN lanes_i li_end_q4(lanes_i acc, int32_t start)
{
	(void)start;
	return acc;
}
LANES_FN lanes_i li_dot_q8(lanes_i acc, lanes_i w, lanes_i x)
{
	return _mm512_dpbusd_epi32(acc, w, x);
}

#endif
