/* row_test.c - rows in every encoding, there and back. */
#include "compute/row.h"

#include <math.h>

#include "dataplane/base/random.h"
#include "tests/test.h"

enum { ROWS = 3, WIDTH_MAX = 200 };

static const enum row_encoding float_encodings[] = { ROW_F32, ROW_F16, ROW_BF16, ROW_INT8 };

static void fill(float *out, uint32_t count, uint64_t seed)
{
	struct random r;

	random_seed(&r, seed);
	for (uint32_t i = 0; i < count; i++)
		out[i] = (float)((random_unit(&r) - 0.5) * (1 << random_below(&r, 6)));
}

/* Goal: sizes are what the wire counts, short last block included. */
TEST(row_bytes__counts_numbers_and_scales)
{
	CHECK_EQ(row_bytes(ROW_NONE, 100), 0);
	CHECK_EQ(row_bytes(ROW_F32, 576), 2304);
	CHECK_EQ(row_bytes(ROW_F16, 576), 1152);
	CHECK_EQ(row_bytes(ROW_BF16, 576), 1152);
	CHECK_EQ(row_bytes(ROW_INT8, 576), 9 * 68);
	CHECK_EQ(row_bytes(ROW_INT8, 1), 5);
	CHECK_EQ(row_bytes(ROW_INT8, 64), 68);
	CHECK_EQ(row_bytes(ROW_INT8, 65), 73);
	CHECK_EQ(row_bytes(ROW_TOKENS, 1), 4);
	CHECK(row_bytes(ROW_F32, UINT32_MAX) == 4 * (uint64_t)UINT32_MAX);
	CHECK_TEXT(row_encoding_name(ROW_BF16), "bf16");
	CHECK_TEXT(row_encoding_name(99), "unknown");
}

/* Goal: decode(encode(x)) is row_round(x), twice the same, and stays inside its
 * bytes, for every width.
 */
TEST(row__encode_decode_equals_round)
{
	float in[ROWS * WIDTH_MAX], out[ROWS * WIDTH_MAX], rounded[ROWS * WIDTH_MAX];
	uint8_t bytes[2][ROWS * WIDTH_MAX * 4 + 8];
	size_t size;

	for (uint32_t width = 1; width <= WIDTH_MAX; width++) {
		fill(in, ROWS * width, test_seed() + width);
		for (size_t i = 0; i < ARRAY_LENGTH(float_encodings); i++) {
			size = ROWS * row_bytes(float_encodings[i], width);
			memset(bytes[0], 0xee, sizeof(bytes[0]));
			row_encode(float_encodings[i], in, ROWS, width, bytes[0]);
			CHECK_EQ(bytes[0][size], 0xee);
			row_encode(float_encodings[i], in, ROWS, width, bytes[1]);
			CHECK_BYTES(bytes[0], bytes[1], size);
			row_decode(float_encodings[i], bytes[0], ROWS, width, out);
			memcpy(rounded, in, sizeof(in));
			row_round(float_encodings[i], rounded, ROWS, width);
			CHECK_BYTES(out, rounded, ROWS * width * sizeof(float));
		}
	}
}

/* Goal: what was rounded once does not change any more (f32, f16, bf16), and
 * errors keep within half a step of the encoding.
 */
TEST(row__rounding_is_to_nearest)
{
	float in[WIDTH_MAX], out[WIDTH_MAX], most = 0;

	fill(in, WIDTH_MAX, test_seed());
	for (size_t i = 0; i < ARRAY_LENGTH(float_encodings); i++) {
		memcpy(out, in, sizeof(in));
		row_round(float_encodings[i], out, 1, WIDTH_MAX);
		for (int n = 0; n < WIDTH_MAX; n++) {
			double error = fabs((double)out[n] - (double)in[n]);

			if (float_encodings[i] == ROW_F32)
				CHECK(error == 0);
			if (float_encodings[i] == ROW_F16)
				CHECK(error <= fabs((double)in[n]) / 2048 + 1e-7);
			if (float_encodings[i] == ROW_BF16)
				CHECK(error <= fabs((double)in[n]) / 256);
		}
	}
	for (int n = 0; n < 64; n++)
		most = fmaxf(most, fabsf(in[n]));
	for (int n = 0; n < 64; n++)
		CHECK(fabsf(out[n] - in[n]) <= most / 127 * 0.5001f);
}

/* Goal: bf16 agrees with the single-number conversion for every kind of bits,
 * in whole chunks and in the rest.
 */
TEST(row__bf16_is_bf16_of_f32)
{
	struct random r;
	float in[37];
	uint16_t out[37];

	random_seed(&r, test_seed());
	for (int round = 0; round < 3000; round++) {
		for (int i = 0; i < 37; i++)
			in[i] = f32_of_bits((uint32_t)random_u64(&r));
		in[0] = f32_of_bits(0x7f800001u);       /* NaN whose top bits are infinity's */
		in[1] = f32_of_bits(0x3f808000u);       /* ties, to even both ways */
		in[2] = f32_of_bits(0x3f818000u);
		row_encode(ROW_BF16, in, 1, 37, out);
		for (int i = 0; i < 37; i++)
			CHECK_EQ(out[i], bf16_of_f32(in[i]));
		CHECK_EQ(out[1], 0x3f80);
		CHECK_EQ(out[2], 0x3f82);
	}
}

/* Goal: INT8 puts the scale first, ties go to even, extremes reach 127. */
TEST(row__int8_layout)
{
	const float in[5] = { 127.0f, -127.0f, 0.5f, 1.5f, -2.5f };
	const int8_t expected[5] = { 127, -127, 0, 2, -2 };
	uint8_t out[9];
	float scale;

	row_encode(ROW_INT8, in, 1, 5, out);
	memcpy(&scale, out, 4);
	CHECK(scale == 1.0f);
	CHECK_BYTES(out + 4, expected, 5);
}

/* Goal: zeros stay zeros; tiny numbers vanish; what is not finite stays seen. */
TEST(row__int8_edge_numbers)
{
	float row[64] = { 0 };

	row_round(ROW_INT8, row, 1, 64);
	for (int i = 0; i < 64; i++)
		CHECK(row[i] == 0.0f && !signbit(row[i]));
	row[3] = 1e-39f;
	row_round(ROW_INT8, row, 1, 64);
	CHECK(row[3] == 0.0f);
	row[5] = 3e38f;
	row[6] = -3e38f;
	row_round(ROW_INT8, row, 1, 64);
	CHECK(row[5] > 2.99e38f && row[6] == -row[5]);
	row[5] = INFINITY;
	row_round(ROW_INT8, row, 1, 64);
	for (int i = 0; i < 64; i++)
		CHECK(isnan(row[i]));
}
