/* port_dpdk.h - a port over a NIC queue that DPDK drives, from a module of its own.
 *
 * The module (module.h; petals-dpdk.so, or what PETALS_DPDK_MODULE names) is opened at
 * run time, so that a host without DPDK runs everything else.
 *
 * One port is one NIC, one queue each way, one IPv4 or IPv6 address with one UDP
 * port.  It asks and answers for hardware addresses (ARP, neighbour discovery), and
 * leaves everything else on the wire to others: the NIC
 * should be its own, or share with the kernel by address (af_packet, or a NIC whose
 * driver splits flows).  With several queues, steer UDP to our port to queue 0.
 *
 * Threads    One thread polls a port; another may have opened it.
 * Ownership  port_close() stops the NIC.  DPDK's own start (EAL) happens once in a
 *            process: with the first port, and ends with the last.
 * Units      None.
 * Errors     -errno with a sentence: no module, no EAL, no such NIC.
 */
#ifndef PETALS_DATAPLANE_PORT_DPDK_H
#define PETALS_DATAPLANE_PORT_DPDK_H

#include "dataplane/base/clock.h"
#include "dataplane/base/module.h"
#include "dataplane/port.h"

struct port_dpdk_options {
	const char *args;               /* of the EAL, as on a command line; NULL: none */
	const char *device;             /* "net_memif0", "0000:00:05.0", "0"; NULL: the first */
	const char *address;            /* ours: "10.1.1.1/24:7900", "[fd00::1/64]:7900" */
	const char *gateway;            /* for what is not on our link, or NULL */
	const struct clock *clock;
};

/* What the module exports as petals_port_module. */
struct port_module {
	struct module_head head;        /* layout: options and port */
	int (*open)(struct port **out, const struct port_dpdk_options *o, struct error *e);
};

bool port_dpdk_is_there(void);          /* the module's file */
int port_dpdk_open(struct port **out, const struct port_dpdk_options *o, struct error *e);

#endif
