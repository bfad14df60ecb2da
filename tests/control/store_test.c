/* store_test.c - a --store value finds its kind of store, or a clear refusal. */
#include "control/store.h"

#include <errno.h>

#include "tests/test.h"

/* Goal: plain names and sqlite:// both mean SQLite. */
TEST(store_open__finds_sqlite)
{
	const char *const names[] = { ":memory:", "sqlite://:memory:" };
	const struct store_ops *ops;
	struct store *s;
	struct error e;

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		CHECK_OK(store_open(&s, &ops, names[i], &e), &e);
		CHECK(ops == &store_sqlite);
		ops->close(s);
	}
}

/* Goal: a kind that is not built in is refused by name. */
TEST(store_open__refuses_other_kinds)
{
	const struct store_ops *ops;
	struct store *s;
	struct error e;

	CHECK_EQ(store_open(&s, &ops, "etcd://127.0.0.1:2379", &e), -ENOTSUP);
	CHECK(strstr(e.text, "etcd://127.0.0.1:2379") && strstr(e.text, "no etcd store"));
	CHECK(s == NULL);
}
