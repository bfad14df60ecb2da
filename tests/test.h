/* test.h - the harness: cmocka underneath, registration and checks on top.
 *
 *	// Goal: what must hold.
 *	TEST(ring__full_ring_refuses) { ... CHECK_EQ(ring_push(r, &x), false); }
 *
 * One test file per source file; names are function__case.  A file may define
 * several TESTs; TEST_MAIN is in tests/main.c.  SKIP("why") skips aloud.
 * `./test --list` lists, `./test NAME...` runs the named ones, `--seed N`
 * changes test_seed(), which is printed when a test fails.
 */
#ifndef PETALS_TEST_H
#define PETALS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/types.h"

struct test_case {
	const char *name;
	void (*run)(void **state);
} __attribute__((aligned(16)));

#define TEST(test_name)                                                   \
	static void test_name(void **state);                              \
	static const struct test_case test_case_##test_name               \
	__attribute__((used, section("petals_tests"), aligned(16))) =     \
		{ #test_name, test_name };                                \
	static void test_name(__attribute__((unused)) void **state)

uint64_t test_seed(void);
/* ../shared/NAME as an absolute path when the folder is there, else NULL. */
const char *test_shared(const char *name);
/* tests/data/NAME, wherever the test was started from. */
const char *test_data(const char *name);

#define SKIP(...)                                     \
	do {                                          \
		print_message("# SKIP " __VA_ARGS__); \
		print_message("\n");                  \
		skip();                               \
	} while (0)

#define CHECK(condition) assert_true(condition)
#define CHECK_EQ(a, b) assert_int_equal((intmax_t)(a), (intmax_t)(b))
#define CHECK_TEXT(a, b) assert_string_equal(a, b)
#define CHECK_BYTES(a, b, bytes) assert_memory_equal(a, b, bytes)
#define CHECK_NEAR(a, b, tolerance)                                            \
	do {                                                                   \
		double check_a = (a), check_b = (b), check_t = (tolerance);    \
		if (!(check_a - check_b <= check_t && check_b - check_a <= check_t)) \
			fail_msg("%s = %.9g, %s = %.9g, tolerance %.3g",       \
				 #a, check_a, #b, check_b, check_t);           \
	} while (0)
/* rc is 0 or more, else the struct error's sentence is the failure. */
#define CHECK_OK(rc, error)                                              \
	do {                                                             \
		intmax_t check_rc = (rc);                                \
		if (check_rc < 0)                                        \
			fail_msg("%s = %jd: %s", #rc, check_rc, (error)->text); \
	} while (0)

#endif
