/* linear_test.c - matrix products: every path, shape and number of rows gives the same
 * bits, and those are right.
 */
#include "compute/cpu/kernels.h"

#include <math.h>

#include "compute/cpu/path.h"
#include "compute/cpu/weights.h"

#include "dataplane/base/memory.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

/* One random product and what belongs to it. */
struct fixture {
	struct weight weight;
	struct matrix matrix;
	float *bias;                    /* padded to panels */
	float *x;                       /* rows x columns */
	uint32_t rows;
};

static const struct case_row {
	enum panel_format format;
	enum operand_format operand;
	enum dtype dtype;
	double tolerance;               /* norm-relative against f64 over what the panels hold */
} cases[] = {
	{ PANEL_F32, OPERAND_F32, DTYPE_F32, 1e-6 },
	{ PANEL_F32, OPERAND_F32, DTYPE_F16, 1e-6 },
	{ PANEL_F16, OPERAND_F32, DTYPE_F16, 1e-6 },
	{ PANEL_BF16, OPERAND_F32, DTYPE_BF16, 1e-6 },
	{ PANEL_Q8, OPERAND_F32, DTYPE_Q8_0, 1e-6 },
	{ PANEL_Q4_0, OPERAND_F32, DTYPE_Q4_0, 1e-6 },
	{ PANEL_Q4_0, OPERAND_F32, DTYPE_F32, 1e-6 },
	{ PANEL_Q4_1, OPERAND_F32, DTYPE_Q4_1, 1e-6 },
	{ PANEL_I8, OPERAND_F32, DTYPE_F32, 1e-6 },
	{ PANEL_BF16, OPERAND_BF16, DTYPE_BF16, 5e-3 },
	{ PANEL_BF16, OPERAND_BF16, DTYPE_F32, 5e-3 },
	{ PANEL_Q8, OPERAND_BF16, DTYPE_Q8_0, 5e-3 },
	{ PANEL_Q4_0, OPERAND_BF16, DTYPE_Q4_0, 5e-3 },
	{ PANEL_Q4_0, OPERAND_BF16, DTYPE_F32, 5e-3 },
	{ PANEL_Q4_1, OPERAND_BF16, DTYPE_Q4_1, 5e-3 },
	{ PANEL_I8, OPERAND_BF16, DTYPE_F32, 2e-3 },    /* its integers are exact */
	{ PANEL_Q8, OPERAND_INT8, DTYPE_Q8_0, 1e-2 },
	{ PANEL_Q4_0, OPERAND_INT8, DTYPE_Q4_0, 1e-2 },
	{ PANEL_Q4_0, OPERAND_INT8, DTYPE_F32, 1e-2 },
	{ PANEL_Q4_1, OPERAND_INT8, DTYPE_Q4_1, 1e-2 },
	{ PANEL_I8, OPERAND_INT8, DTYPE_F32, 1e-2 },
};

static const struct case_row *case_of(enum panel_format f, enum operand_format o)
{
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++)
		if (cases[c].format == f && cases[c].operand == o)
			return &cases[c];
	fail_msg("no case of that format and operand");
	return NULL;
}

static void fixture_open(struct fixture *f, struct random *r, const struct case_row *c,
			 uint32_t rows, uint32_t outputs, uint32_t columns)
{
	uint64_t bytes = matrix_bytes(c->format, outputs, columns);
	uint32_t panels = (outputs + PANEL - 1) / PANEL;
	void *packed = numbers_poison(bytes);

	numbers_weight(r, c->dtype, outputs, columns, &f->weight);
	matrix_pack(c->format, &f->weight, 0, panels / 2, packed);
	matrix_pack(c->format, &f->weight, panels / 2, panels, packed);
	f->bias = numbers_new(r, (size_t)panels * PANEL, 1);
	f->x = numbers_new(r, (size_t)rows * columns, 1);
	f->matrix = (struct matrix){ c->format, c->operand, outputs, columns, packed, NULL };
	f->rows = rows;
}

