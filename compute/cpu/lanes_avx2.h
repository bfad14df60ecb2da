/* lanes_avx2.h - 16 f32 lanes in two AVX2 registers; see lanes_portable.h for what each
 * primitive means.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Lanes.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_LANES_AVX2_H
#define PETALS_COMPUTE_CPU_LANES_AVX2_H

#include <immintrin.h>

#include "compute/cpu/path.h"

#define LANES_FN static inline __attribute__((always_inline, unused))

typedef struct { __m256 a, b; } lanes;          /* lanes 0..7, 8..15 */
typedef struct { __m256i a, b; } lanes_i;

/* 6 rows of 16 outputs fill 12 of the 16 registers. */
enum {
	TILE_SUB_ROWS = 6, TILE_BF16_ROWS = 4, TILE_VECTORS = 1,
	TILE_PAIR_ROWS = 3, TILE_BF16_PAIR_ROWS = 1,
};

#define LANES_OF(fn, x, y) ((lanes){ fn((x).a, (y).a), fn((x).b, (y).b) })

LANES_FN lanes l_set(float f) { return (lanes){ _mm256_set1_ps(f), _mm256_set1_ps(f) }; }
LANES_FN lanes l_load(const float *p)
{
	return (lanes){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}
LANES_FN void l_store(float *p, lanes x)
{
	_mm256_storeu_ps(p, x.a);
	_mm256_storeu_ps(p + 8, x.b);
}
LANES_FN lanes l_load_n(const float *p, uint32_t n)
{
	float full[LANES] = { 0 };

	if (n == LANES)
		return l_load(p);
	memcpy(full, p, n * sizeof(float));
	return l_load(full);
}
LANES_FN void l_store_n(float *p, lanes x, uint32_t n)
{
	float full[LANES];

	if (n == LANES) {
		l_store(p, x);
		return;
	}
	l_store(full, x);
	memcpy(p, full, n * sizeof(float));
}
LANES_FN lanes l_add(lanes x, lanes y) { return LANES_OF(_mm256_add_ps, x, y); }
LANES_FN lanes l_sub(lanes x, lanes y) { return LANES_OF(_mm256_sub_ps, x, y); }
LANES_FN lanes l_mul(lanes x, lanes y) { return LANES_OF(_mm256_mul_ps, x, y); }
LANES_FN lanes l_div(lanes x, lanes y) { return LANES_OF(_mm256_div_ps, x, y); }
LANES_FN lanes l_max(lanes x, lanes y) { return LANES_OF(_mm256_max_ps, x, y); }
LANES_FN lanes l_fma(lanes x, lanes y, lanes z)
{
	return (lanes){ _mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b) };
}
LANES_FN lanes l_abs(lanes x)
{
	return LANES_OF(_mm256_andnot_ps, l_set(-0.0f), x);
}
LANES_FN lanes l_negate(lanes x)
{
	return LANES_OF(_mm256_xor_ps, l_set(-0.0f), x);
}
LANES_FN lanes l_if_less(lanes x, lanes y, lanes yes, lanes no)
{
	return (lanes){
		_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
		_mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)),
	};
}
LANES_FN lanes l_count(void)
{
	return (lanes){ _mm256_set_ps(7, 6, 5, 4, 3, 2, 1, 0),
			_mm256_set_ps(15, 14, 13, 12, 11, 10, 9, 8) };
}
LANES_FN lanes l_keep(lanes x, uint32_t first, uint32_t end, lanes other)
{
	x = l_if_less(l_count(), l_set((float)end), x, other);
	return l_if_less(l_count(), l_set((float)first), other, x);
}
LANES_FN __m256 two_to(__m256 t)
{
	__m256i bits = _mm256_slli_epi32(_mm256_castps_si256(t), 23);

	return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(0x3f800000)));
}
LANES_FN lanes l_two_to(lanes t) { return (lanes){ two_to(t.a), two_to(t.b) }; }
LANES_FN float l_sum(lanes x)
{
	__m256 b = _mm256_add_ps(x.a, x.b);
	__m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_add_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
LANES_FN float l_maximum(lanes x)
{
	__m256 b = _mm256_max_ps(x.a, x.b);
	__m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_max_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
LANES_FN lanes l_load_f16(const void *p)
{
	__m128i a = _mm_loadu_si128(p), b = _mm_loadu_si128((const __m128i *)p + 1);

	return (lanes){ _mm256_cvtph_ps(a), _mm256_cvtph_ps(b) };
}
/* What VCVTNEPS2BF16 does: nearest even, denormals to zero, NaN quiet. */
LANES_FN __m256i to_bf16(__m256 x)
{
	__m256i bits = _mm256_castps_si256(x), exponent = _mm256_set1_epi32(0x7f800000);
	__m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
	__m256i round = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
	__m256i near = _mm256_srli_epi32(_mm256_add_epi32(bits, round), 16);
	__m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
	__m256i sign = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x8000));
	__m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
	__m256i tiny = _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent),
					  _mm256_setzero_si256());

	return _mm256_blendv_epi8(_mm256_blendv_epi8(near, quiet, nan), sign, tiny);
}
LANES_FN void l_store_bf16(void *p, lanes x)
{
	__m256i packed = _mm256_packus_epi32(to_bf16(x.a), to_bf16(x.b));

	_mm256_storeu_si256(p, _mm256_permute4x64_epi64(packed, 0xd8));
}
LANES_FN __m256 dot_bf16(__m256 acc, __m256i w, __m256i x)
{
	__m256i high = _mm256_set1_epi32((int32_t)0xffff0000);
	__m256 w1 = _mm256_castsi256_ps(_mm256_and_si256(w, high));
	__m256 x1 = _mm256_castsi256_ps(_mm256_and_si256(x, high));
	__m256 w0 = _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
	__m256 x0 = _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));

	return _mm256_fmadd_ps(x0, w0, _mm256_fmadd_ps(x1, w1, acc));
}
LANES_FN lanes l_dot_bf16(lanes acc, lanes_i w, lanes_i x)
{
	return (lanes){ dot_bf16(acc.a, w.a, x.a), dot_bf16(acc.b, w.b, x.b) };
}

