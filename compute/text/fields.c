/* fields.c - owns the checks and sentences for members of JSON objects. */
#include "compute/text/fields.h"

#include <errno.h>

const char *field_kind(const json_t *value)
{
	if (!value)
		return "missing";
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
		return "null";
	}
	return "unknown";
}

static int refuse(const char *path, const char *key, const json_t *value, const char *expected,
		  struct error *e)
{
	return error_set(e, -EINVAL, "%s%s%s is %s, expected %s", path, *path ? "." : "", key,
			 field_kind(value), expected);
}

int field_text_or_none(const json_t *object, const char *key, const char *path,
		       struct field_text *out, struct error *e)
{
	const json_t *value = json_object_get(object, key);

	*out = (struct field_text){ 0 };
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return refuse(path, key, value, "a string", e);
	*out = (struct field_text){ json_string_value(value), json_string_length(value) };
	return 0;
}

int field_text(const json_t *object, const char *key, const char *path, struct field_text *out,
	       struct error *e)
{
	int rc = field_text_or_none(object, key, path, out, e);

	if (rc == 0 && !out->data)
		return refuse(path, key, json_object_get(object, key), "a string", e);
	return rc;
}

int field_flag(const json_t *object, const char *key, const char *path, bool fallback, bool *out,
	       struct error *e)
{
	const json_t *value = json_object_get(object, key);

	*out = fallback;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_boolean(value))
		return refuse(path, key, value, "true or false", e);
	*out = json_is_true(value);
	return 0;
}

int field_count(const json_t *object, const char *key, const char *path, uint64_t most,
		uint64_t *out, struct error *e)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return refuse(path, key, value, "a non-negative integer", e);
	*out = (uint64_t)json_integer_value(value);
	if (*out > most)
		return error_set(e, -EINVAL, "%s%s%s is %ju, expected at most %ju", path,
				 *path ? "." : "", key, (uintmax_t)*out, (uintmax_t)most);
	return 0;
}

int field_array(const json_t *object, const char *key, const char *path, const json_t **out,
		struct error *e)
{
	*out = json_object_get(object, key);
	return json_is_array(*out) ? 0 : refuse(path, key, *out, "an array", e);
}

int field_object(const json_t *object, const char *key, const char *path, const json_t **out,
		 struct error *e)
{
	*out = json_object_get(object, key);
	return json_is_object(*out) ? 0 : refuse(path, key, *out, "an object", e);
}
