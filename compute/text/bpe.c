/* bpe.c - owns the merge table and the merging of one word. */
#include "compute/text/bpe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compute/text/utf8.h"
#include "dataplane/base/memory.h"

enum {
	DIRECT_CHARACTERS = 0x400,   /* looked up by index instead of by text */
	WORD_BYTES_MAX = 1 << 30,
};

struct merge {
	uint64_t pair;               /* left << 32 | right */
	uint32_t rank;
	uint32_t merged;             /* NO_TOKEN: a free slot */
};

static const uint32_t no_token = UINT32_MAX;

struct bpe {
	const struct vocab *vocab;
	struct bpe_options options;
	struct merge *merges;        /* open addressing, at most two thirds full */
	uint64_t merge_slots;        /* a power of two */
	size_t merge_count, merge_capacity;
	uint32_t byte_tokens[256];
	uint32_t direct[DIRECT_CHARACTERS];
};

static uint64_t slot_of(const struct bpe *b, uint64_t pair)
{
	uint64_t h = pair * 0x9E3779B97F4A7C15ull;

	return (h ^ h >> 32) & (b->merge_slots - 1);
}

static uint32_t find_token(const struct bpe *b, const char *text, size_t bytes)
{
	int64_t id = vocab_find_model(b->vocab, text, bytes);

	return id < 0 ? no_token : (uint32_t)id;
}

static void index_characters(struct bpe *b)
{
	char text[8];

	for (uint32_t c = 0; c < DIRECT_CHARACTERS; c++)
		b->direct[c] = find_token(b, text, utf8_write(c, text));
	for (unsigned byte = 0; byte < 256; byte++) {
		snprintf(text, sizeof(text), "<0x%02X>", byte);
		b->byte_tokens[byte] = find_token(b, text, 6);
	}
}

int bpe_open(struct bpe **out, const struct vocab *v, const struct bpe_options *o, size_t merges)
{
	struct bpe *b = mem_alloc(sizeof(*b));

	*out = NULL;
	if (!b)
		return -ENOMEM;
	*b = (struct bpe){ .vocab = v, .options = *o, .merge_capacity = merges };
	b->merge_slots = 16;
	while (b->merge_slots / 3 * 2 < merges)
		b->merge_slots *= 2;
	b->merges = mem_alloc(b->merge_slots * sizeof(*b->merges));
	if (!b->merges) {
		mem_free(b);
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < b->merge_slots; i++)
		b->merges[i].merged = no_token;
	index_characters(b);
	*out = b;
	return 0;
}

void bpe_close(struct bpe *b)
{
	if (!b)
		return;
	mem_free(b->merges);
	mem_free(b);
}

static struct merge *find_merge(const struct bpe *b, uint32_t left, uint32_t right)
{
	uint64_t pair = (uint64_t)left << 32 | right;
	uint64_t i = slot_of(b, pair);

	while (b->merges[i].merged != no_token && b->merges[i].pair != pair)
		i = (i + 1) & (b->merge_slots - 1);
	return &b->merges[i];
}

void bpe_add_merge(struct bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t merged)
{
	struct merge *m = find_merge(b, left, right);

	assert(merged != no_token);
	if (m->merged == no_token) {
		assert(b->merge_count < b->merge_capacity);
		b->merge_count++;
	}
	*m = (struct merge){ (uint64_t)left << 32 | right, rank, merged };
}

void bpe_scratch_close(struct bpe_scratch *s)
{
	mem_free(s->symbols);
	mem_free(s->heap);
	*s = (struct bpe_scratch){ 0 };
}

static int push_symbol(struct bpe_scratch *s, uint32_t id)
{
	int32_t at = (int32_t)s->symbol_count;

	if (s->symbol_count == s->symbol_capacity) {
		size_t capacity = MAX(s->symbol_capacity * 2, (size_t)64);
		void *grown = mem_realloc(s->symbols, capacity * sizeof(*s->symbols));

		if (!grown)
			return -ENOMEM;
		s->symbols = grown;
		s->symbol_capacity = capacity;
	}
	s->symbols[at] = (struct bpe_symbol){ id, at - 1, at + 1, false };
	s->symbol_count++;
	return 0;
}

