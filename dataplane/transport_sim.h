/* transport_sim.h - a whole network in one process, in virtual time, from one
 * seed.
 *
 * Nodes are transports opened with engine "sim" on the same network; they
 * listen on "sim:N" addresses.  Nothing happens but in sim_run(): it advances
 * the clock to the next delivery or the next deadline of an attached core and
 * lets the cores concerned take a turn.  The same seed and calls give the
 * same run, event for event.
 *
 * Threads    One thread drives a network and everything on it.
 * Ownership  sim_network_open() / sim_network_close() (after all its transports).
 *            Cores are borrowed until sim_detach().
 * Units      _ns of virtual time.
 * Errors     sim_network_open(): -ENOMEM.
 */
#ifndef PETALS_DATAPLANE_TRANSPORT_SIM_H
#define PETALS_DATAPLANE_TRANSPORT_SIM_H

#include "dataplane/base/clock.h"
#include "dataplane/base/random.h"
#include "dataplane/core.h"

struct sim_network;

struct sim_options {
	uint64_t seed;
	uint64_t delay_least_ns, delay_most_ns;  /* of a message, uniform; order per
						  * connection is kept */
	double bytes_per_ns;                     /* of a connection, 0: infinite */
	double corrupt_chance;                   /* per message: one bit flips */
	double reset_chance;                     /* per message: the connection breaks */
};

int sim_network_open(struct sim_network **out, const struct sim_options *o);
void sim_network_close(struct sim_network *n);
const struct clock *sim_clock(struct sim_network *n);
struct random *sim_random(struct sim_network *n);

/* A core takes part from attach to detach; node ids count from 0. */
int sim_attach(struct sim_network *n, struct core *c, struct transport *t);
void sim_detach(struct sim_network *n, int node);

/* kill: connections break at once, as when a process dies (the caller then
 * detaches the core and closes its objects).  freeze: the node takes no turns
 * and what is sent to it waits, until thaw.  cut: nothing passes between a and
 * b, silently, until joined.  slow: every turn of the node costs this much.
 */
void sim_kill(struct sim_network *n, int node);
void sim_freeze(struct sim_network *n, int node, bool frozen);
void sim_cut(struct sim_network *n, int a, int b, bool cut);
void sim_delay(struct sim_network *n, int node, uint64_t extra_ns);

/* Runs until done(ctx) or the clock passes until_ns or nothing is left to
 * happen; returns whether done.  done may be NULL.
 */
bool sim_run(struct sim_network *n, uint64_t until_ns, bool (*done)(void *ctx), void *ctx);

#endif
