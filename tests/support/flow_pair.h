/* flow_pair.h - two processes that exchange messages by flows over DPDK ports, in real
 * time: one sends, the other checks and answers.
 *
 * Threads    One thread in each process.
 * Ownership  flow_pair_run() cleans up after both.
 * Units      _ns of real time.
 * Errors     A broken promise fails the test; what the other process found wrong is on
 *            stderr.
 */
#ifndef PETALS_TESTS_FLOW_PAIR_H
#define PETALS_TESTS_FLOW_PAIR_H

#include "dataplane/impair.h"
#include "dataplane/port_dpdk.h"

struct flow_pair {
	struct port_dpdk_options ports[2];      /* of the server, of the client */
	struct address to[2];                   /* where each sends */
	int net_fds[2];                         /* network namespaces to enter, or -1 */
	struct impair_options bad;              /* done to what the client sends */
	uint32_t messages, pings;
	uint64_t limit_ns;
};

/* Runs the server here and the client in a child. */
void flow_pair_run(const struct flow_pair *p);

#endif
