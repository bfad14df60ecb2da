/* kvcache.h - who holds which KV pages: reservations, page tables, reference
 * counts.  Bookkeeping only; the pages' bytes belong to the span.
 *
 * A sequence reserves what it may need when it opens; pages are taken when
 * tokens arrive.  Pages of a fork are shared until one side is closed or
 * truncated; only whole pages are shared.
 *
 * Invariants, asserted by kvcache_check():
 *   1. free + held pages == total; a page's count is its number of holders.
 *   2. The reservations not yet taken never exceed the free pages.
 *   3. A sequence holds exactly the pages that cover its tokens.
 *
 * Threads    One thread owns a kvcache (the server's core).
 * Ownership  sequence_open() / sequence_close().
 * Units      Tokens and pages.
 * Errors     -ENOSPC when the reservation does not fit, -ENOMEM, -EINVAL.
 */
#ifndef PETALS_COMPUTE_KVCACHE_H
#define PETALS_COMPUTE_KVCACHE_H

#include "dataplane/base/types.h"

struct kvcache;

struct sequence {
	struct kvcache *cache;
	uint32_t *pages;            /* page_count entries are valid */
	uint32_t page_count, pages_max;
	uint32_t shared;            /* leading pages not paid from the reservation */
	uint32_t tokens;            /* covered by pages: cached or about to be */
	uint32_t tokens_max;
};

int kvcache_open(struct kvcache **out, uint32_t pages, uint32_t page_tokens);
void kvcache_close(struct kvcache *c);                   /* NULL is fine */
uint32_t kvcache_page_tokens(const struct kvcache *c);
uint32_t kvcache_pages(const struct kvcache *c);
uint32_t kvcache_unreserved(const struct kvcache *c);    /* what a new sequence may have */
uint32_t kvcache_held(const struct kvcache *c);          /* pages in use */
void kvcache_check(const struct kvcache *c);

int sequence_open(struct sequence **out, struct kvcache *c, uint32_t tokens_max);
/* A sequence that begins with the whole pages of `tokens` tokens of another. */
int sequence_fork(struct sequence **out, const struct sequence *from, uint32_t tokens,
		  uint32_t tokens_max);
void sequence_close(struct sequence *s);                 /* NULL is fine */
/* Takes pages so that `tokens` are covered; cannot fail within tokens_max. */
void sequence_extend(struct sequence *s, uint32_t tokens);
/* Gives back the pages past `tokens` (to the reservation).  A page that would be kept in
 * part while another sequence holds it goes too, so `tokens` may end lower; and pages that
 * other sequences keep come back to the reservation only as far as free ones are
 * left, else tokens_max shrinks.  Neither happens to a sequence that was never forked.
 */
void sequence_truncate(struct sequence *s, uint32_t tokens);

#endif