static int push_pair(struct bpe_scratch *s, struct bpe_pair pair)
{
	size_t at = s->heap_count;

	if (at == s->heap_capacity) {
		size_t capacity = MAX(s->heap_capacity * 2, (size_t)64);
		void *grown = mem_realloc(s->heap, capacity * sizeof(*s->heap));

		if (!grown)
			return -ENOMEM;
		s->heap = grown;
		s->heap_capacity = capacity;
	}
	s->heap_count++;
	while (at > 0 && s->heap[(at - 1) / 2].order > pair.order) {
		s->heap[at] = s->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	s->heap[at] = pair;
	return 0;
}

static struct bpe_pair pop_pair(struct bpe_scratch *s)
{
	struct bpe_pair top = s->heap[0];
	struct bpe_pair last = s->heap[--s->heap_count];
	size_t at = 0;

	for (;;) {
		size_t child = at * 2 + 1;

		if (child >= s->heap_count)
			break;
		if (child + 1 < s->heap_count && s->heap[child + 1].order < s->heap[child].order)
			child++;
		if (last.order <= s->heap[child].order)
			break;
		s->heap[at] = s->heap[child];
		at = child;
	}
	s->heap[at] = last;
	return top;
}

/* Queues the pair whose left symbol is at `left`, if it may merge. */
static int consider(const struct bpe *b, struct bpe_scratch *s, int32_t left)
{
	const struct merge *m;
	int32_t right = s->symbols[left].next;

	if (right < 0)
		return 0;
	m = find_merge(b, s->symbols[left].id, s->symbols[right].id);
	if (m->merged == no_token)
		return 0;
	return push_pair(s, (struct bpe_pair){ (uint64_t)m->rank << 32 | (uint32_t)left,
					       m->merged });
}

/* An entry may be stale: its symbols were merged meanwhile.  What counts is
 * that the two that stand there now would still become the same token.
 */
static int merge_pairs(const struct bpe *b, struct bpe_scratch *s)
{
	int rc = 0;

	while (s->heap_count > 0 && rc == 0) {
		struct bpe_pair pair = pop_pair(s);
		int32_t left = (int32_t)(uint32_t)pair.order;
		struct bpe_symbol *l = &s->symbols[left], *r;

		if (l->merged || l->next < 0)
			continue;
		r = &s->symbols[l->next];
		if (find_merge(b, l->id, r->id)->merged != pair.merged)
			continue;
		l->id = pair.merged;
		l->next = r->next;
		r->merged = true;
		if (r->next >= 0)
			s->symbols[r->next].previous = left;
		if (l->previous >= 0)
			rc = consider(b, s, l->previous);
		if (rc == 0)
			rc = consider(b, s, left);
	}
	return rc;
}

/* A run of unknown characters is pending until it is known where it ends. */
static int flush_unknown(const struct bpe *b, struct bpe_scratch *s, bool *pending)
{
	if (!*pending)
		return 0;
	*pending = false;
	return push_symbol(s, (uint32_t)b->options.unknown);
}

static int add_unknown(const struct bpe *b, struct bpe_scratch *s, const char *text, size_t bytes,
		       bool *pending)
{
	bool whole = b->options.byte_fallback;
	int rc = 0;

	for (size_t i = 0; i < bytes && whole; i++)
		whole = b->byte_tokens[(uint8_t)text[i]] != no_token;
	if (whole) {
		for (size_t i = 0; i < bytes && rc == 0; i++)
			rc = push_symbol(s, b->byte_tokens[(uint8_t)text[i]]);
		return rc;
	}
	if (b->options.unknown < 0)
		return 0;
	if (!b->options.fuse_unknown)
		rc = flush_unknown(b, s, pending);
	*pending = true;
	return rc;
}

static int cut_word(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t bytes)
{
	bool pending = false;
	int rc = 0;

	s->symbol_count = 0;
	for (size_t at = 0; at < bytes && rc == 0;) {
		uint32_t c, id;
		size_t n = utf8_next(word + at, bytes - at, &c);

		id = c < DIRECT_CHARACTERS ? b->direct[c] : find_token(b, word + at, n);
		if (id == no_token) {
			rc = add_unknown(b, s, word + at, n, &pending);
		} else {
			rc = flush_unknown(b, s, &pending);
			if (rc == 0)
				rc = push_symbol(s, id);
		}
		at += n;
	}
	if (rc == 0)
		rc = flush_unknown(b, s, &pending);
	if (s->symbol_count > 0)
		s->symbols[s->symbol_count - 1].next = -1;
	return rc;
}

int bpe_encode(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t bytes,
	       struct token_list *out)
{
	int rc;

	if (bytes == 0)
		return 0;
	if (bytes > WORD_BYTES_MAX)
		return -E2BIG;
	if (b->options.ignore_merges) {
		int64_t id = vocab_find_model(b->vocab, word, bytes);

		if (id >= 0)
			return token_list_push(out, (uint32_t)id);
	}
	rc = cut_word(b, s, word, bytes);
	s->heap_count = 0;
	for (size_t i = 0; i + 1 < s->symbol_count && rc == 0; i++)
		rc = consider(b, s, (int32_t)i);
	if (rc == 0)
		rc = merge_pairs(b, s);
	for (size_t i = 0; i < s->symbol_count && rc == 0; i++)
		if (!s->symbols[i].merged)
			rc = token_list_push(out, s->symbols[i].id);
	return rc;
}
