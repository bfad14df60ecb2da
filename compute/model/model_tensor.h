/* model_tensor.h - a checkpoint's tensors as they are stored, whichever
 * format holds them.
 *
 * Threads    Read-only; any thread.
 * Ownership  Views die with the model.
 * Units      Shapes outermost first; _bytes.
 * Errors     model_find(): false when there is no such tensor.
 */
#ifndef PETALS_COMPUTE_MODEL_MODEL_TENSOR_H
#define PETALS_COMPUTE_MODEL_MODEL_TENSOR_H

#include "compute/model/model.h"

struct stored {
	const char *name, *file;
	enum dtype dtype;
	uint32_t dimensions;
	uint64_t shape[4];
	const uint8_t *data;
	uint64_t bytes;
};

bool model_find(const struct model *m, const char *name, struct stored *out);
uint64_t model_tensor_count(const struct model *m);
void model_tensor_at(const struct model *m, uint64_t index, struct stored *out);

#endif
