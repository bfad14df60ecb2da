/* quantise.h - weight formats that a span or an edge may be loaded in (--weights), and the one
 * quantiser that makes them: the same bytes on every host, backend and instruction set.
 *
 * Canonical layout of a matrix of `rows` output and `columns` input features, row-major, in two
 * planes that each backend lays out again as its kernels want them:
 *   BF16  values u16 [rows][columns]               w = values
 *   INT8  values i8 [rows][columns]                w = scale x q, q from -127 to 127
 *         scales f32 [rows]
 *   INT4  values u8 [rows][groups][16]             w = scale x (q - 8), q from 0 to 15
 *         scales f16 [rows][groups]                may be negative
 *   An INT4 group is GROUP (32) consecutive columns; its byte j holds column j in its low and
 *   column j + 16 in its high half, as GGUF's Q4_0 does.  The last group is filled up with q = 8,
 *   which adds 0.
 *
 * INT8  scale = absmax / 127 of the row; q = w x (1 / scale), to nearest even.
 * INT4  most is the group's first number of the largest magnitude.  Of the scales most / -8,
 *       most / -7, / -7.25, / -7.5, / -7.75, / -8.25, ... / -9 (each f16, nearest even) the
 *       first with the least error is taken; q - 8 = w x (1 / scale), to nearest even, from -8
 *       to 7.  The error sums (w - scale x (q - 8))^2 in 4 lanes (column i in lane i % 4), then
 *       (lane 0 + lane 2) + (lane 1 + lane 3); differences below 2^-60 count as none.
 * A matrix that is stored as Q4_0 already is taken as it is for INT4.
 * All arithmetic is f32, one rounding per operation; nothing depends on whether denormals are
 * flushed.  tools/diary.md says why these and not others.
 *
 * Absurd weights have a meaning, and are counted so that a loader can say so.  BF16 keeps them,
 * and so does what is taken as it is.  Else NaN is 0; infinity is the largest finite magnitude of
 * its row (INT8) or group (INT4), 0 when there is none; a denormal is 0.  A row whose scale would
 * be denormal, a group whose scale rounds to 0 in f16, is all 0 with a scale of 0; an f16 scale
 * ends at 65504.
 *
 * Threads    Pure functions; safe anywhere, in any floating point environment that rounds to
 *            nearest.
 * Ownership  The caller's memory is filled.
 * Units      Elements; *_bytes.
 * Errors     None beyond asserts.
 */
#ifndef PETALS_COMPUTE_QUANTISE_H
#define PETALS_COMPUTE_QUANTISE_H

#include "compute/model/model.h"

/* KEEP: as the checkpoint stores each matrix. */
enum weight_format { WEIGHTS_KEEP, WEIGHTS_BF16, WEIGHTS_INT8, WEIGHTS_INT4, WEIGHT_FORMATS };

const char *weight_format_name(enum weight_format f);

/* ---- whole rows, in the canonical layout; not for WEIGHTS_KEEP ---- */

/* Of one row of each plane. */
uint64_t quantised_values_bytes(enum weight_format f, uint32_t columns);
uint64_t quantised_scales_bytes(enum weight_format f, uint32_t columns);
/* Rows [first, end) of w to values and scales, which begin with row `first`.  Returns how many
 * weights were NaN or infinite and could not stay so.
 */
uint64_t quantise_rows(enum weight_format f, const struct weight *w, uint32_t first, uint32_t end,
		       void *values, void *scales);
/* One row back to f32: what the format says the weights are. */
void quantised_widen(enum weight_format f, const void *values, const void *scales,
		     uint32_t columns, float *out);

/* ---- the parts, for a backend that packs as it goes ---- */

/* INT8 needs to have seen all of a row before its first number; parts come in any order. */
struct row_seen {
	uint32_t most_bits;             /* of the largest finite magnitude */
	uint32_t not_finite;
};
void quantise_see(struct row_seen *s, const float *x, uint32_t n);
float quantise_int8_scale(const struct row_seen *s);
void quantise_int8(const float *x, uint32_t n, float scale, int8_t *q);

/* n <= GROUP numbers to 16 bytes; returns the scale's f16. */
enum { INT4_GROUP_BYTES = GROUP / 2 };
uint16_t quantise_int4(const float *x, uint32_t n, uint8_t *bytes, uint32_t *not_finite);

#endif
