/* linear_test.c - products against f64 of the weights as each format has them, and the same bits
 * for any number of rows, alone and together with others.
 *
 * Covers linear_f32.cu, linear_bf16.cu, linear_f16.cu, linear_int8.cu, linear_q8_0.cu,
 * linear_q4_0.cu, linear_q4_1.cu.
 */
#include "compute/cuda/linear.h"

#include "dataplane/base/memory.h"
#include "tests/compute/cuda/gpu.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

struct product {
	struct gpu_weights w;
	uint32_t features, columns, rows;
	bool bf16, bias, add;
	float *b, *x, *residual;        /* on the host; x as rounded */
};

static void product_shaped(struct product *p, struct random *r, enum cuda_format f,
			   uint32_t features, uint32_t columns, uint32_t rows)
{
	*p = (struct product){
		.features = features, .bf16 = f != CUDA_F32, .rows = rows,
		.bias = random_chance(r, 0.5), .add = random_chance(r, 0.5),
	};
	gpu_weights_open(&p->w, r, f, features, columns);
	p->columns = p->w.weight.columns;
	p->x = numbers_new(r, (size_t)p->rows * p->columns, 1);
	p->b = numbers_new(r, p->features, 1);
	p->residual = numbers_new(r, (size_t)p->rows * p->features, 1);
	for (size_t i = 0; i < (size_t)p->rows * p->columns; i++)
		p->x[i] = gpu_rounded(p->x[i], p->bf16);
}

static void product_open(struct product *p, struct random *r, enum cuda_format f)
{
	uint32_t features = numbers_between(r, 1, 150), columns = numbers_between(r, 1, 700);

	product_shaped(p, r, f, features, columns,
		       numbers_between(r, 1, f == CUDA_F32 ? 40 : 140));
}

static void product_close(struct product *p)
{
	gpu_weights_close(&p->w);
	mem_free(p->x);
	mem_free(p->b);
	mem_free(p->residual);
}

/* The slow twin. */
static double *product_twin(const struct product *p)
{
	double *out = mem_calloc((size_t)p->rows * p->features, sizeof(*out));

	for (uint32_t r = 0; r < p->rows; r++)
		for (uint32_t n = 0; n < p->features; n++) {
			double sum = p->bias ? (double)p->b[n] : 0;

			for (uint32_t k = 0; k < p->columns; k++)
				sum += (double)p->x[(size_t)r * p->columns + k] *
				       (double)p->w.values[(size_t)n * p->columns + k];
			if (p->add)
				sum += (double)p->residual[(size_t)r * p->features + n];
			out[(size_t)r * p->features + n] = sum;
		}
	return out;
}

static struct cuda_matrix product_matrix(struct gpu *g, const struct product *p)
{
	struct cuda_matrix m = gpu_matrix(g, &p->w);

	if (p->bias)
		m.bias = gpu_new(g, p->b, p->features * sizeof(float));
	return m;
}

/* Rows [first, first + rows) of the product; in place of the residual when there is one. */
static void product_run(struct gpu *g, const struct product *p, uint32_t first, uint32_t rows,
			float *out)
{
	uint64_t bytes = (uint64_t)rows * p->features * sizeof(float);
	uint32_t before = g->count;
	struct cuda_matrix m = product_matrix(g, p);
	const void *x;
	float *to;

	x = gpu_operand(g, p->x + (size_t)first * p->columns, rows, p->columns, p->bf16);
	to = gpu_new(g, p->add ? p->residual + (size_t)first * p->features : NULL, bytes);
	cuda_linear(&g->queue, &m, x, rows, p->add ? to : NULL, to);
	gpu_read(g, to, out, bytes);
	gpu_drop(g, before);
}

/* Goal: products are right for any shape, with or without bias and residual. */
TEST(linear__agrees_with_f64)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (uint32_t i = 0; i < 5 * CUDA_FORMATS; i++) {
		struct product p;
		double *expect, error;
		float *got;

		product_open(&p, &r, i % CUDA_FORMATS);
		expect = product_twin(&p);
		got = mem_calloc((size_t)p.rows * p.features, sizeof(*got));
		product_run(&g, &p, 0, p.rows, got);
		error = numbers_error(got, expect, (size_t)p.rows * p.features);
		if (!(error < 1e-5))
			fail_msg("%u x %u of %u rows, %s: off by %g", p.features, p.columns,
				 p.rows, cuda_format_name(p.w.format), error);
		mem_free(got);
		mem_free(expect);
		product_close(&p);
	}
	gpu_close(&g);
}

