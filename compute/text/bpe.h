/* bpe.h - byte pair encoding: cuts a word into characters and merges pairs,
 * best rank first, leftmost first among equals.
 *
 * A priority queue per word keeps even a megabyte without spaces at
 * n log n.  Order and quirks are those of Hugging Face's implementation.
 *
 * Threads    A bpe is read-only once built; a bpe_scratch belongs to one call.
 * Ownership  bpe_open() / bpe_close(); the vocab is borrowed and must outlive
 *            it.  A zeroed bpe_scratch is ready; bpe_scratch_close() frees.
 * Units      Ids; bytes.
 * Errors     -ENOMEM; bpe_encode() also -E2BIG for a word above 2^30 bytes.
 */
#ifndef PETALS_COMPUTE_TEXT_BPE_H
#define PETALS_COMPUTE_TEXT_BPE_H

#include "compute/text/token_list.h"
#include "compute/text/vocab.h"

struct bpe;

struct bpe_options {
	bool byte_fallback;          /* an unknown character becomes <0xXX> tokens */
	bool fuse_unknown;           /* a run of unknown characters is one token */
	bool ignore_merges;          /* a word that is a token needs no merging */
	int64_t unknown;             /* its id, -1: unknown characters vanish */
};

int bpe_open(struct bpe **out, const struct vocab *v, const struct bpe_options *o,
	     size_t merges);
void bpe_close(struct bpe *b);                        /* NULL is fine */

/* left and right become `merged`; a lower rank goes first.  A pair that is
 * there already takes the new rank.  At most `merges` of them.
 */
void bpe_add_merge(struct bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t merged);

struct bpe_symbol {
	uint32_t id;
	int32_t previous, next;      /* -1 at the ends */
	bool merged;                 /* into its left neighbour */
};

struct bpe_pair {
	uint64_t order;              /* rank << 32 | position of the left symbol */
	uint32_t merged;             /* the id that the pair becomes */
};

struct bpe_scratch {
	struct bpe_symbol *symbols;
	size_t symbol_count, symbol_capacity;
	struct bpe_pair *heap;       /* least order at [0] */
	size_t heap_count, heap_capacity;
};

void bpe_scratch_close(struct bpe_scratch *s);

/* Appends the tokens of one word; it must be valid UTF-8. */
int bpe_encode(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t bytes,
	       struct token_list *out);

#endif
