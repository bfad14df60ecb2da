/* port_impaired.h - a port that does to what is sent what a bad network would
 * (impair.h), in front of any other port.
 *
 * Threads    As port.h.
 * Ownership  The inner port belongs to the shim and is closed with it.
 * Units      As impair.h.
 * Errors     -ENOMEM; the inner port stays the caller's then.
 */
#ifndef PETALS_DATAPLANE_PORT_IMPAIRED_H
#define PETALS_DATAPLANE_PORT_IMPAIRED_H

#include "dataplane/base/clock.h"
#include "dataplane/impair.h"
#include "dataplane/port.h"

/* At most `held` datagrams are lent or held back at once. */
int port_impaired_open(struct port **out, struct port *inner, const struct impair_options *o,
		       const struct clock *clock, uint32_t held);

/* When the first that is held back goes on; UINT64_MAX: none is. */
uint64_t port_impaired_next(const struct port *p);

#endif
