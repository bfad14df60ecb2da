/* linear_piece.cuh - what a lane holds of a tile (layout.h): reading it, making the fragments of
 * an mma of it in registers, and multiplying.  One sequence for few rows and many (kernels.h).
 *
 * The matrix is the wide side of the mma.  Lane t of four takes k 8t..8t + 7 of a step of 32, and
 * gives them to two mma as if they were the k that its fragments want.  Activations are dealt
 * out alike, so products still meet their own, and 16 bytes are one load on either side.
 *
 * Small whole numbers become bf16 by their bits: 0x4300 | n is 128 + n for n < 128, exactly.
 */
#ifndef PETALS_COMPUTE_CUDA_LINEAR_PIECE_CUH
#define PETALS_COMPUTE_CUDA_LINEAR_PIECE_CUH

#include "compute/cuda/common.cuh"

enum { TILE_PIECES = 4, PIECE_BYTES = 512, TILE_HALVES = 2, STEP_BYTES = 2 * CUDA_K_STEP };

struct piece { uint4 values[TILE_PIECES]; uint4 scales; };

/* Where a lane reads a band of features: its 16 bytes of step 0, from piece to piece, from there
 * to its scales, and on to the next step.
 */
struct band {
	const uint8_t *at;
	uint32_t piece_bytes, step_bytes;
	int32_t scales;
};

/* Zero or minus `n` in either half. */
#define BF16X2_MINUS_128 0xc300c300u
#define BF16X2_MINUS_136 0xc308c308u
#define BF16X2_ONES 0x3f803f80u

DEVICE uint32_t pieces_of(const uint32_t format)
{
	return TILE_VALUES_BYTES(format) / PIECE_BYTES;
}

/* Bytes from a lane's piece 0 to its scales. */
DEVICE int32_t scales_at(uint32_t lane, const uint32_t format)
{
	return (int32_t)(TILE_VALUES_BYTES(format) + lane / 4 * (TILE_SCALES_BYTES(format) / 8)) -
	       (int32_t)lane * 16;
}

DEVICE struct band band_open(const struct linear_args *a, const struct linear_part *p,
			     uint32_t tile, uint32_t lane, const uint32_t format)
{
	uint32_t steps = a->columns / CUDA_K_STEP;
	const uint8_t *w = (const uint8_t *)p->w;

	if (format == CUDA_BF16 && a->in_rows) {
		uint64_t feature = tile * TILE_FEATURES + lane / 4;

		return { w + feature * a->columns * 2 + lane % 4 * 16, 16 * a->columns,
			 STEP_BYTES, 0 };
	}
	return { w + (uint64_t)tile * steps * TILE_BYTES(format) + lane * 16, PIECE_BYTES,
		 TILE_BYTES(format), scales_at(lane, format) };
}

/* The step at *at, which goes on to the next. */
DEVICE void piece_load(struct piece *p, const struct band *b, const uint8_t **at,
		       const uint32_t format, uint64_t policy)
{
#pragma unroll
	for (uint32_t i = 0; i < pieces_of(format); i++)
		p->values[i] = load_once16(*at + i * (format == CUDA_BF16 ? b->piece_bytes :
						     (uint32_t)PIECE_BYTES), policy);
	if (TILE_SCALES_BYTES(format) == 64) {
		uint2 s = load_once8(*at + b->scales, policy);

		p->scales.x = s.x;
		p->scales.y = s.y;
	} else if (TILE_SCALES_BYTES(format) == 128) {
		p->scales = load_once16(*at + b->scales, policy);
	}
	*at += format == CUDA_BF16 ? b->step_bytes : TILE_BYTES(format);
}

/* Of a record in shared memory. */
DEVICE void piece_take(struct piece *p, const uint8_t *record, uint32_t lane,
		       const uint32_t format)
{
	const uint8_t *at = record + lane * 16;

#pragma unroll
	for (uint32_t i = 0; i < pieces_of(format); i++)
		p->values[i] = *(const uint4 *)(at + i * PIECE_BYTES);
	if (TILE_SCALES_BYTES(format) == 64) {
		uint2 s = *(const uint2 *)(at + scales_at(lane, format));

		p->scales.x = s.x;
		p->scales.y = s.y;
	} else if (TILE_SCALES_BYTES(format) == 128) {
		p->scales = *(const uint4 *)(at + scales_at(lane, format));
	}
}

/* The fragments of 16 features: of the first mma, of the second, and what f16 has besides;
 * scales and minimums of features g and g + 8.
 */
struct fragments {
	uint32_t first[4], second[4], first_rest[4], second_rest[4];
	float scale[2], minimum[2];
};

/* Bytes 0 and 2 of w, from -128 to 127. */
DEVICE uint32_t signed_pair(uint32_t w)
{
	return bf16x2_add(mask_or(w, 0x007f007f, 0x43004300),
			  mask_or(w, 0x00800080, BF16X2_MINUS_128));
}

/* Nibbles 0 and 4 of w. */
DEVICE uint32_t nibble_pair(uint32_t w, const uint32_t format)
{
	return bf16x2_add(mask_or(w, 0x000f000f, 0x43004300),
			  format == CUDA_Q4_0 ? BF16X2_MINUS_136 : BF16X2_MINUS_128);
}

