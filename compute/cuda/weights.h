/* weights.h - matrices and vectors of a model, laid out in device memory.
 *
 * First everything that is wanted is named, which counts the arena; when that is open,
 * cuda_weights_load() lays them out on the host and copies them over.  Weights that quantising
 * found absurd are told to the log, with the tensor's name.
 *
 * Loading takes pinned memory of two halves, whatever the model: each holds some bands of 32
 * rows for every thread, and CUDA_WEIGHTS_HALF_BYTES at most, or one band that is larger; where
 * it is full of bands, more threads would not help and are not started.
 *
 * Threads    One thread at a time; loading starts the device's threads (--threads) and ends
 *            them.  The bytes are the same for any number of them, progress is reported by
 *            the caller's thread.
 * Ownership  cuda_weights_open() / cuda_weights_close(); the arena is the caller's, who
 *            opens it in between.  The model is read by cuda_weights_load() only.
 * Units      _bytes.
 * Errors     -ENOMEM, -EAGAIN (no more threads), -EIO with a sentence.
 */
#ifndef PETALS_COMPUTE_CUDA_WEIGHTS_H
#define PETALS_COMPUTE_CUDA_WEIGHTS_H

#include "compute/cuda/arena.h"
#include "compute/cuda/linear.h"

struct cuda_weights;

enum {
	CUDA_WEIGHTS_HALVES = 2,
	CUDA_WEIGHTS_HALF_BYTES = 64 << 20,
	CUDA_WEIGHTS_HALF_BYTES_LEAST = 4 << 20,
};

/* As --weights says; rows: cuBLASLt is to read what is bf16 (layout.h). */
struct cuda_weights_as { enum weight_format format; bool rows; };

int cuda_weights_open(struct cuda_weights **out, const struct model *m,
		      struct cuda_weights_as as, struct cuda_arena *a, uint32_t items_max,
		      struct error *e);
void cuda_weights_close(struct cuda_weights *w);         /* NULL is fine */

/* These leave NULL in out->w or *out when the model has no such tensor. */
/* With its bias. */
void cuda_weights_matrix(struct cuda_weights *w, enum role role, uint32_t block, bool bf16,
			 struct cuda_matrix *out);
void cuda_weights_vector(struct cuda_weights *w, enum role role, uint32_t block, float **out);
/* (rows, columns) of f32, without padding. */
void cuda_weights_table(struct cuda_weights *w, enum role role, float **out);

int cuda_weights_load(struct cuda_weights *w, struct cuda_queue *q,
		      struct load_progress progress, struct error *e);

#endif
