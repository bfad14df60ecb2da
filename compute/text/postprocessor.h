/* postprocessor.h - what is put around the tokens of a text: bos, eos.
 *
 * Threads    Read-only once built.
 * Ownership  A zeroed postprocessor adds nothing; plain storage.
 * Units      Ids.
 * Errors     -EINVAL, -ENOTSUP with the JSON path.
 */
#ifndef PETALS_COMPUTE_TEXT_POSTPROCESSOR_H
#define PETALS_COMPUTE_TEXT_POSTPROCESSOR_H

#include <jansson.h>

#include "compute/text/vocab.h"
#include "dataplane/base/error.h"

enum { POSTPROCESSOR_IDS_MAX = 16 };

struct postprocessor {
	uint32_t before[POSTPROCESSOR_IDS_MAX], after[POSTPROCESSOR_IDS_MAX];
	unsigned before_count, after_count;
};

/* node may be NULL or null: nothing is added. */
int postprocessor_read(struct postprocessor *p, const json_t *node, const char *path,
		       const struct vocab *v, struct error *e);

#endif
