/* config_source.h - one JSON object of a config, read key by key, with the
 * sentence that a wrong value deserves.
 *
 * Threads    Independent calls.
 * Ownership  Borrows the JSON value; texts die with it.
 * Units      None.
 * Errors     The readers return 1 when the key is there, 0 when it is absent or
 *            null, else -EINVAL with a sentence of file, key, value, expected.
 */
#ifndef PETALS_COMPUTE_MODEL_CONFIG_SOURCE_H
#define PETALS_COMPUTE_MODEL_CONFIG_SOURCE_H

#include <jansson.h>

#include "compute/model/config.h"

struct source {
	const json_t *object;          /* NULL: every key is absent */
	const char *file;
	const char *within;            /* before each key: "rope_scaling." or "" */
	struct error *e;
};

/* NULL when absent or null. */
const json_t *source_find(const struct source *s, const char *key);
int source_integer(const struct source *s, const char *key, int64_t *out);
int source_real(const struct source *s, const char *key, double least, double most, float *out);
int source_bool(const struct source *s, const char *key, bool *out);
int source_text(const struct source *s, const char *key, const char **out);

/* "FILE: KEY is VALUE, expected EXPECTED"; returns code. */
int source_wrong(const struct source *s, const char *key, const json_t *value, int code,
		 const char *expected);

/* Rotary settings in either spelling; what is absent keeps its usual value. */
int source_rope(const struct source *s, struct rope_config *out);

#endif
