/* lease.h - which claims still hold: ids with the time at which each one ends.
 *
 * Threads    Plain data; a table belongs to its holder.
 * Ownership  leases_open() / leases_close().
 * Units      _ns of the holder's clock.
 * Errors     leases_open(): -ENOMEM.  lease_grant(): -ENOSPC.
 */
#ifndef PETALS_CONTROL_LEASE_H
#define PETALS_CONTROL_LEASE_H

#include "dataplane/base/types.h"

struct leases;

int leases_open(struct leases **out, uint32_t capacity);
void leases_close(struct leases *l);                     /* NULL is fine */

/* Makes or lengthens a lease; it ends at now + ttl. */
int lease_grant(struct leases *l, uint64_t id, uint64_t ttl_ns, uint64_t now_ns);
void lease_revoke(struct leases *l, uint64_t id);
uint64_t lease_ttl_ns(const struct leases *l, uint64_t id);     /* 0: none */

/* A lease that has ended, revoked by this; 0 when there is none (ids are not 0). */
uint64_t lease_expire(struct leases *l, uint64_t now_ns);
/* Lets no lease end before until_ns. */
void leases_hold(struct leases *l, uint64_t until_ns);
/* No lease ends before. */
uint64_t leases_deadline(const struct leases *l);

#endif
