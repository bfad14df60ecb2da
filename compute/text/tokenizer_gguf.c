/* tokenizer_gguf.c - builds a tokenizer from the tokenizer.ggml.* metadata of a
 * GGUF file.
 *
 * "gpt2" is byte-level BPE; `pre` names how text is cut, one row each below.
 * "llama" is SentencePiece: merges are not listed but follow from scores.
 */
#include "compute/text/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compute/text/tokenizer_parts.h"
#include "compute/text/utf8.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

/* tokenizer.ggml.token_type */
enum gguf_token_type {
	TOKEN_NORMAL = 1,
	TOKEN_UNKNOWN = 2,
	TOKEN_CONTROL = 3,
	TOKEN_USER_DEFINED = 4,
	TOKEN_UNUSED = 5,
	TOKEN_BYTE = 6,
};

#define GPT2_WORDS \
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CONTRACTIONS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define WORDS_WITH_NUMBERS(numbers)                                         \
	CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers               \
		     "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define BLOOM_WORDS \
	" ?[^(\\s|.,!?\xE2\x80\xA6\xE3\x80\x82" \
	"\xEF\xBC\x8C\xE3\x80\x81\xE0\xA5\xA4\xDB\x94\xD8\x8C)]+"

enum { REGEXES_MAX = 4, NAMES_MAX = 8 };

/* Each regex isolates its matches in what the one before left. */
static const struct pre_row {
	const char *names[NAMES_MAX];
	const char *regexes[REGEXES_MAX];
	bool nfc;
	bool ignore_merges;
	bool bos;                    /* unless add_bos_token says otherwise */
} pre_rows[] = {
	{ { "default" },
	  { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_WORDS, "\\p{N}+", "[0-9][0-9][0-9]" },
	  false, false, false },
	{ { "gpt-2", "phi-2", "mpt", "olmo", "jais", "roberta-bpe" },
	  { GPT2_WORDS }, false, false, false },
	{ { "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b" },
	  { "\\p{N}", GPT2_WORDS }, false, false, false },
	{ { "llama-bpe", "llama3", "llama-v3", "falcon3" },
	  { WORDS_WITH_NUMBERS("\\p{N}{1,3}") }, false, true, true },
	{ { "qwen2", "deepseek-r1-qwen", "megrez" },
	  { WORDS_WITH_NUMBERS("\\p{N}") }, true, false, false },
	{ { "stablelm2" }, { WORDS_WITH_NUMBERS("\\p{N}") }, false, false, false },
	{ { "falcon" },
	  { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2_WORDS, "[0-9][0-9][0-9]" }, false, false, false },
	{ { "bloom", "poro-chat", "gpt3-finnish" }, { BLOOM_WORDS }, false, false, false },
};

/* How one file's vocabulary is read. */
struct source {
	struct tokenizer *tokenizer;
	const struct gguf *gguf;
	struct error *error;
	bool bos, eos;               /* put around texts, unless the file says otherwise */
};

static int64_t type_of(const struct gguf *g, uint32_t id)
{
	int64_t type;

	return gguf_array_integer(g, "tokenizer.ggml.token_type", id, &type) ? type
									     : TOKEN_NORMAL;
}

static int read_tokens(struct source *s)
{
	int64_t count = gguf_array_length(s->gguf, "tokenizer.ggml.tokens");
	int rc;

	if (count <= 0 || count > VOCAB_TOKENS_MAX)
		return error_set(s->error, -EINVAL,
				 "tokenizer.ggml.tokens has %jd tokens, expected 1 to %d",
				 (intmax_t)count, VOCAB_TOKENS_MAX);
	rc = vocab_open(&s->tokenizer->vocab, (size_t)count);
	for (uint32_t id = 0; rc == 0 && id < count; id++) {
		struct gguf_text text;

		if (!gguf_array_string(s->gguf, "tokenizer.ggml.tokens", id, &text) ||
		    !utf8_valid(text.data, text.length))
			return error_set(s->error, -EINVAL,
					 "tokenizer.ggml.tokens[%u] is not UTF-8 text", id);
		if (text.length == 0)        /* nothing can become it, it becomes nothing */
			continue;
		rc = vocab_add(s->tokenizer->vocab, id, text.data, text.length);
		if (rc == -EEXIST)
			return error_set(s->error, -EINVAL,
					 "tokenizer.ggml.tokens[%u] repeats \"%.*s\"", id,
					 (int)MIN(text.length, 40u), text.data);
	}
	return rc < 0 ? error_errno(s->error, rc, "tokenizer.ggml.tokens") : 0;
}