/* Two f16 as the bf16 next to each, and what is left, which is a bf16, too. */
DEVICE uint32_t f16_split(uint32_t w, uint32_t *rest)
{
	float a = f16_value((uint16_t)w), b = f16_value((uint16_t)(w >> 16));
	uint32_t near = bf16_pair(a, b);

	*rest = bf16_pair(a - __uint_as_float(near << 16), b - __uint_as_float(near & 0xffff0000));
	return near;
}

DEVICE void unpack_16_bits(const uint4 *low, const uint4 *high, const uint32_t format,
			   struct fragments *f)
{
	const uint32_t first[4] = { low->x, high->x, low->y, high->y };
	const uint32_t second[4] = { low->z, high->z, low->w, high->w };

#pragma unroll
	for (int i = 0; i < 4; i++) {
		f->first[i] = first[i];
		f->second[i] = second[i];
		if (format == CUDA_F16) {
			f->first[i] = f16_split(first[i], &f->first_rest[i]);
			f->second[i] = f16_split(second[i], &f->second_rest[i]);
		}
	}
}

DEVICE void unpack_8_bits(const uint4 *v, struct fragments *f)
{
	const uint32_t first[2] = { v->x, v->z }, second[2] = { v->y, v->w };

#pragma unroll
	for (int i = 0; i < 4; i++) {
		f->first[i] = signed_pair(first[i % 2] >> i / 2 * 8);
		f->second[i] = signed_pair(second[i % 2] >> i / 2 * 8);
	}
}

DEVICE void unpack_4_bits(uint32_t low, uint32_t high, const uint32_t format, struct fragments *f)
{
	const uint32_t rows[2] = { low, high };

#pragma unroll
	for (int i = 0; i < 4; i++) {
		f->first[i] = nibble_pair(rows[i % 2] >> i / 2 * 4, format);
		f->second[i] = nibble_pair(rows[i % 2] >> (i / 2 * 4 + 8), format);
	}
}

/* Half 0 or 1 of the tile's features. */
DEVICE void unpack(const struct piece *p, const uint32_t half, const uint32_t format,
		   struct fragments *f)
{
	const uint4 *v = p->values, *s = &p->scales;

	if (format <= CUDA_F16)
		unpack_16_bits(&v[2 * half], &v[2 * half + 1], format, f);
	else if (format <= CUDA_Q8_0)
		unpack_8_bits(&v[half], f);
	else
		unpack_4_bits(half ? v->z : v->x, half ? v->w : v->y, format, f);
	if (format == CUDA_Q4_1) {
		uint32_t low = half ? s->z : s->x, high = half ? s->w : s->y;

		f->scale[0] = f16_value((uint16_t)low);
		f->scale[1] = f16_value((uint16_t)high);
		f->minimum[0] = f16_value((uint16_t)(low >> 16));
		f->minimum[1] = f16_value((uint16_t)(high >> 16));
	} else if (TILE_SCALES_BYTES(format) > 0) {
		uint32_t both = half ? s->y : s->x;

		f->scale[0] = f16_value((uint16_t)both);
		f->scale[1] = f16_value((uint16_t)(both >> 16));
	}
}

/* One step of 8 rows and 16 features: c as mma lays it out; sums: of x, for Q4_1. */
DEVICE void multiply(const struct fragments *f, const uint32_t v[2], const uint32_t w[2],
		     const float sums[4], const uint32_t format, float c[4])
{
	float step[4] = { 0, 0, 0, 0 };

	if (TILE_SCALES_BYTES(format) == 0) {
		mma_bf16(c, f->first, v);
		mma_bf16(c, f->second, w);
		if (format == CUDA_F16) {
			mma_bf16(c, f->first_rest, v);
			mma_bf16(c, f->second_rest, w);
		}
		return;
	}
	mma_bf16(step, f->first, v);
	mma_bf16(step, f->second, w);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		c[i] = fmaf(f->scale[i / 2], step[i], c[i]);
		if (format == CUDA_Q4_1)
			c[i] = fmaf(f->minimum[i / 2], sums[i], c[i]);
	}
}

/* A step of `tiles` tiles of 8 rows; x is the lane's 16 bytes of (rows, STEP_BYTES) in shared
 * memory.
 */
DEVICE void multiply_tile(const struct piece *p, const uint8_t *x, const uint32_t tiles,
			  const uint32_t format, float (*c)[TILE_HALVES][4])
{
	const uint32_t ones[4] = { BF16X2_ONES, BF16X2_ONES, BF16X2_ONES, BF16X2_ONES };
	struct fragments f[TILE_HALVES];

#pragma unroll
	for (uint32_t half = 0; half < TILE_HALVES; half++)
		unpack(p, half, format, &f[half]);
#pragma unroll
	for (uint32_t i = 0; i < tiles; i++) {
		uint4 at = *(const uint4 *)(x + i * LINEAR_ROWS * STEP_BYTES);
		const uint32_t v[2] = { at.x, at.y }, w[2] = { at.z, at.w };
		float sums[4] = { 0, 0, 0, 0 };

		if (format == CUDA_Q4_1) {
			mma_bf16(sums, ones, v);
			mma_bf16(sums, ones, w);
		}
#pragma unroll
		for (uint32_t half = 0; half < TILE_HALVES; half++)
			multiply(&f[half], v, w, sums, format, c[i][half]);
	}
}

#endif