static void fixture_close(struct fixture *f)
{
	mem_free((void *)f->weight.data);
	mem_free((void *)f->matrix.panels);
	mem_free(f->bias);
	mem_free(f->x);
}

/* rows x outputs numbers by path k; rows [first, first + rows) of the fixture. */
static float *run(const struct kernels *k, struct team *t, const struct fixture *f,
		  uint32_t first, uint32_t rows)
{
	const struct matrix *m = &f->matrix;
	void *operand = numbers_poison(operand_bytes(m->operand, rows, m->columns));
	float *out = numbers_poison((size_t)rows * m->rows * sizeof(float));
	struct linear_out o = { .out = out, .out_stride = m->rows };

	operand_prepare(k, t, m->operand, f->x + (size_t)first * m->columns, rows, m->columns,
			operand);
	linear(k, t, m, operand, rows, &o);
	mem_free(operand);
	return out;
}

static double *reference(const struct fixture *f)
{
	const struct weight *w = &f->weight;
	double *out = mem_calloc((size_t)f->rows * w->rows, sizeof(*out));
	float *row = mem_alloc(w->columns * sizeof(*row));

	assert(out && row);
	for (uint32_t n = 0; n < w->rows; n++) {
		matrix_row(&f->matrix, n, row);
		for (uint32_t r = 0; r < f->rows; r++)
			for (uint32_t k = 0; k < w->columns; k++)
				out[(size_t)r * w->rows + n] +=
					(double)row[k] * f->x[(size_t)r * w->columns + k];
	}
	mem_free(row);
	return out;
}

static uint32_t random_columns(struct random *r, const struct case_row *c)
{
	if (dtype_is_quantised(c->dtype))
		return numbers_between(r, 1, 6) * GROUP;
	return numbers_between(r, 1, 150);
}

/* Goal: AVX2 and AVX-512 give the portable twin's bits for any shape, and never more
 * than `threads` workers change them.
 */
TEST(linear__paths_agree_to_the_bit)
{
	struct team *teams[2];
	struct random r;

	random_seed(&r, test_seed());
	kernels_thread_init();
	CHECK_EQ(team_open(&teams[0], 1), 0);
	CHECK_EQ(team_open(&teams[1], 3), 0);
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
		for (int i = 0; i < 6; i++) {
			uint32_t rows = numbers_between(&r, 1, 30), n = numbers_between(&r, 1, 150);
			struct fixture f;
			float *want;

			fixture_open(&f, &r, &cases[c], rows, n, random_columns(&r, &cases[c]));
			want = run(kernels_path(PATH_PORTABLE), teams[0], &f, 0, rows);
			for (int p = PATH_AVX2; p < PATHS; p++) {
				const struct kernels *k = kernels_path((enum cpu_path)p);
				float *got = k ? run(k, teams[i % 2], &f, 0, rows) : NULL;

				if (got)
					CHECK_BYTES(got, want, (size_t)rows * n * sizeof(float));
				mem_free(got);
			}
			mem_free(want);
			fixture_close(&f);
		}
	}
	team_close(teams[1]);
	team_close(teams[0]);
}

/* Makes every stored integer of a quantised weight the largest or the smallest. */
static void to_extremes(struct fixture *f, const struct case_row *c, bool largest)
{
	const struct dtype_row *d = &dtypes[c->dtype];
	uint32_t scales = c->dtype == DTYPE_Q4_1 ? 4 : 2;
	uint8_t *raw = (uint8_t *)f->weight.data;
	uint64_t groups = (uint64_t)f->matrix.rows * f->matrix.columns / GROUP;

	for (uint64_t g = 0; g < groups; g++)
		memset(raw + g * d->group_bytes + scales,
		       c->dtype == DTYPE_Q8_0 ? (largest ? 127 : -128) : (largest ? 0xff : 0),
		       d->group_bytes - scales);
	matrix_pack(c->format, &f->weight, 0, (f->matrix.rows + PANEL - 1) / PANEL,
		    (void *)f->matrix.panels);
}

