/* quantise.c - from f32 rows to the weight formats, bit by bit alike on every host.
 *
 * Groups pass in vectors of 4, which any instruction set computes lane by lane.
 */
#include "compute/quantise.h"

#include <float.h>

enum {
	LANES = 4,
	ROWS_EACH = 32, COLUMNS_EACH = 256,     /* widened at a time: 32 KB */
};

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t lanes_i __attribute__((vector_size(LANES * sizeof(int32_t))));

/* Added and taken off again, it leaves the nearest integer, to even, of |x| < 2^22. */
static const float to_integer = 0x1.8p23f;

/* An INT4 group's scale is `most` divided by one of these; the first best one is taken. */
static const float divisors[] = { -8, -7, -7.25f, -7.5f, -7.75f, -8.25f, -8.5f, -8.75f, -9 };

/* Smaller errors count as none: their squares could be denormal. */
#define ERROR_LEAST 0x1p-60f

const char *weight_format_name(enum weight_format f)
{
	static const char *const names[WEIGHT_FORMATS] = {
		[WEIGHTS_KEEP] = "keep", [WEIGHTS_BF16] = "bf16",
		[WEIGHTS_INT8] = "int8", [WEIGHTS_INT4] = "int4",
	};

	assert(f < WEIGHT_FORMATS);
	return names[f];
}

/* ---- absurd numbers ---- */

enum { INFINITE_BITS = 0x7f800000, LEAST_NORMAL_BITS = 0x00800000 };

void quantise_see(struct row_seen *s, const float *x, uint32_t n)
{
	uint32_t most = s->most_bits;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t bits = f32_bits(x[i]) & 0x7fffffff;

		if (bits >= INFINITE_BITS)
			s->not_finite++;
		else if (bits > most)
			most = bits;
	}
	s->most_bits = most;
}

/* What x counts as among numbers of at most the magnitude `most`. */
static float tame(float x, float most)
{
	uint32_t bits = f32_bits(x) & 0x7fffffff;

	if (bits > INFINITE_BITS || bits < LEAST_NORMAL_BITS)
		return 0;
	if (bits == INFINITE_BITS)
		return x > 0 ? most : -most;
	return x;
}

/* ---- INT8 ---- */

float quantise_int8_scale(const struct row_seen *s)
{
	float most = f32_of_bits(s->most_bits);

	return s->most_bits < f32_bits(127 * FLT_MIN) ? 0 : most / 127;
}

void quantise_int8(const float *x, uint32_t n, float scale, int8_t *q)
{
	float inverse = scale > 0 ? 1 / scale : 0, most = scale * 127;

	for (uint32_t i = 0; i < n; i++) {
		float steps = tame(x[i], most) * inverse;

		steps = steps > 127 ? 127 : steps < -127 ? -127 : steps;
		q[i] = (int8_t)(steps + to_integer - to_integer);
	}
}

/* ---- INT4 ---- */

/* f16 of a scale, within its range. */
static uint16_t scale_f16(float scale)
{
	uint16_t h = f16_of_f32(scale);

	return (h & 0x7c00) == 0x7c00 ? (uint16_t)((h & 0x8000) | 0x7bff) : h;
}

/* x / scale to the nearest integer from -8 to 7. */
static lanes steps_of_4(lanes x, float inverse)
{
	lanes q = x * inverse + to_integer - to_integer;
	lanes_i above = q > 7, below = q < -8;
	lanes most = { 7, 7, 7, 7 }, least = { -8, -8, -8, -8 };

	q = (lanes)(((lanes_i)most & above) | ((lanes_i)q & ~above));
	return (lanes)(((lanes_i)least & below) | ((lanes_i)q & ~below));
}

