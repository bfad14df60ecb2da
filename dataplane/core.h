/* core.h - the loop of one core: its transport and its pollers, nothing else.
 *
 * Threads    core_run() makes the calling thread the core's owner.  core_stop()
 *            may come from any thread or a signal handler.
 * Ownership  Pollers and the transport are borrowed; they outlive the core.
 * Units      _ns.
 * Errors     core_open(): -ENOMEM.
 */
#ifndef PETALS_DATAPLANE_CORE_H
#define PETALS_DATAPLANE_CORE_H

#include "dataplane/transport.h"

enum { CORE_POLLERS_MAX = 16 };

struct poller {
	const char *name;
	void *ctx;
	int (*poll)(void *ctx, uint64_t now_ns);        /* work done, 0: idle */
	uint64_t (*deadline)(void *ctx);                /* next time poll() has work;
							 * UINT64_MAX: only when woken */
};

struct core;

int core_open(struct core **out, struct transport *t, const struct clock *clock);
void core_close(struct core *c);                         /* NULL is fine */
void core_add(struct core *c, const struct poller *p);

void core_run(struct core *c);                           /* until core_stop() */
void core_stop(struct core *c);

/* One turn without sleeping longer than allowed; what the simulator calls. */
int core_turn(struct core *c, uint64_t timeout_ns);
uint64_t core_deadline(const struct core *c);            /* earliest of its pollers */

#endif
