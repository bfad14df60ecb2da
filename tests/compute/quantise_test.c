/* quantise_test.c - the weight formats: the golden bytes, a slow twin's bytes, and how far from
 * the weights they are.
 */
#include "compute/quantise.h"

#include <fenv.h>
#include <jansson.h>
#include <math.h>
#include <xmmintrin.h>

#include "dataplane/base/memory.h"
#include "tests/support/numbers.h"
#include "tests/test.h"

static const enum weight_format formats[] = { WEIGHTS_BF16, WEIGHTS_INT8, WEIGHTS_INT4 };

static struct weight plain(const float *x, uint32_t rows, uint32_t columns)
{
	return (struct weight){
		.name = "test", .dtype = DTYPE_F32, .order = WEIGHT_PLAIN, .rows = rows,
		.columns = columns, .stored_columns = columns, .data = (const uint8_t *)x,
	};
}

/* A matrix in a format. */
struct planes {
	enum weight_format format;
	uint32_t rows, columns;
	uint8_t *values, *scales;
	uint64_t values_bytes, scales_bytes, not_finite;
};

static struct planes quantised(enum weight_format f, const struct weight *w)
{
	struct planes p = {
		.format = f, .rows = w->rows, .columns = w->columns,
		.values_bytes = quantised_values_bytes(f, w->columns) * w->rows,
		.scales_bytes = quantised_scales_bytes(f, w->columns) * w->rows,
	};

	p.values = numbers_poison(p.values_bytes);
	p.scales = numbers_poison(MAX(p.scales_bytes, 1));
	p.not_finite = quantise_rows(f, w, 0, w->rows, p.values, p.scales);
	return p;
}

static void planes_close(struct planes *p)
{
	mem_free(p->values);
	mem_free(p->scales);
}

static void widen(const struct planes *p, uint32_t row, float *out)
{
	quantised_widen(p->format, p->values + p->values_bytes / p->rows * row,
			p->scales + p->scales_bytes / p->rows * row, p->columns, out);
}

/* ---- golden ---- */

static uint8_t *bytes_of_hex(const json_t *hex, size_t *bytes)
{
	const char *text = json_string_value(hex);
	uint8_t *out;

	CHECK(text);
	*bytes = strlen(text) / 2;
	out = mem_aligned(64, MAX(*bytes, 1));
	CHECK(out);
	for (size_t i = 0; i < *bytes; i++) {
		unsigned byte;

		CHECK_EQ(sscanf(text + 2 * i, "%2x", &byte), 1);
		out[i] = (uint8_t)byte;
	}
	return out;
}

static void check_plane(const char *name, const char *what, const uint8_t *got, uint64_t bytes,
			const json_t *hex)
{
	size_t expected;
	uint8_t *want = bytes_of_hex(hex, &expected);

	CHECK_EQ(bytes, expected);
	for (size_t i = 0; i < expected; i++)
		if (got[i] != want[i])
			fail_msg("%s: byte %zu of the %s is %02x, not %02x", name, i, what, got[i],
				 want[i]);
	mem_free(want);
}

static void check_golden(const json_t *c)
{
	const char *name = json_string_value(json_object_get(c, "name"));
	uint32_t columns = (uint32_t)json_integer_value(json_object_get(c, "columns"));
	size_t bytes;
	uint8_t *x = bytes_of_hex(json_object_get(c, "x"), &bytes);
	struct weight w = plain((const float *)x, 1, columns);

	CHECK_EQ(bytes, columns * sizeof(float));
	for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
		struct planes p = quantised(formats[i], &w);
		const json_t *want = json_object_get(c, weight_format_name(formats[i]));

		check_plane(name, "values", p.values, p.values_bytes,
			    json_object_get(want, "values"));
		check_plane(name, "scales", p.scales, p.scales_bytes,
			    json_object_get(want, "scales"));
		CHECK_EQ(p.not_finite, json_integer_value(json_object_get(want, "not_finite")));
		planes_close(&p);
	}
	mem_free(x);
}

/* Goal: the bytes are those that numpy makes by the header's text, absurd weights included, and
 * whether denormals are flushed changes none.
 */
TEST(quantise_rows__golden_bytes)
{
	json_t *cases = json_load_file(test_data("quantise.json"), 0, NULL);

	CHECK(json_array_size(cases) > 30);
	for (int flush = 0; flush < 2; flush++) {
		const json_t *c;
		fenv_t saved;
		size_t i;

		fegetenv(&saved);
		if (flush)
			_mm_setcsr(_mm_getcsr() | 0x8040);      /* FTZ, DAZ */
		json_array_foreach(cases, i, c)
			check_golden(c);
		fesetenv(&saved);
	}
	json_decref(cases);
}

/* ---- any matrix ---- */

/* INT8 of one row and INT4 of one group in plain scalar C. */
static float twin_int8(const float *x, uint32_t n, int8_t *q)
{
	float most = 0, scale;

	for (uint32_t i = 0; i < n; i++)
		most = fmaxf(most, fabsf(x[i]));
	scale = most / 127.0f;
	for (uint32_t i = 0; i < n; i++)
		q[i] = (int8_t)fminf(fmaxf(rintf(x[i] * (1.0f / scale)), -127), 127);
	return scale;
}

