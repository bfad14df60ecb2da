/* layout_test.c - every weight is where layout.h draws it. */
#include "compute/cuda/layout.h"

#include "compute/fit.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

/* The drawing, read back: weight `k` of feature `n` of a record, less the scales. */
static int number_of(enum cuda_format f, const uint8_t *record, uint32_t n, uint32_t k)
{
	static const uint32_t bytes[] = { 0, 2, 1, 3 };
	static const uint32_t nibbles[] = { 0, 4, 1, 5, 2, 6, 3, 7 };
	uint32_t g = n % 8, t = k / 8, lane = g * 4 + t;
	const uint8_t *at;

	if (f == CUDA_INT8 || f == CUDA_Q8_0) {
		at = record + n / 16 * 512 + lane * 16;
		at += (n % 16 >= 8 ? 8 : 0) + (k % 8 >= 4 ? 4 : 0);
		return (int8_t)at[bytes[k % 4]];
	}
	at = record + lane * 16 + n / 8 * 4;
	return at[nibbles[k % 8] / 2] >> nibbles[k % 8] % 2 * 4 & 15;
}

static float f16_at(const uint8_t *at)
{
	uint16_t h;

	memcpy(&h, at, sizeof(h));
	return f32_of_f16(h);
}

static float value_of(enum cuda_format f, const uint8_t *record, float row_scale, uint32_t n,
		      uint32_t k)
{
	const uint8_t *scales = record + TILE_VALUES_BYTES(f);
	uint32_t place = n % 8 * 4 + n / 8;
	uint16_t h;

	switch (f) {
	case CUDA_BF16:
	case CUDA_F16:
		memcpy(&h, record + n / 8 * 512 + (n % 8 * 4 + k / 8) * 16 + k % 8 * 2, sizeof(h));
		return f == CUDA_F16 ? f32_of_f16(h) : f32_of_bf16(h);
	case CUDA_INT8:
		return row_scale * (float)number_of(f, record, n, k);
	case CUDA_Q8_0:
		return f16_at(scales + place * 2) * (float)number_of(f, record, n, k);
	case CUDA_Q4_0:
		return f16_at(scales + place * 2) * (float)(number_of(f, record, n, k) - 8);
	default:
		return f16_at(scales + place * 4) * (float)number_of(f, record, n, k) +
		       f16_at(scales + place * 4 + 2);
	}
}

static void check_band(const struct gpu_weights *w, uint32_t first)
{
	uint32_t rows = w->weight.rows, columns = w->weight.columns;
	uint8_t *band = mem_alloc(cuda_layout_band_bytes(w->format, columns));
	void *scratch = mem_alloc(cuda_layout_scratch_bytes(w->format, columns));
	float scales[TILE_FEATURES];
	bool scaled = w->format == CUDA_INT8;

	memset(band, 0xff, cuda_layout_band_bytes(w->format, columns));
	cuda_layout_band(w->format, &w->weight, first, band, scaled ? scales : NULL, scratch);
	for (uint32_t n = 0; n < TILE_FEATURES; n++)
		for (uint32_t k = 0; k < align_up(columns, TILE_COLUMNS); k++) {
			bool there = first + n < rows && k < columns;
			float is = value_of(w->format, band + k / 32 * TILE_BYTES(w->format),
					    scaled ? scales[n] : 0, n, k % 32);
			float expect = there ? w->values[(size_t)(first + n) * columns + k] : 0;

			if (is != expect)
				fail_msg("%s: feature %u, k %u is %g, not %g",
					 cuda_format_name(w->format), first + n, k, (double)is,
					 (double)expect);
		}
	mem_free(band);
	mem_free(scratch);
}

static struct weight transposed(const struct weight *w)
{
	uint32_t bytes = dtypes[w->dtype].group_bytes;
	uint8_t *data = mem_alloc((size_t)w->rows * w->columns * bytes);
	struct weight t = *w;

	for (uint32_t r = 0; r < w->rows; r++)
		for (uint32_t c = 0; c < w->columns; c++)
			memcpy(data + ((size_t)c * w->rows + r) * bytes,
			       w->data + ((size_t)r * w->columns + c) * bytes, bytes);
	t.data = data;
	t.order = WEIGHT_TRANSPOSED;
	t.stored_columns = w->rows;
	return t;
}

static void check_same_band(enum cuda_format f, const struct weight *a, const struct weight *b,
			    uint32_t first)
{
	uint64_t bytes = cuda_layout_band_bytes(f, a->columns);
	void *scratch = mem_alloc(cuda_layout_scratch_bytes(f, a->columns));
	uint8_t *of_a = mem_alloc(bytes), *of_b = mem_alloc(bytes);
	float scales[2][TILE_FEATURES];
	bool scaled = f == CUDA_INT8;

	cuda_layout_band(f, a, first, of_a, scaled ? scales[0] : NULL, scratch);
	cuda_layout_band(f, b, first, of_b, scaled ? scales[1] : NULL, scratch);
	CHECK_BYTES(of_a, of_b, bytes);
	if (scaled)
		CHECK_BYTES(scales[0], scales[1], sizeof(scales[0]));
	mem_free(of_a);
	mem_free(of_b);
	mem_free(scratch);
}

/* Goal: any matrix, of any format, is laid out as drawn, padding included. */
TEST(layout__is_as_drawn)
{
	struct random r;

	random_seed(&r, test_seed());
	for (int i = 0; i < 60; i++) {
		enum cuda_format f = CUDA_BF16 + (uint32_t)i % (CUDA_FORMATS - CUDA_BF16);
		struct gpu_weights w;

		gpu_weights_open(&w, &r, f, numbers_between(&r, 1, 80),
				 numbers_between(&r, 1, 200));
		for (uint32_t first = 0; first < w.weight.rows; first += TILE_FEATURES)
			check_band(&w, first);
		gpu_weights_close(&w);
	}
}

