/* normalizer.h - rewrites text before it is cut: Unicode forms, lower case,
 * replacements, a prefix, stripped ends.
 *
 * Threads    Read-only once built.
 * Ownership  A zeroed normalizer does nothing; normalizer_close() frees.
 * Units      Bytes of valid UTF-8.
 * Errors     -EINVAL, -ENOTSUP with the JSON path; -ENOMEM; what regex_find() gives.
 */
#ifndef PETALS_COMPUTE_TEXT_NORMALIZER_H
#define PETALS_COMPUTE_TEXT_NORMALIZER_H

#include "compute/text/pattern.h"

enum { NORMALIZER_STEPS_MAX = 16 };

enum normalizer_kind {
	NORMALIZE_NFC,
	NORMALIZE_NFD,
	NORMALIZE_NFKC,
	NORMALIZE_NFKD,
	NORMALIZE_LOWERCASE,
	NORMALIZE_REPLACE,
	NORMALIZE_PREPEND,
	NORMALIZE_STRIP,
};

struct normalizer_step {
	enum normalizer_kind kind;
	struct pattern pattern;      /* REPLACE */
	char *content;               /* REPLACE, PREPEND */
	bool left, right;            /* STRIP */
};

struct normalizer {
	struct normalizer_step steps[NORMALIZER_STEPS_MAX];
	unsigned count;
};

/* node may be NULL or null: nothing to do. */
int normalizer_read(struct normalizer *n, const json_t *node, const char *path, struct error *e);
/* One more step of the kinds NFC to NFKD and LOWERCASE, or PREPEND content, or
 * REPLACE the text `find` by content.
 */
int normalizer_add(struct normalizer *n, enum normalizer_kind kind, const char *find,
		   const char *content);
void normalizer_close(struct normalizer *n);

/* Rewrites *text, using *spare's memory. */
int normalizer_run(const struct normalizer *n, struct regex_scratch *s, struct buffer *text,
		   struct buffer *spare, struct error *e);

#endif
