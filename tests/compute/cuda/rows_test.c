/* rows_test.c - encodings on the device have the bytes of row.c, which is their slow twin. */
#include <math.h>

#include "compute/cuda/block.h"
#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

enum { ROWS = 3 };

static struct cuda_grid by_row(void)
{
	return (struct cuda_grid){ ROWS, 2, CUDA_ROW_THREADS };
}

/* Numbers that are awkward: ties, zeros, subnormals, large ones. */
static float *awkward(struct random *r, size_t n)
{
	static const float some[] = { 0, -0.0f, 1e-41f, -1e-39f, 65504, 1e30f, 1.00390625f,
				      -2.5f, 0.5f, 3e-5f };
	float *x = numbers_new(r, n, 3);

	for (size_t i = 0; i < n; i++)
		if (random_chance(r, 0.1))
			x[i] = some[random_below(r, ARRAY_LENGTH(some))];
	return x;
}

static void check_width(struct gpu *g, struct random *r, uint32_t n, enum row_encoding encoding)
{
	size_t count = (size_t)ROWS * n;
	uint64_t bytes = row_bytes(encoding, n);
	float *x = awkward(r, count), *rounded = mem_calloc(count, 4), *got = mem_calloc(count, 4);
	uint8_t *encoded = mem_calloc(ROWS, bytes), *back = mem_calloc(ROWS, bytes);
	float *dx = gpu_new(g, x, count * 4);
	uint8_t *out = gpu_new(g, NULL, ROWS * bytes), *in;
	float *decoded = gpu_new(g, NULL, count * 4);
	struct cuda_row rows[ROWS];
	struct row_out_args write = { .x = dx, .hidden = n };
	struct row_in_args read = { .x = decoded, .hidden = n };
	struct row_round_args round = { dx, n, encoding };

	row_encode(encoding, x, ROWS, n, encoded);
	row_decode(encoding, encoded, ROWS, n, rounded);
	in = gpu_new(g, encoded, ROWS * bytes);
	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = (struct cuda_row){ .in = in + i * bytes,
					     .out = i == 1 ? NULL : out + i * bytes,
					     .in_encoding = encoding, .out_encoding = encoding };
	write.row = read.row = gpu_new(g, rows, sizeof(rows));
	cuda_launch(&g->queue, CUDA_KERNEL_ROW_OUT, by_row(), &write);
	gpu_read(g, out, back, ROWS * bytes);
	CHECK_BYTES(back, encoded, bytes);
	CHECK_BYTES(back + 2 * bytes, encoded + 2 * bytes, bytes);
	for (uint64_t i = 0; i < bytes; i++)
		CHECK_EQ(back[bytes + i], 0xff);
	cuda_launch(&g->queue, CUDA_KERNEL_ROW_IN, by_row(), &read);
	gpu_read(g, decoded, got, count * 4);
	CHECK_BYTES(got, rounded, count * 4);
	if (encoding != ROW_F32)
		cuda_launch(&g->queue, CUDA_KERNEL_ROW_ROUND, by_row(), &round);
	gpu_read(g, dx, got, count * 4);
	CHECK_BYTES(got, rounded, count * 4);
	gpu_drop(g, 0);
	mem_free(back);
	mem_free(encoded);
	mem_free(got);
	mem_free(rounded);
	mem_free(x);
}

/* Goal: in, out and rounding, bit for bit, at widths that fill blocks and that do not. */
TEST(row__same_bits_as_on_the_host)
{
	static const uint32_t widths[] = { 1, 63, 64, 65, 200, 576 };
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (size_t i = 0; i < ARRAY_LENGTH(widths); i++)
		for (enum row_encoding e = ROW_F32; e <= ROW_INT8; e++)
			check_width(&g, &r, widths[i], e);
	gpu_close(&g);
}

/* Goal: angles of a row are those of its position. */
TEST(row_in__angles)
{
	enum { HALF = 37 };
	float frequencies[HALF], cosines[ROWS * HALF], sines[ROWS * HALF], x[ROWS] = { 1, 2, 3 };
	static const uint32_t positions[ROWS] = { 0, 77, 130000 };
	struct cuda_row rows[ROWS];
	struct row_in_args a = { .hidden = 1, .half = HALF };
	uint8_t *in;
	struct gpu g;

	gpu_open(&g);
	in = gpu_new(&g, x, sizeof(x));
	for (int i = 0; i < HALF; i++)
		frequencies[i] = (float)pow(10000, -2.0 * i / HALF);
	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = (struct cuda_row){ .in = in + 4 * i, .in_encoding = ROW_F32,
					     .position = positions[i] };
	a.row = gpu_new(&g, rows, sizeof(rows));
	a.frequencies = gpu_new(&g, frequencies, sizeof(frequencies));
	a.x = gpu_new(&g, NULL, sizeof(x));
	a.cosines = gpu_new(&g, NULL, sizeof(cosines));
	a.sines = gpu_new(&g, NULL, sizeof(sines));
	cuda_launch(&g.queue, CUDA_KERNEL_ROW_IN, by_row(), &a);
	gpu_read(&g, a.cosines, cosines, sizeof(cosines));
	gpu_read(&g, a.sines, sines, sizeof(sines));
	for (int i = 0; i < ROWS * HALF; i++) {
		double angle = (double)((float)positions[i / HALF] * frequencies[i % HALF]);

		CHECK_NEAR((double)cosines[i], cos(angle), 1e-6);
		CHECK_NEAR((double)sines[i], sin(angle), 1e-6);
	}
	gpu_close(&g);
}

/* Goal: an operand is the row, rounded, and zero behind it. */
TEST(operand__rounds_and_pads)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (int i = 0; i < 8; i++) {
		uint32_t n = numbers_between(&r, 1, 100);
		bool bf16 = i % 2;
		float *x = numbers_new(&r, ROWS * n, 1), *got = mem_calloc(ROWS * n, 4);
		void *dx = gpu_new(&g, x, ROWS * n * 4);
		void *out = gpu_new(&g, NULL, ROWS * cuda_operand_stride(n) * (bf16 ? 2 : 4));

		cuda_operand(&g.queue, dx, ROWS, n, bf16, out);
		gpu_read_operand(&g, out, ROWS, n, bf16, got);
		for (uint32_t k = 0; k < ROWS * n; k++)
			CHECK(got[k] == gpu_rounded(x[k], bf16));
		gpu_drop(&g, 0);
		mem_free(got);
		mem_free(x);
	}
	gpu_close(&g);
}
