/* json.h - typed reads out of JSON from strangers, with errors that name the path.
 *
 * A reader sits on one object.  The first thing that is wrong is kept with its
 * path ("member.load.sessions must be ..."); what is read after that yields
 * zeros, so that a caller checks once, at the end:
 *
 *	json_read_open(&r, params, "params", e);
 *	id = json_read_id(&r, "id");
 *	json_read_text(&r, "name", name, sizeof(name));
 *	return json_read_result(&r);
 *
 * 64-bit ids are text of 16 hexadecimal digits, since JSON numbers are not that wide.
 *
 * Threads    A reader belongs to its holder.
 * Ownership  Borrows the JSON, the path and the error, all of which outlive it.
 * Units      As the keys say.
 * Errors     -EINVAL with a sentence; json_write(): -ENOMEM, -EMSGSIZE.
 */
#ifndef PETALS_CONTROL_JSON_H
#define PETALS_CONTROL_JSON_H

#include <jansson.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/error.h"

struct json_reader {
	const json_t *object;
	char path[96];
	struct error *error;
	int rc;
};

/* NULL or another kind of value than an object is the first error. */
void json_read_open(struct json_reader *r, const json_t *j, const char *path,
		    struct error *e);
int json_read_result(const struct json_reader *r);       /* 0, or the first error */
bool json_read_has(const struct json_reader *r, const char *key);   /* there, not null */

uint64_t json_read_u64(struct json_reader *r, const char *key, uint64_t least,
		       uint64_t most);
bool json_read_bool(struct json_reader *r, const char *key);
uint64_t json_read_id(struct json_reader *r, const char *key);      /* not 0 */
/* Printable, at most bytes - 1 long; `empty` says whether "" will do. */
void json_read_text(struct json_reader *r, const char *key, bool empty, char *out,
		    size_t bytes);
/* The element's place in names[], count of them. */
uint32_t json_read_choice(struct json_reader *r, const char *key, const char *const *names,
			  uint32_t count);
/* A reader on the object under key, or on element i of the array under key.
 * Its error is the parent's: check json_read_result() of the child.
 */
struct json_reader json_read_object(struct json_reader *r, const char *key);
uint32_t json_read_length(struct json_reader *r, const char *key, uint32_t most);
struct json_reader json_read_element(struct json_reader *r, const char *key, uint32_t i);
/* A fault the caller found in the value under key. */
int json_read_fail(struct json_reader *r, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

json_t *json_id(uint64_t id);
/* Appends j as compact text. */
int json_write(const json_t *j, struct buffer *out);

#endif
