/* synthetic.h - seeded numbers that stand where a checkpoint's tensors would: for measuring
 * blocks of models that nobody has at hand.
 *
 * A few megabytes are filled and mapped one after another as far as the largest tensor
 * reaches, so that the weights of a block of any size cost no memory and no time.  Matrices and
 * biases are even in +-SYNTHETIC_RANGE, in the dtype asked for; norms are f32 about 1.
 *
 * Threads    Read-only after open; any thread.
 * Ownership  synthetic_open() / synthetic_close(); views die with it.
 * Units      _bytes.
 * Errors     -ENOMEM with a sentence.
 */
#ifndef PETALS_COMPUTE_MODEL_SYNTHETIC_H
#define PETALS_COMPUTE_MODEL_SYNTHETIC_H

#include "compute/model/dtype.h"
#include "dataplane/base/error.h"

#define SYNTHETIC_RANGE 0.03f
#define SYNTHETIC_NORM_RANGE 0.1f

struct synthetic;

/* Views reach up to tensor_bytes_max, vectors (always f32) up to vector_max numbers. */
int synthetic_open(struct synthetic **out, enum dtype dtype, uint64_t tensor_bytes_max,
		   uint32_t vector_max, uint64_t seed, struct error *e);
void synthetic_close(struct synthetic *s);       /* NULL is fine */

/* The bytes of tensor number `index`: another beginning for each. */
const uint8_t *synthetic_matrix(const struct synthetic *s, uint32_t index);
const float *synthetic_bias(const struct synthetic *s, uint32_t index);
const float *synthetic_norm(const struct synthetic *s, uint32_t index);
enum dtype synthetic_dtype(const struct synthetic *s);

#endif
