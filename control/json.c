/* json.c - the reader: finds a key, checks its kind and bounds, says where.
 *
 * Owns no values.  Leaves parsing text to jansson.
 */
#include "control/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ID_DIGITS = 16 };

int json_read_fail(struct json_reader *r, const char *key, const char *format, ...)
{
	char fault[ERROR_TEXT_BYTES / 2];
	va_list args;

	if (r->rc < 0)
		return r->rc;
	va_start(args, format);
	vsnprintf(fault, sizeof(fault), format, args);
	va_end(args);
	r->rc = error_set(r->error, -EINVAL, "%s%s%s %s", r->path, key[0] ? "." : "", key, fault);
	return -EINVAL;
}

void json_read_open(struct json_reader *r, const json_t *j, const char *path,
		    struct error *e)
{
	*r = (struct json_reader){ .object = j, .error = e };
	snprintf(r->path, sizeof(r->path), "%s", path);
	if (!json_is_object(j))
		json_read_fail(r, "", "must be an object");
}

int json_read_result(const struct json_reader *r)
{
	return r->rc;
}

bool json_read_has(const struct json_reader *r, const char *key)
{
	const json_t *v = json_object_get(r->object, key);

	return v && !json_is_null(v);
}

/* NULL after an error. */
static const json_t *find(struct json_reader *r, const char *key)
{
	const json_t *v;

	if (r->rc < 0)
		return NULL;
	v = json_object_get(r->object, key);
	if (!v)
		json_read_fail(r, key, "is missing");
	return v;
}

uint64_t json_read_u64(struct json_reader *r, const char *key, uint64_t least,
		       uint64_t most)
{
	const json_t *v = find(r, key);
	json_int_t number;

	if (!v)
		return 0;
	number = json_integer_value(v);
	if (json_is_integer(v) && number >= 0 && (uint64_t)number >= least &&
	    (uint64_t)number <= most)
		return (uint64_t)number;
	json_read_fail(r, key, "must be a whole number from %" PRIu64 " to %" PRIu64, least, most);
	return 0;
}

bool json_read_bool(struct json_reader *r, const char *key)
{
	const json_t *v = find(r, key);

	if (v && !json_is_boolean(v))
		json_read_fail(r, key, "must be true or false");
	return json_is_true(v);
}

uint64_t json_read_id(struct json_reader *r, const char *key)
{
	const json_t *v = find(r, key);
	const char *text = json_string_value(v);
	uint64_t id = 0;
	size_t i;

	if (!v)
		return 0;
	if (!text || json_string_length(v) != ID_DIGITS)
		goto bad;
	for (i = 0; i < ID_DIGITS; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = strchr(digits, text[i]);

		if (!digit || !*digit)
			goto bad;
		id = id << 4 | (uint64_t)(digit - digits);
	}
	if (id)
		return id;
bad:
	json_read_fail(r, key, "must be an id: %d digits 0-9a-f, not all 0", ID_DIGITS);
	return 0;
}

static bool printable(const char *text, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

void json_read_text(struct json_reader *r, const char *key, bool empty, char *out,
		    size_t bytes)
{
	const json_t *v = find(r, key);
	const char *text = json_string_value(v);
	size_t length = json_string_length(v);

	memset(out, 0, bytes);
	if (!v)
		return;
	if (!text)
		json_read_fail(r, key, "must be text");
	else if (!length && !empty)
		json_read_fail(r, key, "must not be empty");
	else if (length >= bytes)
		json_read_fail(r, key, "is %zu bytes long, the most is %zu", length, bytes - 1);
	else if (!printable(text, length))
		json_read_fail(r, key, "holds control characters");
	else
		memcpy(out, text, length);
}

uint32_t json_read_choice(struct json_reader *r, const char *key, const char *const *names,
			  uint32_t count)
{
	const json_t *v = find(r, key);
	const char *text = json_string_value(v);
	char accepted[128] = "";
	uint32_t i;

	if (!v)
		return 0;
	for (i = 0; i < count; i++) {
		size_t used = strlen(accepted);

		if (text && !strcmp(text, names[i]))
			return i;
		snprintf(accepted + used, sizeof(accepted) - used, "%s%s", i ? ", " : "", names[i]);
	}
	json_read_fail(r, key, "must be one of: %s", accepted);
	return 0;
}

/* The path is cut when it is too long; it only serves people. */
static struct json_reader child(const struct json_reader *r, const json_t *v, const char *key,
				const char *suffix)
{
	struct json_reader c = { .object = v, .error = r->error, .rc = r->rc };

	if (snprintf(c.path, sizeof(c.path), "%s.%s%s", r->path, key, suffix) >=
	    (int)sizeof(c.path))
		memcpy(c.path + sizeof(c.path) - 4, "...", 4);
	if (c.rc == 0 && !json_is_object(v))
		json_read_fail(&c, "", "must be an object");
	return c;
}

struct json_reader json_read_object(struct json_reader *r, const char *key)
{
	const json_t *v = find(r, key);

	return child(r, v, key, "");
}

uint32_t json_read_length(struct json_reader *r, const char *key, uint32_t most)
{
	const json_t *v = find(r, key);

	if (!v)
		return 0;
	if (json_is_array(v) && json_array_size(v) <= most)
		return (uint32_t)json_array_size(v);
	json_read_fail(r, key, "must be an array of at most %u elements", most);
	return 0;
}

struct json_reader json_read_element(struct json_reader *r, const char *key, uint32_t i)
{
	const json_t *v = find(r, key);
	char suffix[16];

	snprintf(suffix, sizeof(suffix), "[%u]", i);
	return child(r, json_array_get(v, i), key, suffix);
}

json_t *json_id(uint64_t id)
{
	return json_sprintf("%016" PRIx64, id);
}

static int append(const char *text, size_t bytes, void *out)
{
	buffer_append(out, text, bytes);
	return buffer_failed(out) < 0 ? -1 : 0;
}

int json_write(const json_t *j, struct buffer *out)
{
	int rc = json_dump_callback(j, append, out, JSON_COMPACT | JSON_ENCODE_ANY);

	if (buffer_failed(out) < 0)
		return buffer_failed(out);
	return rc < 0 ? -ENOMEM : 0;
}
