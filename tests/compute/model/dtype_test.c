/* dtype_test.c - every half, the roundings, the group formats. */
#include "tests/test.h"

#include <math.h>

#include "compute/model/dtype.h"
#include "dataplane/base/random.h"

/* Goal: all 65536 halves widen exactly, and narrow back to themselves. */
TEST(f32_of_f16__every_half)
{
	for (uint32_t h = 0; h <= 0xffff; h++) {
		float f = f32_of_f16((uint16_t)h);
		double fraction = h & 0x3ff, exact;
		int exponent = h >> 10 & 0x1f;

		if (exponent == 31) {
			CHECK(fraction != 0 ? isnan(f) : isinf(f));
			CHECK_EQ(signbit(f) != 0, h >> 15);
			if (!isnan(f))
				CHECK_EQ(f16_of_f32(f), h);
			else
				CHECK((f16_of_f32(f) & 0x7fff) > 0x7c00);
			continue;
		}
		exact = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
		CHECK(f == (h & 0x8000 ? -exact : exact));
		CHECK_EQ(signbit(f) != 0, h >> 15);
		CHECK_EQ(f16_of_f32(f), h);
	}
}

/* Goal: any float goes to the nearest half, halves in the middle to the even. */
TEST(f16_of_f32__nearest_even)
{
	struct random r;

	CHECK_EQ(f16_of_f32(65504), 0x7bff);
	CHECK_EQ(f16_of_f32(65519.996f), 0x7bff);
	CHECK_EQ(f16_of_f32(65520), 0x7c00);
	CHECK_EQ(f16_of_f32(-1e30f), 0xfc00);
	CHECK_EQ(f16_of_f32(1 + 0x1p-11f), 0x3c00);
	CHECK_EQ(f16_of_f32(1 + 3 * 0x1p-11f), 0x3c02);
	CHECK_EQ(f16_of_f32(0x1p-25f), 0);
	CHECK_EQ(f16_of_f32(0x1.000002p-25f), 1);
	CHECK_EQ(f16_of_f32(3 * 0x1p-25f), 2);
	CHECK_EQ(f16_of_f32(-0x1p-26f), 0x8000);
	random_seed(&r, test_seed());
	for (int i = 0; i < 200000; i++) {
		/* Exponents around those of halves. */
		uint32_t bits = (uint32_t)random_u64(&r) & 0x807fffff;
		float f = f32_of_bits(bits | (uint32_t)(100 + random_below(&r, 45)) << 23);
		uint16_t h = f16_of_f32(f);
		double here = fabs((double)f - f32_of_f16(h));

		if ((h & 0x7fff) == 0x7c00) {
			CHECK(fabsf(f) >= 65520);
			continue;
		}
		for (int step = -1; step <= 1; step += 2) {
			uint16_t other = (uint16_t)(h + step);
			double there = fabs((double)f - f32_of_f16(other));

			if ((h & 0x7fff) + step < 0 || (other & 0x7fff) >= 0x7c00)
				continue;
			CHECK(here < there || (here == there && !(h & 1)));
		}
	}
}

/* Goal: bf16 rounds to the nearest, ties to even, and keeps NaN a NaN. */
TEST(bf16_of_f32__nearest_even)
{
	CHECK_EQ(bf16_of_f32(1), 0x3f80);
	CHECK_EQ(bf16_of_f32(f32_of_bits(0x3f808000)), 0x3f80);
	CHECK_EQ(bf16_of_f32(f32_of_bits(0x3f818000)), 0x3f82);
	CHECK_EQ(bf16_of_f32(f32_of_bits(0x3f808001)), 0x3f81);
	CHECK_EQ(bf16_of_f32(-INFINITY), 0xff80);
	CHECK(isnan(f32_of_bf16(bf16_of_f32(f32_of_bits(0x7f800001)))));
	for (uint32_t b = 0; b <= 0xffff; b++)
		if (!isnan(f32_of_bf16((uint16_t)b)))
			CHECK_EQ(bf16_of_f32(f32_of_bf16((uint16_t)b)), b);
}

/* Goal: sizes of rows are those of the published formats. */
TEST(dtype_row_bytes__published_sizes)
{
	CHECK_EQ(dtype_row_bytes(DTYPE_F32, 3), 12);
	CHECK_EQ(dtype_row_bytes(DTYPE_BF16, 3), 6);
	CHECK_EQ(dtype_row_bytes(DTYPE_Q8_0, 64), 68);
	CHECK_EQ(dtype_row_bytes(DTYPE_Q4_0, 64), 36);
	CHECK_EQ(dtype_row_bytes(DTYPE_Q4_1, 64), 40);
	CHECK_EQ(dtype_row_bytes(DTYPE_Q4_1, 1ull << 40), (1ull << 40) / 32 * 20);
}

/* Goal: groups widen to d x q (+ m), low halves of the bytes first, at any
 * address.
 */
TEST(dtype_widen__groups)
{
	uint8_t row[2 * 40 + 1], *at = row + 1;
	float out[64];

	for (int group = 0; group < 2; group++) {       /* d = 0.5 */
		uint8_t *g = at + group * 34;

		memcpy(g, "\x00\x38", 2);
		for (int i = 0; i < 32; i++)
			g[2 + i] = (uint8_t)(group ? 127 - i : i - 128);
	}
	dtype_widen(DTYPE_Q8_0, at, 64, out);
	for (int i = 0; i < 32; i++) {
		CHECK(out[i] == 0.5f * (float)(i - 128));
		CHECK(out[32 + i] == 0.5f * (float)(127 - i));
	}
	memcpy(at, "\x00\xc0", 2);                      /* d = -2 */
	for (int i = 0; i < 16; i++)
		at[2 + i] = (uint8_t)(i | (15 - i) << 4);
	dtype_widen(DTYPE_Q4_0, at, 32, out);
	for (int i = 0; i < 16; i++) {
		CHECK(out[i] == -2.0f * (float)(i - 8));
		CHECK(out[16 + i] == -2.0f * (float)(7 - i));
	}
	memcpy(at, "\x00\xc0\x00\x3c", 4);              /* d = -2, m = 1 */
	for (int i = 0; i < 16; i++)
		at[4 + i] = (uint8_t)(i | (15 - i) << 4);
	dtype_widen(DTYPE_Q4_1, at, 32, out);
	for (int i = 0; i < 16; i++) {
		CHECK(out[i] == -2.0f * (float)i + 1);
		CHECK(out[16 + i] == -2.0f * (float)(15 - i) + 1);
	}
}

/* Goal: plain rows widen exactly, at odd addresses too. */
TEST(dtype_widen__plain)
{
	uint8_t row[13];
	float in[3] = { 1.5f, -0x1p-20f, 3e8f }, out[3];
	uint16_t halves[3] = { 0x3e00, 0x8010, 0x7bff }, wide[3] = { 0x3fc0, 0xb580, 0x4d8f };

	memcpy(row + 1, in, sizeof(in));
	dtype_widen(DTYPE_F32, row + 1, 3, out);
	CHECK_BYTES(out, in, sizeof(in));
	memcpy(row + 1, halves, sizeof(halves));
	dtype_widen(DTYPE_F16, row + 1, 3, out);
	CHECK(out[0] == 1.5f && out[1] == -0x1p-20f && out[2] == 65504);
	memcpy(row + 1, wide, sizeof(wide));
	dtype_widen(DTYPE_BF16, row + 1, 3, out);
	CHECK(out[0] == 1.5f && out[1] == -0x1p-20f);
}
