/* row.c - conversions of rows.  Loops run over whole blocks of a constant size
 * first, which compilers turn into vector code, then over what is left.
 */
#include "compute/row.h"

#include <float.h>

enum {
	CHUNK = 16,             /* numbers converted together */
	BLOCK = 64,             /* numbers that share a scale in ROW_INT8 */
	SCALE_BYTES = 4,
};

static const struct {
	const char *name;
	uint32_t number_bytes, block_bytes;     /* the latter before each BLOCK */
} encodings[ROW_ENCODING_COUNT] = {
	[ROW_NONE]   = { "none",   0, 0 },
	[ROW_F32]    = { "f32",    4, 0 },
	[ROW_F16]    = { "f16",    2, 0 },
	[ROW_BF16]   = { "bf16",   2, 0 },
	[ROW_INT8]   = { "int8",   1, SCALE_BYTES },
	[ROW_TOKENS] = { "tokens", 4, 0 },
};

const char *row_encoding_name(enum row_encoding encoding)
{
	return (unsigned)encoding < ROW_ENCODING_COUNT ? encodings[encoding].name : "unknown";
}

uint64_t row_bytes(enum row_encoding encoding, uint32_t width)
{
	uint64_t blocks = ((uint64_t)width + BLOCK - 1) / BLOCK;

	assert((unsigned)encoding < ROW_ENCODING_COUNT);
	return (uint64_t)width * encodings[encoding].number_bytes +
	       blocks * encodings[encoding].block_bytes;
}

