/* transport_world.h - a few transports that can reach each other, over any
 * engine: the simulated network in virtual time, or TCP on loopback in real
 * time, turned by one thread either way.
 *
 * Threads    One thread.
 * Ownership  world_close() closes everything; received messages are put back
 *            then, unless a test did before.
 * Units      _ns, on the clock of the engine.
 * Errors     A failing step fails the test.
 */
#ifndef PETALS_TESTS_TRANSPORT_WORLD_H
#define PETALS_TESTS_TRANSPORT_WORLD_H

#include "dataplane/core.h"
#include "dataplane/impair.h"
#include "dataplane/port_sim.h"
#include "dataplane/transport_sim.h"
#include "tests/support/test_ca.h"

enum { WORLD_NODES_MAX = 8, WORLD_MESSAGES_MAX = 4096, WORLD_PEERS_MAX = 64 };

struct world_node {
	struct world *world;
	int index;
	struct transport *transport;
	struct core *core;
	int id;                                 /* on the simulated network */
	struct port *port;                      /* of datagrams, if the world has them */
	struct address address;                 /* where it listens */
	bool still;                             /* takes no turns */
	bool put_at_once;                       /* received messages */

	/* What happened to it. */
	struct peer_info up[WORLD_PEERS_MAX];
	char up_name[WORLD_PEERS_MAX][WIRE_NAME_BYTES];
	int ups;
	struct { uint32_t peer; int code; char reason[ERROR_TEXT_BYTES]; } lost[WORLD_PEERS_MAX];
	int losses;
	struct message *received[WORLD_MESSAGES_MAX];
	int receipts;                           /* all; the array holds those not put */
	int kept;
	int writables;
	void (*on_received)(struct world_node *n, struct message *m);   /* instead of keeping */
};

struct world {
	const char *engine;
	struct sim_network *network;            /* NULL with a real engine */
	struct port_network *ports;             /* of datagrams; NULL: none */
	struct impair_options impair;           /* of what nodes added from now on send by it */
	const struct clock *clock;
	struct test_ca ca;                      /* of a sealed one */
	struct identity *identity;              /* every node's, with every role */
	struct world_node nodes[WORLD_NODES_MAX];
	int count;
};

/* Engines that every conformance test runs over: "sim", "uring", each with " sealed", and
 * "sim sealed datagrams": peers that join are near and wait for their path.
 */
extern const char *const world_engines[];
extern const int world_engine_count;

void world_open(struct world *w, const char *engine, const struct sim_options *sim);
void world_close(struct world *w);
void world_options(struct world *w, struct transport_options *o);       /* small ones */
/* near_ns 0: without a port of its own. */
struct world_node *world_add(struct world *w, const struct transport_options *o);
void world_remove(struct world_node *n);                                /* closes it */

/* Connects and waits until both are up, and have their path; returns a's id of b. */
uint32_t world_join(struct world_node *a, struct world_node *b);
uint32_t world_peer(const struct world_node *n);                /* of the latest up */

/* Turns until done(ctx); false after `most_ns`. */
bool world_run(struct world *w, uint64_t most_ns, bool (*done)(void *ctx), void *ctx);
void world_pass(struct world *w, uint64_t ns);
bool world_wait_received(struct world_node *n, int receipts);
bool world_wait_lost(struct world_node *n, int losses);
bool world_wait_writable(struct world_node *n, int writables);
bool world_wait_counter(struct world_node *n, const char *series, double value);

void world_put_all(struct world_node *n);
/* Reserves, fills with a pattern made from `key` and sends, in a session (7 unless
 * given); the reserve's code.
 */
int world_say_in(struct world_node *n, uint32_t peer, uint64_t session, uint32_t bytes,
		 uint64_t key);
uint64_t world_key(const struct message *m);
int world_say(struct world_node *n, uint32_t peer, uint32_t bytes, uint64_t key);
bool world_matches(const struct message *m, uint64_t key);
double world_errors(const struct world_node *n, const char *kind);
double world_counter(const struct world_node *n, const char *series);   /* as rendered */
double world_datagram_counter(const struct world_node *n, const char *series);

/* Runs the body once for each engine, with an open world `w`. */
#define OVER_ENGINES(test_name)                                            \
	static void test_name##_over(struct world *w);                     \
	TEST(test_name)                                                    \
	{                                                                  \
		for (int i = 0; i < world_engine_count; i++) {             \
			struct world *w = test_calloc(1, sizeof(*w));      \
									   \
			world_open(w, world_engines[i], NULL);             \
			test_name##_over(w);                               \
			world_close(w);                                    \
			test_free(w);                                      \
		}                                                          \
	}                                                                  \
	static void test_name##_over(struct world *w)

#endif
