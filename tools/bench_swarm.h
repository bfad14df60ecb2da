/* bench_swarm.h - the parts of petals-bench swarm: each starts what it needs, measures, and
 * adds its figures to an object.
 *
 * Threads    main()'s.
 * Ownership  The object stays the caller's.
 * Units      Key names end in them.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_BENCH_SWARM_H
#define PETALS_TOOLS_BENCH_SWARM_H

#include "tools/bench_local_swarm.h"

enum { SWARM_ROUNDS = 5 };

/* One server beside --servers of them, round by round in turn. */
int swarm_measure_rates(const struct bench_swarm_flags *f, json_t *into, struct error *e);
/* From fork to serving, and the memory of a server that just began. */
int swarm_measure_start(const struct bench_swarm_flags *f, json_t *into, struct error *e);
/* What an answer waits for when the first, a middle, the last hop is killed. */
int swarm_measure_pause(const struct bench_swarm_flags *f, json_t *into, struct error *e);
/* Two threads, quiet, and beside a foreign process that never sleeps. */
int swarm_measure_busy(const struct bench_swarm_flags *f, json_t *into, struct error *e);

#endif
