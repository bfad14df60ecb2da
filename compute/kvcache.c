/* kvcache.c - pages as numbers: a stack of free ones and a count of holders
 * for each.
 *
 * A sequence may yet take pages_max - page_count pages, whether it paid for
 * those it holds or shares them.  The sum of that over all sequences is
 * `promised`; keeping it at or below the free pages is what lets
 * sequence_extend() never fail.
 */
#include "compute/kvcache.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

struct kvcache {
	uint32_t pages, page_tokens;
	uint32_t *free;                 /* free_count entries, the last is taken next */
	uint32_t free_count;
	uint32_t *holders;              /* (pages) */
	uint64_t promised;              /* pages that open sequences may yet take */
	uint32_t sequences;
};

int kvcache_open(struct kvcache **out, uint32_t pages, uint32_t page_tokens)
{
	struct kvcache *c;

	*out = NULL;
	if (pages == 0 || page_tokens == 0)
		return -EINVAL;
	c = mem_calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->pages = pages;
	c->page_tokens = page_tokens;
	c->free = mem_calloc(pages, sizeof(*c->free));
	if (!c->free)
		goto err_cache;
	c->holders = mem_calloc(pages, sizeof(*c->holders));
	if (!c->holders)
		goto err_free;
	/* Low numbers on top: a lightly used arena stays small in memory. */
	for (uint32_t i = 0; i < pages; i++)
		c->free[i] = pages - 1 - i;
	c->free_count = pages;
	*out = c;
	return 0;

err_free:
	mem_free(c->free);
err_cache:
	mem_free(c);
	return -ENOMEM;
}

void kvcache_close(struct kvcache *c)
{
	if (!c)
		return;
	assert(c->sequences == 0);
	mem_free(c->holders);
	mem_free(c->free);
	mem_free(c);
}

uint32_t kvcache_page_tokens(const struct kvcache *c)
{
	return c->page_tokens;
}

uint32_t kvcache_pages(const struct kvcache *c)
{
	return c->pages;
}

uint32_t kvcache_unreserved(const struct kvcache *c)
{
	return (uint32_t)(c->free_count - c->promised);
}

uint32_t kvcache_held(const struct kvcache *c)
{
	return c->pages - c->free_count;
}

void kvcache_check(const struct kvcache *c)
{
	uint32_t held = 0;

	for (uint32_t i = 0; i < c->pages; i++)
		held += c->holders[i] > 0;
	assert(held + c->free_count == c->pages);
	for (uint32_t i = 0; i < c->free_count; i++)
		assert(c->free[i] < c->pages && c->holders[c->free[i]] == 0);
	assert(c->promised <= c->free_count);
}

static uint64_t pages_for(const struct kvcache *c, uint32_t tokens)
{
	return ((uint64_t)tokens + c->page_tokens - 1) / c->page_tokens;
}

/* Invariant 3, and that the sequence is whole. */
static void sequence_check(const struct sequence *s)
{
	assert(s->page_count == pages_for(s->cache, s->tokens));
	assert(s->page_count <= s->pages_max && s->shared <= s->page_count);
	assert(s->tokens <= s->tokens_max);
}

static void page_take(struct sequence *s)
{
	struct kvcache *c = s->cache;
	uint32_t page;

	assert(c->free_count > 0 && c->promised > 0);
	page = c->free[--c->free_count];
	assert(c->holders[page] == 0);
	c->holders[page] = 1;
	c->promised--;
	s->pages[s->page_count++] = page;
}

static void page_put(struct kvcache *c, uint32_t page)
{
	assert(c->holders[page] > 0);
	if (--c->holders[page] == 0)
		c->free[c->free_count++] = page;
}

/* An empty sequence with room for tokens_max, `promise` of its pages reserved. */
static int sequence_new(struct sequence **out, struct kvcache *c, uint32_t tokens_max,
			uint64_t pages_max, uint64_t promise)
{
	struct sequence *s;

	*out = NULL;
	if (tokens_max == 0)
		return -EINVAL;
	if (promise > kvcache_unreserved(c))
		return -ENOSPC;
	s = mem_calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->pages = mem_calloc(pages_max, sizeof(*s->pages));
	if (!s->pages) {
		mem_free(s);
		return -ENOMEM;
	}
	s->cache = c;
	s->pages_max = (uint32_t)pages_max;
	s->tokens_max = tokens_max;
	c->promised += promise;
	c->sequences++;
	*out = s;
	return 0;
}

int sequence_open(struct sequence **out, struct kvcache *c, uint32_t tokens_max)
{
	uint64_t pages = pages_for(c, tokens_max);

	return sequence_new(out, c, tokens_max, pages, pages);
}

int sequence_fork(struct sequence **out, const struct sequence *from, uint32_t tokens,
		  uint32_t tokens_max)
{
	struct kvcache *c = from->cache;
	uint32_t shared = MIN(MIN(tokens, from->tokens), tokens_max) / c->page_tokens;
	uint64_t pages = pages_for(c, tokens_max);
	int rc;

	rc = sequence_new(out, c, tokens_max, pages, pages - shared);
	if (rc < 0)
		return rc;
	memcpy((*out)->pages, from->pages, shared * sizeof(*from->pages));
	for (uint32_t i = 0; i < shared; i++)
		c->holders[from->pages[i]]++;
	(*out)->page_count = shared;
	(*out)->shared = shared;
	(*out)->tokens = shared * c->page_tokens;
	sequence_check(*out);
	return 0;
}

void sequence_close(struct sequence *s)
{
	if (!s)
		return;
	sequence_check(s);
	for (uint32_t i = s->page_count; i-- > 0;)
		page_put(s->cache, s->pages[i]);
	s->cache->promised -= s->pages_max - s->page_count;
	s->cache->sequences--;
	mem_free(s->pages);
	mem_free(s);
}

void sequence_extend(struct sequence *s, uint32_t tokens)
{
	assert(tokens <= s->tokens_max);
	if (tokens <= s->tokens)
		return;
	s->tokens = tokens;
	for (uint64_t want = pages_for(s->cache, tokens); s->page_count < want;)
		page_take(s);
	sequence_check(s);
}

void sequence_truncate(struct sequence *s, uint32_t tokens)
{
	struct kvcache *c = s->cache;
	uint64_t keep;

	if (tokens >= s->tokens)
		return;
	keep = pages_for(c, tokens);
	/* What follows would be written into a page that another one reads. */
	if (tokens % c->page_tokens != 0 && c->holders[s->pages[keep - 1]] > 1) {
		keep--;
		tokens = (uint32_t)keep * c->page_tokens;
	}
	while (s->page_count > keep) {
		page_put(c, s->pages[--s->page_count]);
		c->promised++;
	}
	s->shared = MIN(s->shared, s->page_count);
	s->tokens = tokens;
	/* Pages that others keep are not free: promise only what is there. */
	while (c->promised > c->free_count) {
		c->promised--;
		s->pages_max--;
		s->tokens_max = s->pages_max * c->page_tokens;
	}
	sequence_check(s);
}
