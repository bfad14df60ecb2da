/* port_sim.h - ports of a simulated datagram network, in virtual time.
 *
 * Every port hears as "sim:NODE".  A datagram takes delay_ns, then waits in the
 * queue of the receiving port's link, which passes bytes_per_ns and holds
 * queue_bytes: more is dropped, as a switch does, and from mark_bytes on it is
 * marked.  Whatever else a network may do is port_impaired.h's.
 *
 * Threads    One thread drives a network and its ports.
 * Ownership  port_network_open() / port_network_close(), after its ports.  The
 *            clock is borrowed.
 * Units      _ns of virtual time, _bytes.
 * Errors     -ENOMEM; -EEXIST when the node has a port.
 */
#ifndef PETALS_DATAPLANE_PORT_SIM_H
#define PETALS_DATAPLANE_PORT_SIM_H

#include "dataplane/base/clock.h"
#include "dataplane/port.h"

enum { PORT_NETWORK_NODES = 64 };

struct port_network_options {
	uint64_t delay_ns;
	double bytes_per_ns;            /* of each receiving link; 0: no limit */
	uint32_t queue_bytes, mark_bytes;
	uint32_t mtu_bytes;             /* of a datagram */
	uint32_t vanish_bytes;          /* longer ones are lost all the same; 0: none */
	uint32_t datagrams;             /* that may be in flight; more are dropped */
};

struct port_network;

int port_network_open(struct port_network **out, const struct port_network_options *o,
		      const struct clock *clock);
void port_network_close(struct port_network *n);           /* NULL is fine */
int port_sim_open(struct port **out, struct port_network *n, uint32_t node);

/* When the next datagram arrives here; UINT64_MAX: none is on its way. */
uint64_t port_sim_next(const struct port *p);
uint32_t port_network_in_flight(const struct port_network *n);
/* Nothing passes from a to b until joined again. */
void port_network_cut(struct port_network *n, uint32_t a, uint32_t b, bool cut);

#endif
