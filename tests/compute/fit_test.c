/* fit_test.c - the arithmetic of what fits, against published sizes. */
#include "compute/fit.h"

#include <string.h>

#include "tests/test.h"

static const struct fit_shape *shape(const char *name)
{
	for (uint32_t i = 0; i < fit_shape_count; i++)
		if (strcmp(fit_shapes[i].name, name) == 0)
			return &fit_shapes[i];
	fail_msg("no shape %s", name);
	return NULL;
}

static const struct fit_format *format(const char *name)
{
	for (uint32_t i = 0; i < fit_format_count; i++)
		if (strcmp(fit_formats[i].name, name) == 0)
			return &fit_formats[i];
	fail_msg("no format %s", name);
	return NULL;
}

/* Goal: weights per block are those of the published models (1e9: 2.466, 0.856, 3.188). */
TEST(fit_block_weights__published_models)
{
	CHECK_EQ(fit_block_weights(shape("bloom-176b")) / 1000000, 2466);
	CHECK_EQ(fit_block_weights(shape("llama-2-70b")) / 1000000, 855);
	CHECK_EQ(fit_block_weights(shape("llama-3.1-405b")) / 1000000, 3187);
	CHECK_EQ(fit_token_bytes(shape("bloom-176b"), format("bf16")), 57344);
	CHECK_EQ(fit_token_bytes(shape("llama-2-70b"), format("bf16")), 4096);
}

/* Goal: never more than the model has, none where none fits, fewer with more tokens. */
TEST(fit_blocks__bounds)
{
	const struct fit_shape *bloom = shape("bloom-176b");
	const struct fit_format *bf16 = format("bf16");
	uint64_t each = fit_block_bytes(bloom, bf16);

	CHECK_EQ(fit_blocks(bloom, bf16, 1ull << 50, 0), 70);
	CHECK_EQ(fit_blocks(bloom, bf16, 0, 0), 0);
	CHECK_EQ(fit_blocks(bloom, bf16, each, 0), 0);
	CHECK_EQ(fit_blocks(bloom, bf16, each * 20 / 19 + 20, 0), 1);
}

/* Goal: what fits an 80 GB card is what tools/diary.md says. */
TEST(fit_blocks__of_bloom_on_80_gb)
{
	static const struct { uint64_t tokens; uint32_t fit[6]; } rows[] = {
		/*          f32 bf16 int8 q8_0 q4_1 int4 */
		{ 0,      { 7,  15,  30,  29,  49,  54 } },
		{ 2048,   { 7,  15,  29,  27,  45,  50 } },
		{ 8192,   { 7,  14,  25,  24,  37,  40 } },
		{ 32768,  { 5,  11,  17,  16,  22,  23 } },
		{ 65536,  { 4,  8,   12,  11,  14,  14 } },
		{ 131072, { 3,  6,   7,   7,   8,   8 } },
	};
	const struct fit_shape *bloom = shape("bloom-176b");

	CHECK_EQ(fit_format_count, ARRAY_LENGTH(rows[0].fit));
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		for (uint32_t f = 0; f < fit_format_count; f++)
			CHECK_EQ(fit_blocks(bloom, &fit_formats[f], 80000000000, rows[i].tokens),
				 rows[i].fit[f]);
}
