/* tokenizer_json.c - builds a tokenizer from the bytes of a tokenizer.json. */
#include "compute/text/tokenizer.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "compute/text/fields.h"
#include "compute/text/tokenizer_parts.h"
#include "dataplane/base/memory.h"

static int read_vocab(struct tokenizer *t, const json_t *model, struct error *e)
{
	const json_t *vocab, *value;
	const char *text;
	size_t bytes;
	int rc = field_object(model, "vocab", "model", &vocab, e);

	if (rc < 0)
		return rc;
	rc = vocab_open(&t->vocab, json_object_size(vocab) + 64);
	if (rc < 0)
		return error_errno(e, rc, "model.vocab");
	json_object_keylen_foreach((json_t *)vocab, text, bytes, value) {
		json_int_t id = json_integer_value(value);

		if (!json_is_integer(value) || id < 0 || id >= VOCAB_TOKENS_MAX)
			return error_set(e, -EINVAL,
					 "model.vocab[\"%.40s\"] is not an id below %d", text,
					 VOCAB_TOKENS_MAX);
		rc = vocab_add(t->vocab, (uint32_t)id, text, bytes);
		if (rc == -EEXIST)
			return error_set(e, -EINVAL, "model.vocab[\"%.40s\"]: id %jd is taken",
					 text, (intmax_t)id);
		if (rc < 0)
			return error_errno(e, rc, "model.vocab[\"%.40s\"]", text);
	}
	return 0;
}

/* "a b" or ["a", "b"]. */
static int read_pair(const json_t *node, struct field_text pair[2])
{
	const char *text = json_string_value(node), *space;
	size_t bytes;

	if (json_is_array(node) && json_array_size(node) == 2) {
		for (size_t i = 0; i < 2; i++) {
			const json_t *part = json_array_get(node, i);

			pair[i] = (struct field_text){ json_string_value(part),
						       json_string_length(part) };
		}
		return pair[0].data && pair[1].data ? 0 : -EINVAL;
	}
	if (!text)
		return -EINVAL;
	bytes = json_string_length(node);
	space = memchr(text, ' ', bytes);
	if (!space || memchr(space + 1, ' ', bytes - (size_t)(space + 1 - text)))
		return -EINVAL;
	pair[0] = (struct field_text){ text, (size_t)(space - text) };
	pair[1] = (struct field_text){ space + 1, bytes - pair[0].bytes - 1 };
	return 0;
}

static int read_merge(struct tokenizer *t, const json_t *node, size_t rank, struct buffer *joined,
		      struct error *e)
{
	struct field_text pair[2];
	int64_t left, right, merged;

	if (read_pair(node, pair) < 0)
		return error_set(e, -EINVAL, "model.merges[%zu] is not a pair of tokens", rank);
	buffer_clear(joined);
	buffer_append(joined, pair[0].data, pair[0].bytes);
	buffer_append(joined, pair[1].data, pair[1].bytes);
	if (buffer_failed(joined))
		return error_errno(e, buffer_failed(joined), "model.merges[%zu]", rank);
	left = vocab_find(t->vocab, pair[0].data, pair[0].bytes);
	right = vocab_find(t->vocab, pair[1].data, pair[1].bytes);
	merged = vocab_find(t->vocab, joined->data, joined->length);
	if (left < 0 || right < 0 || merged < 0)
		return error_set(e, -EINVAL,
				 "model.merges[%zu]: \"%.40s\" is not in the vocabulary",
				 rank, left < 0 ? pair[0].data
				       : right < 0 ? pair[1].data : joined->data);
	bpe_add_merge(t->bpe, (uint32_t)left, (uint32_t)right, (uint32_t)rank, (uint32_t)merged);
	return 0;
}

static int read_merges(struct tokenizer *t, const json_t *merges, struct error *e)
{
	struct buffer joined = { 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < json_array_size(merges); i++)
		rc = read_merge(t, json_array_get(merges, i), i, &joined, e);
	buffer_close(&joined);
	return rc;
}

static int read_options(struct bpe_options *o, const struct vocab *v, const json_t *model,
			struct error *e)
{
	struct field_text unknown = { 0 };
	int rc = field_flag(model, "byte_fallback", "model", false, &o->byte_fallback, e);

	if (rc == 0)
		rc = field_flag(model, "fuse_unk", "model", false, &o->fuse_unknown, e);
	if (rc == 0)
		rc = field_flag(model, "ignore_merges", "model", false, &o->ignore_merges, e);
	if (rc == 0)
		rc = field_text_or_none(model, "unk_token", "model", &unknown, e);
	if (rc < 0)
		return rc;
	o->unknown = unknown.data ? vocab_find(v, unknown.data, unknown.bytes) : -1;
	if (unknown.data && o->unknown < 0)
		return error_set(e, -EINVAL, "model.unk_token \"%.40s\" is not in the vocabulary",
				 unknown.data);
	return 0;
}

