/* noise.h - device memory full of random numbers, for measurements: zeros multiply faster.
 *
 * Threads    The queue's.
 * Ownership  Nothing is kept.
 * Units      _bytes.
 * Errors     -ENOMEM, or the queue's, with a sentence.
 */
#ifndef PETALS_COMPUTE_CUDA_NOISE_H
#define PETALS_COMPUTE_CUDA_NOISE_H

#include "compute/cuda/queue.h"

/* Numbers even in (-1, 1), bf16 or f32; the same each time.  Waits. */
int cuda_noise(struct cuda_queue *q, void *to, uint64_t bytes, bool bf16, struct error *e);

#endif
