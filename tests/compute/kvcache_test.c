/* kvcache_test.c - pages against a model that writes into every token's slot:
 * what a sequence wrote must still be there whatever the others did.
 */
#include "compute/kvcache.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

enum { PAGES = 40, PAGE_TOKENS = 4, SEQUENCES = 12, TOKENS_MAX = 64, OPERATIONS = 20000 };

struct model {
	struct kvcache *cache;
	struct random random;
	struct sequence *sequences[SEQUENCES];
	uint32_t expected[SEQUENCES][TOKENS_MAX];      /* what each token's slot must hold */
	uint32_t slots[PAGES * PAGE_TOKENS];
	uint32_t stamp;
};

static uint32_t *slot(struct model *m, const struct sequence *s, uint32_t token)
{
	return &m->slots[s->pages[token / PAGE_TOKENS] * PAGE_TOKENS + token % PAGE_TOKENS];
}

static void check_model(struct model *m)
{
	bool held[PAGES] = { false };
	uint32_t held_count = 0, promised = 0;

	kvcache_check(m->cache);
	for (uint32_t i = 0; i < SEQUENCES; i++) {
		const struct sequence *s = m->sequences[i];

		if (!s)
			continue;
		CHECK_EQ(s->page_count, (s->tokens + PAGE_TOKENS - 1) / PAGE_TOKENS);
		for (uint32_t t = 0; t < s->tokens; t++)
			CHECK_EQ(*slot(m, s, t), m->expected[i][t]);
		for (uint32_t p = 0; p < s->page_count; p++)
			held[s->pages[p]] = true;
		promised += s->pages_max - s->page_count;
	}
	for (uint32_t i = 0; i < PAGES; i++)
		held_count += held[i];
	CHECK_EQ(kvcache_held(m->cache), held_count);
	CHECK_EQ(kvcache_unreserved(m->cache), PAGES - held_count - promised);
}

static uint32_t below(struct model *m, uint32_t bound)
{
	return (uint32_t)random_below(&m->random, bound);
}

static void extend(struct model *m, uint32_t i)
{
	struct sequence *s = m->sequences[i];
	uint32_t from = s->tokens;

	sequence_extend(s, from + below(m, s->tokens_max - from + 1));
	for (uint32_t t = from; t < s->tokens; t++)
		m->expected[i][t] = *slot(m, s, t) = ++m->stamp;
}

static void open_or_fork(struct model *m, uint32_t i)
{
	uint32_t from = below(m, SEQUENCES), tokens_max = 1 + below(m, TOKENS_MAX);
	uint32_t room = kvcache_unreserved(m->cache), tokens = below(m, TOKENS_MAX);
	uint32_t pages = (tokens_max + PAGE_TOKENS - 1) / PAGE_TOKENS;
	int rc;

	if (!m->sequences[from] || below(m, 2)) {
		rc = sequence_open(&m->sequences[i], m->cache, tokens_max);
		CHECK_EQ(rc, pages <= room ? 0 : -ENOSPC);
		return;
	}
	rc = sequence_fork(&m->sequences[i], m->sequences[from], tokens, tokens_max);
	if (rc == 0)
		memcpy(m->expected[i], m->expected[from], sizeof(m->expected[i]));
	else
		CHECK_EQ(rc, -ENOSPC);
	if (rc == 0)
		CHECK_EQ(m->sequences[i]->tokens % PAGE_TOKENS, 0);
}

static void operate(struct model *m)
{
	uint32_t i = below(m, SEQUENCES);

	if (!m->sequences[i]) {
		open_or_fork(m, i);
	} else if (below(m, 6) == 0) {
		sequence_close(m->sequences[i]);
		m->sequences[i] = NULL;
	} else if (below(m, 3) == 0) {
		uint32_t tokens = below(m, m->sequences[i]->tokens + 1);

		sequence_truncate(m->sequences[i], tokens);
		CHECK(m->sequences[i]->tokens <= MAX(tokens, 1) || tokens == 0);
	} else {
		extend(m, i);
	}
}

/* Goal: whatever sequences do, each keeps its tokens, counts agree and no extension fails. */
TEST(kvcache__random_operations_agree_with_a_model)
{
	struct model m = { .stamp = 0 };

	random_seed(&m.random, test_seed());
	CHECK_EQ(kvcache_open(&m.cache, PAGES, PAGE_TOKENS), 0);
	for (int i = 0; i < OPERATIONS; i++) {
		operate(&m);
		check_model(&m);
	}
	for (int i = 0; i < SEQUENCES; i++)
		sequence_close(m.sequences[i]);
	CHECK_EQ(kvcache_held(m.cache), 0);
	CHECK_EQ(kvcache_unreserved(m.cache), PAGES);
	kvcache_close(m.cache);
}

