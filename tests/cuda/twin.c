/* twin.c - see twin.h; g and t as in ptx.cuh. */
#include "tests/cuda/twin.h"

#include <string.h>

#include "compute/model/dtype.h"

enum { ROWS = 16, COLUMNS = 8, K16 = 16, K32 = 32 };

static uint64_t value_of(const struct grid_lane *l)
{
	return ((const struct twin_source *)l->in)->value;
}

void twin_shuffle(struct grid_lane lanes[GRID_WARP])
{
	uint64_t values[GRID_WARP] = { 0 };

	for (int i = 0; i < GRID_WARP; i++)
		if (lanes[i].in)
			values[i] = value_of(&lanes[i]);
	for (int i = 0; i < GRID_WARP; i++) {
		uint32_t source;

		if (!lanes[i].in)
			continue;
		source = ((const struct twin_source *)lanes[i].in)->source % GRID_WARP;
		if (!lanes[source].in)
			grid_fail("lane %d takes from lane %u, which is not in the exchange", i,
				  source);
		memcpy(lanes[i].out, &values[source], sizeof(values[0]));
	}
}

void twin_ballot(struct grid_lane lanes[GRID_WARP])
{
	unsigned votes = 0;

	for (int i = 0; i < GRID_WARP; i++)
		if (lanes[i].in && *(const int *)lanes[i].in)
			votes |= 1u << i;
	for (int i = 0; i < GRID_WARP; i++)
		if (lanes[i].in)
			*(unsigned *)lanes[i].out = votes;
}

void twin_sync(struct grid_lane lanes[GRID_WARP])
{
}

static void check_whole(const struct grid_lane lanes[GRID_WARP])
{
	for (int i = 0; i < GRID_WARP; i++)
		if (!lanes[i].in)
			grid_fail("a matrix exchange without lane %d", i);
}

static float half_value(uint32_t pair, int i, int bf16)
{
	uint16_t bits = (uint16_t)(pair >> 16 * i);

	return bf16 ? f32_of_bf16(bits) : f32_of_f16(bits);
}

static void mma_16bit(struct grid_lane lanes[GRID_WARP], int bf16)
{
	float a[ROWS][K16], b[K16][COLUMNS];

	check_whole(lanes);
	for (int lane = 0; lane < GRID_WARP; lane++) {
		const struct twin_fragments *f = lanes[lane].in;
		int g = lane / 4, t = lane % 4;

		for (int i = 0; i < 2; i++) {
			a[g][2 * t + i] = half_value(f->a[0], i, bf16);
			a[g + 8][2 * t + i] = half_value(f->a[1], i, bf16);
			a[g][2 * t + 8 + i] = half_value(f->a[2], i, bf16);
			a[g + 8][2 * t + 8 + i] = half_value(f->a[3], i, bf16);
			b[2 * t + i][g] = half_value(f->b[0], i, bf16);
			b[2 * t + 8 + i][g] = half_value(f->b[1], i, bf16);
		}
	}
	for (int lane = 0; lane < GRID_WARP; lane++) {
		float *c = lanes[lane].out;

		for (int i = 0; i < 4; i++) {
			int row = lane / 4 + (i / 2) * 8, column = lane % 4 * 2 + i % 2;
			float sum = 0;

			for (int k = 0; k < K16; k++)
				sum += a[row][k] * b[k][column];
			c[i] += sum;
		}
	}
}

void twin_mma_bf16(struct grid_lane lanes[GRID_WARP])
{
	mma_16bit(lanes, 1);
}

void twin_mma_f16(struct grid_lane lanes[GRID_WARP])
{
	mma_16bit(lanes, 0);
}

void twin_mma_int8(struct grid_lane lanes[GRID_WARP])
{
	int8_t a[ROWS][K32], b[K32][COLUMNS];

	check_whole(lanes);
	for (int lane = 0; lane < GRID_WARP; lane++) {
		const struct twin_fragments *f = lanes[lane].in;
		int g = lane / 4, t = lane % 4;

		for (int i = 0; i < 4; i++) {
			a[g][4 * t + i] = (int8_t)(f->a[0] >> 8 * i);
			a[g + 8][4 * t + i] = (int8_t)(f->a[1] >> 8 * i);
			a[g][4 * t + 16 + i] = (int8_t)(f->a[2] >> 8 * i);
			a[g + 8][4 * t + 16 + i] = (int8_t)(f->a[3] >> 8 * i);
			b[4 * t + i][g] = (int8_t)(f->b[0] >> 8 * i);
			b[4 * t + 16 + i][g] = (int8_t)(f->b[1] >> 8 * i);
		}
	}
	for (int lane = 0; lane < GRID_WARP; lane++) {
		int32_t *c = lanes[lane].out;

		for (int i = 0; i < 4; i++) {
			int row = lane / 4 + (i / 2) * 8, column = lane % 4 * 2 + i % 2;
			uint32_t sum = (uint32_t)c[i];

			for (int k = 0; k < K32; k++)
				sum += (uint32_t)(a[row][k] * b[k][column]);
			c[i] = (int32_t)sum;
		}
	}
}

static void ldmatrix(struct grid_lane lanes[GRID_WARP], int transposed)
{
	uint16_t matrix[4][8][8];

	check_whole(lanes);
	for (int lane = 0; lane < GRID_WARP; lane++) {
		const void *row = *(const void *const *)lanes[lane].in;

		if ((uintptr_t)row % 16 || !grid_is_shared(row, 16))
			grid_fail("ldmatrix: lane %d's row at %p is not 16 aligned bytes of shared "
				  "memory", lane, row);
		memcpy(matrix[lane / 8][lane % 8], row, 16);
	}
	for (int lane = 0; lane < GRID_WARP; lane++) {
		uint32_t *out = lanes[lane].out;
		int g = lane / 4, t = lane % 4;

		for (int j = 0; j < 4; j++) {
			uint16_t low = transposed ? matrix[j][2 * t][g] : matrix[j][g][2 * t];
			uint16_t high = transposed ? matrix[j][2 * t + 1][g] :
						     matrix[j][g][2 * t + 1];

			out[j] = low | (uint32_t)high << 16;
		}
	}
}

void twin_ldmatrix(struct grid_lane lanes[GRID_WARP])
{
	ldmatrix(lanes, 0);
}

void twin_ldmatrix_transposed(struct grid_lane lanes[GRID_WARP])
{
	ldmatrix(lanes, 1);
}
