/* pretokenizer_read.c - builds a pretokenizer from tokenizer.json or by hand. */
#include "compute/text/pretokenizer.h"

#include <errno.h>
#include <string.h>

#include "compute/text/fields.h"
#include "compute/text/parts.h"

static const char gpt2_words[] =
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/* The pieces that "Whitespace" keeps.  Its \w is not the dialect's: it has
 * alphabetic symbols and the joiners, and no fractions.
 */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}"
static const char words_and_symbols[] = "[" WORD "]+|[^" WORD "\\s]+";

static int read_behavior(const json_t *node, const char *path, enum split_behavior fallback,
			 enum split_behavior *out, struct error *e)
{
	static const char *const names[] = {
		[SPLIT_REMOVED] = "Removed",
		[SPLIT_ISOLATED] = "Isolated",
		[SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
		[SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
		[SPLIT_CONTIGUOUS] = "Contiguous",
	};
	struct field_text name;
	int rc = field_text_or_none(node, "behavior", path, &name, e);

	*out = fallback;
	if (rc < 0 || !name.data)
		return rc;
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		if (strcmp(names[i], name.data) == 0) {
			*out = (enum split_behavior)i;
			return 0;
		}
	}
	return error_set(e, -ENOTSUP, "%s.behavior \"%.40s\" is not supported", path, name.data);
}

static int read_byte_level(struct pretokenizer_step *step, const json_t *node, const char *path,
			   struct error *e)
{
	int rc = field_flag(node, "add_prefix_space", path, true, &step->prefix_space, e);

	if (rc == 0)
		rc = field_flag(node, "use_regex", path, true, &step->matches, e);
	if (rc == 0 && step->matches)
		rc = pattern_set_regex(&step->pattern, gpt2_words, e);
	step->behavior = SPLIT_ISOLATED;
	return rc;
}

static int read_split(struct pretokenizer_step *step, const json_t *node, const char *path,
		      struct error *e)
{
	int rc = pattern_read(&step->pattern, node, "pattern", path, e);

	if (rc == 0)
		rc = read_behavior(node, path, SPLIT_ISOLATED, &step->behavior, e);
	if (rc == 0)
		rc = field_flag(node, "invert", path, false, &step->invert, e);
	return rc;
}

static int read_digits(struct pretokenizer_step *step, const json_t *node, const char *path,
		       struct error *e)
{
	bool individual;
	int rc = field_flag(node, "individual_digits", path, false, &individual, e);

	step->behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
	return rc;
}

static int read_punctuation(struct pretokenizer_step *step, const json_t *node, const char *path,
			    struct error *e)
{
	return read_behavior(node, path, SPLIT_ISOLATED, &step->behavior, e);
}

static int read_whitespace(struct pretokenizer_step *step, const json_t *node, const char *path,
			   struct error *e)
{
	step->behavior = SPLIT_REMOVED;
	step->invert = true;
	return pattern_set_regex(&step->pattern, words_and_symbols, e);
}

static int read_whitespace_split(struct pretokenizer_step *step, const json_t *node,
				 const char *path, struct error *e)
{
	step->behavior = SPLIT_REMOVED;
	return 0;
}

int metaspace_read(const json_t *node, const char *path, char replacement[UTF8_MOST_BYTES],
		   size_t *replacement_bytes, enum prepend_scheme *prepend, struct error *e)
{
	static const char *const schemes[] = {
		[PREPEND_NEVER] = "never",
		[PREPEND_FIRST] = "first",
		[PREPEND_ALWAYS] = "always",
	};
	struct field_text text = { 0 }, scheme = { 0 };
	bool prefix = true;
	uint32_t c;
	int rc = field_text_or_none(node, "replacement", path, &text, e);

	if (rc == 0)
		rc = field_text_or_none(node, "prepend_scheme", path, &scheme, e);
	if (rc == 0)
		rc = field_flag(node, "add_prefix_space", path, true, &prefix, e);
	if (rc < 0)
		return rc;
	if (!text.data)
		text = (struct field_text){ "\xE2\x96\x81", 3 };
	if (text.bytes == 0 || utf8_next(text.data, text.bytes, &c) != text.bytes)
		return error_set(e, -EINVAL, "%s.replacement is not one character", path);
	memcpy(replacement, text.data, text.bytes);
	*replacement_bytes = text.bytes;
	*prepend = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
	if (!scheme.data)
		return 0;
	for (size_t i = 0; i < ARRAY_LENGTH(schemes); i++) {
		if (strcmp(schemes[i], scheme.data) == 0) {
			*prepend = (enum prepend_scheme)i;
			return 0;
		}
	}
	return error_set(e, -ENOTSUP, "%s.prepend_scheme \"%.40s\" is not supported", path,
			 scheme.data);
}

static int read_metaspace(struct pretokenizer_step *step, const json_t *node, const char *path,
			  struct error *e)
{
	int rc = metaspace_read(node, path, step->replacement, &step->replacement_bytes,
				&step->prepend, e);

	return rc < 0 ? rc : field_flag(node, "split", path, true, &step->split, e);
}

static const struct {
	const char *type;
	enum pretokenizer_kind kind;
	int (*read)(struct pretokenizer_step *step, const json_t *node, const char *path,
		    struct error *e);
} kinds[] = {
	{ "ByteLevel", CUT_BYTE_LEVEL, read_byte_level },
	{ "Split", CUT_SPLIT, read_split },
	{ "Digits", CUT_DIGITS, read_digits },
	{ "Punctuation", CUT_PUNCTUATION, read_punctuation },
	{ "Whitespace", CUT_SPLIT, read_whitespace },
	{ "WhitespaceSplit", CUT_WHITESPACE, read_whitespace_split },
	{ "Metaspace", CUT_METASPACE, read_metaspace },
};

static int take_part(void *into, const char *type, const json_t *node, const char *path,
		     struct error *e)
{
	struct pretokenizer *p = into;
	struct pretokenizer_step *step;

	if (p->count == PRETOKENIZER_STEPS_MAX)
		return error_set(e, -ENOTSUP, "%s: more than %d pre-tokenizers are not supported",
				 path, PRETOKENIZER_STEPS_MAX);
	for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
		if (strcmp(kinds[i].type, type) != 0)
			continue;
		step = &p->steps[p->count++];
		step->kind = kinds[i].kind;
		return kinds[i].read(step, node, path, e);
	}
	return part_refuse(type, path, e);
}

int pretokenizer_read(struct pretokenizer *p, const json_t *node, const char *path,
		      struct error *e)
{
	return parts_read(p, take_part, node, "pretokenizers", path, e);
}

int pretokenizer_add_regex(struct pretokenizer *p, const char *regex, struct error *e)
{
	struct pretokenizer_step *step = &p->steps[p->count];

	assert(p->count < PRETOKENIZER_STEPS_MAX);
	p->count++;
	step->kind = CUT_SPLIT;
	step->behavior = SPLIT_ISOLATED;
	return pattern_set_regex(&step->pattern, regex, e);
}

void pretokenizer_add_byte_level(struct pretokenizer *p)
{
	assert(p->count < PRETOKENIZER_STEPS_MAX);
	p->steps[p->count++].kind = CUT_BYTE_LEVEL;
}

void pretokenizer_close(struct pretokenizer *p)
{
	for (unsigned i = 0; i < p->count; i++)
		pattern_close(&p->steps[i].pattern);
	*p = (struct pretokenizer){ 0 };
}