/* Goal: a reservation that does not fit is refused and changes nothing. */
TEST(sequence_open__refuses_what_does_not_fit)
{
	struct kvcache *c;
	struct sequence *a, *b;

	CHECK_EQ(kvcache_open(&c, 0, 16), -EINVAL);
	CHECK_EQ(kvcache_open(&c, 10, 16), 0);
	CHECK_EQ(kvcache_pages(c), 10);
	CHECK_EQ(kvcache_page_tokens(c), 16);
	CHECK_EQ(sequence_open(&a, c, 0), -EINVAL);
	CHECK_EQ(sequence_open(&a, c, 6 * 16 + 1), 0);
	CHECK_EQ(kvcache_unreserved(c), 3);
	CHECK_EQ(kvcache_held(c), 0);
	CHECK_EQ(sequence_open(&b, c, 4 * 16), -ENOSPC);
	CHECK_EQ(sequence_open(&b, c, UINT32_MAX), -ENOSPC);
	CHECK_EQ(kvcache_unreserved(c), 3);
	CHECK_EQ(sequence_open(&b, c, 3 * 16), 0);
	CHECK_EQ(kvcache_unreserved(c), 0);
	sequence_close(a);
	sequence_close(b);
	kvcache_close(c);
}

/* Goal: a fork shares whole pages, pays only for the others, and outlives its origin. */
TEST(sequence_fork__shares_whole_pages)
{
	struct kvcache *c;
	struct sequence *a, *b;
	uint32_t shared[2];

	CHECK_EQ(kvcache_open(&c, 10, 16), 0);
	CHECK_EQ(sequence_open(&a, c, 64), 0);
	sequence_extend(a, 50);
	CHECK_EQ(kvcache_held(c), 4);
	CHECK_EQ(sequence_fork(&b, a, 47, 64), 0);
	CHECK_EQ(b->tokens, 32);
	CHECK_EQ(b->shared, 2);
	CHECK_EQ(kvcache_held(c), 4);
	CHECK_EQ(kvcache_unreserved(c), 10 - 4 - 2);
	memcpy(shared, b->pages, sizeof(shared));
	CHECK_BYTES(shared, a->pages, sizeof(shared));
	sequence_close(a);
	CHECK_EQ(kvcache_held(c), 2);
	sequence_extend(b, 64);
	CHECK_BYTES(shared, b->pages, sizeof(shared));
	CHECK_EQ(kvcache_held(c), 4);
	sequence_close(b);
	CHECK_EQ(kvcache_held(c), 0);
	kvcache_close(c);
}

/* Goal: truncating within a shared page gives the whole page up; what follows is private. */
TEST(sequence_truncate__never_keeps_part_of_a_shared_page)
{
	struct kvcache *c;
	struct sequence *a, *b;

	CHECK_EQ(kvcache_open(&c, 10, 16), 0);
	CHECK_EQ(sequence_open(&a, c, 64), 0);
	sequence_extend(a, 64);
	CHECK_EQ(sequence_fork(&b, a, 64, 64), 0);
	sequence_truncate(b, 40);
	CHECK_EQ(b->tokens, 32);
	sequence_extend(b, 40);
	CHECK(b->pages[2] != a->pages[2]);
	sequence_truncate(b, 35);
	CHECK_EQ(b->tokens, 35);
	kvcache_check(c);
	sequence_close(b);
	sequence_close(a);
	kvcache_close(c);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, opening and forking give everything back. */
TEST(kvcache__unwinds_every_failure)
{
	uint64_t live = mem_live_blocks();

	for (int nth = 1; nth < 100; nth++) {
		struct kvcache *c;
		struct sequence *a = NULL, *b = NULL;
		int rc;

		fault_arm(nth);
		rc = kvcache_open(&c, 10, 16);
		if (rc == 0)
			rc = sequence_open(&a, c, 64);
		if (rc == 0) {
			sequence_extend(a, 33);
			rc = sequence_fork(&b, a, 33, 64);
		}
		sequence_close(b);
		sequence_close(a);
		if (c) {
			CHECK_EQ(kvcache_unreserved(c), 10);
			kvcache_check(c);
		}
		kvcache_close(c);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK_EQ(rc, -ENOMEM);
	}
	fault_disarm();
}
#endif
