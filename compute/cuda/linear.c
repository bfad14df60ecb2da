/* linear.c - picks the kernel of a product and its grid. */
#include "compute/cuda/linear.h"

#include "compute/cuda/lt.h"

enum { FEW_ROWS_MAX = LINEAR_ROWS * LINEAR_TILES_MAX };

static uint32_t parts(uint32_t count, uint32_t each)
{
	return (count + each - 1) / each;
}

static bool by_library(const struct cuda_queue *q, const struct cuda_matrix *m, uint32_t rows)
{
	return q->lt && m->format == CUDA_BF16_ROWS && rows >= CUDA_FAST_ROWS;
}

/* A format's kernels, by tiles of rows 1, 2, 4 and 8; then for many. */
static enum cuda_kernel kernel_of(enum cuda_format f, uint32_t place)
{
#define KERNELS(UPPER)                                                                     \
	{ CUDA_KERNEL_LINEAR_##UPPER##_1, CUDA_KERNEL_LINEAR_##UPPER##_2,                  \
	  CUDA_KERNEL_LINEAR_##UPPER##_4, CUDA_KERNEL_LINEAR_##UPPER##_8,                  \
	  CUDA_KERNEL_LINEAR_##UPPER##_MANY }
	static const enum cuda_kernel kernels[CUDA_FORMATS][5] = {
		[CUDA_BF16_ROWS] = KERNELS(BF16), [CUDA_BF16] = KERNELS(BF16),
		[CUDA_F16] = KERNELS(F16), [CUDA_INT8] = KERNELS(INT8),
		[CUDA_Q8_0] = KERNELS(Q8_0), [CUDA_Q4_0] = KERNELS(Q4_0),
		[CUDA_Q4_1] = KERNELS(Q4_1),
	};
#undef KERNELS

	assert(f != CUDA_F32 && f < CUDA_FORMATS);
	return kernels[f][place];
}

static void launch_f32(struct cuda_queue *q, const struct linear_args *a)
{
	struct cuda_grid grid = { parts(a->part[0].features, LINEAR_F32_FEATURES),
				  parts(a->rows, LINEAR_ROWS), LINEAR_RUNS * 32 };

	cuda_launch(q, CUDA_KERNEL_LINEAR_F32, grid, a);
}

static void launch_many(struct cuda_queue *q, const struct linear_args *a, enum cuda_format f,
			uint32_t tiles)
{
	struct cuda_grid grid = { parts(a->rows, LINEAR_MANY_ROWS),
				  parts(tiles, LINEAR_MANY_TILES), LINEAR_MANY_THREADS };

	cuda_launch(q, kernel_of(f, 4), grid, a);
}

/* Thread blocks that keep a device busy; they are as wide as leaves so many of them, since each
 * reads the activations again.  Up to LINEAR_ROWS rows two run on a processor, so that one reads
 * while the other ends; more rows leave registers for one, and one on most processors has reads
 * enough under way.
 */
static uint32_t blocks_least(const struct device *d, uint32_t rows)
{
	return rows <= LINEAR_ROWS ? 2 * d->processors : d->processors * 7 / 8;
}

static void launch_few(struct cuda_queue *q, const struct linear_args *a, enum cuda_format f,
		       uint32_t tiles)
{
	uint32_t place = 0, pair = a->end == LINEAR_GATED ? 2 : 1, wide;
	uint32_t least = blocks_least(q->device, a->rows);

	while ((uint32_t)LINEAR_ROWS << place < a->rows)
		place++;
	wide = (uint32_t)LINEAR_WARPS(f, 1 << place) / pair * pair;
	while (wide > pair && parts(tiles, wide) < least)
		wide -= pair;
	cuda_launch(q, kernel_of(f, place),
		    (struct cuda_grid){ parts(tiles, wide), 1, wide * LINEAR_RUNS * 32 }, a);
}

/* One launch for all that is in a. */
static void launch(struct cuda_queue *q, const struct linear_args *a, enum cuda_format f)
{
	uint32_t tiles = 0;

	for (uint32_t i = 0; i < LINEAR_PARTS; i++)
		tiles += parts(a->part[i].features, TILE_FEATURES);
	if (f == CUDA_F32)
		launch_f32(q, a);
	else if (a->rows > FEW_ROWS_MAX)
		launch_many(q, a, f, tiles);
	else
		launch_few(q, a, f, tiles);
}

static struct linear_args args_of(const struct cuda_matrix *m, const void *operand, uint32_t rows)
{
	return (struct linear_args){
		.x = operand, .columns = m->stride, .rows = rows,
		.in_rows = m->format == CUDA_BF16_ROWS,
	};
}

static struct linear_part part_of(const struct cuda_matrix *m, float *out)
{
	assert(m->w);
	return (struct linear_part){ m->w, m->bias, out, m->rows };
}

void cuda_linear(struct cuda_queue *q, const struct cuda_matrix *m, const void *operand,
		 uint32_t rows, const float *add, float *out)
{
	struct linear_args a = args_of(m, operand, rows);

	if (by_library(q, m, rows)) {
		cuda_lt_linear(q->lt, m, operand, rows, add, out);
		return;
	}
	a.part[0] = part_of(m, out);
	a.add = add;
	launch(q, &a, m->format);
}

void cuda_linear_all(struct cuda_queue *q, const struct cuda_product *p, uint32_t count,
		     const void *operand, uint32_t rows)
{
	const struct cuda_matrix *first = p->matrix;
	struct linear_args a = args_of(first, operand, rows);
	bool together = first->format != CUDA_F32 && !by_library(q, first, rows);

	assert(count <= LINEAR_PARTS);
	for (uint32_t i = 0; i < count; i++) {
		assert(p[i].matrix->stride == first->stride);
		together = together && p[i].matrix->format == first->format;
		a.part[i] = part_of(p[i].matrix, p[i].out);
	}
	if (together) {
		launch(q, &a, first->format);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		cuda_linear(q, p[i].matrix, operand, rows, NULL, p[i].out);
}

/* The products first, then the activation. */
static void activate_apart(struct cuda_queue *q, const struct cuda_activation *a,
			   const void *operand, uint32_t rows)
{
	struct cuda_product p[] = { { a->gate, a->gate_room }, { a->up, a->up_room } };
	struct gate_args g = {
		.gate = a->gate_room, .up = a->up ? a->up_room : NULL, .out = a->out,
		.columns = a->gate->rows, .stride = cuda_operand_stride(a->gate->rows),
		.bf16 = a->gate->format != CUDA_F32, .act = a->kind,
	};

	cuda_linear_all(q, p, a->up ? 2 : 1, operand, rows);
	cuda_launch(q, CUDA_KERNEL_GATE, cuda_by_row(rows, g.columns), &g);
}

void cuda_linear_activate(struct cuda_queue *q, const struct cuda_activation *a,
			  const void *operand, uint32_t rows)
{
	struct linear_args l = args_of(a->gate, operand, rows);
	enum cuda_format f = a->gate->format;

	assert(a->out != operand && (!a->up || a->up->rows == a->gate->rows));
	if (f == CUDA_F32 || rows > FEW_ROWS_MAX || by_library(q, a->gate, rows) ||
	    (a->up && a->up->format != f)) {
		activate_apart(q, a, operand, rows);
		return;
	}
	l.part[0] = part_of(a->gate, NULL);
	if (a->up)
		l.part[1] = part_of(a->up, NULL);
	l.end = a->up ? LINEAR_GATED : LINEAR_ACT;
	l.act = a->kind;
	l.operand = a->out;
	l.operand_stride = cuda_operand_stride(a->gate->rows);
	launch(q, &l, f);
}
