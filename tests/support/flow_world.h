/* flow_world.h - nodes that exchange messages by flows over an impaired simulated
 * network, in virtual time, and a model that knows what must come of it.
 *
 * Checked all the time: a message arrives once, whole, in the order of its key; its
 * sender kept it unchanged until it was told; places to land are given back; no
 * packet number is used twice under a connection's keys.
 *
 * Threads    One thread.
 * Ownership  flow_world_close() closes everything and checks that nothing is left.
 * Units      _ns of virtual time.
 * Errors     A broken promise fails the test.
 */
#ifndef PETALS_TESTS_FLOW_WORLD_H
#define PETALS_TESTS_FLOW_WORLD_H

#include "dataplane/base/random.h"
#include "dataplane/flow.h"
#include "dataplane/port_impaired.h"
#include "dataplane/port_sim.h"

enum { FLOW_WORLD_NODES = 9, FLOW_WORLD_KEYS = 8, FLOW_WORLD_POSTS = 2048 };

enum post_state { POST_QUEUED, POST_SENT, POST_ACKED, POST_DROPPED };

struct post {
	struct flow_lane *lane;                 /* of the sender */
	enum post_state state;
	uint32_t key, sequence, bytes;
	enum flow_class class;
	uint32_t arrivals;
	uint64_t posted_ns, arrived_ns;
	uint8_t *payload;
	struct wire_header header;
};

/* One node's side of its flow to another. */
struct flow_lane {
	struct flow_world *world;
	uint32_t node, other;
	struct flow *flow;
	bool opened, broken;
	enum flow_end why;
	uint32_t sequences[FLOW_WORLD_KEYS];    /* given to posts */
	uint32_t expected[FLOW_WORLD_KEYS];     /* of what arrives next */
	uint32_t queue[FLOW_WORLD_POSTS], queue_head, queue_tail;
	uint32_t unfinished;                    /* posts queued or sent */
	uint32_t landed;                        /* places lent */
	uint32_t refuse;                        /* the next so many land() fail */
};

struct flow_node {
	struct port *port, *impaired, *sim;
	struct flows *flows;
	uint64_t frozen_until_ns, frozen_since_ns, gap_ns;
};

struct flow_world {
	struct simulated_clock clock;
	struct random random;
	struct port_network *network;
	struct flows_options options;
	struct seal_policy seal;
	uint32_t large_bytes;
	struct flow_node nodes[FLOW_WORLD_NODES];
	uint32_t node_count;
	struct flow_lane lanes[FLOW_WORLD_NODES][FLOW_WORLD_NODES];
	struct post posts[FLOW_WORLD_POSTS];
	uint32_t post_count;
	uint32_t arrivals[FLOW_WORLD_POSTS], arrival_count;     /* posts, in order */
	uint64_t next_numbers[4096];            /* by connection - 1: what may come next */
	uint32_t connections;
};

struct flow_world *flow_world_open(uint64_t seed, uint32_t nodes,
				   const struct port_network_options *network,
				   const struct impair_options *bad);
void flow_world_close(struct flow_world *w);

/* New keys, new connection ids, both ends; queued posts go over it. */
void flow_world_connect(struct flow_world *w, uint32_t a, uint32_t b);
uint32_t flow_world_post(struct flow_world *w, uint32_t from, uint32_t to, uint32_t key,
			 uint32_t bytes, enum flow_class class);
/* Both ends stop, tell each other what they have and settle; the rest is queued
 * again in front, over a new flow.
 */
void flow_world_settle(struct flow_world *w, uint32_t a, uint32_t b);
/* b dies and comes back without memory: what was on the way is gone, both ways. */
void flow_world_restart(struct flow_world *w, uint32_t a, uint32_t b);
void flow_world_freeze(struct flow_world *w, uint32_t node, uint64_t ns);

/* Turns nodes until nothing is unfinished or the time has come; false: the latter. */
bool flow_world_run(struct flow_world *w, uint64_t until_ns);
/* As long, whatever is finished. */
void flow_world_pass(struct flow_world *w, uint64_t ns);
bool flow_world_is_finished(const struct flow_world *w);

#endif
