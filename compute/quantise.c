/* quantise.c - from f32 rows to the weight formats, bit by bit alike on every host. */
#include "compute/quantise.h"

#include <float.h>

enum {
	LANES = 4,                              /* of an error's sum */
	ROWS_EACH = 32, COLUMNS_EACH = 256,     /* widened at a time: 32 KB */
};

/* Added and taken off again, it leaves the nearest integer, to even, of |x| < 2^22. */
static const float to_integer = 0x1.8p23f;

/* An INT4 group's scale is `most` divided by one of these; the first best one is taken. */
static const float divisors[] = { -8, -7, -7.25f, -7.5f, -7.75f, -8.25f, -8.5f, -8.75f, -9 };

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
static inline float steps_of_4(float x, float inverse)
{
	float q = x * inverse + to_integer - to_integer;

	q = 7 < q ? 7 : q;
	return -8 > q ? -8 : q;
}

/* In lanes, which any instruction set computes alike. */
static float squared_error(const float *x, float scale, float inverse)
{
	float square[GROUP], sum[LANES] = { 0 };

	for (int i = 0; i < GROUP; i++) {
		float error = x[i] - scale * steps_of_4(x[i], inverse);

		square[i] = error * error;
	}
	for (int i = 0; i < GROUP; i += LANES)
		for (int lane = 0; lane < LANES; lane++)
			sum[lane] += square[i + lane];
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

static uint16_t best_scale(const float *x, float most)
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

/* Below, a number is no error: its square could be denormal.  With a scale of 2^-24 or more it
 * is 0 in any case.
 */
static const float least_counted = 0x1p-60f;

uint16_t quantise_int4(const float *x, uint32_t n, uint8_t *bytes, uint32_t *not_finite)
{
	float group[GROUP] = { 0 }, most, scale, inverse;
	struct row_seen seen = { 0 };
	uint16_t h;

	assert(n <= GROUP);
	quantise_see(&seen, x, n);
	*not_finite += seen.not_finite;
	for (uint32_t i = 0; i < n; i++) {
		float tamed = tame(x[i], f32_of_bits(seen.most_bits));

		group[i] = tamed >= least_counted || tamed <= -least_counted ? tamed : 0;
	}
	most = most_of(group);
	h = best_scale(group, most);
	scale = f32_of_f16(h);
	inverse = scale == 0 ? 0 : 1 / scale;
	for (int i = 0; i < GROUP; i++)
		group[i] = steps_of_4(group[i], inverse) + 8;
	for (int j = 0; j < GROUP / 2; j++)
		bytes[j] = (uint8_t)((int)group[j] | (int)group[j + GROUP / 2] << 4);
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