/* Goal: a row has the same bits alone, in company, and wherever it stands among the others. */
TEST(linear__same_bits_for_any_number_of_rows)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (uint32_t i = 0; i < 2 * CUDA_FORMATS; i++) {
		struct product p;
		float *all, *some;

		product_open(&p, &r, i % CUDA_FORMATS);
		all = mem_calloc((size_t)p.rows * p.features, sizeof(*all));
		some = mem_calloc((size_t)p.rows * p.features, sizeof(*some));
		product_run(&g, &p, 0, p.rows, all);
		for (uint32_t first = 0, rows; first < p.rows; first += rows) {
			rows = numbers_between(&r, 1, 80);
			rows = MIN(rows, p.rows - first);
			product_run(&g, &p, first, rows, some + (size_t)first * p.features);
		}
		CHECK_BYTES(some, all, (size_t)p.rows * p.features * sizeof(*all));
		mem_free(some);
		mem_free(all);
		product_close(&p);
	}
	gpu_close(&g);
}

/* Checks that rows [first, first + rows) have the bits that they have in `alone`. */
static void check_rows(struct gpu *g, const struct product *p, uint32_t first, uint32_t rows,
		       const float *alone)
{
	size_t numbers = (size_t)rows * p->features;
	float *got = mem_calloc(numbers, sizeof(*got));

	product_run(g, p, first, rows, got);
	if (memcmp(got, alone + (size_t)first * p->features, numbers * sizeof(*got)) != 0)
		fail_msg("%s: rows %u to %u together are not what they are alone on a device of "
			 "%u processors", cuda_format_name(p->w.format), first, first + rows - 1,
			 g->device->processors);
	mem_free(got);
}

/* Goal: in every format, from one row to more than a thread block of many takes, each row has
 * the bits that it has alone, however many processors there are to share the work among.
 */
TEST(linear__every_number_of_rows_gives_what_each_row_gives_alone)
{
	static const uint32_t processors[] = { 1, 2, 4, 132 };
	const uint32_t most = LINEAR_MANY_ROWS + 2, few = LINEAR_ROWS * LINEAR_TILES_MAX;
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (enum cuda_format f = 0; f < CUDA_FORMATS; f++) {
		struct product p;
		float *alone;

		product_shaped(&p, &r, f, 70, 224, most);
		alone = mem_calloc((size_t)most * p.features, sizeof(*alone));
		for (uint32_t row = 0; row < most; row++)
			product_run(&g, &p, row, 1, alone + (size_t)row * p.features);
		for (uint32_t rows = 1; rows <= most; rows += rows > few + 1 ? 32 : 1) {
			g.device->processors = processors[rows % ARRAY_LENGTH(processors)];
			check_rows(&g, &p, (uint32_t)random_below(&r, most - rows + 1), rows,
				   alone);
		}
		mem_free(alone);
		product_close(&p);
	}
	gpu_close(&g);
}