static float squared_error(const lanes *x, float scale, float inverse)
{
	lanes sum = { 0 };

	for (int i = 0; i < GROUP / LANES; i++) {
		lanes error = x[i] - scale * steps_of_4(x[i], inverse);
		lanes_i counts = (error >= ERROR_LEAST) | (error <= -ERROR_LEAST);

		error = (lanes)((lanes_i)error & counts);
		sum += error * error;
	}
	return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

static float most_of(const float *x)
{
	float most = 0;

	for (int i = 0; i < GROUP; i++)
		if ((f32_bits(x[i]) & 0x7fffffff) > (f32_bits(most) & 0x7fffffff))
			most = x[i];
	return most;
}

static uint16_t best_scale(const lanes *x, float most)
{
	uint16_t best = 0;
	float least = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(divisors); i++) {
		uint16_t h = scale_f16(most / divisors[i]);
		float scale = f32_of_f16(h), error;

		if (scale == 0)
			continue;
		error = squared_error(x, scale, 1 / scale);
		if (best && !(error < least))
			continue;
		best = h;
		least = error;
	}
	return best;
}

uint16_t quantise_int4(const float *x, uint32_t n, uint8_t *bytes, uint32_t *not_finite)
{
	union { lanes v[GROUP / LANES]; float f[GROUP]; } group = { .f = { 0 } };
	struct row_seen seen = { 0 };
	float most, scale;
	uint16_t h;

	assert(n <= GROUP);
	quantise_see(&seen, x, n);
	*not_finite += seen.not_finite;
	for (uint32_t i = 0; i < n; i++)
		group.f[i] = tame(x[i], tame(f32_of_bits(seen.most_bits), 0));
	most = most_of(group.f);
	h = best_scale(group.v, most);
	scale = f32_of_f16(h);
	for (int i = 0; i < GROUP / LANES; i++)
		group.v[i] = scale == 0 ? (lanes){ 0 } : steps_of_4(group.v[i], 1 / scale);
	for (int j = 0; j < GROUP / 2; j++)
		bytes[j] = (uint8_t)((int)group.f[j] + 8 +
				     (((int)group.f[j + GROUP / 2] + 8) << 4));
	return h;
}

/* ---- whole rows ---- */

static uint32_t groups_of(uint32_t columns)
{
	return (columns + GROUP - 1) / GROUP;
}

uint64_t quantised_values_bytes(enum weight_format f, uint32_t columns)
{
	assert(f > WEIGHTS_KEEP && f < WEIGHT_FORMATS);
	if (f == WEIGHTS_INT4)
		return (uint64_t)groups_of(columns) * INT4_GROUP_BYTES;
	return (uint64_t)columns * (f == WEIGHTS_BF16 ? 2 : 1);
}

uint64_t quantised_scales_bytes(enum weight_format f, uint32_t columns)
{
	assert(f > WEIGHTS_KEEP && f < WEIGHT_FORMATS);
	if (f == WEIGHTS_INT4)
		return (uint64_t)groups_of(columns) * sizeof(uint16_t);
	return f == WEIGHTS_INT8 ? sizeof(float) : 0;
}

/* `columns` numbers of a row, the first of which is column k. */
static void put_columns(enum weight_format f, const float *x, uint32_t k, uint32_t columns,
			float scale, uint8_t *values, uint8_t *scales, uint32_t *not_finite)
{
	if (f == WEIGHTS_INT8) {
		quantise_int8(x, columns, scale, (int8_t *)values + k);
		return;
	}
	if (f == WEIGHTS_BF16) {
		for (uint32_t i = 0; i < columns; i++) {
			uint16_t h = bf16_of_f32(x[i]);

			memcpy(values + 2 * ((size_t)k + i), &h, sizeof(h));
		}
		return;
	}
	for (uint32_t i = 0; i < columns; i += GROUP) {
		size_t group = (k + i) / GROUP;
		uint16_t h = quantise_int4(x + i, MIN(columns - i, GROUP),
					   values + group * INT4_GROUP_BYTES, not_finite);

		memcpy(scales + group * sizeof(h), &h, sizeof(h));
	}
}

/* A row of GGUF's groups, scale and bytes one after the other, to the two planes. */
static void take_q4_0(const uint8_t *raw, uint32_t columns, uint8_t *values, uint8_t *scales)
{
	for (uint32_t g = 0; g < columns / GROUP; g++, raw += dtypes[DTYPE_Q4_0].group_bytes) {
		memcpy(scales + 2 * g, raw, 2);
		memcpy(values + (size_t)g * INT4_GROUP_BYTES, raw + 2, INT4_GROUP_BYTES);
	}
}