/* What would change the tokens and is not implemented. */
static int refuse_unsupported(const json_t *model, struct error *e)
{
	static const char *const affixes[] = { "continuing_subword_prefix",
					       "end_of_word_suffix" };
	const json_t *dropout = json_object_get(model, "dropout");
	struct field_text text;
	int rc = field_text_or_none(model, "type", "model", &text, e);

	if (rc == 0 && text.data && strcmp(text.data, "BPE") != 0)
		return error_set(e, -ENOTSUP, "model.type \"%.40s\" is not supported (BPE is)",
				 text.data);
	for (size_t i = 0; rc == 0 && i < ARRAY_LENGTH(affixes); i++) {
		rc = field_text_or_none(model, affixes[i], "model", &text, e);
		if (rc == 0 && text.bytes > 0)
			return error_set(e, -ENOTSUP, "model.%s \"%.40s\" is not supported",
					 affixes[i], text.data);
	}
	if (rc == 0 && dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
		return error_set(e, -ENOTSUP, "model.dropout is not supported");
	return rc;
}

static int read_model(struct tokenizer *t, const json_t *root, struct error *e)
{
	struct bpe_options options = { 0 };
	const json_t *model, *merges = NULL;
	int rc = field_object(root, "model", "", &model, e);

	if (rc == 0)
		rc = refuse_unsupported(model, e);
	if (rc == 0)
		rc = field_array(model, "merges", "model", &merges, e);
	if (rc == 0)
		rc = read_vocab(t, model, e);
	if (rc == 0)
		rc = read_options(&options, t->vocab, model, e);
	if (rc < 0)
		return rc;
	rc = bpe_open(&t->bpe, t->vocab, &options, json_array_size(merges));
	if (rc < 0)
		return error_errno(e, rc, "model.merges");
	return read_merges(t, merges, e);
}

/* A token the model knows keeps the model's id. */
static int place_token(struct tokenizer *t, const struct field_text *content, uint64_t wanted,
		       const char *path, uint32_t *id, struct error *e)
{
	int64_t known = vocab_find(t->vocab, content->data, content->bytes);
	int rc;

	if (known >= 0) {
		*id = (uint32_t)known;
		return 0;
	}
	*id = (uint32_t)wanted;
	rc = vocab_add(t->vocab, *id, content->data, content->bytes);
	if (rc == -EEXIST)
		return error_set(e, -EINVAL, "%s: id %u of \"%.40s\" is taken by \"%.40s\"", path,
				 *id, content->data, vocab_text(t->vocab, *id, NULL));
	if (rc < 0)
		return error_errno(e, rc, "%s", path);
	vocab_mark(t->vocab, *id, VOCAB_ADDED);
	return 0;
}

static int read_added(struct tokenizer *t, const json_t *node, const char *path, struct error *e)
{
	struct added_token token = { 0 };
	struct field_text content;
	uint64_t id = 0;
	int rc = field_text(node, "content", path, &content, e);

	if (rc == 0)
		rc = field_count(node, "id", path, VOCAB_TOKENS_MAX - 1, &id, e);
	if (rc == 0)
		rc = field_flag(node, "special", path, false, &token.special, e);
	if (rc == 0)
		rc = field_flag(node, "lstrip", path, false, &token.left_strip, e);
	if (rc == 0)
		rc = field_flag(node, "rstrip", path, false, &token.right_strip, e);
	if (rc == 0)
		rc = field_flag(node, "single_word", path, false, &token.single_word, e);
	if (rc == 0)
		rc = field_flag(node, "normalized", path, !token.special, &token.normalized, e);
	if (rc < 0 || content.bytes == 0)
		return rc;
	rc = place_token(t, &content, id, path, &token.id, e);
	if (rc < 0)
		return rc;
	rc = tokenizer_add_token(t, &token, e);
	return rc < 0 ? error_wrap(e, "%s", path) : 0;
}

static int read_all_added(struct tokenizer *t, const json_t *root, struct error *e)
{
	const json_t *list = json_object_get(root, "added_tokens");
	char path[FIELD_PATH_BYTES];
	int rc = 0;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return error_set(e, -EINVAL, "added_tokens is %s, expected an array",
				 field_kind(list));
	for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		snprintf(path, sizeof(path), "added_tokens[%zu]", i);
		rc = read_added(t, json_array_get(list, i), path, e);
	}
	return rc;
}

static int read_root(struct tokenizer *t, const json_t *root, struct error *e)
{
	int rc;

	if (!json_is_object(root))
		return error_set(e, -EINVAL, "it is %s, expected an object", field_kind(root));
	rc = read_model(t, root, e);
	if (rc == 0)
		rc = normalizer_read(&t->normalizer, json_object_get(root, "normalizer"),
				     "normalizer", e);
	if (rc == 0)
		rc = pretokenizer_read(&t->pretokenizer, json_object_get(root, "pre_tokenizer"),
				       "pre_tokenizer", e);
	if (rc == 0)
		rc = read_all_added(t, root, e);
	if (rc == 0)
		rc = postprocessor_read(&t->postprocessor, json_object_get(root, "post_processor"),
					"post_processor", t->vocab, e);
	if (rc == 0)
		rc = decoder_read(&t->decoder, json_object_get(root, "decoder"), "decoder", e);
	if (rc == 0)
		rc = decoder_prepare(&t->decoder, t->vocab, e);
	return rc;
}

int tokenizer_open_json(struct tokenizer **out, const char *json, size_t bytes, struct error *e)
{
	struct tokenizer *t = NULL;
	json_error_t why;
	json_t *root;
	int rc;

	*out = NULL;
	root = json_loadb(json, bytes, JSON_ALLOW_NUL, &why);
	if (!root)
		return error_set(e, json_error_code(&why) == json_error_out_of_memory ? -ENOMEM
									       : -EINVAL,
				 "line %d, column %d: %s", why.line, why.column, why.text);
	t = mem_calloc(1, sizeof(*t));
	rc = t ? read_root(t, root, e) : error_errno(e, -ENOMEM, "opening a tokenizer");
	json_decref(root);
	if (rc < 0) {
		tokenizer_close(t);
		return rc;
	}
	*out = t;
	return 0;
}
