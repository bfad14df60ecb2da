/* pretokenizer.h - cuts normalised text into the pieces ("words") that the
 * model sees one by one.
 *
 * Steps run one after another; each cuts or rewrites the pieces that the one
 * before left.  Semantics, empty pieces included, are Hugging Face's.
 *
 * Threads    A pretokenizer is read-only once built; pieces belong to one call.
 * Ownership  Zeroed structs are empty; pretokenizer_close(), pieces_close().
 * Units      Bytes of valid UTF-8.
 * Errors     -EINVAL, -ENOTSUP with the JSON path; -ENOMEM; what regex_find() gives.
 */
#ifndef PETALS_COMPUTE_TEXT_PRETOKENIZER_H
#define PETALS_COMPUTE_TEXT_PRETOKENIZER_H

#include "compute/text/pattern.h"
#include "compute/text/utf8.h"

enum { PRETOKENIZER_STEPS_MAX = 16 };

struct piece {
	size_t start, end;           /* in pieces.text */
	bool first;                  /* it begins where the whole input begins */
};

struct pieces {
	struct buffer text;
	struct piece *list;
	size_t count, capacity;
	int failed;                  /* -ENOMEM, like a buffer's */
};

void pieces_close(struct pieces *p);
/* One piece that holds all of text; none when it is empty. */
void pieces_start(struct pieces *p, const char *text, size_t bytes, bool first);

enum pretokenizer_kind {
	CUT_BYTE_LEVEL,              /* bytes become their printable stand-ins */
	CUT_SPLIT,
	CUT_DIGITS,
	CUT_PUNCTUATION,
	CUT_WHITESPACE,              /* at white space, which is dropped */
	CUT_METASPACE,
};

enum split_behavior {
	SPLIT_REMOVED,
	SPLIT_ISOLATED,
	SPLIT_MERGED_WITH_PREVIOUS,
	SPLIT_MERGED_WITH_NEXT,
	SPLIT_CONTIGUOUS,
};

enum prepend_scheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

struct pretokenizer_step {
	enum pretokenizer_kind kind;
	enum split_behavior behavior;       /* SPLIT, PUNCTUATION, DIGITS */
	struct pattern pattern;             /* SPLIT; BYTE_LEVEL with use_regex */
	bool invert;                        /* SPLIT */
	bool matches;                       /* BYTE_LEVEL: cut by pattern first */
	bool prefix_space;                  /* BYTE_LEVEL */
	bool split;                         /* METASPACE */
	enum prepend_scheme prepend;        /* METASPACE */
	char replacement[UTF8_MOST_BYTES];  /* METASPACE: its stand-in for a space */
	size_t replacement_bytes;
};

struct pretokenizer {
	struct pretokenizer_step steps[PRETOKENIZER_STEPS_MAX];
	unsigned count;
};

/* node may be NULL or null: one piece. */
int pretokenizer_read(struct pretokenizer *p, const json_t *node, const char *path,
		      struct error *e);
/* Isolates the matches of a regular expression. */
int pretokenizer_add_regex(struct pretokenizer *p, const char *regex, struct error *e);
void pretokenizer_add_byte_level(struct pretokenizer *p);
void pretokenizer_close(struct pretokenizer *p);

/* Cuts the pieces in *pieces further, with *spare as room to work in. */
int pretokenizer_run(const struct pretokenizer *p, struct regex_scratch *s,
		     struct pieces *pieces, struct pieces *spare, struct error *e);

/* "▁" by default; shared with the Metaspace decoder. */
int metaspace_read(const json_t *node, const char *path, char replacement[UTF8_MOST_BYTES],
		   size_t *replacement_bytes, enum prepend_scheme *prepend, struct error *e);

#endif
