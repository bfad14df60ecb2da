/* reference.h - the slow twin of a whole model: f64 over the widened weights, no
 * packing, no cache, no threads.
 *
 * What the backends are held against.  It shares nothing with them but the weight
 * views and the quantiser, so an error in a layout, a cache or a composition cannot hide.
 *
 * Threads    Pure but for memory; safe anywhere.
 * Ownership  The caller's arrays are filled.
 * Units      Rows are tokens; floats.
 * Errors     -ENOMEM; -EINVAL for a token id or length that the model does not have.
 */
#ifndef PETALS_COMPUTE_REFERENCE_H
#define PETALS_COMPUTE_REFERENCE_H

#include "compute/model/model.h"
#include "compute/quantise.h"
#include "compute/row.h"
#include "dataplane/base/error.h"

/* Runs `rows` tokens from position 0 on, with matrices that are multiplied as `weights` says.
 *   states   (blocks + 1, rows, hidden): [0] enters block 0, [i + 1] leaves block i,
 *            rounded to `round`; or NULL
 *   logits   (rows, vocabulary), or NULL
 */
int reference_run(const struct model *m, enum weight_format weights, const uint32_t *tokens,
		  uint32_t rows, enum row_encoding round, float *states, float *logits,
		  struct error *e);

#endif