static int read_merge(struct source *s, uint32_t rank, struct buffer *joined)
{
	const struct vocab *v = s->tokenizer->vocab;
	int64_t left, right, merged;
	struct gguf_text text;
	const char *space;
	size_t left_bytes;

	if (!gguf_array_string(s->gguf, "tokenizer.ggml.merges", rank, &text) || text.length < 3 ||
	    !(space = memchr(text.data + 1, ' ', text.length - 1)))
		return error_set(s->error, -EINVAL,
				 "tokenizer.ggml.merges[%u] is not a pair of tokens", rank);
	left_bytes = (size_t)(space - text.data);
	buffer_clear(joined);
	buffer_append(joined, text.data, left_bytes);
	buffer_append(joined, space + 1, text.length - left_bytes - 1);
	if (buffer_failed(joined))
		return error_errno(s->error, buffer_failed(joined), "tokenizer.ggml.merges[%u]",
				   rank);
	left = vocab_find(v, text.data, left_bytes);
	right = vocab_find(v, space + 1, text.length - left_bytes - 1);
	merged = vocab_find(v, joined->data, joined->length);
	if (left < 0 || right < 0 || merged < 0)
		return error_set(s->error, -EINVAL,
				 "tokenizer.ggml.merges[%u] \"%.*s\" is not of known tokens",
				 rank, (int)MIN(text.length, 40u), text.data);
	bpe_add_merge(s->tokenizer->bpe, (uint32_t)left, (uint32_t)right, rank, (uint32_t)merged);
	return 0;
}

static int read_merges(struct source *s, const struct pre_row *row)
{
	struct bpe_options options = { .ignore_merges = row->ignore_merges, .unknown = -1 };
	int64_t count = gguf_array_length(s->gguf, "tokenizer.ggml.merges");
	struct buffer joined = { 0 };
	int rc;

	if (count < 0 || count > UINT32_MAX / 4)
		return error_set(s->error, -EINVAL, "tokenizer.ggml.merges is missing or too long");
	rc = bpe_open(&s->tokenizer->bpe, s->tokenizer->vocab, &options, (size_t)count);
	if (rc < 0)
		return error_errno(s->error, rc, "tokenizer.ggml.merges");
	for (uint32_t rank = 0; rc == 0 && rank < count; rank++)
		rc = read_merge(s, rank, &joined);
	buffer_close(&joined);
	return rc;
}

static bool has_name(const struct pre_row *row, const struct gguf_text *name)
{
	for (size_t i = 0; i < NAMES_MAX && row->names[i]; i++)
		if (strlen(row->names[i]) == name->length &&
		    memcmp(row->names[i], name->data, name->length) == 0)
			return true;
	return false;
}

static int refuse_pre(struct source *s, const struct gguf_text *name)
{
	struct buffer known = { .bound = 400 };
	int rc;

	for (size_t i = 0; i < ARRAY_LENGTH(pre_rows); i++)
		for (size_t n = 0; n < NAMES_MAX && pre_rows[i].names[n]; n++)
			buffer_printf(&known, " %s", pre_rows[i].names[n]);
	rc = error_set(s->error, -ENOTSUP,
		       "tokenizer.ggml.pre \"%.*s\" is not supported; known are%s",
		       (int)MIN(name->length, 40u), name->data, buffer_string(&known));
	buffer_close(&known);
	return rc;
}

static int find_pre(struct source *s, const struct pre_row **out)
{
	struct gguf_text name = { "default", 7 };

	if (!gguf_string(s->gguf, "tokenizer.ggml.pre", &name))
		log_warn("text", "the file has no tokenizer.ggml.pre: text is cut the default way, "
				 "which may not be how the model was trained");
	for (size_t i = 0; i < ARRAY_LENGTH(pre_rows); i++) {
		*out = &pre_rows[i];
		if (has_name(&pre_rows[i], &name))
			return 0;
	}
	return refuse_pre(s, &name);
}

static int read_byte_level(struct source *s)
{
	struct tokenizer *t = s->tokenizer;
	const struct pre_row *row;
	int rc = find_pre(s, &row);

	if (rc == 0)
		rc = read_tokens(s);
	if (rc == 0)
		rc = read_merges(s, row);
	for (size_t i = 0; rc == 0 && i < REGEXES_MAX && row->regexes[i]; i++)
		rc = pretokenizer_add_regex(&t->pretokenizer, row->regexes[i], s->error);
	if (rc < 0)
		return rc;
	pretokenizer_add_byte_level(&t->pretokenizer);
	decoder_set_byte_level(&t->decoder);
	s->bos = row->bos;
	if (row->nfc)
		rc = normalizer_add(&t->normalizer, NORMALIZE_NFC, NULL, NULL);
	return rc;
}