LANES_FN __m256 near_bf16(__m256 x)
{
	__m256i bits = _mm256_castps_si256(x);
	__m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));

	bits = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
	return _mm256_castsi256_ps(bits);
}
LANES_FN lanes l_near_bf16(lanes x) { return (lanes){ near_bf16(x.a), near_bf16(x.b) }; }
LANES_FN lanes l_trunc_bf16(lanes x)
{
	__m256 high = _mm256_castsi256_ps(_mm256_set1_epi32((int32_t)0xffff0000));

	return (lanes){ _mm256_and_ps(x.a, high), _mm256_and_ps(x.b, high) };
}
LANES_FN __m256i pair_bf16(__m256 x, __m256 y)
{
	__m256i even = _mm256_srli_epi32(_mm256_castps_si256(x), 16);

	return _mm256_blend_epi16(even, _mm256_castps_si256(y), 0xaa);
}
LANES_FN lanes_i li_pair_bf16(lanes x, lanes y)
{
	return (lanes_i){ pair_bf16(x.a, y.a), pair_bf16(x.b, y.b) };
}
LANES_FN lanes l_even_bf16(lanes_i pair)
{
	return (lanes){ _mm256_castsi256_ps(_mm256_slli_epi32(pair.a, 16)),
			_mm256_castsi256_ps(_mm256_slli_epi32(pair.b, 16)) };
}
LANES_FN lanes l_odd_bf16(lanes_i pair)
{
	__m256i high = _mm256_set1_epi32((int32_t)0xffff0000);

	return (lanes){ _mm256_castsi256_ps(_mm256_and_si256(pair.a, high)),
			_mm256_castsi256_ps(_mm256_and_si256(pair.b, high)) };
}

