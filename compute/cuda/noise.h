/* noise.h - what measurements need around them: random numbers, since zeros multiply faster, and
 * a cache that holds nothing of use.
 *
 * Threads    The queue's.
 * Ownership  Nothing is kept.
 * Units      _bytes.
 * Errors     -ENOMEM, or the queue's, with a sentence.
 */
#ifndef PETALS_COMPUTE_CUDA_NOISE_H
#define PETALS_COMPUTE_CUDA_NOISE_H

#include "compute/cuda/queue.h"

/* Numbers even in (-1, 1), of e4m3 finite bits; the same each time.  Waits. */
enum noise { NOISE_F32, NOISE_BF16, NOISE_FP8 };
int cuda_noise(struct cuda_queue *q, void *to, uint64_t bytes, enum noise kind, struct error *e);

/* Queues a pass over device memory; sums is (CUDA_PASS_THREADS).  Of CUDA_EVICT_BYTES, it leaves
 * nothing else in a cache, and nothing there that had to be written back.
 */
enum { CUDA_PASS_THREADS = 2048 * 256 };
#define CUDA_EVICT_BYTES (160ull << 20) /* an H200 has 60 MB of it */
void cuda_pass_over(struct cuda_queue *q, const void *memory, uint64_t bytes, uint32_t *sums);

#endif
