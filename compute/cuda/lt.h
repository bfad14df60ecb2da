/* lt.h - products of many rows by cuBLASLt, opened at run time; for the fast mode alone.
 *
 * A plan is made at load for each shape of matrix and each bucket of rows (doubling from
 * rows_least), so that a step only enqueues.  The library proposes candidates; they race on the
 * matrix, those that compute something else than our own kernels are refused, and who won
 * is remembered (tuning.h).  cuBLASLt promises no order of summation: linear.h says what
 * that costs.
 *
 * Threads    Preparing and running by the thread of the queue; a table per queue.
 * Ownership  cuda_lt_open() / cuda_lt_close().
 * Units      Rows, features and columns; _bytes.
 * Errors     -ENOTSUP when there is no library, -ENOMEM, -EIO with a sentence.
 */
#ifndef PETALS_COMPUTE_CUDA_LT_H
#define PETALS_COMPUTE_CUDA_LT_H

#include "compute/cuda/linear.h"

enum { CUDA_LT_WORKSPACE_BYTES = 32 << 20 };    /* what Hopper's kernels may want */

struct cuda_lt;

int cuda_lt_open(struct cuda_lt **out, struct cuda_queue *q, uint32_t rows_least,
		 uint32_t rows_max, struct error *e);
void cuda_lt_close(struct cuda_lt *lt);          /* NULL is fine */
/* Makes the plans of a matrix in CUDA_BF16_ROWS, for every bucket up to rows_max. */
int cuda_lt_prepare(struct cuda_lt *lt, const struct cuda_matrix *m, struct error *e);
/* As cuda_linear(); the matrix was prepared. */
void cuda_lt_linear(struct cuda_lt *lt, const struct cuda_matrix *m, const void *operand,
		    uint32_t rows, const float *add, float *out);

#endif
