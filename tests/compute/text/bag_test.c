/* bag_test.c - tests of compute/text/bag.c. */
#include "compute/text/bag.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "tests/test.h"

/* Goal: blocks of any size are zeroed, aligned and apart. */
TEST(bag_take__zeroed_and_apart)
{
	uint64_t live = mem_live_blocks();
	struct bag a = { 0 };
	char *previous = NULL;

	for (size_t bytes = 1; bytes < 100000; bytes = bytes * 3 + 1) {
		char *block = bag_take(&a, bytes);

		CHECK(block && (uintptr_t)block % 16 == 0);
		for (size_t i = 0; i < bytes; i++)
			CHECK_EQ(block[i], 0);
		memset(block, 0x5A, bytes);
		CHECK(!previous || previous[0] == 0x5A);
		previous = block;
	}
	CHECK_TEXT(bag_copy(&a, "text", 4), "text");
	bag_close(&a);
	CHECK_EQ(mem_live_blocks(), live);
}

/* Goal: past the bound there is nothing more, ever. */
TEST(bag_take__bound)
{
	struct bag a = { .bound = 64 };

	CHECK(bag_take(&a, 60));
	CHECK(!bag_take(&a, 60));
	CHECK_EQ(a.failed, -EMSGSIZE);
	CHECK(!bag_take(&a, 1));
	bag_close(&a);
}
