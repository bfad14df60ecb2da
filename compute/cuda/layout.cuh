/* layout.cuh - single weights out of a matrix in any layout; for looking rows up. */
#ifndef PETALS_COMPUTE_CUDA_LAYOUT_CUH
#define PETALS_COMPUTE_CUDA_LAYOUT_CUH

#include "compute/cuda/common.cuh"

/* A matrix and its padded size. */
struct table { const uint8_t *w; uint32_t rows, stride, format; };

DEVICE float scale_value(const uint8_t *scales, uint32_t feature, uint32_t each, uint32_t i)
{
	uint32_t at = feature % 8 * 4 + feature / 8;

	return f16_value(((const uint16_t *)scales)[at * each + i]);
}

/* Where the byte that holds k of a tile's 8-bit feature lies, and its 4 bits. */
DEVICE float number_8(const uint8_t *tile, uint32_t feature, uint32_t k)
{
	const uint8_t *lane = tile + feature / 16 * 512 + (feature % 8 * 4 + k / 8) * 16;

	return (float)(int8_t)lane[feature / 8 % 2 * 8 + k / 4 % 2 * 4 + k % 2 * 2 + k / 2 % 2];
}

DEVICE float number_4(const uint8_t *tile, uint32_t feature, uint32_t k)
{
	const uint32_t *lane = (const uint32_t *)(tile + (feature % 8 * 4 + k / 8) * 16);
	uint32_t place = k % 2 * 4 + k % 8 / 2;

	return (float)(lane[feature / 8] >> 4 * place & 15);
}

DEVICE float number_16(const uint8_t *tile, uint32_t feature, uint32_t k, bool bf16)
{
	const uint8_t *lane = tile + feature / 8 * 512 + (feature % 8 * 4 + k / 8) * 16;
	uint16_t bits = ((const uint16_t *)lane)[k % 8];

	return bf16 ? bf16_value(bits) : f16_value(bits);
}

/* Weight k of feature n. */
DEVICE float table_value(const struct table *t, uint32_t n, uint32_t k)
{
	uint64_t steps = t->stride / CUDA_K_STEP;
	uint64_t tiles = (t->rows + TILE_FEATURES - 1) / TILE_FEATURES * steps;
	const uint8_t *tile = t->w + (n / TILE_FEATURES * steps + k / CUDA_K_STEP) *
				     TILE_BYTES(t->format);
	const uint8_t *scales = tile + TILE_VALUES_BYTES(t->format);
	uint64_t at = (uint64_t)n * t->stride + k;
	uint32_t f = n % TILE_FEATURES, i = k % CUDA_K_STEP;

	switch (t->format) {
	case CUDA_F32:
		return ((const float *)t->w)[at];
	case CUDA_BF16_ROWS:
		return bf16_value(((const uint16_t *)t->w)[at]);
	case CUDA_BF16:
	case CUDA_F16:
		return number_16(tile, f, i, t->format == CUDA_BF16);
	case CUDA_INT8:
		return number_8(tile, f, i) *
		       ((const float *)(t->w + tiles * TILE_BYTES(CUDA_INT8)))[n];
	case CUDA_Q8_0:
		return number_8(tile, f, i) * scale_value(scales, f, 1, 0);
	case CUDA_Q4_0:
		return (number_4(tile, f, i) - 8.0f) * scale_value(scales, f, 1, 0);
	default:
		return number_4(tile, f, i) * scale_value(scales, f, 2, 0) +
		       scale_value(scales, f, 2, 1);
	}
}

#endif
