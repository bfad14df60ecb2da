/* operand.c - activation rows as the tiles want them: interleaved, rounded or quantised. */
#include "compute/cpu/path.h"

struct prepare {
	const struct kernels *kernels;
	enum operand_format format;
	const float *x;
	uint32_t rows, columns;
	uint8_t *operand;
};

enum {
	ALONE_ROWS = 8,                 /* sharing these out costs more than doing them */
	CHUNK = 512,                    /* columns at a time: their part of a tile stays in the
					 * nearest cache; whole groups */
};

uint64_t operand_bytes(enum operand_format o, uint32_t rows, uint32_t columns)
{
	return (uint64_t)rows * operand_steps(o, columns) * operand_step_bytes(o);
}

static void put_f32(const float *x, uint32_t columns, uint32_t r, uint32_t rows, float *tile)
{
	for (uint32_t k = 0; k < columns; k++)
		tile[(size_t)k * rows + r] = x[k];
}

static void put_row(const struct prepare *p, const float *x, uint32_t columns, uint32_t r,
		    uint32_t rows, uint8_t *tile)
{
	if (p->format == OPERAND_F32)
		put_f32(x, columns, r, rows, (float *)tile);
	else if (p->format == OPERAND_BF16)
		p->kernels->operand_bf16(x, columns, r, rows, (uint16_t *)tile);
	else
		p->kernels->operand_int8(x, columns, r, rows, tile);
}

static void prepare_tile(void *ctx, uint32_t index, uint32_t worker)
{
	const struct prepare *p = ctx;
	uint32_t first = row_tile_first(p->rows, index), end = row_tile_first(p->rows, index + 1);
	uint8_t *tile = p->operand + operand_bytes(p->format, first, p->columns);

	for (uint32_t k = 0; k < p->columns; k += CHUNK) {
		uint32_t columns = MIN(p->columns - k, CHUNK);

		for (uint32_t r = first; r < end; r++)
			put_row(p, p->x + (size_t)r * p->columns + k, columns, r - first,
				end - first, tile);
		tile += operand_bytes(p->format, end - first, columns);
	}
}

void operand_prepare(const struct kernels *k, struct team *t, enum operand_format o,
		     const float *x, uint32_t rows, uint32_t columns, void *operand)
{
	struct prepare p = { k, o, x, rows, columns, operand };

	assert(o < OPERAND_FORMATS);
	if (rows <= ALONE_ROWS)
		for (uint32_t i = 0; rows && i < row_tiles(rows); i++)
			prepare_tile(&p, i, 0);
	else
		team_run(t, row_tiles(rows), prepare_tile, &p);
}
