/* sampler_math.c - vector code in the compiler's own vector types, so that the
 * order of additions stands in the text.
 *
 * Each pass is written once (*_body) and compiled twice, for any x86-64 and for AVX2; nothing
 * in it may be contracted or reordered, so both give the same bits.
 */
#include "compute/sampler_math.h"

#include <math.h>
#include <string.h>

enum {
	WIDTH = 8, LANES = 2 * WIDTH,
	BLOCK = 16 * LANES,             /* weights summed together when drawing */
	STRETCH = 64 * LANES,           /* logits among which the best is sought one by one */
	DIGIT_BITS = 11, DIGITS = 3, DIGIT_VALUES = 1 << DIGIT_BITS,
};

typedef float vec __attribute__((vector_size(WIDTH * sizeof(float))));
typedef float loose_vec __attribute__((vector_size(WIDTH * sizeof(float)), aligned(4), may_alias));
typedef int32_t int_vec __attribute__((vector_size(WIDTH * sizeof(int32_t))));

#define BODY static inline __attribute__((always_inline))

/* Vectors this wide cross no function boundary by value: how they would travel
 * depends on the instruction set.
 */
#define SELECT(mask, yes, no) ((vec)(((int_vec)(yes) & (mask)) | ((int_vec)(no) & ~(mask))))

static const vec zero;

/* The next LANES numbers; past the end of them, `fill` in room the caller lends. */
BODY const float *whole(const float *from, uint32_t left, float fill, float *room)
{
	if (left >= LANES)
		return from;
	for (uint32_t i = 0; i < LANES; i++)
		room[i] = i < left ? from[i] : fill;
	return room;
}

/* NaN becomes -infinity. */
BODY void load(vec *out, const float *from)
{
	vec v = *(const loose_vec *)from;

	*out = SELECT(v == v, v, zero - INFINITY);
}

BODY float fold(const vec *low, const vec *high)
{
	vec both = *low + *high;
	float v[WIDTH];

	memcpy(v, &both, sizeof(v));
	return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/* x = exp(x) for x <= 0, 0 below -87: a power of two times a polynomial in the rest (the
 * first seven terms of the series, enough on [-0.35, 0.35]).
 */
BODY void exp_vec(vec *x)
{
	const float log2_e = 1.44269504f, round = 12582912.0f;       /* 1.5 x 2^23 */
	const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
	int_vec alive = *x >= -87.0f;
	vec n, r, p;

	*x = SELECT(alive, *x, zero);
	n = *x * log2_e + round - round;
	r = *x - n * ln2_high - n * ln2_low;
	p = r * (1.0f / 720) + 1.0f / 120;
	p = p * r + 1.0f / 24;
	p = p * r + 1.0f / 6;
	p = p * r + 0.5f;
	p = p * r + 1.0f;
	p = p * r + 1.0f;
	p *= (vec)((__builtin_convertvector(n, int_vec) + 127) << 23);
	*x = SELECT(alive, p, zero);
}

BODY float largest_body(const float *logits, uint32_t count)
{
	vec low = zero - INFINITY, high = low, a, b;
	float room[LANES], largest = -INFINITY;

	for (uint32_t i = 0; i < count; i += LANES) {
		const float *from = whole(logits + i, count - i, -INFINITY, room);

		load(&a, from);
		load(&b, from + WIDTH);
		low = SELECT(a > low, a, low);
		high = SELECT(b > high, b, high);
	}
	low = SELECT(low > high, low, high);
	memcpy(room, &low, sizeof(low));
	for (int i = 0; i < WIDTH; i++)
		largest = room[i] > largest ? room[i] : largest;
	return largest;
}

/* Sum of exp(logit - largest). */
BODY float sum_body(const float *logits, uint32_t count, float largest)
{
	vec low = zero, high = zero, a, b;
	float room[LANES];

	for (uint32_t i = 0; i < count; i += LANES) {
		const float *from = whole(logits + i, count - i, -INFINITY, room);

		load(&a, from);
		load(&b, from + WIDTH);
		a -= largest;
		b -= largest;
		exp_vec(&a);
		exp_vec(&b);
		low += a;
		high += b;
	}
	return fold(&low, &high);
}

BODY float block_sum(const float *weights, uint32_t count)
{
	vec low = zero, high = zero;
	float room[LANES];

	for (uint32_t i = 0; i < count; i += LANES) {
		const float *from = whole(weights + i, count - i, 0, room);

		low += *(const loose_vec *)from;
		high += *(const loose_vec *)(from + WIDTH);
	}
	return fold(&low, &high);
}

BODY double weigh_body(const float *logits, uint32_t count, float largest, float scale,
		       float least, float *out)
{
	float room[LANES];
	double sum = 0;
	vec a, b;

	for (uint32_t i = 0; i < count; i += LANES) {
		const float *from = whole(logits + i, count - i, -INFINITY, room);

		load(&a, from);
		load(&b, from + WIDTH);
		a = (a - largest) * scale;
		b = (b - largest) * scale;
		exp_vec(&a);
		exp_vec(&b);
		a = SELECT(a >= least, a, zero);
		b = SELECT(b >= least, b, zero);
		*(loose_vec *)room = a;
		*(loose_vec *)(room + WIDTH) = b;
		memcpy(out + i, room, MIN(count - i, LANES) * sizeof(float));
	}
	for (uint32_t i = 0; i < count; i += BLOCK)
		sum += (double)block_sum(out + i, MIN(count - i, BLOCK));
	return sum;
}

#define AVX2 __attribute__((target("avx2"))) static

AVX2 float largest_avx2(const float *logits, uint32_t count)
{
	return largest_body(logits, count);
}

AVX2 float sum_avx2(const float *logits, uint32_t count, float largest)
{
	return sum_body(logits, count, largest);
}

AVX2 double weigh_avx2(const float *logits, uint32_t count, float largest, float scale,
		       float least, float *out)
{
	return weigh_body(logits, count, largest, scale, least, out);
}

static float largest_of(const float *logits, uint32_t count)
{
	return __builtin_cpu_supports("avx2") ? largest_avx2(logits, count) :
						largest_body(logits, count);
}

static float sum_of(const float *logits, uint32_t count, float largest)
{
	return __builtin_cpu_supports("avx2") ? sum_avx2(logits, count, largest) :
						sum_body(logits, count, largest);
}

uint32_t logits_best(const float *logits, uint32_t count)
{
	float largest = -INFINITY;
	uint32_t at = 0;

	for (uint32_t i = 0; i < count; i += STRETCH) {
		float most = largest_of(logits + i, MIN(count - i, STRETCH));

		at = most > largest ? i : at;
		largest = most > largest ? most : largest;
	}
	for (uint32_t i = at; i < count; i++)
		if (logits[i] == largest)
			return i;
	return 0;
}

void logits_summarise(const float *logits, uint32_t count, struct logits_summary *out)
{
	out->token = logits_best(logits, count);
	out->logit = logits[out->token];
	out->largest = isnan(out->logit) ? -INFINITY : out->logit;
	out->sum = isfinite(out->largest) ? sum_of(logits, count, out->largest) : 0;
}

static float log_sum(float largest, float sum)
{
	return isfinite(largest) ? largest + (float)log((double)sum) : largest;
}

float logits_summary_log_sum(const struct logits_summary *s)
{
	return log_sum(s->largest, s->sum);
}

float logits_log_sum(const float *logits, uint32_t count)
{
	float largest = largest_of(logits, count);

	return isfinite(largest) ? log_sum(largest, sum_of(logits, count, largest)) : largest;
}

double logits_weigh(const float *logits, uint32_t count, float largest, float scale,
		    float least, float *out)
{
	return __builtin_cpu_supports("avx2") ?
		       weigh_avx2(logits, count, largest, scale, least, out) :
		       weigh_body(logits, count, largest, scale, least, out);
}

/* Where the walk ends within one block that has a weight. */
static uint32_t block_find(const float *weights, uint32_t count, double share)
{
	uint32_t last = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (weights[i] <= 0)
			continue;
		last = i;
		share -= (double)weights[i];
		if (share < 0)
			break;
	}
	return last;
}