/* Goal: the largest products there are, all of one sign, add up without saturating. */
TEST(linear__paths_agree_at_the_extremes)
{
	struct team *t;
	struct random r;

	random_seed(&r, test_seed() + 8);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 1), 0);
	for (size_t i = 0; i < 4 * ARRAY_LENGTH(cases); i++) {
		const struct case_row *c = &cases[i / 4];
		uint32_t rows = 7, n = 40, columns = 3 * GROUP;
		struct fixture f;
		float *want;

		if (c->dtype != DTYPE_Q8_0 && c->dtype != DTYPE_Q4_0 && c->dtype != DTYPE_Q4_1)
			continue;
		fixture_open(&f, &r, c, rows, n, columns);
		to_extremes(&f, c, i & 1);
		for (uint32_t k = 0; k < rows * columns; k++)
			f.x[k] = i & 2 ? 3.0f : -3.0f;
		want = run(kernels_path(PATH_PORTABLE), t, &f, 0, rows);
		for (int p = PATH_AVX2; p < PATHS; p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);
			float *got = k ? run(k, t, &f, 0, rows) : NULL;

			if (got)
				CHECK_BYTES(got, want, (size_t)rows * n * sizeof(float));
			mem_free(got);
		}
		mem_free(want);
		fixture_close(&f);
	}
	team_close(t);
}

/* Goal: denormal numbers and results are zero on every path, as AVX512-BF16 has it. */
TEST(linear__paths_flush_denormals_alike)
{
	struct random r;
	struct team *t;

	random_seed(&r, test_seed() + 7);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 1), 0);
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
		uint32_t rows = 5, n = 40, columns = 64;
		uint64_t words = matrix_bytes(cases[c].format, n, columns) / 4;
		struct fixture f;
		float *want;

		if (cases[c].format != PANEL_F32 && cases[c].format != PANEL_BF16)
			continue;
		fixture_open(&f, &r, &cases[c], rows, n, columns);
		for (uint32_t i = 0; i < rows * columns; i++)
			f.x[i] *= i % 3 ? 1e-38f : 1e4f;
		for (uint64_t i = 0; i < words; i += 1 + i % 3)
			((uint32_t *)f.matrix.panels)[i] &=
				cases[c].format == PANEL_F32 ? 0x807fffff : 0x807f807f;
		want = run(kernels_path(PATH_PORTABLE), t, &f, 0, rows);
		for (int p = PATH_AVX2; p < PATHS; p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);
			float *got = k ? run(k, t, &f, 0, rows) : NULL;

			if (got)
				CHECK_BYTES(got, want, (size_t)rows * n * sizeof(float));
			mem_free(got);
		}
		mem_free(want);
		fixture_close(&f);
	}
	team_close(t);
}

/* Goal: a row's result is the same alone and among 1 to 40 others, on the best path
 * (the others give its bits), also in k blocks and across blocks of rows.
 */
TEST(linear__rows_are_independent)
{
	static const uint32_t many[] = { 95, 96, 97, 200 };
	const struct kernels *k = kernels_best();
	struct team *t;
	struct random r;

	random_seed(&r, test_seed() + 1);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 2), 0);
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
		uint32_t columns = cases[c].dtype == DTYPE_F32 ? 1100 : 64, n = 70, most = 200;
		struct fixture f;
		float *alone;

		fixture_open(&f, &r, &cases[c], most, n, columns);
		alone = numbers_poison((size_t)most * n * sizeof(float));
		for (uint32_t i = 0; i < most; i++) {
			float *one = run(k, t, &f, i, 1);

			memcpy(alone + (size_t)i * n, one, n * sizeof(float));
			mem_free(one);
		}
		for (uint32_t i = 1; i <= 40 + ARRAY_LENGTH(many); i++) {
			uint32_t rows = i <= 40 ? i : many[i - 41];
			uint32_t first = numbers_between(&r, 0, most - rows);
			float *got = run(k, t, &f, first, rows);

			CHECK_BYTES(got, alone + (size_t)first * n, (size_t)rows * n * 4);
			mem_free(got);
		}
		mem_free(alone);
		fixture_close(&f);
	}
	team_close(t);
}

