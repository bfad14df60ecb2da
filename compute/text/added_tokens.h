/* added_tokens.h - tokens that are found in the text itself, before the model
 * cuts anything: "<|im_start|>" and its like.
 *
 * Leftmost first, longest among those that start at the same place.  Tokens
 * with `normalized` are looked for in normalised text, the others in raw text.
 *
 * Threads    Read-only once built; a walk belongs to one call.
 * Ownership  A zeroed added_tokens is empty; added_tokens_close() frees.
 * Units      Bytes of valid UTF-8.
 * Errors     -ENOMEM.
 */
#ifndef PETALS_COMPUTE_TEXT_ADDED_TOKENS_H
#define PETALS_COMPUTE_TEXT_ADDED_TOKENS_H

#include "dataplane/base/types.h"

struct added_token {
	uint32_t id;
	bool special;
	bool left_strip, right_strip;   /* takes white space on that side with it */
	bool single_word;               /* only where no word character touches it */
	bool normalized;
};

struct trie_node {
	uint32_t child, sibling;        /* 0: none */
	uint32_t token;                 /* index + 1, 0: no token ends here */
	uint8_t byte;
};

struct trie {
	struct trie_node *nodes;        /* [0] is the root */
	uint32_t count, capacity;
	uint32_t roots[256];            /* the root's children by byte */
};

struct added_tokens {
	struct added_token *list;
	size_t count, capacity;
	struct trie raw, normalized;
};

/* text is what to look for: already normalised if token->normalized.  Of two
 * tokens with one text the first stays.
 */
int added_tokens_add(struct added_tokens *a, const struct added_token *token, const char *text,
		     size_t bytes);
void added_tokens_close(struct added_tokens *a);

/* Cuts a text into stretches between tokens and tokens, in order. */
struct added_walk {
	const struct added_tokens *tokens;
	const struct trie *trie;
	const char *text;
	size_t bytes;
	bool skip_special;              /* special tokens are plain text */
	size_t done, scanned;
	bool holding;                   /* a token waits behind the stretch before it */
	size_t held_start, held_end;
	uint32_t held;
};

struct added_part {
	size_t start, end;
	int64_t id;                     /* -1: a stretch of text */
};

void added_walk_start(struct added_walk *w, const struct added_tokens *a, bool normalized,
		      bool skip_special, const char *text, size_t bytes);
bool added_walk_next(struct added_walk *w, struct added_part *out);

#endif