uint32_t weights_find(const float *weights, uint32_t count, double share)
{
	double inside = INFINITY;       /* of the block `last`: past its end so far */
	uint32_t last = count;

	for (uint32_t i = 0; i < count && inside == INFINITY; i += BLOCK) {
		double sum = (double)block_sum(weights + i, MIN(count - i, BLOCK));

		if (sum <= 0)
			continue;
		last = i;
		if (share < sum)
			inside = share;
		share -= sum;
	}
	if (last == count)
		return count;
	return last + block_find(weights + last, MIN(count - last, BLOCK), inside);
}

uint32_t candidates_gather(const float *logits, uint32_t count, float least,
			   struct candidate *out)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++)
		if (logits[i] >= least)
			out[found++] = (struct candidate){ i, logits[i] };
	return found;
}

/* A number that grows as the logit falls. */
static uint32_t sort_key(float logit)
{
	uint32_t bits;

	logit += 0.0f;                  /* -0 and 0 are equal */
	memcpy(&bits, &logit, sizeof(bits));
	return bits & 0x80000000 ? bits : ~bits & 0x7fffffff;
}

static void sort_by_insertion(struct candidate *c, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		struct candidate moved = c[i];
		uint32_t at = i;

		for (; at > 0 && c[at - 1].logit < moved.logit; at--)
			c[at] = c[at - 1];
		c[at] = moved;
	}
}

static void sort_by_digit(const struct candidate *from, uint32_t count, int shift,
			  struct candidate *to)
{
	uint32_t starts[DIGIT_VALUES] = { 0 }, at = 0;

	for (uint32_t i = 0; i < count; i++)
		starts[sort_key(from[i].logit) >> shift & (DIGIT_VALUES - 1)]++;
	for (uint32_t digit = 0; digit < DIGIT_VALUES; digit++) {
		uint32_t length = starts[digit];

		starts[digit] = at;
		at += length;
	}
	for (uint32_t i = 0; i < count; i++)
		to[starts[sort_key(from[i].logit) >> shift & (DIGIT_VALUES - 1)]++] = from[i];
}

void candidates_sort(struct candidate *c, uint32_t count, struct candidate *scratch)
{
	struct candidate *from = c, *to = scratch;

	if (count <= 64) {
		sort_by_insertion(c, count);
		return;
	}
	for (int digit = 0; digit < DIGITS; digit++) {
		struct candidate *swap = from;

		sort_by_digit(from, count, digit * DIGIT_BITS, to);
		from = to;
		to = swap;
	}
	memcpy(c, from, count * sizeof(*c));
}