/* What multiplies the sums of output n. */
static float scale_of(const struct matrix *m, uint32_t n)
{
	const uint8_t *panel = (const uint8_t *)m->panels +
			       n / PANEL * panel_bytes(m->format, m->columns);
	float scale = 1;

	if (m->format == PANEL_I8)
		memcpy(&scale, panel + n % PANEL * 4, 4);
	return scale;
}

/* The matrix as wide panels of its operand; PANEL_I8's without its scales. */
static void widen_matrix(const struct fixture *f, struct matrix *wide)
{
	const struct matrix *m = &f->matrix;
	enum panel_format to = m->operand == OPERAND_F32 ? PANEL_F32 : PANEL_BF16;
	float *rows = mem_calloc((size_t)m->rows * m->columns, sizeof(*rows));
	struct weight w = {
		.dtype = DTYPE_F32, .rows = m->rows, .columns = m->columns,
		.stored_columns = m->columns, .data = (const uint8_t *)rows,
	};

	for (uint32_t n = 0; n < m->rows; n++) {
		float *row = rows + (size_t)n * m->columns;

		matrix_row(m, n, row);
		for (uint32_t k = 0; m->format == PANEL_I8 && k < m->columns; k++)
			row[k] = rintf(row[k] / scale_of(m, n));
	}
	*wide = (struct matrix){ to, m->operand, m->rows, m->columns,
				 numbers_poison(matrix_bytes(to, m->rows, m->columns)), NULL };
	matrix_pack(to, &w, 0, (m->rows + PANEL - 1) / PANEL, (void *)wide->panels);
	mem_free(rows);
}

/* Goal: what is widened on the way gives the bits of wide panels, on every path, for one row
 * and many, and for columns that end within a group.
 */
TEST(linear__narrow_formats_give_the_bits_of_wide_ones)
{
	enum { MOST = 100 };
	static const uint32_t many[] = { 1, 2, 3, 4, 11, 12, 13, MOST };
	struct team *t;
	struct random r;

	random_seed(&r, test_seed() + 8);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 2), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(cases) * 3; i++) {
		const struct case_row *c = &cases[i / 3];
		uint32_t n = numbers_between(&r, 1, 100);
		uint32_t columns = GROUP * numbers_between(&r, 1, 20);
		struct fixture f, wide;

		if (c->operand == OPERAND_INT8)
			continue;
		if (!dtype_is_quantised(c->dtype))
			columns -= numbers_between(&r, 0, GROUP - 1);
		fixture_open(&f, &r, c, MOST, n, columns);
		wide = f;
		widen_matrix(&f, &wide.matrix);
		for (size_t j = 0; j < ARRAY_LENGTH(many); j++) {
			uint32_t rows = many[j], first = numbers_between(&r, 0, MOST - rows);
			float *want = run(kernels_path(PATH_PORTABLE), t, &wide, first, rows);

			for (uint32_t at = 0; at < rows * n; at++)
				want[at] *= scale_of(&f.matrix, at % n);
			for (int p = 0; p < PATHS; p++) {
				const struct kernels *k = kernels_path((enum cpu_path)p);
				float *got = k ? run(k, t, &f, first, rows) : NULL;

				if (got)
					CHECK_BYTES(got, want, (size_t)rows * n * sizeof(float));
				mem_free(got);
			}
			mem_free(want);
		}
		mem_free((void *)wide.matrix.panels);
		fixture_close(&f);
	}
	team_close(t);
}

/* Goal: the results are right: each format within its own tolerance of f64 over the
 * dequantised weights.
 */
TEST(linear__is_right)
{
	struct team *t;
	struct random r;

	random_seed(&r, test_seed() + 2);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 1), 0);
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
		struct fixture f;
		float *got;
		double *want;

		fixture_open(&f, &r, &cases[c], 7, 90, 256);
		got = run(kernels_path(PATH_PORTABLE), t, &f, 0, f.rows);
		want = reference(&f);
		CHECK_NEAR(numbers_error(got, want, 7 * 90), 0, cases[c].tolerance);
		mem_free(want);
		mem_free(got);
		fixture_close(&f);
	}
	team_close(t);
}

