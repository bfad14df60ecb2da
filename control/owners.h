/* owners.h - whose lease is whose: the name in the certificate of who made it, so that no server
 * renews, ends or takes the place of another's.
 *
 * Known from the first call about a lease on; not kept in the store: after the directory's
 * restart whoever renews it first has it.  Callers on a plain connection (principal NULL) own
 * nothing and may do everything.
 *
 * Threads    Plain data; belongs to its holder.
 * Ownership  owners_open() / owners_close().
 * Units      None.
 * Errors     -EPERM with a sentence; -ENOMEM, -ENOSPC.
 */
#ifndef PETALS_CONTROL_OWNERS_H
#define PETALS_CONTROL_OWNERS_H

#include "dataplane/base/error.h"
#include "dataplane/principal.h"

struct owners;

int owners_open(struct owners **out, uint32_t capacity);
void owners_close(struct owners *o);                     /* NULL is fine */
/* 0 for the owner of a lease, and for anybody if it has none. */
int owners_check(const struct owners *o, uint64_t id, const struct principal *p,
		 struct error *e);
/* The lease is p's from here on, unless it is somebody's already. */
int owners_claim(struct owners *o, uint64_t id, const struct principal *p);
void owners_forget(struct owners *o, uint64_t id);

#endif
