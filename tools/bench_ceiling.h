/* bench_ceiling.h - what this machine could carry at best, measured beside a transport: memory,
 * AES, a TCP stream by iperf3, and a bare io_uring ping-pong.
 *
 * Threads    main()'s; peers run in processes of their own.
 * Ownership  The object is the caller's.
 * Units      Key names end in them.
 * Errors     -errno with a sentence.  What is not installed (iperf3) is null.
 */
#ifndef PETALS_TOOLS_BENCH_CEILING_H
#define PETALS_TOOLS_BENCH_CEILING_H

#include <jansson.h>

#include "dataplane/base/error.h"

struct ceiling_options {
	uint32_t ping_bytes;            /* of the bare ping; 0: none */
	bool busy_poll;
	uint64_t run_ns;                /* of each */
};

int ceiling_measure(json_t **out, const struct ceiling_options *o, struct error *e);
/* Pins this process to the n-th of the cores it may use, so that two ends do not share one. */
void ceiling_pin(uint32_t n);

#endif
