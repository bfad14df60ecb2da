/* dtype.c - the table of storage types and their widening to f32.
 *
 * Rows are read with memcpy(): a checkpoint may place tensors at any byte.
 */
#include "compute/model/dtype.h"

const struct dtype_row dtypes[DTYPE_COUNT] = {
	/*               name    group   bytes */
	[DTYPE_F32]  = { "f32",  1,      4 },
	[DTYPE_F16]  = { "f16",  1,      2 },
	[DTYPE_BF16] = { "bf16", 1,      2 },
	[DTYPE_Q8_0] = { "q8_0", GROUP,  2 + GROUP },
	[DTYPE_Q4_0] = { "q4_0", GROUP,  2 + GROUP / 2 },
	[DTYPE_Q4_1] = { "q4_1", GROUP,  4 + GROUP / 2 },
};

static inline uint16_t load_u16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

float f32_of_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exponent = h >> 10 & 0x1f, fraction = h & 0x3ff;

	if (exponent == 0x1f)   /* infinity; a NaN becomes quiet, as the hardware's does */
		return f32_of_bits(sign | 0x7f800000 | fraction << 13 |
				   (fraction ? 0x400000 : 0));
	if (exponent == 0) {    /* zero or subnormal: fraction x 2^-24, exact in f32 */
		float f = (float)fraction * 0x1p-24f;

		return sign ? -f : f;
	}
	return f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t f16_of_f32(float f)
{
	uint32_t bits = f32_bits(f);
	uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;

	if (magnitude > 0x7f800000)     /* NaN: quiet, payload cut */
		return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
	if (magnitude >= 0x477ff000)    /* 65520 and more round to infinity */
		return (uint16_t)(sign | 0x7c00);
	if (magnitude < 0x38800000) {   /* below 2^-14: a multiple of 2^-24 */
		/* Adding 0.5 leaves the multiple, rounded to even by the
		 * hardware, in the low bits of the sum.
		 */
		float sum = f32_of_bits(magnitude) + 0.5f;

		return (uint16_t)(sign | (f32_bits(sum) - f32_bits(0.5f)));
	}
	magnitude += 0xfff + (magnitude >> 13 & 1);
	return (uint16_t)(sign | (magnitude - ((uint32_t)112 << 23)) >> 13);
}

static void widen_q8_0(const uint8_t *in, uint64_t columns, float *out)
{
	for (; columns; columns -= GROUP, in += 2 + GROUP, out += GROUP) {
		float d = f32_of_f16(load_u16(in));

		for (int i = 0; i < GROUP; i++)
			out[i] = d * (float)(int8_t)in[2 + i];
	}
}

static void widen_q4_0(const uint8_t *in, uint64_t columns, float *out)
{
	for (; columns; columns -= GROUP, in += 2 + GROUP / 2, out += GROUP) {
		float d = f32_of_f16(load_u16(in));

		for (int i = 0; i < GROUP / 2; i++) {
			out[i] = d * (float)((in[2 + i] & 15) - 8);
			out[i + GROUP / 2] = d * (float)((in[2 + i] >> 4) - 8);
		}
	}
}

static void widen_q4_1(const uint8_t *in, uint64_t columns, float *out)
{
	for (; columns; columns -= GROUP, in += 4 + GROUP / 2, out += GROUP) {
		float d = f32_of_f16(load_u16(in)), m = f32_of_f16(load_u16(in + 2));

		for (int i = 0; i < GROUP / 2; i++) {
			out[i] = d * (float)(in[4 + i] & 15) + m;
			out[i + GROUP / 2] = d * (float)(in[4 + i] >> 4) + m;
		}
	}
}

void dtype_widen(enum dtype d, const void *row, uint64_t columns, float *out)
{
	const uint8_t *in = row;

	assert(columns % dtypes[d].group == 0);
	switch (d) {
	case DTYPE_F32:
		memcpy(out, in, columns * sizeof(*out));
		return;
	case DTYPE_F16:
		for (uint64_t i = 0; i < columns; i++)
			out[i] = f32_of_f16(load_u16(in + 2 * i));
		return;
	case DTYPE_BF16:
		for (uint64_t i = 0; i < columns; i++)
			out[i] = f32_of_bf16(load_u16(in + 2 * i));
		return;
	case DTYPE_Q8_0:
		widen_q8_0(in, columns, out);
		return;
	case DTYPE_Q4_0:
		widen_q4_0(in, columns, out);
		return;
	case DTYPE_Q4_1:
		widen_q4_1(in, columns, out);
		return;
	case DTYPE_COUNT:
		break;
	}
	assert(!"a row of dtypes[]");
}
