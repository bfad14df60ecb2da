/* numbers.c - seeded numbers and weights for kernel tests. */
#include "tests/support/numbers.h"

#include <math.h>

#include "dataplane/base/memory.h"

uint32_t numbers_between(struct random *r, uint32_t low, uint32_t end)
{
	return low + (uint32_t)random_below(r, (uint64_t)end - low + 1);
}

void numbers_fill(struct random *r, float *x, size_t n, float scale)
{
	for (size_t i = 0; i < n; i++) {
		double sum = random_unit(r) + random_unit(r) + random_unit(r) + random_unit(r);

		x[i] = (float)((sum - 2.0) * 1.7320508) * scale;
	}
}

float *numbers_new(struct random *r, size_t n, float scale)
{
	float *x = mem_aligned(64, n * sizeof(*x));

	assert(x);
	numbers_fill(r, x, n, scale);
	return x;
}

void *numbers_poison(size_t bytes)
{
	void *p = mem_aligned(64, bytes);

	assert(p);
	memset(p, 0xff, bytes);
	return p;
}

/* Finite group scales; every integer may occur. */
static void fill_group(struct random *r, enum dtype d, uint8_t *group)
{
	uint16_t scale = f16_of_f32((float)(0.005 + 0.02 * random_unit(r)));
	uint16_t least = f16_of_f32((float)(-0.2 * random_unit(r)));
	uint32_t at = d == DTYPE_Q4_1 ? 4 : 2;

	for (uint32_t i = at; i < dtypes[d].group_bytes; i++)
		group[i] = (uint8_t)random_u64(r);
	if (d == DTYPE_Q8_0)
		scale = f16_of_f32((float)(0.002 * random_unit(r)));
	memcpy(group, &scale, 2);
	if (d == DTYPE_Q4_1)
		memcpy(group + 2, &least, 2);
}

static void fill_float(struct random *r, enum dtype d, uint8_t *element)
{
	float f;
	uint16_t h;

	numbers_fill(r, &f, 1, 0.1f);
	h = d == DTYPE_BF16 ? bf16_of_f32(f) : f16_of_f32(f);
	if (d == DTYPE_F32)
		memcpy(element, &f, sizeof(f));
	else
		memcpy(element, &h, sizeof(h));
}

void numbers_weight(struct random *r, enum dtype d, uint32_t rows, uint32_t columns,
		    struct weight *out)
{
	uint64_t groups = (uint64_t)rows * (columns / dtypes[d].group);
	uint8_t *data = mem_alloc(groups * dtypes[d].group_bytes);

	assert(data);
	for (uint64_t i = 0; i < groups; i++) {
		if (dtype_is_quantised(d))
			fill_group(r, d, data + i * dtypes[d].group_bytes);
		else
			fill_float(r, d, data + i * dtypes[d].group_bytes);
	}
	*out = (struct weight){
		.name = "test", .dtype = d, .rows = rows, .columns = columns,
		.stored_columns = columns, .data = data,
	};
}

double numbers_error(const float *a, const double *b, size_t n)
{
	double off = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		off += (a[i] - b[i]) * (a[i] - b[i]);
		size += b[i] * b[i];
	}
	return sqrt(off / (size > 0 ? size : 1));
}
