/* store.h - where a directory keeps its leases: one table of verbs per kind.
 *
 * sqlite is built in; etcd comes with the issue that wants several directories.
 *
 * Threads    The directory's core thread.
 * Ownership  store_open() / store_close().
 * Units      _unix_ms.
 * Errors     -EIO, -EINVAL, -ENOTSUP with a sentence that names the store and what
 *            to do.
 */
#ifndef PETALS_CONTROL_STORE_H
#define PETALS_CONTROL_STORE_H

#include "control/view.h"

struct store;

struct store_ops {
	const char *scheme;                   /* "sqlite", "etcd" */
	int (*open)(struct store **out, const char *where, struct error *e);
	void (*close)(struct store *s);
	/* A member with its lease end, written durably before it returns. */
	int (*put)(struct store *s, const struct member *m, struct error *e);
	int (*remove)(struct store *s, uint64_t id, struct error *e);
	int (*load)(struct store *s, struct view *out, struct error *e);
	int (*set_epoch)(struct store *s, uint64_t epoch, struct error *e);
};

extern const struct store_ops store_sqlite;

/* "FILE", ":memory:", "etcd://HOST:PORT". */
int store_open(struct store **out, const struct store_ops **ops, const char *where,
	       struct error *e);

#endif
