/* weights.h - matrices and vectors of a model, laid out in device memory.
 *
 * First everything that is wanted is named, which counts the arena; when that is open,
 * cuda_weights_load() lays them out on the host and copies them over.  Weights that quantising
 * found absurd are told to the log, with the tensor's name.
 *
 * Threads    One thread at a time.
 * Ownership  cuda_weights_open() / cuda_weights_close(); the arena is the caller's, who
 *            opens it in between.  The model is read by cuda_weights_load() only.
 * Units      _bytes.
 * Errors     -ENOMEM, -EIO with a sentence.
 */
#ifndef PETALS_COMPUTE_CUDA_WEIGHTS_H
#define PETALS_COMPUTE_CUDA_WEIGHTS_H

#include "compute/cuda/arena.h"
#include "compute/cuda/linear.h"

struct cuda_weights;

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
