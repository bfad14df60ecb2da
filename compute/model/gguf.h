/* gguf.h - reads a GGUF version 3 file: typed metadata and a tensor directory.
 *
 * The file is mapped; strings and tensor data point into the mapping, tensor
 * names to copies that end in a NUL.  Everything
 * is checked at open: counts, lengths, types, alignment, every tensor's extent
 * (no overlap with the directory, within the file), duplicate names, and that
 * the tensor type is one of dtype.h.  Format: the published GGUF description.
 *
 * Threads    Read-only after open; any thread.
 * Ownership  gguf_open() / gguf_close(); all views die with it.
 * Units      _bytes; shapes innermost first as GGUF has them.
 * Errors     -EINVAL, -ENOTSUP, -ENOMEM or file errors, with a sentence that names
 *            the file, the key or tensor, and the offset.
 */
#ifndef PETALS_COMPUTE_MODEL_GGUF_H
#define PETALS_COMPUTE_MODEL_GGUF_H

#include "compute/model/dtype.h"
#include "dataplane/base/error.h"

struct gguf;

struct gguf_text {               /* not NUL-terminated */
	const char *data;
	uint64_t length;
};

struct gguf_tensor {
	struct gguf_text name;
	enum dtype dtype;
	uint32_t dimensions;     /* 1..4 */
	uint64_t shape[4];       /* shape[0] is the row length */
	const uint8_t *data;
	uint64_t bytes;
};

int gguf_open(struct gguf **out, const char *path, struct error *e);
/* The same over bytes that outlive it; for fuzzing and tests. */
int gguf_open_bytes(struct gguf **out, const uint8_t *data, size_t bytes, struct error *e);
void gguf_close(struct gguf *g);                              /* NULL is fine */
const char *gguf_path(const struct gguf *g);                  /* for messages */
bool gguf_has(const struct gguf *g, const char *key);

/* Each returns false when the key is absent or of another kind.  Integers of
 * any width and sign are read through gguf_integer() if they fit.
 */
bool gguf_integer(const struct gguf *g, const char *key, int64_t *out);
bool gguf_real(const struct gguf *g, const char *key, double *out);   /* f32, f64 or integer */
bool gguf_bool(const struct gguf *g, const char *key, bool *out);
bool gguf_string(const struct gguf *g, const char *key, struct gguf_text *out);

/* Arrays: length, or -1 when absent.  Elements are visited in order. */
int64_t gguf_array_length(const struct gguf *g, const char *key);
bool gguf_array_string(const struct gguf *g, const char *key, uint64_t index,
		       struct gguf_text *out);
bool gguf_array_integer(const struct gguf *g, const char *key, uint64_t index, int64_t *out);
bool gguf_array_real(const struct gguf *g, const char *key, uint64_t index, double *out);

uint64_t gguf_tensor_count(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, uint64_t index);
const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name); /* or NULL */

#endif
