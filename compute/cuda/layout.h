/* layout.h - how a matrix lies in device memory, so that a warp reads it in one contiguous run
 * of 16 bytes a lane; and the one pass that lays it out, at load.
 *
 * A matrix of `features` output and `columns` input features is cut into tiles of
 * TILE_FEATURES (32) features by CUDA_K_STEP (32) columns, both filled up: features with
 * weights of 0, columns with zeros of either side.  A tile is a record; records of a band of 32
 * features follow each other along k, bands follow each other:
 *
 *      k 0..31     k 32..63                          with g = lane / 4, t = lane % 4:
 *    +-----------+-----------+-- - - --+
 *    | record 0  | record 1  |         | features 0..31        BF16, F16   2048 bytes
 *    +-----------+-----------+-- - - --+                       +---------+---------+- - -+
 *    | record S  | record S+1|         | features 32..63       | piece 0 | piece 1 | 2, 3|
 *    +-----------+-----------+-- - - --+                       +---------+---------+- - -+
 *                                                              piece i, lane: 8 weights of
 *    INT8, Q8_0  1024 bytes (+ 64 of scales)                   feature g + 8i, k 8t..8t + 7
 *    +---------+---------+ - - - - +
 *    | piece 0 | piece 1 | scales  |    piece i, lane: two words of feature g + 16i, two of
 *    +---------+---------+ - - - - +    g + 16i + 8; word j has k 8t + 4j + 0, 2, 1, 3
 *
 *    Q4_0, Q4_1  512 bytes + 64 or 128 of scales
 *    +---------+ - - - - +              lane: word i is feature g + 8i; its nibble n, from the
 *    | piece 0 | scales  |              low end, is k 8t + 0, 2, 4, 6, 1, 3, 5, 7
 *    +---------+ - - - - +
 *
 *    Scales of a record: for each g, of features g, g + 8, g + 16, g + 24: f16, or with Q4_1
 *    f16 scale and f16 minimum.  INT8's are of whole rows: f32 (features) behind all records.
 *
 *   BF16, F16  w = value                             Q8_0  w = scale x q
 *   INT8       w = scale x q                         Q4_0  w = scale x (q - 8)
 *                                                    Q4_1  w = scale x q + minimum
 * Orders within a word are those in which a mask and a shift leave the pairs of k that an mma
 * fragment wants (linear_piece.cuh).
 *
 * Two formats are rows, one after the other: F32 (features, columns up to CUDA_K_STEP), the
 * reference's, and BF16_ROWS, likewise, what cuBLASLt takes.
 *
 * Threads    Pure functions.
 * Ownership  The caller's memory is filled.
 * Units      Bands of 32 features; _bytes.
 * Errors     None beyond asserts.
 */
#ifndef PETALS_COMPUTE_CUDA_LAYOUT_H
#define PETALS_COMPUTE_CUDA_LAYOUT_H

enum { TILE_FEATURES = 32, TILE_COLUMNS = 32 };

enum cuda_format {
	CUDA_F32, CUDA_BF16_ROWS, CUDA_BF16, CUDA_F16, CUDA_INT8, CUDA_Q8_0, CUDA_Q4_0, CUDA_Q4_1,
	CUDA_FORMATS
};

/* Of a record; constants where the format is one. */
#define TILE_VALUES_BYTES(format) \
	((format) <= CUDA_F16 ? 2048u : (format) <= CUDA_Q8_0 ? 1024u : 512u)
#define TILE_SCALES_BYTES(format) \
	((format) == CUDA_Q4_1 ? 128u : (format) == CUDA_Q4_0 || (format) == CUDA_Q8_0 ? 64u : 0u)
#define TILE_BYTES(format) (TILE_VALUES_BYTES(format) + TILE_SCALES_BYTES(format))

#ifndef __cplusplus
#include "compute/quantise.h"

const char *cuda_format_name(enum cuda_format f);
/* What a weight becomes: `bf16` or f32 operands, as --weights says; `rows`: cuBLASLt is to read
 * what is bf16, and f16 becomes that, too.
 */
enum cuda_format cuda_format_of(const struct weight *w, enum weight_format f, bool bf16,
				bool rows);

/* All of a matrix, and one band of it (without INT8's row scales). */
uint64_t cuda_layout_bytes(enum cuda_format f, uint32_t features, uint32_t columns);
uint64_t cuda_layout_band_bytes(enum cuda_format f, uint32_t columns);
/* Lays out features [first, first + 32).  row_scales (32) is filled with INT8's, or NULL with
 * others.  scratch has cuda_layout_scratch_bytes().  Returns how many weights were absurd
 * (quantise.h).
 */
uint64_t cuda_layout_band(enum cuda_format f, const struct weight *w, uint32_t first, void *out,
			  float *row_scales, void *scratch);
uint64_t cuda_layout_scratch_bytes(enum cuda_format f, uint32_t columns);
#endif

#endif