/* One way to cut a token in two tokens. */
struct cut {
	uint32_t left, right, merged;
};

struct cuts {
	struct cut *list;
	size_t count, capacity;
};

static int push_cut(struct cuts *c, struct cut cut)
{
	if (c->count == c->capacity) {
		size_t capacity = MAX(c->capacity * 2, (size_t)4096);
		void *grown = mem_realloc(c->list, capacity * sizeof(*c->list));

		if (!grown)
			return -ENOMEM;
		c->list = grown;
		c->capacity = capacity;
	}
	c->list[c->count++] = cut;
	return 0;
}

enum { PIECE_BYTES_MAX = 1024 };

static int cut_tokens(struct source *s, struct cuts *cuts)
{
	const struct vocab *v = s->tokenizer->vocab;
	int rc = 0;

	for (uint32_t id = 0; id < vocab_size(v) && rc == 0; id++) {
		size_t bytes;
		const char *text = vocab_text(v, id, &bytes);

		if (type_of(s->gguf, id) != TOKEN_NORMAL || bytes > PIECE_BYTES_MAX)
			continue;
		for (size_t at = 1; at < bytes && rc == 0; at++) {
			int64_t left, right;

			if (((uint8_t)text[at] & 0xC0) == 0x80)
				continue;
			left = vocab_find(v, text, at);
			right = left < 0 ? -1 : vocab_find(v, text + at, bytes - at);
			if (right >= 0)
				rc = push_cut(cuts, (struct cut){ (uint32_t)left, (uint32_t)right,
								  id });
		}
	}
	return rc;
}

struct scored {
	double score;
	uint32_t id;
};

static int by_score(const void *a, const void *b)
{
	const struct scored *x = a, *y = b;

	return (x->score < y->score) - (x->score > y->score);
}

/* ranks[id]: 0 for the highest score; equal scores share a rank. */
static int rank_tokens(struct source *s, uint32_t *ranks, uint32_t count)
{
	struct scored *order = mem_alloc(count * sizeof(*order));
	uint32_t rank = 0;
	int rc = 0;

	if (!order)
		return error_errno(s->error, -ENOMEM, "tokenizer.ggml.scores");
	for (uint32_t id = 0; id < count && rc == 0; id++) {
		order[id].id = id;
		if (!gguf_array_real(s->gguf, "tokenizer.ggml.scores", id, &order[id].score) ||
		    order[id].score != order[id].score)
			rc = error_set(s->error, -EINVAL,
				       "tokenizer.ggml.scores[%u] is not a number", id);
	}
	if (rc == 0)
		qsort(order, count, sizeof(*order), by_score);
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		rank += i > 0 && order[i].score != order[i - 1].score;
		ranks[order[i].id] = rank;
	}
	mem_free(order);
	return rc;
}

/* SentencePiece joins the two neighbours whose joint score is highest; as
 * ranked pairs that is the same thing.
 */
static int merge_by_score(struct source *s)
{
	struct tokenizer *t = s->tokenizer;
	struct bpe_options options = { .byte_fallback = true, .fuse_unknown = false };
	uint32_t count = vocab_size(t->vocab);
	uint32_t *ranks = mem_alloc(count * sizeof(*ranks));
	struct cuts cuts = { 0 };
	int rc;

	if (!gguf_integer(s->gguf, "tokenizer.ggml.unknown_token_id", &options.unknown) ||
	    options.unknown < 0 || options.unknown >= count)
		options.unknown = -1;
	rc = ranks ? rank_tokens(s, ranks, count)
		   : error_errno(s->error, -ENOMEM, "tokenizer.ggml.scores");
	if (rc == 0 && cut_tokens(s, &cuts) < 0)
		rc = error_errno(s->error, -ENOMEM, "tokenizer.ggml.tokens");
	if (rc == 0 && bpe_open(&t->bpe, t->vocab, &options, cuts.count) < 0)
		rc = error_errno(s->error, -ENOMEM, "tokenizer.ggml.tokens");
	for (size_t i = 0; rc == 0 && i < cuts.count; i++)
		bpe_add_merge(t->bpe, cuts.list[i].left, cuts.list[i].right,
			      ranks[cuts.list[i].merged], cuts.list[i].merged);
	mem_free(cuts.list);
	mem_free(ranks);
	return rc;
}

