/* row.h - rows of f32 to and from the encodings they travel and land in.
 *
 * The numbers of enum row_encoding are those of wire.h's enum wire_encoding.
 * Every conversion is per row and deterministic (round to nearest even), so a
 * replayed row has the same bytes as the first.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      Numbers per row (`width`); *_bytes.
 * Errors     None; sizes are the caller's to check with row_bytes().
 */
#ifndef PETALS_COMPUTE_ROW_H
#define PETALS_COMPUTE_ROW_H

#include "compute/model/dtype.h"

enum row_encoding {
	ROW_NONE, ROW_F32, ROW_F16, ROW_BF16,
	ROW_INT8,           /* blocks of 64 numbers: f32 scale (absmax / 127), then int8;
			     * a short last block holds what is left */
	ROW_TOKENS,         /* u32 ids */
	ROW_ENCODING_COUNT
};

uint64_t row_bytes(enum row_encoding encoding, uint32_t width);
void row_encode(enum row_encoding encoding, const float *in, uint32_t rows, uint32_t width,
		void *out);
void row_decode(enum row_encoding encoding, const void *in, uint32_t rows, uint32_t width,
		float *out);
/* What decode(encode(x)) would give, in place; the identity for ROW_F32. */
void row_round(enum row_encoding encoding, float *rows_in_out, uint32_t rows, uint32_t width);
const char *row_encoding_name(enum row_encoding encoding);

#endif
