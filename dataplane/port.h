/* port.h - what moves datagrams: a table of verbs over a NIC queue, a socket or
 * a simulated network.
 *
 * A port knows neither flows nor keys.  Sent datagrams may be lost, repeated,
 * reordered and damaged on their way, and a port drops rather than waits: what
 * flows send is paced, and what is lost they send again.
 *
 * Adding a port: a struct port_ops, a struct that begins with struct port, a run
 * of tests/dataplane/port_test.c over it.
 *
 * Threads    A port belongs to one thread.
 * Ownership  lend() lends a buffer, send() takes it.  receive() lends datagrams,
 *            release() gives back either kind; a port has room for PORT_BURST lent
 *            ones each way, so give back before asking again.
 * Units      _bytes of datagram: what stands behind the UDP header; _ns.
 * Errors     path(): -errno with a sentence.  lend(): false when there is no
 *            room, try after the next receive().
 */
#ifndef PETALS_DATAPLANE_PORT_H
#define PETALS_DATAPLANE_PORT_H

#include "dataplane/base/address.h"
#include "dataplane/base/error.h"

enum { PORT_BURST = 64 };

struct port_datagram {
	uint8_t *bytes;
	uint32_t length;
	uint32_t path;                  /* sending: where it goes */
	bool marked;                    /* received: a switch was congested (ECN CE) */
	void *owner;                    /* the port's own */
};

struct port_statistics {                /* never reset */
	uint64_t sent, received;        /* datagrams */
	uint64_t sent_bytes, received_bytes;
	uint64_t dropped_sending;       /* no room in the queue, no neighbour */
	uint64_t dropped_receiving;     /* not for us, damaged, no buffer */
};

struct port_ops;

struct port {                           /* implementations put theirs around it */
	const struct port_ops *ops;
	struct port_statistics statistics;
};

struct port_ops {
	const char *name;
	void (*close)(struct port *p);
	/* A number for an address, for lend(); asks for the neighbour if need be. */
	int (*path)(struct port *p, const struct address *to, uint32_t *path, struct error *e);
	void (*forget)(struct port *p, uint32_t path);
	uint32_t (*mtu_bytes)(struct port *p, uint32_t path);   /* longest datagram */

	bool (*lend)(struct port *p, uint32_t path, uint32_t bytes, struct port_datagram *out);
	void (*send)(struct port *p, struct port_datagram *burst, uint32_t count);
	uint32_t (*receive)(struct port *p, struct port_datagram *burst, uint32_t most);
	void (*release)(struct port *p, struct port_datagram *burst, uint32_t count);

	/* Before the loop sleeps: how long it may, at most; *descriptor becomes
	 * readable when something arrives, or is -1 if only time tells.
	 */
	uint64_t (*rest)(struct port *p, int *descriptor);
};

static inline void port_close(struct port *p)                  /* NULL is fine */
{
	if (p)
		p->ops->close(p);
}

#endif