/* Goal: a matrix that is stored across (GPT-2) is laid out as one that is not, in any format. */
TEST(layout__stored_across)
{
	static const enum dtype dtypes_plain[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };
	struct random r;

	random_seed(&r, test_seed());
	for (size_t i = 0; i < ARRAY_LENGTH(dtypes_plain) * WEIGHT_FORMATS; i++) {
		uint32_t rows = numbers_between(&r, 1, 80), columns = numbers_between(&r, 1, 200);
		struct weight plain, across;
		enum cuda_format f;

		numbers_weight(&r, dtypes_plain[i / WEIGHT_FORMATS], rows, columns, &plain);
		across = transposed(&plain);
		f = cuda_format_of(&across, i % WEIGHT_FORMATS, true, false);
		CHECK_EQ(f, cuda_format_of(&plain, i % WEIGHT_FORMATS, true, false));
		for (uint32_t first = 0; first < rows; first += TILE_FEATURES)
			check_same_band(f, &across, &plain, first);
		mem_free((void *)plain.data);
		mem_free((void *)across.data);
	}
}

/* Goal: rows stay rows, with zeros behind them and below. */
TEST(layout__rows)
{
	struct random r;

	random_seed(&r, test_seed());
	for (enum cuda_format f = CUDA_F32; f <= CUDA_BF16_ROWS; f++) {
		uint32_t size = f == CUDA_F32 ? 4 : 2;
		struct gpu_weights w;
		uint8_t band[TILE_FEATURES * 64 * 4], zeros[TILE_FEATURES * 64 * 4] = { 0 };

		gpu_weights_open(&w, &r, f, 3, 40);
		CHECK_EQ(cuda_layout_band_bytes(f, 40), TILE_FEATURES * 64 * size);
		cuda_layout_band(f, &w.weight, 0, band, NULL, NULL);
		for (uint32_t n = 0; n < 3; n++) {
			CHECK_BYTES(band + n * 64 * size, w.weight.data + n * 40 * size, 40 * size);
			CHECK_BYTES(band + (n * 64 + 40) * size, zeros, 24 * size);
		}
		CHECK_BYTES(band + 3 * 64 * size, zeros, 29 * 64 * size);
		gpu_weights_close(&w);
	}
}

/* Goal: what --weights makes of what a checkpoint stores. */
TEST(layout__formats)
{
	static const struct {
		enum dtype stored; enum weight_format wanted; bool bf16, rows;
		enum cuda_format format;
	} rows[] = {
		{ DTYPE_Q4_1, WEIGHTS_KEEP, false, false, CUDA_F32 },
		{ DTYPE_F32,  WEIGHTS_KEEP, true,  false, CUDA_BF16 },
		{ DTYPE_F16,  WEIGHTS_KEEP, true,  false, CUDA_F16 },
		{ DTYPE_F16,  WEIGHTS_KEEP, true,  true,  CUDA_BF16_ROWS },
		{ DTYPE_BF16, WEIGHTS_KEEP, true,  true,  CUDA_BF16_ROWS },
		{ DTYPE_Q8_0, WEIGHTS_KEEP, true,  true,  CUDA_Q8_0 },
		{ DTYPE_Q4_0, WEIGHTS_KEEP, true,  false, CUDA_Q4_0 },
		{ DTYPE_Q4_1, WEIGHTS_KEEP, true,  false, CUDA_Q4_1 },
		{ DTYPE_Q4_1, WEIGHTS_BF16, true,  false, CUDA_BF16 },
		{ DTYPE_F16,  WEIGHTS_INT8, true,  true,  CUDA_INT8 },
		{ DTYPE_F16,  WEIGHTS_INT4, true,  false, CUDA_Q4_0 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct weight w = { .dtype = rows[i].stored };

		CHECK_EQ(cuda_format_of(&w, rows[i].wanted, rows[i].bf16, rows[i].rows),
			 rows[i].format);
	}
}

static uint64_t block_bytes(const struct fit_shape *s, enum cuda_format f)
{
	uint32_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
	uint64_t up = cuda_layout_bytes(f, s->intermediate, s->hidden);

	return cuda_layout_bytes(f, q, s->hidden) + 2 * cuda_layout_bytes(f, kv, s->hidden) +
	       cuda_layout_bytes(f, s->hidden, q) + (s->gated ? 2 : 1) * up +
	       cuda_layout_bytes(f, s->hidden, s->intermediate);
}

/* Goal: what petalsctl devices says of a format is what its matrices take, int8's scales apart. */
TEST(layout__takes_what_fit_says)
{
	static const struct { enum cuda_format format; const char *fit; } rows[] = {
		{ CUDA_F32, "f32" }, { CUDA_BF16_ROWS, "bf16" }, { CUDA_BF16, "bf16" },
		{ CUDA_F16, "bf16" }, { CUDA_INT8, "int8" }, { CUDA_Q8_0, "q8_0" },
		{ CUDA_Q4_0, "int4" }, { CUDA_Q4_1, "q4_1" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		for (uint32_t s = 0; s < fit_shape_count; s++) {
			const struct fit_format *f = fit_formats;
			uint64_t takes = block_bytes(&fit_shapes[s], rows[i].format), said;

			while (strcmp(f->name, rows[i].fit) != 0)
				f++;
			said = fit_block_bytes(&fit_shapes[s], f);
			CHECK(takes >= said);
			if (rows[i].format == CUDA_INT8)
				CHECK(takes - said < said / 1000);
			else
				CHECK_EQ(takes, said);
		}
}