/* Goal: matrices that are multiplied with the same rows at once are as they are one by one. */
TEST(linear_all__same_bits_as_alone)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (uint32_t i = 0; i < 2 * CUDA_FORMATS; i++) {
		uint32_t count = numbers_between(&r, 1, LINEAR_PARTS);
		struct cuda_matrix matrices[LINEAR_PARTS];
		struct cuda_product all[LINEAR_PARTS];
		struct product p[LINEAR_PARTS];
		const void *x;

		for (uint32_t j = 0; j < count; j++) {
			product_open(&p[j], &r, i % CUDA_FORMATS);
			if (j > 0) {
				gpu_weights_close(&p[j].w);
				gpu_weights_open(&p[j].w, &r, i % CUDA_FORMATS, p[j].features,
						 p[0].columns);
			}
			p[j].add = false;
			matrices[j] = product_matrix(&g, &p[j]);
			all[j].matrix = &matrices[j];
			all[j].out = gpu_new(&g, NULL, (uint64_t)p[0].rows * p[j].features * 4);
		}
		x = gpu_operand(&g, p[0].x, p[0].rows, p[0].columns, p[0].bf16);
		g.device->processors = numbers_between(&r, 1, 8);
		cuda_linear_all(&g.queue, all, count, x, p[0].rows);
		for (uint32_t j = 0; j < count; j++) {
			uint64_t bytes = (uint64_t)p[0].rows * p[j].features * sizeof(float);
			float *together = mem_calloc(1, bytes), *alone = mem_calloc(1, bytes);
			float *to = gpu_new(&g, NULL, bytes);

			cuda_linear(&g.queue, &matrices[j], x, p[0].rows, NULL, to);
			gpu_read(&g, all[j].out, together, bytes);
			gpu_read(&g, to, alone, bytes);
			CHECK_BYTES(together, alone, bytes);
			mem_free(together);
			mem_free(alone);
		}
		for (uint32_t j = 0; j < count; j++)
			product_close(&p[j]);
		gpu_drop(&g, 0);
	}
	gpu_close(&g);
}

/* act(gate) (x up), one by one. */
static void activate_apart(struct gpu *g, const struct cuda_activation *a, const void *x,
			   uint32_t rows)
{
	struct gate_args args = {
		.gate = a->gate_room, .up = a->up ? a->up_room : NULL, .out = a->out,
		.columns = a->gate->rows, .stride = cuda_operand_stride(a->gate->rows),
		.bf16 = a->gate->format != CUDA_F32, .act = a->kind,
	};

	cuda_linear(&g->queue, a->gate, x, rows, NULL, a->gate_room);
	if (a->up)
		cuda_linear(&g->queue, a->up, x, rows, NULL, a->up_room);
	cuda_launch(&g->queue, CUDA_KERNEL_GATE, (struct cuda_grid){ rows, 1, CUDA_ROW_THREADS },
		    &args);
}

/* Goal: the fused activation has the bits of products and activation one after the other. */
TEST(linear_activate__same_bits_as_apart)
{
	struct random r;
	struct gpu g;

	random_seed(&r, test_seed());
	gpu_open(&g);
	for (uint32_t i = 0; i < 4 * CUDA_FORMATS; i++) {
		struct product gate, up;
		struct cuda_matrix gate_matrix, up_matrix;
		struct cuda_activation a = { .gate = &gate_matrix, .kind = i % 4 };
		uint64_t bytes, operand_bytes;
		uint8_t *fused, *apart;
		const void *x;

		product_open(&gate, &r, i % CUDA_FORMATS);
		product_open(&up, &r, i % CUDA_FORMATS);
		gpu_weights_close(&up.w);
		gpu_weights_open(&up.w, &r, i % CUDA_FORMATS, gate.features, gate.columns);
		up.features = gate.features;
		up.bias = false;
		gate_matrix = product_matrix(&g, &gate);
		up_matrix = product_matrix(&g, &up);
		a.up = i / CUDA_FORMATS % 2 ? &up_matrix : NULL;
		bytes = (uint64_t)gate.rows * gate.features * sizeof(float);
		operand_bytes = (uint64_t)gate.rows * cuda_operand_stride(gate.features) *
				(gate.bf16 ? 2 : 4);
		a.gate_room = gpu_new(&g, NULL, bytes);
		a.up_room = gpu_new(&g, NULL, bytes);
		a.out = gpu_new(&g, NULL, operand_bytes);
		fused = mem_calloc(1, operand_bytes);
		apart = mem_calloc(1, operand_bytes);
		x = gpu_operand(&g, gate.x, gate.rows, gate.columns, gate.bf16);
		g.device->processors = numbers_between(&r, 1, 8);
		cuda_linear_activate(&g.queue, &a, x, gate.rows);
		gpu_read(&g, a.out, fused, operand_bytes);
		activate_apart(&g, &a, x, gate.rows);
		gpu_read(&g, a.out, apart, operand_bytes);
		CHECK_BYTES(fused, apart, operand_bytes);
		mem_free(fused);
		mem_free(apart);
		product_close(&gate);
		product_close(&up);
		gpu_drop(&g, 0);
	}
	gpu_close(&g);
}