static int read_sentence_piece(struct source *s)
{
	struct tokenizer *t = s->tokenizer;
	bool space = true;
	int rc = read_tokens(s);

	gguf_bool(s->gguf, "tokenizer.ggml.add_space_prefix", &space);
	if (rc == 0)
		rc = merge_by_score(s);
	if (rc < 0)
		return rc;
	s->bos = true;
	if (space)
		rc = normalizer_add(&t->normalizer, NORMALIZE_PREPEND, NULL, "\xE2\x96\x81");
	if (rc == 0)
		rc = normalizer_add(&t->normalizer, NORMALIZE_REPLACE, " ", "\xE2\x96\x81");
	if (rc == 0)
		rc = decoder_set_sentence_piece(&t->decoder, space);
	return rc < 0 ? error_errno(s->error, rc, "tokenizer.ggml.model") : 0;
}

static int add_tokens(struct source *s)
{
	int rc = 0;

	for (uint32_t id = 0; rc == 0 && id < vocab_size(s->tokenizer->vocab); id++) {
		int64_t type = type_of(s->gguf, id);
		struct added_token token = { .id = id,
					     .special = type == TOKEN_CONTROL ||
							type == TOKEN_UNKNOWN };

		if (token.special || type == TOKEN_USER_DEFINED)
			rc = tokenizer_add_token(s->tokenizer, &token, s->error);
	}
	return rc;
}

/* bos and eos: their texts, and whether a text is put between them. */
static int read_edge(struct source *s, const char *id_key, const char *add_key, bool add,
		     char **text, uint32_t *ids, unsigned *count)
{
	int64_t id;

	gguf_bool(s->gguf, add_key, &add);
	if (!gguf_integer(s->gguf, id_key, &id))
		return 0;
	if (id < 0 || id >= vocab_size(s->tokenizer->vocab))
		return error_set(s->error, -EINVAL, "%s is %jd, expected an id below %u", id_key,
				 (intmax_t)id, vocab_size(s->tokenizer->vocab));
	*text = mem_strdup(vocab_text(s->tokenizer->vocab, (uint32_t)id, NULL));
	if (!*text)
		return error_errno(s->error, -ENOMEM, "%s", id_key);
	if (add)
		ids[(*count)++] = (uint32_t)id;
	return 0;
}

static int read_settings(struct source *s)
{
	struct tokenizer *t = s->tokenizer;
	struct postprocessor *p = &t->postprocessor;
	struct gguf_text text;
	int rc;

	rc = read_edge(s, "tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token", s->bos,
		       &t->bos, p->before, &p->before_count);
	if (rc == 0)
		rc = read_edge(s, "tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_eos_token",
			       s->eos, &t->eos, p->after, &p->after_count);
	if (rc == 0 && gguf_string(s->gguf, "tokenizer.chat_template", &text)) {
		t->chat_template = mem_strndup(text.data, text.length);
		if (!t->chat_template)
			rc = error_errno(s->error, -ENOMEM, "tokenizer.chat_template");
	}
	return rc;
}

int tokenizer_open_gguf(struct tokenizer **out, const struct gguf *g, struct error *e)
{
	struct source s = { .gguf = g, .error = e };
	struct gguf_text model;
	int rc;

	*out = NULL;
	s.tokenizer = mem_calloc(1, sizeof(*s.tokenizer));
	if (!s.tokenizer)
		return error_errno(e, -ENOMEM, "opening a tokenizer");
	if (!gguf_string(g, "tokenizer.ggml.model", &model))
		rc = error_set(e, -EINVAL, "tokenizer.ggml.model is missing");
	else if (model.length == 4 && memcmp(model.data, "gpt2", 4) == 0)
		rc = read_byte_level(&s);
	else if (model.length == 5 && memcmp(model.data, "llama", 5) == 0)
		rc = read_sentence_piece(&s);
	else
		rc = error_set(e, -ENOTSUP,
			       "tokenizer.ggml.model \"%.*s\" is not supported; gpt2, llama are",
			       (int)MIN(model.length, 40u), model.data);
	if (rc == 0)
		rc = add_tokens(&s);
	if (rc == 0)
		rc = read_settings(&s);
	if (rc == 0)
		rc = decoder_prepare(&s.tokenizer->decoder, s.tokenizer->vocab, e);
	if (rc < 0) {
		tokenizer_close(s.tokenizer);
		return rc;
	}
	*out = s.tokenizer;
	return 0;
}
