/* dtype.h - how numbers are stored: plain floats and GGUF's group formats.
 *
 * Group formats hold 32 consecutive weights of a row (layout: ggml's
 * published GGUF formats, little-endian):
 *   Q8_0  f16 d, int8 q[32]                    w = d * q
 *   Q4_0  f16 d, 16 bytes                      w = d * (q - 8)
 *   Q4_1  f16 d, f16 m, 16 bytes               w = d * q + m
 * Byte i of a 4-bit group holds q[i] in its low and q[i + 16] in its high half.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      Elements; *_bytes.
 * Errors     None; callers check sizes with dtype_row_bytes().
 */
#ifndef PETALS_COMPUTE_MODEL_DTYPE_H
#define PETALS_COMPUTE_MODEL_DTYPE_H

#include <string.h>

#include "dataplane/base/types.h"

enum dtype {
	DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_1,
	DTYPE_COUNT
};

enum { GROUP = 32 };            /* elements of a quantised group */

struct dtype_row {
	const char *name;       /* "bf16" */
	uint32_t group;         /* elements stored together: 1 or GROUP */
	uint32_t group_bytes;
};
extern const struct dtype_row dtypes[DTYPE_COUNT];

static inline bool dtype_is_quantised(enum dtype d) { return dtypes[d].group > 1; }

/* Bytes of a row of `columns` elements; columns is a multiple of the group. */
static inline uint64_t dtype_row_bytes(enum dtype d, uint64_t columns)
{
	return columns / dtypes[d].group * dtypes[d].group_bytes;
}

static inline float f32_of_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static inline uint32_t f32_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static inline float f32_of_bf16(uint16_t b) { return f32_of_bits((uint32_t)b << 16); }

/* Round to nearest even; NaN stays a (quiet) NaN. */
static inline uint16_t bf16_of_f32(float f)
{
	uint32_t bits = f32_bits(f);

	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float f32_of_f16(uint16_t h);
uint16_t f16_of_f32(float f);            /* nearest even, overflow to infinity */

/* One row of any dtype widened to f32. */
void dtype_widen(enum dtype d, const void *row, uint64_t columns, float *out);

#endif