/* bf16_of_f32() without a branch. */
static inline uint16_t bf16_of_bits(uint32_t bits)
{
	uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
	uint32_t quiet = bits >> 16 | 0x40;

	return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

static void encode_bf16(const float *in, uint64_t count, uint8_t *out)
{
	uint32_t bits[CHUNK];
	uint16_t halves[CHUNK];

	for (; count >= CHUNK; count -= CHUNK, in += CHUNK, out += sizeof(halves)) {
		memcpy(bits, in, sizeof(bits));
		for (int i = 0; i < CHUNK; i++)
			halves[i] = bf16_of_bits(bits[i]);
		memcpy(out, halves, sizeof(halves));
	}
	for (; count; count--, in++, out += 2) {
		halves[0] = bf16_of_f32(*in);
		memcpy(out, halves, 2);
	}
}

static void decode_bf16(const uint8_t *in, uint64_t count, float *out)
{
	uint32_t bits[CHUNK];
	uint16_t halves[CHUNK];

	for (; count >= CHUNK; count -= CHUNK, in += sizeof(halves), out += CHUNK) {
		memcpy(halves, in, sizeof(halves));
		for (int i = 0; i < CHUNK; i++)
			bits[i] = (uint32_t)halves[i] << 16;
		memcpy(out, bits, sizeof(bits));
	}
	for (; count; count--, in += 2, out++) {
		memcpy(halves, in, 2);
		*out = f32_of_bf16(halves[0]);
	}
}

static void encode_f16(const float *in, uint64_t count, uint8_t *out)
{
	for (uint64_t i = 0; i < count; i++) {
		uint16_t half = f16_of_f32(in[i]);

		memcpy(out + 2 * i, &half, sizeof(half));
	}
}

static void decode_f16(const uint8_t *in, uint64_t count, float *out)
{
	for (uint64_t i = 0; i < count; i++) {
		uint16_t half;

		memcpy(&half, in + 2 * i, sizeof(half));
		out[i] = f32_of_f16(half);
	}
}

/* absmax / 127.  0 when the numbers are too small to have one; NaN when one
 * of them is not finite, so that the whole block decodes to NaN instead of
 * to something that looks sound.
 */
static float block_scale(const float *in, uint32_t count)
{
	uint32_t most = 0, magnitude;
	float scale;

	for (uint32_t i = 0; i < count; i++) {
		magnitude = f32_bits(in[i]) & 0x7fffffff;
		most = MAX(most, magnitude);
	}
	if (most >= 0x7f800000)
		return f32_of_bits(0x7fc00000);
	scale = f32_of_bits(most) / 127.0f;
	return scale < FLT_MIN ? 0.0f : scale;
}

/* A sum with 1.5 * 2^23 has the nearest integer, ties to even, in its low bits. */
static void encode_block(const float *in, uint32_t count, uint8_t *out)
{
	const float shift = 12582912.0f;
	float scale = block_scale(in, count);

	memcpy(out, &scale, SCALE_BYTES);
	out += SCALE_BYTES;
	if (!(scale > 0.0f)) {
		memset(out, 0, count);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		out[i] = (uint8_t)(f32_bits(in[i] / scale + shift) - f32_bits(shift));
}

static void decode_block(const uint8_t *in, uint32_t count, float *out)
{
	float scale;

	memcpy(&scale, in, SCALE_BYTES);
	for (uint32_t i = 0; i < count; i++)
		out[i] = (float)(int8_t)in[SCALE_BYTES + i] * scale;
}

static void encode_int8(const float *in, uint32_t width, uint8_t *out)
{
	for (uint32_t at = 0, count; at < width; at += count, out += SCALE_BYTES + count) {
		count = MIN((uint32_t)BLOCK, width - at);
		encode_block(in + at, count, out);
	}
}

static void decode_int8(const uint8_t *in, uint32_t width, float *out)
{
	for (uint32_t at = 0, count; at < width; at += count, in += SCALE_BYTES + count) {
		count = MIN((uint32_t)BLOCK, width - at);
		decode_block(in, count, out + at);
	}
}

void row_encode(enum row_encoding encoding, const float *in, uint32_t rows, uint32_t width,
		void *out)
{
	uint64_t count = (uint64_t)rows * width, bytes = row_bytes(encoding, width);

	switch (encoding) {
	case ROW_F32:
		memcpy(out, in, count * sizeof(float));
		break;
	case ROW_F16:
		encode_f16(in, count, out);
		break;
	case ROW_BF16:
		encode_bf16(in, count, out);
		break;
	default:
		assert(encoding == ROW_INT8);
		for (uint32_t i = 0; i < rows; i++)
			encode_int8(in + (uint64_t)i * width, width, (uint8_t *)out + i * bytes);
	}
}

void row_decode(enum row_encoding encoding, const void *in, uint32_t rows, uint32_t width,
		float *out)
{
	uint64_t count = (uint64_t)rows * width, bytes = row_bytes(encoding, width);

	switch (encoding) {
	case ROW_F32:
		memcpy(out, in, count * sizeof(float));
		break;
	case ROW_F16:
		decode_f16(in, count, out);
		break;
	case ROW_BF16:
		decode_bf16(in, count, out);
		break;
	default:
		assert(encoding == ROW_INT8);
		for (uint32_t i = 0; i < rows; i++)
			decode_int8((const uint8_t *)in + i * bytes, width,
				    out + (uint64_t)i * width);
	}
}

static void round_int8(float *row, uint32_t width)
{
	uint8_t block[SCALE_BYTES + BLOCK];

	for (uint32_t at = 0, count; at < width; at += count) {
		count = MIN((uint32_t)BLOCK, width - at);
		encode_block(row + at, count, block);
		decode_block(block, count, row + at);
	}
}

void row_round(enum row_encoding encoding, float *rows_in_out, uint32_t rows, uint32_t width)
{
	uint64_t count = (uint64_t)rows * width;

	switch (encoding) {
	case ROW_F32:
		break;
	case ROW_F16:
		for (uint64_t i = 0; i < count; i++)
			rows_in_out[i] = f32_of_f16(f16_of_f32(rows_in_out[i]));
		break;
	case ROW_BF16:
		for (uint64_t i = 0; i < count; i++)
			rows_in_out[i] = f32_of_bf16(bf16_of_f32(rows_in_out[i]));
		break;
	default:
		assert(encoding == ROW_INT8);
		for (uint32_t i = 0; i < rows; i++)
			round_int8(rows_in_out + (uint64_t)i * width, width);
	}
}
