/* config_source.c - typed access to a config's keys. */
#include "compute/model/config_source.h"

#include <errno.h>
#include <stdio.h>

#include "compute/model/config_field.h"

enum { VALUE_BYTES = 64, KEY_BYTES = 96 };

int source_wrong(const struct source *s, const char *key, const json_t *value, int code,
		 const char *expected)
{
	char shown[VALUE_BYTES] = "";

	/* Stops before the first token that does not fit; hence texts apart. */
	if (json_is_string(value))
		snprintf(shown, sizeof(shown), "\"%.50s\"", json_string_value(value));
	else
		json_dumpb(value, shown, sizeof(shown) - 1, JSON_ENCODE_ANY | JSON_COMPACT);
	error_set(s->e, code, "%s: %s%s is %s, expected %s", s->file, s->within, key, shown,
		  expected);
	return code;
}

const json_t *source_find(const struct source *s, const char *key)
{
	const json_t *value = json_object_get(s->object, key);

	return json_is_null(value) ? NULL : value;
}

int source_integer(const struct source *s, const char *key, int64_t *out)
{
	const json_t *value = source_find(s, key);

	if (!value)
		return 0;
	if (!json_is_integer(value))
		return source_wrong(s, key, value, -EINVAL, "an integer");
	*out = json_integer_value(value);
	return 1;
}

int source_real(const struct source *s, const char *key, double least, double most, float *out)
{
	const json_t *value = source_find(s, key);
	char path[KEY_BYTES];
	int rc;

	if (!value)
		return 0;
	if (!json_is_number(value))
		return source_wrong(s, key, value, -EINVAL, "a number");
	snprintf(path, sizeof(path), "%s%s", s->within, key);
	rc = config_put_real(out, json_number_value(value), least, most, s->file, path, s->e);
	return rc < 0 ? rc : 1;
}

int source_bool(const struct source *s, const char *key, bool *out)
{
	const json_t *value = source_find(s, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return source_wrong(s, key, value, -EINVAL, "true or false");
	*out = json_is_true(value);
	return 1;
}

int source_text(const struct source *s, const char *key, const char **out)
{
	const json_t *value = source_find(s, key);

	if (!value)
		return 0;
	if (!json_is_string(value))
		return source_wrong(s, key, value, -EINVAL, "a text");
	*out = json_string_value(value);
	return 1;
}
