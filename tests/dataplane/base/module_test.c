/* module_test.c - what is beside the program, and what is refused. */
#include "dataplane/base/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

static const struct module_spec spec = {
	.what = "thing", .file = "no-such-module.so", .variable = "PETALS_TEST_MODULE",
	.symbol = "cos", .layout_bytes = 3, .without = "do without it",
};

/* Goal: one that is nowhere is said to be so, and what to do instead. */
TEST(module__none_is_there)
{
	const struct module_head *head;
	struct error e = { 0 };

	unsetenv("PETALS_TEST_MODULE");
	CHECK(!module_is_there(&spec));
	CHECK_EQ(module_open(&head, &spec, &e), -ENOTSUP);
	CHECK(head == NULL);
	CHECK(strstr(e.text, "no thing module") && strstr(e.text, "do without it"));
	setenv("PETALS_TEST_MODULE", "/nowhere/at-all.so", 1);
	CHECK(!module_is_there(&spec));
	CHECK_EQ(module_open(&head, &spec, &e), -ENOTSUP);
}

/* Goal: what does not load, or is of another build, is named. */
TEST(module__others_are_refused)
{
	const struct module_head *head;
	struct module_spec other = spec;
	struct error e = { 0 };

	setenv("PETALS_TEST_MODULE", "/dev/null", 1);
	CHECK(module_is_there(&spec));
	CHECK_EQ(module_open(&head, &spec, &e), -ENOTSUP);
	CHECK(strstr(e.text, "does not load") && strstr(e.text, "/dev/null"));
	setenv("PETALS_TEST_MODULE", "libm.so.6", 1);
	other.symbol = "no_such_symbol";
	CHECK_EQ(module_open(&head, &other, &e), -ENOTSUP);
	CHECK(strstr(e.text, "libm.so.6 is not of this build"));
	unsetenv("PETALS_TEST_MODULE");
}
