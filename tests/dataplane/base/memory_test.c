/* memory_test.c - blocks are counted, regions aligned, failures returned. */
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

/* Goal: the live count follows every kind of allocation. */
TEST(mem_live_blocks__counts_each_kind)
{
	uint64_t before = mem_live_blocks();
	char *blocks[] = {
		mem_alloc(10), mem_calloc(3, 5), mem_realloc(NULL, 7), mem_aligned(64, 100),
		mem_strdup("text"), mem_strndup("text", 2),
	};

	CHECK_EQ(mem_live_blocks(), before + ARRAY_LENGTH(blocks));
	blocks[0] = mem_realloc(blocks[0], 1000);
	CHECK_EQ(mem_live_blocks(), before + ARRAY_LENGTH(blocks));
	for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
		mem_free(blocks[i]);
	mem_free(NULL);
	CHECK_EQ(mem_live_blocks(), before);
}

/* Goal: NULL means out of memory, so an empty block is not NULL. */
TEST(mem_alloc__empty_blocks_exist)
{
	char *a = mem_alloc(0), *b = mem_calloc(0, 8), *c = mem_realloc(NULL, 0);

	CHECK(a && b && c);
	c = mem_realloc(c, 0);
	CHECK(c != NULL);
	mem_free(a);
	mem_free(b);
	mem_free(c);
}

/* Goal: zeroed, and a product that overflows is refused. */
TEST(mem_calloc__zeroes_and_checks)
{
	uint8_t *a = mem_calloc(100, 3);
	volatile size_t huge = SIZE_MAX / 2;

	for (int i = 0; i < 300; i++)
		CHECK_EQ(a[i], 0);
	mem_free(a);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	/* The sanitizers' allocators abort here instead of returning. */
	CHECK(!mem_calloc(huge, 3));
	CHECK(!mem_alloc(huge));
#else
	(void)huge;
#endif
}

/* Goal: alignment is what was asked for. */
TEST(mem_aligned__aligns)
{
	for (size_t alignment = 8; alignment <= 4096; alignment *= 2) {
		void *p = mem_aligned(alignment, 24);

		CHECK_EQ((uintptr_t)p % alignment, 0);
		mem_free(p);
	}
}

/* Goal: copies end where the text or the length ends, whichever is first. */
TEST(mem_strndup__stops_at_the_first_end)
{
	char *a = mem_strndup("petals", 3), *b = mem_strndup("petals", 100);

	CHECK_TEXT(a, "pet");
	CHECK_TEXT(b, "petals");
	mem_free(a);
	mem_free(b);
}

/* Goal: a region is aligned, rounded, zeroed, writable to its end. */
TEST(memory_region_open__gives_aligned_zeroed_memory)
{
	struct memory_region r;
	uint8_t *p;

	for (int reserved = 0; reserved < 2; reserved++) {
		CHECK_EQ(memory_region_open(&r, 3 * MIB + 1, reserved), 0);
		CHECK_EQ(r.bytes, 4 * MIB);
		CHECK_EQ((uintptr_t)r.base % (2 * MIB), 0);
		CHECK(!r.huge_reserved || reserved);
		p = r.base;
		for (size_t i = 0; i < r.bytes; i += 4096)
			CHECK_EQ(p[i], 0);
		p[0] = p[r.bytes - 1] = 1;
		memory_region_close(&r);
		CHECK(!r.base);
		memory_region_close(&r);
	}
}

/* Pages of address space this process has mapped. */
static long mapped_pages(void)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	long pages = 0;

	CHECK(statm && fscanf(statm, "%ld", &pages) == 1);
	fclose(statm);
	return pages;
}

/* Goal: a region takes its own address space and no more, and gives it back. */
TEST(memory_region_close__gives_back_all)
{
	struct memory_region regions[8];
	long before = mapped_pages();

	for (size_t i = 0; i < ARRAY_LENGTH(regions); i++)
		CHECK_EQ(memory_region_open(&regions[i], 64 * MIB, false), 0);
	CHECK_EQ(mapped_pages() - before, ARRAY_LENGTH(regions) * 64 * MIB / 4096);
	for (size_t i = 0; i < ARRAY_LENGTH(regions); i++)
		memory_region_close(&regions[i]);
	CHECK_EQ(mapped_pages(), before);
}

/* Goal: what no host can map is refused, and nothing is left behind. */
TEST(memory_region_open__refuses_the_impossible)
{
	struct memory_region r;

	CHECK_EQ(memory_region_open(&r, SIZE_MAX, false), -ENOMEM);
	CHECK_EQ(memory_region_open(&r, SIZE_MAX - 3 * MIB, false), -ENOMEM);
	CHECK_EQ(memory_region_open(&r, (size_t)1 << 60, true), -ENOMEM);
	CHECK(!r.base && !r.bytes);
}

static void *churn(void *arg)
{
	for (int i = 0; i < 1000; i++)
		mem_free(mem_realloc(mem_alloc(16), 32));
	return NULL;
}

/* Goal: threads do not lose counts. */
TEST(mem_live_blocks__is_exact_across_threads)
{
	uint64_t before = mem_live_blocks();
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		pthread_create(&threads[i], NULL, churn, NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(mem_live_blocks(), before);
}

#ifdef PETALS_FAULTS
/* Goal: an armed fault reaches each function, and a failed realloc keeps its block. */
TEST(mem_alloc__every_kind_can_be_failed)
{
	struct memory_region r;
	char *kept = mem_strdup("kept");

	fault_arm(1);
	CHECK(!mem_alloc(1));
	fault_arm(1);
	CHECK(!mem_calloc(1, 1));
	fault_arm(1);
	CHECK(!mem_aligned(8, 1));
	fault_arm(1);
	CHECK(!mem_strdup("x"));
	fault_arm(1);
	CHECK(!mem_realloc(kept, 100));
	fault_arm(1);
	CHECK_EQ(memory_region_open(&r, 1, false), -ENOMEM);
	CHECK_TEXT(kept, "kept");
	mem_free(kept);
}
#endif
