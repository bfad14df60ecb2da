/* config_field.h - what a config's numbers may be, whichever file they come
 * from: bounds of each field and the rules between them.
 *
 * Threads    Fills its caller's struct; no state of its own.
 * Ownership  Plain storage.
 * Units      As config.h.
 * Errors     -EINVAL with a sentence naming file, key, value and what is accepted.
 */
#ifndef PETALS_COMPUTE_MODEL_CONFIG_FIELD_H
#define PETALS_COMPUTE_MODEL_CONFIG_FIELD_H

#include "compute/model/config.h"

enum config_field {
	FIELD_BLOCKS, FIELD_HIDDEN, FIELD_HEADS, FIELD_KV_HEADS, FIELD_HEAD_DIM,
	FIELD_INTERMEDIATE, FIELD_VOCABULARY, FIELD_EMBED, FIELD_POSITIONS, FIELD_WINDOW,
	FIELD_COUNT
};

/* A zeroed config but for what a family implies. */
void config_begin(struct model_config *c, const struct arch *arch);

/* Stores an integer within the field's bounds. */
int config_put(struct model_config *c, enum config_field f, int64_t value, const char *file,
	       const char *key, struct error *e);
/* Stores a finite number within [least, most]. */
int config_put_real(float *out, double value, double least, double most, const char *file,
		    const char *key, struct error *e);
/* Ids outside the vocabulary can never be produced; families' defaults leave
 * such behind in small checkpoints, so they are dropped.
 */
int config_put_eos(struct model_config *c, int64_t id, const char *file, struct error *e);
void config_put_bos(struct model_config *c, int64_t id);

/* Fields still 0 take the value that others imply; then the rules hold. */
int config_finish(struct model_config *c, const char *file, struct error *e);

#endif