LANES_FN lanes_i li_set(int32_t i)
{
	return (lanes_i){ _mm256_set1_epi32(i), _mm256_set1_epi32(i) };
}
LANES_FN lanes_i li_load(const void *p)
{
	const __m256i *v = p;

	return (lanes_i){ _mm256_loadu_si256(v), _mm256_loadu_si256(v + 1) };
}
LANES_FN void li_store(void *p, lanes_i x)
{
	__m256i *v = p;

	_mm256_storeu_si256(v, x.a);
	_mm256_storeu_si256(v + 1, x.b);
}
LANES_FN lanes_i li_byte(lanes_i x, const int at)
{
	__m256i low = _mm256_set1_epi32(0xff);

	return (lanes_i){ _mm256_and_si256(_mm256_srli_epi32(x.a, 8 * at), low),
			  _mm256_and_si256(_mm256_srli_epi32(x.b, 8 * at), low) };
}
LANES_FN lanes_i li_low_nibbles(lanes_i x)
{
	__m256i low = _mm256_set1_epi8(15);

	return (lanes_i){ _mm256_and_si256(x.a, low), _mm256_and_si256(x.b, low) };
}
LANES_FN lanes_i li_high_nibbles(lanes_i x)
{
	return li_low_nibbles((lanes_i){ _mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4) });
}
LANES_FN lanes l_of_int(lanes_i x)
{
	return (lanes){ _mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b) };
}
LANES_FN uint32_t l_absmax_bits(lanes x, lanes y)
{
	__m256i a, b;
	__m128i c;

	x = l_abs(x);
	y = l_abs(y);
	a = _mm256_max_epi32(_mm256_castps_si256(x.a), _mm256_castps_si256(x.b));
	b = _mm256_max_epi32(_mm256_castps_si256(y.a), _mm256_castps_si256(y.b));
	a = _mm256_max_epi32(a, b);
	c = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
	c = _mm_max_epi32(c, _mm_shuffle_epi32(c, 0x4e));
	c = _mm_max_epi32(c, _mm_shuffle_epi32(c, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(c);
}
LANES_FN int32_t l_store_i8(int8_t *p, lanes x, lanes y)
{
	__m256i a = _mm256_cvtps_epi32(x.a), b = _mm256_cvtps_epi32(x.b);
	__m256i c = _mm256_cvtps_epi32(y.a), d = _mm256_cvtps_epi32(y.b);
	__m256i sums = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
	__m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));

	/* Packing works within 128-bit halves: fours come out as 0 2 4 6 1 3 5 7. */
	bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
	_mm256_storeu_si256((__m256i *)p, bytes);
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
	return _mm_cvtsi128_si32(s);
}

/* GCC puts off the additions of a chain until its end, and spills all products till then. */
LANES_FN __m256i add_now(__m256i sum)
{
	__asm__("" : "+x"(sum));
	return sum;
}
/* VPMADDUBSW saturates at 16 bits: 8-bit weights go in with their sign moved to x, at most
 * 2 x 128 x 127.  4-bit ones stay so far below that the pairs of a whole group add up in 16
 * bits, and are widened once.
 */
static_assert(GROUP / 2 * 15 * 127 <= INT16_MAX, "pairs of 4-bit weights add up in 16 bits");

LANES_FN lanes_i li_start_q8(int32_t minus_8_sums)
{
	(void)minus_8_sums;
	return li_set(0);
}
LANES_FN __m256i add_pairs(__m256i sum, __m256i pairs)
{
	pairs = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
	return add_now(_mm256_add_epi32(sum, pairs));
}
LANES_FN __m256i dot_q8(__m256i acc, __m256i w, __m256i x)
{
	w = _mm256_xor_si256(w, _mm256_set1_epi8(INT8_MIN));
	return add_pairs(acc, _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)));
}
LANES_FN lanes_i li_dot_q8(lanes_i acc, lanes_i w, lanes_i x)
{
	return (lanes_i){ dot_q8(acc.a, w.a, x.a), dot_q8(acc.b, w.b, x.b) };
}
LANES_FN lanes_i li_begin_q4(int32_t start)
{
	(void)start;
	return li_set(0);
}
LANES_FN __m256i dot_q4(__m256i acc, __m256i w, __m256i x)
{
	return add_now(_mm256_add_epi16(acc, _mm256_maddubs_epi16(w, x)));
}
LANES_FN lanes_i li_dot_q4(lanes_i acc, lanes_i w, lanes_i x)
{
	return (lanes_i){ dot_q4(acc.a, w.a, x.a), dot_q4(acc.b, w.b, x.b) };
}
LANES_FN lanes_i li_end_q4(lanes_i acc, int32_t start)
{
	lanes_i from = li_set(start);

	return (lanes_i){ add_pairs(from.a, acc.a), add_pairs(from.b, acc.b) };
}

#endif
