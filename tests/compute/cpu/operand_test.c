/* operand_test.c - prepared activations hold what kernels.h and path.h say, on every path. */
#include "compute/cpu/kernels.h"

#include <math.h>

#include "compute/cpu/path.h"
#include "dataplane/base/memory.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

/* Goal: every path and team prepares the same bytes, for odd shapes too, and fills
 * exactly operand_bytes().
 */
TEST(operand_prepare__paths_agree_to_the_bit)
{
	static const enum operand_format formats[] = { OPERAND_F32, OPERAND_BF16, OPERAND_INT8 };
	struct team *teams[2];
	struct random r;

	random_seed(&r, test_seed());
	kernels_thread_init();
	CHECK_EQ(team_open(&teams[0], 1), 0);
	CHECK_EQ(team_open(&teams[1], 2), 0);
	for (int i = 0; i < 60; i++) {
		enum operand_format f = formats[i % ARRAY_LENGTH(formats)];
		uint32_t rows = numbers_between(&r, 1, 40), columns = numbers_between(&r, 1, 200);
		uint64_t bytes = operand_bytes(f, rows, columns);
		float *x = numbers_new(&r, (size_t)rows * columns, 10);
		uint8_t *want = numbers_poison(bytes), *got = numbers_poison(bytes + 64);

		operand_prepare(kernels_path(PATH_PORTABLE), teams[0], f, x, rows, columns, want);
		for (int p = 0; p < PATHS; p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);

			if (!k)
				continue;
			memset(got, 0xff, bytes + 64);
			operand_prepare(k, teams[i % 2], f, x, rows, columns, got);
			CHECK_BYTES(got, want, bytes);
			for (int j = 0; j < 64; j++)
				CHECK_EQ(got[bytes + j], 0xff);
		}
		mem_free(x);
		mem_free(want);
		mem_free(got);
	}
	team_close(teams[1]);
	team_close(teams[0]);
}

/* Goal: float operands are the rows interleaved by tiles; bf16 is rounded to nearest
 * even in pairs, an odd last column beside a zero.
 */
TEST(operand_prepare__interleaves_rows)
{
	enum { ROWS = 17, COLUMNS = 37 };
	static uint32_t f32[ROWS * COLUMNS], bf16[ROWS * (COLUMNS + 1) / 2];
	struct random r;
	struct team *t;
	float *x;

	random_seed(&r, test_seed() + 1);
	kernels_thread_init();
	x = numbers_new(&r, ROWS * COLUMNS, 1);
	CHECK_EQ(team_open(&t, 1), 0);
	CHECK_EQ(operand_bytes(OPERAND_F32, ROWS, COLUMNS), sizeof(f32));
	CHECK_EQ(operand_bytes(OPERAND_BF16, ROWS, COLUMNS), sizeof(bf16));
	operand_prepare(kernels_best(), t, OPERAND_F32, x, ROWS, COLUMNS, f32);
	operand_prepare(kernels_best(), t, OPERAND_BF16, x, ROWS, COLUMNS, bf16);
	/* 17 rows are tiles of 9 and 8. */
	for (uint32_t row = 0; row < ROWS; row++) {
		uint32_t first = row < 9 ? 0 : 9, rows = row < 9 ? 9 : 8;

		for (uint32_t k = 0; k < COLUMNS; k++) {
			uint32_t at = first * ((COLUMNS + 1) / 2) + k / 2 * rows + row - first;
			uint32_t odd = k + 1 < COLUMNS ? bf16_of_f32(x[row * COLUMNS + k + 1]) : 0;

			CHECK_EQ(f32[first * COLUMNS + k * rows + row - first],
				 f32_bits(x[row * COLUMNS + k]));
			if (k % 2 == 0)
				CHECK_EQ(bf16[at], bf16_of_f32(x[row * COLUMNS + k]) | odd << 16);
		}
	}
	mem_free(x);
	team_close(t);
}

/* Goal: a quantised group holds da = absmax / 127 and nearest integers; a group of zeros
 * or of next to nothing is 0; one that is not finite carries that in its scale.
 */
TEST(operand_prepare__quantises_groups)
{
	alignas(64) uint8_t operand[4 * OPERAND_GROUP_BYTES];
	float x[4 * GROUP] = { 0 };
	struct random r;
	struct team *t;

	random_seed(&r, test_seed() + 2);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 1), 0);
	numbers_fill(&r, x, GROUP, 1);
	x[5] = -4;                              /* the largest: da = 4 / 127 */
	x[GROUP] = 1e-35f;
	x[2 * GROUP + 3] = NAN;
	x[3 * GROUP + 3] = -INFINITY;
	operand_prepare(kernels_best(), t, OPERAND_INT8, x, 1, 4 * GROUP, operand);
	for (int g = 0; g < 4; g++) {
		const uint8_t *group = operand + g * OPERAND_GROUP_BYTES;
		float da, das;
		int32_t sum = 0, kept;

		memcpy(&da, group, 4);
		memcpy(&das, group + 4, 4);
		memcpy(&kept, group + 8, 4);
		for (int i = 0; i < GROUP; i++) {
			int8_t q = (int8_t)group[12 + i];

			CHECK_EQ(q, g ? 0 : (int)nearbyintf(x[i] * (127.0f / 4)));
			sum += q;
		}
		CHECK_EQ(kept, -8 * sum);
		if (g == 0)
			CHECK(da == 4 / 127.0f && das == da * (float)sum);
		else if (g == 1)
			CHECK(da == 0 && das == 0);
		else
			CHECK(!isfinite(da));
	}
	team_close(t);
}