static uint16_t twin_int4(const float *x, uint8_t *q)
{
	static const float parts[] = { 8, 7, 7.25f, 7.5f, 7.75f, 8.25f, 8.5f, 8.75f, 9 };
	float most = 0, least = INFINITY;
	uint16_t best = 0;

	for (int i = 0; i < GROUP; i++)
		if (fabsf(x[i]) > fabsf(most))
			most = x[i];
	for (size_t p = 0; p < ARRAY_LENGTH(parts); p++) {
		uint16_t h = f16_of_f32(-most / parts[p]);
		float d = f32_of_f16(h), lanes[4] = { 0 }, error;

		for (int i = 0; i < GROUP; i++) {
			float step = fminf(fmaxf(rintf(x[i] * (1.0f / d)), -8), 7);
			float off = x[i] - d * step;

			lanes[i % 4] += off * off;
		}
		error = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
		if (error >= least)
			continue;
		least = error;
		best = h;
		for (int i = 0; i < GROUP; i++)
			q[i] = (uint8_t)(fminf(fmaxf(rintf(x[i] * (1.0f / d)), -8), 7) + 8);
	}
	return best;
}

static void check_int8_row(const struct planes *p, uint32_t row, const float *x)
{
	int8_t *q = mem_calloc(p->columns, 1);
	float scale = twin_int8(x, p->columns, q);

	CHECK_BYTES(p->scales + 4 * row, &scale, 4);
	CHECK_BYTES(p->values + (size_t)row * p->columns, q, p->columns);
	mem_free(q);
}

static void check_int4_row(const struct planes *p, uint32_t row, const float *x)
{
	uint32_t groups = (p->columns + GROUP - 1) / GROUP;

	for (uint32_t g = 0; g < groups; g++) {
		const uint8_t *bytes = p->values + ((size_t)row * groups + g) * INT4_GROUP_BYTES;
		float group[GROUP] = { 0 };
		uint8_t q[GROUP];
		uint16_t scale;

		memcpy(group, x + g * GROUP, MIN(p->columns - g * GROUP, GROUP) * sizeof(float));
		scale = twin_int4(group, q);
		CHECK_BYTES(p->scales + 2 * ((size_t)row * groups + g), &scale, 2);
		for (int j = 0; j < GROUP / 2; j++)
			CHECK_EQ(bytes[j], q[j] | q[j + 16] << 4);
	}
}

/* Stored as Q4_0: the very numbers. */
static void check_taken(const struct planes *p, uint32_t row, const float *x)
{
	float *back = mem_calloc(p->columns, sizeof(*back));

	widen(p, row, back);
	CHECK_BYTES(back, x, p->columns * sizeof(*back));
	mem_free(back);
}

/* Goal: matrices of any shape and stored type give the twin's bytes of the widened rows, however
 * the rows are cut.
 */
TEST(quantise_rows__any_shape_dtype_and_cut)
{
	struct random r;

	random_seed(&r, test_seed());
	for (int i = 0; i < 60; i++) {
		enum dtype d = (enum dtype)random_below(&r, DTYPE_COUNT);
		enum weight_format f = formats[random_below(&r, ARRAY_LENGTH(formats))];
		uint32_t rows = numbers_between(&r, 1, 80), cut = numbers_between(&r, 0, rows);
		uint32_t columns = dtype_is_quantised(d) ? GROUP * numbers_between(&r, 1, 20) :
							   numbers_between(&r, 1, 600);
		float *x = mem_calloc(columns, sizeof(*x));
		struct planes p, again;
		struct weight w;

		numbers_weight(&r, d, rows, columns, &w);
		p = quantised(f, &w);
		CHECK_EQ(p.not_finite, 0);
		again = quantised(f, &w);
		memset(again.values, 0xee, again.values_bytes);
		quantise_rows(f, &w, cut, rows, again.values + again.values_bytes / rows * cut,
			      again.scales + again.scales_bytes / rows * cut);
		quantise_rows(f, &w, 0, cut, again.values, again.scales);
		CHECK_BYTES(again.values, p.values, p.values_bytes);
		CHECK_BYTES(again.scales, p.scales, p.scales_bytes);
		for (uint32_t row = 0; row < rows; row++) {
			weight_row(&w, row, x);
			if (f == WEIGHTS_INT8)
				check_int8_row(&p, row, x);
			else if (f == WEIGHTS_INT4 && d != DTYPE_Q4_0)
				check_int4_row(&p, row, x);
			else if (f == WEIGHTS_INT4)
				check_taken(&p, row, x);
			for (uint32_t k = 0; k < columns && f == WEIGHTS_BF16; k++)
				CHECK_EQ(((uint16_t *)p.values)[(size_t)row * columns + k],
					 bf16_of_f32(x[k]));
		}
		planes_close(&again);
		planes_close(&p);
		mem_free((void *)w.data);
		mem_free(x);
	}
}

