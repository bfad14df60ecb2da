/* bench_load.h - one end of a transport measurement: sends as fast as it may, or asks and
 * waits for answers, or just stays connected; or hears what others send and tells them how
 * much it was.
 *
 * Both are driven by their core alone, so they run over any engine, in real or virtual time.
 *
 *   sender             receiver
 *   CALL, step 0 ...   counts it
 *   CALL, step 1       answers: REPLY with a struct load_tally of this sender
 *   CALL, step 2       answers: REPLY of one byte
 *
 * Threads    The core's.
 * Ownership  load_open() / load_close(); the core's transport is the load's.
 * Units      _ns on the options' clock, cpu_ns of this process; _bytes of payload.
 * Errors     -errno with a sentence; a connection that is lost ends the load with a reason.
 */
#ifndef PETALS_TOOLS_BENCH_LOAD_H
#define PETALS_TOOLS_BENCH_LOAD_H

#include "dataplane/core.h"

enum load_pattern { LOAD_STREAM, LOAD_PING, LOAD_IDLE };
enum { LOAD_SENDERS_MAX = 8, LOAD_PINGS_MAX = 1 << 18 };

struct load_tally { le64 bytes, elapsed_ns, cpu_ns; };

struct load_options {
	struct transport_options transport;
	const struct address *to;       /* NULL: receive */
	enum load_pattern pattern;
	uint32_t bytes;                 /* of a message */
	uint32_t connects;              /* LOAD_IDLE: peers to dial and leave alone */
	uint64_t run_ns, warm_ns;       /* measured, and before that */
};

struct load;

int load_open(struct load **out, const struct load_options *o, struct error *e);
void load_close(struct load *l);
struct core *load_core(struct load *l);
struct transport *load_transport(struct load *l);
const struct address *load_address(const struct load *l);      /* a receiver's */
bool load_is_done(const struct load *l);                        /* a sender's */
/* NULL: it went well. */
const char *load_failure(const struct load *l);

/* A sender's results: what the receiver counted, and round trips in order of time. */
const struct load_tally *load_tally(const struct load *l);
uint64_t load_cpu_ns(const struct load *l);
uint64_t load_run_ns(const struct load *l);             /* it was measured for */
double *load_pings_us(struct load *l, uint32_t *count);          /* the load's; may be sorted */

#endif
