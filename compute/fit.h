/* fit.h - how many blocks of a model fit into so much memory, by weight format.
 *
 * What petalsctl tells operators before they host anything.  Counts matrices and KV pages;
 * a twentieth is kept for norms, activations and workspaces.
 *
 * Threads    Constant tables and pure functions; safe anywhere.
 * Ownership  None.
 * Units      _bytes; tokens are those that KV pages are kept for, over all sessions.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_FIT_H
#define PETALS_COMPUTE_FIT_H

#include "compute/model/config.h"

/* A block's dimensions, from a config or of a model that people know. */
struct fit_shape {
	const char *name, *arch;        /* arch.h's name of the family */
	uint32_t blocks, hidden, heads, kv_heads, head_dim, intermediate;
	bool gated;
};
extern const struct fit_shape fit_shapes[];     /* published models */
extern const uint32_t fit_shape_count;

/* Both backends have all of them. */
struct fit_format {
	const char *name;
	double bits;                    /* of a weight, scales included */
	uint32_t kv_bytes;              /* of a cached number */
};
extern const struct fit_format fit_formats[];
extern const uint32_t fit_format_count;

void fit_shape_of(const struct model_config *c, struct fit_shape *out);
uint64_t fit_block_weights(const struct fit_shape *s);  /* numbers in its matrices */
uint64_t fit_block_bytes(const struct fit_shape *s, const struct fit_format *f);
uint64_t fit_token_bytes(const struct fit_shape *s, const struct fit_format *f); /* per block */
/* At most the model's own. */
uint32_t fit_blocks(const struct fit_shape *s, const struct fit_format *f, uint64_t free_bytes,
		    uint64_t tokens);

#endif
