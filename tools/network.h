/* network.h - the flags by which a program says how it talks to its peers: connections, busy
 * polling, and a NIC queue for datagrams.
 *
 * Threads    main()'s.
 * Ownership  The flags belong to their option table; the port that network_open() hands out,
 *            to the caller: port_close() after the transport.
 * Units      _ns.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_NETWORK_H
#define PETALS_TOOLS_NETWORK_H

#include "dataplane/base/options.h"
#include "dataplane/port.h"
#include "dataplane/transport.h"

struct network_flags {
	int64_t lanes;
	bool busy_poll;
	char *dpdk_address, *dpdk_port, *dpdk_args, *dpdk_gateway, *impair;
	uint64_t near_ns;
};

/* Rows of an option table, AT() of whose target names a struct network_flags `network`. */
#define NETWORK_OPTIONS \
	{ .kind = OPTION_HEADING, .help = "Talking to peers" }, \
	{ "lanes", OPTION_INTEGER, AT(network.lanes), "2", 1, TRANSPORT_LANES_MAX, \
	  .help = "connections to each peer; a session keeps to one of them" }, \
	{ "busy-poll", OPTION_FLAG, AT(network.busy_poll), NULL, \
	  .help = "never sleep: a core for shorter round trips" }, \
	{ "dpdk-address", OPTION_TEXT, AT(network.dpdk_address), NULL, \
	  .metavar = "ADDRESS/PREFIX:PORT", \
	  .help = "datagrams to near peers through DPDK, heard at this address of its NIC" }, \
	{ "dpdk-port", OPTION_TEXT, AT(network.dpdk_port), NULL, .metavar = "NIC", \
	  .help = "its name, PCI address or number; the first unless given" }, \
	{ "dpdk-args", OPTION_TEXT, AT(network.dpdk_args), NULL, .metavar = "TEXT", \
	  .help = "DPDK's own command line: \"--no-huge -m 256 --vdev=...\"" }, \
	{ "dpdk-gateway", OPTION_TEXT, AT(network.dpdk_gateway), NULL, .metavar = "ADDRESS", \
	  .help = "router for peers that are not on the NIC's link" }, \
	{ "near", OPTION_DURATION, AT(network.near_ns), "2ms", 0, 1, \
	  .help = "round trip up to which a peer gets datagrams" }, \
	{ "impair", OPTION_TEXT, AT(network.impair), NULL, .metavar = "WORDS", \
	  .help = "for tests, what a bad network would do to datagrams sent: " \
		  "\"drop=5%,reorder=2%,corrupt=1%,delay=1ms,rate=1G,seed=1\"" }

/* Fills what the flags say; *port is NULL without --dpdk-address. */
int network_open(struct transport_options *o, struct port **port, const struct network_flags *f,
		 struct error *e);

#endif
