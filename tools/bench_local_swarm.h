/* bench_local_swarm.h - a swarm that a measurement starts on this machine by petalsctl up, and
 * what it can be asked.
 *
 * Threads    main()'s.
 * Ownership  local_swarm_open() / local_swarm_close().
 * Units      Seconds, bytes.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_BENCH_LOCAL_SWARM_H
#define PETALS_TOOLS_BENCH_LOCAL_SWARM_H

#include "tools/bench.h"
#include "tools/bench_child.h"
#include "tools/bench_serve.h"

struct local_swarm {
	struct child up;
	json_t *ready;                  /* the line petalsctl up printed */
	const char *gateway;            /* URL, within ready */
	uint32_t servers;
};

int local_swarm_open(struct local_swarm *s, const struct bench_swarm_flags *f, int64_t servers,
		     int64_t replicas, int64_t threads, struct error *e);
/* -EIO when it did not end with status 0. */
int local_swarm_close(struct local_swarm *s, struct error *e);

pid_t local_swarm_pid(const struct local_swarm *s, uint32_t server);
int local_swarm_metrics(const struct local_swarm *s, uint32_t server, struct buffer *page,
			struct error *e);
/* The server that carries hop `hop` of `hops` now, -1: none says so. */
int local_swarm_carrier(const struct local_swarm *s, uint32_t hop, uint32_t hops);

/* Steps that the gateway's sessions made, and where their time went. */
struct step_times { double steps, step_s, queue_s, compute_s, wire_s; };
int local_swarm_steps(const struct local_swarm *s, struct step_times *out, struct error *e);

/* Steps that its servers ran, and the rows of the batches these were in, summed. */
struct batches { double steps, rows; };
int local_swarm_batches(const struct local_swarm *s, struct batches *out, struct error *e);

/* Which gateway, and the ids of prompts, are filled in. */
int local_swarm_serve(const struct local_swarm *s, struct serve_options o,
		      struct serve_result *out, struct error *e);

#endif