/* The integers and scale that a quantised operand holds, by the header's definition. */
static double dequantised(const float *group, uint32_t i)
{
	float absmax = 0;

	for (uint32_t k = 0; k < GROUP; k++)
		absmax = fmaxf(absmax, fabsf(group[k]));
	return (double)(absmax / 127.0f) * nearbyint((double)(group[i] * (127.0f / absmax)));
}

/* Goal: the quantised kernels themselves are as exact as f32: compared with f64 over the
 * quantised activations too, only rounding of sums is left.
 */
TEST(linear__quantised_kernels_are_exact_but_for_rounding)
{
	struct team *t;
	struct random r;

	random_seed(&r, test_seed() + 3);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 1), 0);
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
		struct fixture f;
		float *got, row[GROUP];
		double *want;

		if (cases[c].operand != OPERAND_INT8)
			continue;
		fixture_open(&f, &r, &cases[c], 5, 40, 192);
		got = run(kernels_best(), t, &f, 0, f.rows);
		for (uint32_t i = 0; i < 5 * 192; i += GROUP) {
			memcpy(row, f.x + i, sizeof(row));
			for (uint32_t j = 0; j < GROUP; j++)
				f.x[i + j] = (float)dequantised(row, j);
		}
		want = reference(&f);
		CHECK_NEAR(numbers_error(got, want, 5 * 40), 0, 1e-6);
		mem_free(want);
		mem_free(got);
		fixture_close(&f);
	}
	team_close(t);
}

/* Goal: bias, addend and activation are applied in that order, only the n outputs of
 * each row are written, and the addend may be the output itself.
 */
TEST(linear__finishes_in_place_and_within_bounds)
{
	enum { ROWS = 14, OUTPUTS = 75, STRIDE = 80 };
	static const enum linear_act acts[] = { LINEAR_NONE, LINEAR_RELU, LINEAR_GELU_TANH,
						LINEAR_GELU_ERF };
	struct random r;
	struct team *t;

	random_seed(&r, test_seed() + 4);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 2), 0);
	for (size_t a = 0; a < ARRAY_LENGTH(acts); a++) {
		float *out[PATHS] = { NULL }, *start = numbers_new(&r, ROWS * STRIDE, 1), *plain;
		/* With scales, too: they come before the bias. */
		enum panel_format format = a % 2 ? PANEL_I8 : PANEL_F32;
		struct fixture f;
		void *operand = numbers_poison(operand_bytes(OPERAND_F32, ROWS, 33));

		fixture_open(&f, &r, case_of(format, OPERAND_F32), ROWS, OUTPUTS, 33);
		plain = run(kernels_best(), t, &f, 0, ROWS);
		f.matrix.bias = f.bias;
		for (int p = 0; p < PATHS && kernels_path((enum cpu_path)p); p++) {
			const struct kernels *k = kernels_path((enum cpu_path)p);
			struct linear_out o = { NULL, STRIDE, NULL, STRIDE, acts[a] };

			out[p] = numbers_poison(ROWS * STRIDE * sizeof(float));
			memcpy(out[p], start, ROWS * STRIDE * sizeof(float));
			o.out = out[p];
			o.add = out[p];
			operand_prepare(k, t, OPERAND_F32, f.x, ROWS, 33, operand);
			linear(k, t, &f.matrix, operand, ROWS, &o);
			CHECK_BYTES(out[p], out[0], ROWS * STRIDE * sizeof(float));
		}
		for (uint32_t i = 0; i < ROWS * STRIDE; i++) {
			uint32_t row = i / STRIDE, n = i % STRIDE;
			double x, want;

			if (n >= OUTPUTS) {
				CHECK(out[0][i] == start[i]);
				continue;
			}
			x = (double)(plain[row * OUTPUTS + n] + f.bias[n] + start[i]);
			want = acts[a] == LINEAR_NONE ? x :
			       acts[a] == LINEAR_RELU ? fmax(x, 0) :
			       acts[a] == LINEAR_GELU_ERF ? 0.5 * x * (1 + erf(x * M_SQRT1_2)) :
			       0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
			CHECK_NEAR(out[0][i], want, 1e-6);
		}
		for (int p = 0; p < PATHS; p++)
			mem_free(out[p]);
		mem_free(start);
		mem_free(plain);
		mem_free(operand);
		fixture_close(&f);
	}
	team_close(t);
}

