/* twin.h - the warp's exchanges, written out from their documentation: shuffles, votes, matrix
 * products of fragments.  Each takes the 32 lanes at once (grid.h).
 *
 * Fragments are as compute/cuda/ptx.cuh draws them.
 *
 * Threads    As grid.h.
 * Ownership  None.
 * Units      None.
 * Errors     A source lane that is not in the exchange ends the program.
 */
#ifndef PETALS_TESTS_CUDA_TWIN_H
#define PETALS_TESTS_CUDA_TWIN_H

#include "tests/cuda/grid.h"

#ifdef __cplusplus
extern "C" {
#endif

struct twin_source { uint64_t value; uint32_t source; };       /* out: uint64_t */
void twin_shuffle(struct grid_lane lanes[GRID_WARP]);
void twin_ballot(struct grid_lane lanes[GRID_WARP]);            /* in: int; out: unsigned */
void twin_sync(struct grid_lane lanes[GRID_WARP]);

struct twin_fragments { uint32_t a[4], b[2]; };
void twin_mma_bf16(struct grid_lane lanes[GRID_WARP]);          /* out: float[4], added to */
void twin_mma_f16(struct grid_lane lanes[GRID_WARP]);
void twin_mma_int8(struct grid_lane lanes[GRID_WARP]);          /* out: int32_t[4] */

void twin_ldmatrix(struct grid_lane lanes[GRID_WARP]);          /* in: const void *; out: [4] */
void twin_ldmatrix_transposed(struct grid_lane lanes[GRID_WARP]);

#ifdef __cplusplus
}
#endif

#endif
