/* fields.h - typed members of a JSON object, refused with their path.
 *
 *	rc = field_flag(object, "invert", "pre_tokenizer", false, &invert, e);
 *	"pre_tokenizer.invert is a string, expected true or false"
 *
 * Threads    Pure functions.
 * Ownership  What comes out is borrowed from the object.
 * Units      Bytes.
 * Errors     -EINVAL with a sentence that starts with the path.  A missing or null
 *            member takes the fallback where there is one.
 */
#ifndef PETALS_COMPUTE_TEXT_FIELDS_H
#define PETALS_COMPUTE_TEXT_FIELDS_H

#include <jansson.h>

#include "dataplane/base/error.h"

enum { FIELD_PATH_BYTES = 160 };

struct field_text {
	const char *data;            /* NUL-terminated; NULL when absent */
	size_t bytes;
};

/* "an object", "a string", ... for sentences. */
const char *field_kind(const json_t *value);

int field_text(const json_t *object, const char *key, const char *path,
	       struct field_text *out, struct error *e);
/* Like field_text(), but it may be absent. */
int field_text_or_none(const json_t *object, const char *key, const char *path,
		       struct field_text *out, struct error *e);
int field_flag(const json_t *object, const char *key, const char *path, bool fallback,
	       bool *out, struct error *e);
int field_count(const json_t *object, const char *key, const char *path, uint64_t most,
		uint64_t *out, struct error *e);
int field_array(const json_t *object, const char *key, const char *path,
		const json_t **out, struct error *e);
int field_object(const json_t *object, const char *key, const char *path,
		 const json_t **out, struct error *e);

#endif
