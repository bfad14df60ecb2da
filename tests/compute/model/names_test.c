/* names_test.c - finding, not finding, and what occurs twice. */
#include "tests/test.h"

#include <stdio.h>

#include "compute/model/names.h"
#include "dataplane/base/random.h"

/* Goal: every name is found by its bytes, and nothing else is. */
TEST(names_find__all_and_only)
{
	enum { COUNT = 2000 };
	static char texts[COUNT][16];
	struct names n;
	struct random r;

	random_seed(&r, test_seed());
	CHECK_EQ(names_open(&n, COUNT), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		snprintf(texts[i], sizeof(texts[i]), "%u.%llu", i,
			 (unsigned long long)random_below(&r, 99999));
		names_add(&n, texts[i], strlen(texts[i]), i);
	}
	CHECK(names_sort(&n) == NULL);
	for (uint32_t i = 0; i < COUNT; i++) {
		CHECK_EQ(names_find(&n, texts[i], strlen(texts[i])), i);
		/* A prefix is another name, and all of them have their dot. */
		CHECK_EQ(names_find(&n, texts[i], strcspn(texts[i], ".")), NAMES_NONE);
	}
	CHECK_EQ(names_find(&n, "", 0), NAMES_NONE);
	CHECK_EQ(names_find(&n, "zzz", 3), NAMES_NONE);
	names_close(&n);
}

/* Goal: a name that occurs twice is reported; prefixes are not the same name. */
TEST(names_sort__twice)
{
	struct names n;
	const struct name *twice;

	CHECK_EQ(names_open(&n, 4), 0);
	names_add(&n, "ab", 2, 0);
	names_add(&n, "a", 1, 1);
	names_add(&n, "abc", 3, 2);
	CHECK(names_sort(&n) == NULL);
	names_add(&n, "abX", 2, 3);
	twice = names_sort(&n);
	CHECK(twice != NULL);
	CHECK_EQ(twice->length, 2);
	names_close(&n);
	CHECK_EQ(names_open(&n, 0), 0);
	CHECK(names_sort(&n) == NULL);
	CHECK_EQ(names_find(&n, "a", 1), NAMES_NONE);
	names_close(&n);
}
