/* tokenizer_hf.c - opens the tokenizer of a Hugging Face directory:
 * tokenizer.json, and from tokenizer_config.json and chat_template.jinja what
 * a chat needs.
 */
#include "compute/text/tokenizer.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "compute/text/fields.h"
#include "compute/text/tokenizer_parts.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

static const size_t tokenizer_bytes_max = 256 * MIB;
static const size_t config_bytes_max = 16 * MIB;

static int copy(char **out, const char *text, struct error *e)
{
	mem_free(*out);
	*out = text ? mem_strdup(text) : NULL;
	return text && !*out ? error_errno(e, -ENOMEM, "reading the tokenizer's settings") : 0;
}

/* "bos_token": "<s>", or an object with the text in "content". */
static int read_token(char **out, const json_t *config, const char *key, struct error *e)
{
	const json_t *node = json_object_get(config, key);

	if (json_is_object(node))
		node = json_object_get(node, "content");
	if (node && !json_is_null(node) && !json_is_string(node))
		return error_set(e, -EINVAL, "%s is %s, expected a string", key, field_kind(node));
	return copy(out, json_string_value(node), e);
}

/* A text, or a list of {"name", "template"} of which "default" is taken. */
static int read_template(char **out, const json_t *config, struct error *e)
{
	const json_t *node = json_object_get(config, "chat_template");
	const json_t *entry;
	size_t i;

	if (!node || json_is_null(node))
		return 0;
	if (json_is_string(node))
		return copy(out, json_string_value(node), e);
	if (!json_is_array(node))
		return error_set(e, -EINVAL, "chat_template is %s, expected a string or an array",
				 field_kind(node));
	json_array_foreach((json_t *)node, i, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));
		const char *text = json_string_value(json_object_get(entry, "template"));

		if (!name || !text)
			return error_set(e, -EINVAL,
					 "chat_template[%zu] has no name and template", i);
		if (strcmp(name, "default") == 0)
			return copy(out, text, e);
	}
	return 0;
}

static int read_config(struct tokenizer *t, const char *path, struct error *e)
{
	json_error_t why;
	size_t bytes;
	json_t *config;
	char *text;
	int rc = file_read(path, config_bytes_max, &text, &bytes, e);

	if (rc < 0)
		return rc;
	config = json_loadb(text, bytes, 0, &why);
	mem_free(text);
	if (!config)
		return error_set(e, -EINVAL, "%s: line %d, column %d: %s", path, why.line,
				 why.column, why.text);
	rc = read_token(&t->bos, config, "bos_token", e);
	if (rc == 0)
		rc = read_token(&t->eos, config, "eos_token", e);
	if (rc == 0)
		rc = read_template(&t->chat_template, config, e);
	json_decref(config);
	return rc < 0 ? error_wrap(e, "%s", path) : 0;
}

/* A file of its own wins over the settings, as it does in transformers. */
static int read_template_file(struct tokenizer *t, const char *path, struct error *e)
{
	size_t bytes;

	mem_free(t->chat_template);
	t->chat_template = NULL;
	return file_read(path, config_bytes_max, &t->chat_template, &bytes, e);
}

static int open_json_file(struct tokenizer **out, const char *path, struct error *e)
{
	struct file_map map;
	int rc = file_map(&map, path, e);

	if (rc < 0)
		return rc;
	if (map.bytes > tokenizer_bytes_max)
		rc = error_set(e, -EFBIG, "%s has %zu bytes, more than %zu", path, map.bytes,
			       tokenizer_bytes_max);
	else if ((rc = tokenizer_open_json(out, (const char *)map.data, map.bytes, e)) < 0)
		error_wrap(e, "%s", path);
	file_unmap(&map);
	return rc;
}

/* Runs read on dir/name when there is such a file. */
static int with_file(struct tokenizer *t, const char *dir, const char *name,
		     int (*read)(struct tokenizer *t, const char *path, struct error *e),
		     struct error *e)
{
	char *path = file_join(dir, name);
	int rc = 0;

	if (!path)
		return error_errno(e, -ENOMEM, "%s/%s", dir, name);
	if (file_exists(path))
		rc = read(t, path, e);
	mem_free(path);
	return rc;
}

int tokenizer_open_hf(struct tokenizer **out, const char *dir, struct error *e)
{
	char *path = file_join(dir, "tokenizer.json");
	struct tokenizer *t = NULL;
	int rc;

	*out = NULL;
	if (!path)
		return error_errno(e, -ENOMEM, "%s/tokenizer.json", dir);
	rc = open_json_file(&t, path, e);
	mem_free(path);
	if (rc == 0)
		rc = with_file(t, dir, "tokenizer_config.json", read_config, e);
	if (rc == 0)
		rc = with_file(t, dir, "chat_template.jinja", read_template_file, e);
	if (rc < 0) {
		tokenizer_close(t);
		return rc;
	}
	*out = t;
	return 0;
}