/* Goal: transposed storage quantises like the logical rows. */
TEST(quantise_rows__follows_the_order)
{
	enum { ROWS = 70, COLUMNS = 300, STORED = 100, FROM = 20 };
	struct random r;
	struct weight w;
	float *x = mem_calloc(ROWS * COLUMNS, sizeof(*x));

	random_seed(&r, test_seed() + 1);
	numbers_weight(&r, DTYPE_F16, COLUMNS, STORED, &w);
	w.order = WEIGHT_TRANSPOSED;
	w.rows = ROWS;
	w.columns = COLUMNS;
	w.stored_columns = STORED;
	w.row0 = FROM;
	for (uint32_t row = 0; row < ROWS; row++)
		weight_row(&w, row, x + (size_t)row * COLUMNS);
	for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
		struct weight rows = plain(x, ROWS, COLUMNS);
		struct planes a = quantised(formats[i], &w), b = quantised(formats[i], &rows);

		CHECK_BYTES(a.values, b.values, a.values_bytes);
		CHECK_BYTES(a.scales, b.scales, a.scales_bytes);
		planes_close(&a);
		planes_close(&b);
	}
	mem_free((void *)w.data);
	mem_free(x);
}

/* ---- how far off ---- */

/* Goal: each weight is within half a step of its format, each normal matrix within a stated
 * norm-relative error, and 4 bits do better than their plain absmax scale would.
 */
TEST(quantised_widen__error_is_bounded)
{
	enum { ROWS = 64, COLUMNS = 1024 };
	static const double norm_relative[WEIGHT_FORMATS] = {
		[WEIGHTS_BF16] = 0.0020, [WEIGHTS_INT8] = 0.0090, [WEIGHTS_INT4] = 0.083,
	};
	struct random r;
	float *x, *back = mem_calloc(ROWS * COLUMNS, sizeof(*back));
	double *exact = mem_calloc(ROWS * COLUMNS, sizeof(*exact));

	random_seed(&r, test_seed() + 2);
	x = numbers_new(&r, ROWS * COLUMNS, 0.05f);
	for (size_t i = 0; i < ROWS * COLUMNS; i++)
		exact[i] = x[i];
	for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
		struct weight w = plain(x, ROWS, COLUMNS);
		struct planes p = quantised(formats[i], &w);

		for (uint32_t row = 0; row < ROWS; row++) {
			const float *from = x + (size_t)row * COLUMNS;
			float *to = back + (size_t)row * COLUMNS;
			double step = 0;

			widen(&p, row, to);
			for (uint32_t k = 0; k < COLUMNS; k++) {
				if (formats[i] == WEIGHTS_BF16)
					step = fabs(from[k]) / 128;
				else if (formats[i] == WEIGHTS_INT8)
					step = ((float *)p.scales)[row];
				else if (k % GROUP == 0)
					step = fabs(f32_of_f16(((uint16_t *)p.scales)
						[((size_t)row * COLUMNS + k) / GROUP]));
				/* The end of the range may be cut off, by at most one step more. */
				CHECK_NEAR(to[k], from[k], step * (formats[i] == WEIGHTS_INT4 ?
								   1.5 : 0.5001));
			}
		}
		CHECK_NEAR(numbers_error(back, exact, ROWS * COLUMNS), 0,
			   norm_relative[formats[i]]);
		planes_close(&p);
	}
	mem_free(exact);
	mem_free(back);
	mem_free(x);
}

/* Goal: what a format can hold exactly comes back exactly: quantising again changes nothing. */
TEST(quantise_rows__is_idempotent)
{
	enum { ROWS = 20, COLUMNS = 200 };
	struct random r;
	float *x, *back = mem_calloc(ROWS * COLUMNS, sizeof(*back));

	random_seed(&r, test_seed() + 3);
	x = numbers_new(&r, ROWS * COLUMNS, 0.05f);
	for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
		struct weight w = plain(x, ROWS, COLUMNS), of_back = plain(back, ROWS, COLUMNS);
		struct planes a = quantised(formats[i], &w), b;

		for (uint32_t row = 0; row < ROWS; row++)
			widen(&a, row, back + (size_t)row * COLUMNS);
		b = quantised(formats[i], &of_back);
		for (uint32_t row = 0; row < ROWS; row++) {
			float again[COLUMNS];

			widen(&b, row, again);
			for (uint32_t k = 0; k < COLUMNS; k++)
				CHECK_NEAR(again[k], back[(size_t)row * COLUMNS + k],
					   fabsf(again[k]) * 1e-6f);
		}
		planes_close(&a);
		planes_close(&b);
	}
	mem_free(back);
	mem_free(x);
}

/* Goal: names are those of --weights. */
TEST(weight_format_name__all)
{
	CHECK_TEXT(weight_format_name(WEIGHTS_KEEP), "keep");
	CHECK_TEXT(weight_format_name(WEIGHTS_BF16), "bf16");
	CHECK_TEXT(weight_format_name(WEIGHTS_INT8), "int8");
	CHECK_TEXT(weight_format_name(WEIGHTS_INT4), "int4");
}
