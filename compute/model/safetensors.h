/* safetensors.h - a directory of tensors over one file or a sharded set.
 *
 * Files are mapped; tensor data points into the mappings.  Checked at open:
 * header length, JSON shape, dtype, that shape x dtype equals the byte range,
 * ranges inside the file and not overlapping, duplicate names; for a sharded
 * checkpoint that model.safetensors.index.json and the shards agree.
 *
 * Threads    Read-only after open; any thread.
 * Ownership  safetensors_open() / safetensors_close(); views die with it.
 * Units      _bytes; shapes outermost first as safetensors has them.
 * Errors     -EINVAL, -ENOTSUP, -ENOENT, -ENOMEM with a sentence that names the
 *            file, the tensor, what was expected and what was found.
 */
#ifndef PETALS_COMPUTE_MODEL_SAFETENSORS_H
#define PETALS_COMPUTE_MODEL_SAFETENSORS_H

#include "compute/model/dtype.h"
#include "dataplane/base/error.h"

struct safetensors;

struct safetensors_tensor {
	const char *name;
	const char *file;        /* the shard it lives in */
	enum dtype dtype;        /* F32, F16 or BF16 */
	uint32_t dimensions;     /* 0..4 */
	uint64_t shape[4];       /* outermost first */
	const uint8_t *data;
	uint64_t bytes;
};

/* dir holds model.safetensors, or model.safetensors.index.json and its shards. */
int safetensors_open(struct safetensors **out, const char *dir, struct error *e);
/* One file's bytes, which outlive it; for fuzzing and tests. */
int safetensors_open_bytes(struct safetensors **out, const uint8_t *data, size_t bytes,
			   struct error *e);
void safetensors_close(struct safetensors *s);                /* NULL is fine */

uint64_t safetensors_count(const struct safetensors *s);
const struct safetensors_tensor *safetensors_at(const struct safetensors *s, uint64_t index);
const struct safetensors_tensor *safetensors_tensor(const struct safetensors *s,
						    const char *name);   /* or NULL */
/* "I64" when the checkpoint has that tensor in a dtype we do not read (it is
 * left out above), else NULL.
 */
const char *safetensors_unreadable(const struct safetensors *s, const char *name);

#endif
