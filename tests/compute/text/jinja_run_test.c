/* jinja_run_test.c - tests of compute/text/jinja_run.c. */
#include "compute/text/jinja_run.h"

#include <errno.h>

#include "tests/test.h"

/* Goal: the first failure stays; what follows is harmless. */
TEST(run_fail__is_sticky)
{
	struct error e = { 0 };
	struct run r;

	run_open(&r, &e);
	r.line = 3;
	r.column = 14;
	run_fail(&r, -EINVAL, "first %d", 1);
	run_fail(&r, -ENOMEM, "second");
	run_raise(&r, TEXT("third"));
	CHECK_EQ(run_failed(&r), -EINVAL);
	CHECK_TEXT(e.text, "line 3, column 14: first 1");
	CHECK(!run_take(&r, 16));
	CHECK(!run_descend(&r, NULL));
	run_close(&r);
}

/* Goal: steps and depth have an end. */
TEST(run_charge__limits)
{
	struct error e = { 0 };
	struct run r;

	run_open(&r, &e);
	run_charge(&r, (size_t)RUN_STEPS_MAX * 16 + 16);
	CHECK_EQ(run_failed(&r), -EMSGSIZE);
	run_close(&r);
	run_open(&r, &e);
	for (int i = 0; i < RUN_DEPTH_MAX; i++)
		CHECK(run_descend(&r, NULL));
	CHECK(!run_descend(&r, NULL));
	CHECK_EQ(run_failed(&r), -EINVAL);
	run_close(&r);
}

/* Goal: the innermost scope that has a name wins; setting stays inside. */
TEST(scope_set__shadows)
{
	struct error e = { 0 };
	struct scope outer = { 0 }, inner = { .outer = &outer };
	struct run r;

	run_open(&r, &e);
	scope_set(&r, &outer, TEXT("x"), value_integer(1));
	scope_set(&r, &inner, TEXT("y"), value_integer(2));
	CHECK_EQ(scope_find(&inner, TEXT("x"))->value.integer, 1);
	scope_set(&r, &inner, TEXT("x"), value_integer(3));
	CHECK_EQ(scope_find(&inner, TEXT("x"))->value.integer, 3);
	CHECK_EQ(scope_find(&outer, TEXT("x"))->value.integer, 1);
	CHECK(!scope_find(&outer, TEXT("y")));
	run_close(&r);
}