/* Goal: gated and joint products give the bits of separate ones. */
TEST(linear__gated_and_many_equal_separate)
{
	enum { ROWS = 13, COLUMNS = 96 };
	static const uint32_t outputs[] = { 100, 33, 64 };
	struct fixture f[3];
	struct matrix const *matrices[3];
	struct linear_out outs[3];
	struct random r;
	struct team *t;
	float *gated, *want[3];
	void *operand = numbers_poison(operand_bytes(OPERAND_INT8, ROWS, COLUMNS));

	random_seed(&r, test_seed() + 5);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 2), 0);
	for (size_t i = 0; i < 3; i++) {
		static const enum panel_format formats[] = { PANEL_Q8, PANEL_Q4_1, PANEL_I8 };

		fixture_open(&f[i], &r, case_of(formats[i], OPERAND_INT8), ROWS, outputs[i],
			     COLUMNS);
		memcpy(f[i].x, f[0].x, ROWS * COLUMNS * sizeof(float));
		matrices[i] = &f[i].matrix;
		want[i] = run(kernels_best(), t, &f[i], 0, ROWS);
		outs[i] = (struct linear_out){
			.out = numbers_poison(ROWS * outputs[i] * sizeof(float)),
			.out_stride = outputs[i],
		};
	}
	operand_prepare(kernels_best(), t, OPERAND_INT8, f[0].x, ROWS, COLUMNS, operand);
	linear_many(kernels_best(), t, matrices, outs, 3, operand, ROWS);
	for (size_t i = 0; i < 3; i++)
		CHECK_BYTES(outs[i].out, want[i], ROWS * outputs[i] * sizeof(float));

	gated = numbers_poison(ROWS * outputs[2] * sizeof(float));
	linear_gated(kernels_best(), t, &f[2].matrix, &f[2].matrix, operand, ROWS, ACT_SILU,
		     gated, outputs[2]);
	for (uint32_t i = 0; i < ROWS * outputs[2]; i++) {
		double x = want[2][i];

		CHECK_NEAR(gated[i], x * x / (1 + exp(-x)), 1e-5 * fabs(x * x) + 1e-7);
	}
	for (size_t i = 0; i < 3; i++) {
		mem_free(outs[i].out);
		mem_free(want[i]);
		fixture_close(&f[i]);
	}
	mem_free(gated);
	mem_free(operand);
	team_close(t);
}

/* Goal: a NaN or an infinity in a row shows in that row's results and in no other's. */
TEST(linear__carries_nan_in_its_own_row_only)
{
	struct random r;
	struct team *t;

	random_seed(&r, test_seed() + 6);
	kernels_thread_init();
	CHECK_EQ(team_open(&t, 1), 0);
	for (size_t c = 0; c < ARRAY_LENGTH(cases); c++) {
		struct fixture f;
		float *got, *clean;

		fixture_open(&f, &r, &cases[c], 5, 40, 64);
		clean = run(kernels_best(), t, &f, 0, 5);
		f.x[2 * 64 + 7] = c % 2 ? NAN : INFINITY;
		got = run(kernels_best(), t, &f, 0, 5);
		for (uint32_t i = 0; i < 5 * 40; i++) {
			if (i / 40 == 2)
				CHECK(!isfinite(got[i]));
			else
				CHECK(got[i] == clean[i]);
		}
		mem_free(got);
		mem_free(clean);
		fixture_close(&f);
	}
	team_close(t);
}
