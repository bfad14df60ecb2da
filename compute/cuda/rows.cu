/* rows.cu - rows of the batch in and out of the encodings they travel in (row.h), the
 * rounding between blocks, and operands.
 *
 * Rows are read where they landed and written where they leave from, host memory or not.
 * Encodings are 4-, 2- or 1-aligned as their numbers are.
 */
#include "compute/cuda/common.cuh"

enum { BLOCK = 64, SCALE_BYTES = 4 };   /* of ROW_INT8 */

DEVICE float scale_load(const uint8_t *at)
{
	uint32_t bits = 0;

	for (int i = 0; i < SCALE_BYTES; i++)
		bits |= (uint32_t)at[i] << 8 * i;
	return __uint_as_float(bits);
}

DEVICE void scale_store(uint8_t *at, float scale)
{
	for (int i = 0; i < SCALE_BYTES; i++)
		at[i] = (uint8_t)(__float_as_uint(scale) >> 8 * i);
}

/* Where number i of an int8 row's block begins: its scale. */
DEVICE const uint8_t *int8_block(const uint8_t *row, uint32_t i)
{
	return row + i / BLOCK * (SCALE_BYTES + BLOCK);
}

DEVICE float number_in(const uint8_t *row, uint32_t encoding, uint32_t i)
{
	const uint8_t *block;

	switch (encoding) {
	case ROW_F32:
		return ((const float *)row)[i];
	case ROW_F16:
		return f16_value(((const uint16_t *)row)[i]);
	case ROW_BF16:
		return bf16_value(((const uint16_t *)row)[i]);
	default:
		block = int8_block(row, i);
		return (float)(int8_t)block[SCALE_BYTES + i % BLOCK] * scale_load(block);
	}
}

/* The scale of the block of `count` numbers, as row.c finds it; by a whole warp. */
DEVICE float block_scale(const float *x, uint32_t count)
{
	uint32_t lane = threadIdx.x % WARP, most = 0;
	float scale;

	for (uint32_t i = lane; i < count; i += WARP)
		most = max(most, __float_as_uint(x[i]) & 0x7fffffff);
	for (int i = WARP / 2; i > 0; i /= 2)
		most = max(most, __shfl_xor_sync(ALL_LANES, most, i));
	if (most >= 0x7f800000)
		return __uint_as_float(0x7fc00000);
	scale = __uint_as_float(most) / 127.0f;
	return scale < 1.17549435e-38f ? 0.0f : scale;
}

/* A sum with 1.5 * 2^23 has the nearest integer, ties to even, in its low bits. */
DEVICE int8_t block_number(float x, float scale)
{
	const float shift = 12582912.0f;

	if (!(scale > 0.0f))
		return 0;
	return (int8_t)(__float_as_uint(x / scale + shift) - __float_as_uint(shift));
}

DEVICE void int8_out(const float *x, uint32_t width, uint8_t *row)
{
	uint32_t lane = threadIdx.x % WARP;

	for (uint32_t at = column_first() / WARP * BLOCK; at < width;
	     at += column_step() / WARP * BLOCK) {
		uint32_t count = min((uint32_t)BLOCK, width - at);
		uint8_t *block = row + at / BLOCK * (SCALE_BYTES + BLOCK);
		float scale = block_scale(x + at, count);

		if (lane == 0)
			scale_store(block, scale);
		for (uint32_t i = lane; i < count; i += WARP)
			block[SCALE_BYTES + i] = (uint8_t)block_number(x[at + i], scale);
	}
}

KERNEL(row_in)(const struct row_in_args a)
{
	const struct cuda_row *row = &a.row[blockIdx.x];
	uint64_t r = blockIdx.x;

	wait_for_previous();
	let_next_start();
	for (uint32_t i = column_first(); i < a.hidden; i += column_step())
		a.x[r * a.hidden + i] = row->in ? number_in(row->in, row->in_encoding, i) : 0.0f;
	for (uint32_t i = column_first(); i < a.half; i += column_step()) {
		double angle = (double)((float)row->position * a.frequencies[i]);

		a.cosines[r * a.half + i] = (float)cos(angle);
		a.sines[r * a.half + i] = (float)sin(angle);
	}
}

KERNEL(row_out)(const struct row_out_args a)
{
	const struct cuda_row *row = &a.row[blockIdx.x];
	const float *x = a.x + (uint64_t)blockIdx.x * a.hidden;

	wait_for_previous();
	let_next_start();
	if (!row->out)
		return;
	if (row->out_encoding == ROW_INT8) {
		int8_out(x, a.hidden, row->out);
		return;
	}
	for (uint32_t i = column_first(); i < a.hidden; i += column_step()) {
		if (row->out_encoding == ROW_F32)
			((float *)row->out)[i] = x[i];
		else
			((uint16_t *)row->out)[i] = row->out_encoding == ROW_F16 ?
				f16_bits(x[i]) : bf16_bits(x[i]);
	}
}

DEVICE void int8_round(float *x, uint32_t width)
{
	uint32_t lane = threadIdx.x % WARP;

	for (uint32_t at = column_first() / WARP * BLOCK; at < width;
	     at += column_step() / WARP * BLOCK) {
		uint32_t count = min((uint32_t)BLOCK, width - at);
		float scale = block_scale(x + at, count);

		for (uint32_t i = lane; i < count; i += WARP)
			x[at + i] = (float)block_number(x[at + i], scale) * scale;
	}
}

KERNEL(row_round)(const struct row_round_args a)
{
	float *x = a.x + (uint64_t)blockIdx.x * a.hidden;

	wait_for_previous();
	let_next_start();
	if (a.encoding == ROW_INT8) {
		int8_round(x, a.hidden);
		return;
	}
	for (uint32_t i = column_first(); i < a.hidden; i += column_step())
		x[i] = a.encoding == ROW_F16 ? f16_value(f16_bits(x[i])) :
					       bf16_value(bf16_bits(x[i]));
}

KERNEL(operand)(const struct operand_args a)
{
	uint64_t r = blockIdx.x;

	wait_for_previous();
	let_next_start();
	for (uint32_t i = column_first(); i < a.columns; i += column_step())
		operand_store(a.out, r * a.stride + i, a.x[r * a.columns + i], a.bf16);
	operand_pad(a.out, r, a.columns, a.stride, a.bf16);
}