/* The scales of up to ROWS_EACH rows of INT8. */
static void find_scales(const struct weight *w, uint32_t row, uint32_t rows, float *scales,
			uint32_t *not_finite)
{
	float part[ROWS_EACH * COLUMNS_EACH];
	struct row_seen seen[ROWS_EACH] = { 0 };

	for (uint32_t k = 0; k < w->columns; k += COLUMNS_EACH) {
		uint32_t columns = MIN(w->columns - k, COLUMNS_EACH);

		weight_part(w, row, rows, k, columns, part, COLUMNS_EACH);
		for (uint32_t r = 0; r < rows; r++)
			quantise_see(&seen[r], part + (size_t)r * COLUMNS_EACH, columns);
	}
	for (uint32_t r = 0; r < rows; r++) {
		scales[r] = quantise_int8_scale(&seen[r]);
		*not_finite += seen[r].not_finite;
	}
}

uint64_t quantise_rows(enum weight_format f, const struct weight *w, uint32_t first, uint32_t end,
		       void *values, void *scales)
{
	uint64_t values_bytes = quantised_values_bytes(f, w->columns);
	uint64_t scales_bytes = quantised_scales_bytes(f, w->columns), count = 0;
	float part[ROWS_EACH * COLUMNS_EACH], found[ROWS_EACH] = { 0 };

	assert(first <= end && end <= w->rows);
	if (f == WEIGHTS_INT4 && w->dtype == DTYPE_Q4_0) {
		for (uint32_t row = first; row < end; row++)
			take_q4_0(weight_row_raw(w, row), w->columns,
				  (uint8_t *)values + (row - first) * values_bytes,
				  (uint8_t *)scales + (row - first) * scales_bytes);
		return 0;
	}
	for (uint32_t row = first; row < end; row += ROWS_EACH) {
		uint32_t rows = MIN(end - row, ROWS_EACH), not_finite = 0;
		uint8_t *to = (uint8_t *)values + (row - first) * values_bytes;
		uint8_t *to_scales = (uint8_t *)scales + (row - first) * scales_bytes;

		if (f == WEIGHTS_INT8) {
			find_scales(w, row, rows, found, &not_finite);
			memcpy(to_scales, found, rows * sizeof(*found));
		}
		for (uint32_t k = 0; k < w->columns; k += COLUMNS_EACH) {
			uint32_t columns = MIN(w->columns - k, COLUMNS_EACH);

			weight_part(w, row, rows, k, columns, part, COLUMNS_EACH);
			for (uint32_t r = 0; r < rows; r++)
				put_columns(f, part + (size_t)r * COLUMNS_EACH, k, columns,
					    found[r], to + r * values_bytes,
					    to_scales + r * scales_bytes, &not_finite);
		}
		count += not_finite;
	}
	return count;
}

void quantised_widen(enum weight_format f, const void *values, const void *scales,
		     uint32_t columns, float *out)
{
	const uint8_t *bytes = values;
	float scale = 0;
	uint16_t h;

	assert(f > WEIGHTS_KEEP && f < WEIGHT_FORMATS);
	if (f == WEIGHTS_BF16) {
		dtype_widen(DTYPE_BF16, values, columns, out);
		return;
	}
	if (f == WEIGHTS_INT8)
		memcpy(&scale, scales, sizeof(scale));
	for (uint32_t k = 0; k < columns; k++) {
		uint32_t group = k / GROUP, at = k % GROUP;
		uint8_t byte = bytes[f == WEIGHTS_INT8 ? k : group * INT4_GROUP_BYTES + at % 16];

		if (f == WEIGHTS_INT8) {
			out[k] = scale * (float)(int8_t)byte;
			continue;
		}
		memcpy(&h, (const uint8_t *)scales + group * sizeof(h), sizeof(h));
		out[k] = f32_of_f16(h) * (float)((at < 16 ? byte & 15 : byte >> 4) - 8);
	}
}
