/* sim_wire.h - connections of the simulated network: two ends, a wire to
 * each, and the heap that orders arrivals.  Private to the sim engine.
 *
 * A message arrives at its end's inbox (a kernel's receive buffer) even while
 * the node is frozen; the node takes it at its next turn.  Only the first
 * message on a wire has an entry in the heap, so the heap stays as small as
 * there are busy wires.
 *
 * Threads    As transport_sim.h.
 * Ownership  A connection lives until no node owns an end of it and both wires
 *            are empty.  Messages on a wire are copies, in pooled memory.
 * Units      _ns of virtual time; _bytes.
 * Errors     sim_connection_open(): NULL.  sim_chunk_get(): NULL.
 */
#ifndef PETALS_DATAPLANE_SIM_WIRE_H
#define PETALS_DATAPLANE_SIM_WIRE_H

#include "dataplane/engine.h"
#include "dataplane/transport_sim.h"

enum {
	SIM_LISTENERS_MAX = 4,
	SIM_NODES_MAX = 512,            /* opened in the life of a network */
	SIM_CHUNK_CLASSES = 5,          /* 256 B, 1, 4, 16, 64 KiB; larger ones are freed */
};

enum chunk_kind { CHUNK_DATA, CHUNK_SYN, CHUNK_ACCEPTED, CHUNK_CONNECTED, CHUNK_END };

struct chunk {
	struct chunk *next;
	uint64_t due_ns;
	uint8_t *data;                  /* of CHUNK_DATA, behind the struct */
	uint32_t bytes;
	uint8_t kind;
	uint8_t class;                  /* of its memory; SIM_CHUNK_CLASSES: not pooled */
	int code;                       /* of CHUNK_END */
	const char *reason;
};

struct chunks { struct chunk *head, *tail; };

/* One end of a connection, and the wire that leads to it. */
struct end {
	struct link link;
	struct connection *connection;
	struct end *other;
	struct engine *node;            /* NULL: nobody owns it */
	int serial;                     /* of the node it is or was meant for */
	struct end *next, *previous;    /* of the same node */
	struct end *next_ready;
	struct chunks wire, inbox;
	uint64_t busy_until_ns, last_due_ns;    /* of the wire */
	bool scheduled;                 /* in the heap */
	bool ready;                     /* in the node's list */
	bool ended;                     /* `end` is on the wire or past it: no more follows */
	bool finishing, sending;        /* the engine's */
	struct chunk greeting, end;
};

struct arrival {
	uint64_t due_ns, sequence;
	struct end *end;
};

/* A node's side of the engine. */
struct engine {
	struct sim_network *network;
	struct transport *transport;
	struct core *core;              /* while attached */
	int serial;                     /* counts transports opened, from 0 */
	struct address listening[SIM_LISTENERS_MAX];
	uint32_t listeners;
	struct end *ends;
	struct end *ready_head, *ready_tail;
	bool dead, frozen, woken, in_turn;
	uint64_t frozen_since_ns, gap_ns, extra_ns;
	uint64_t busy_until_ns, deadline_ns;
	struct engine *next;
};

struct sim_network {
	struct sim_options options;
	struct simulated_clock clock;
	struct random random;
	struct arrival *heap;
	uint32_t heap_count, heap_capacity;
	uint32_t ends;                  /* of all connections: what the heap may hold */
	uint64_t sequence;
	struct chunk *free[SIM_CHUNK_CLASSES];
	struct engine *engines;         /* every open one */
	int serials;
	struct engine *nodes[SIM_NODES_MAX];    /* by node id; NULL once closed */
	int node_serials[SIM_NODES_MAX];
	int node_count;
	uint32_t next_port;
	uint8_t cut[SIM_NODES_MAX][SIM_NODES_MAX / 8];    /* bit per pair of serials */
};

struct end *sim_connection_open(struct sim_network *n, struct engine *from, struct engine *to);
void sim_own(struct engine *g, struct end *end);
/* The node is done with this end; what still comes is dropped on arrival. */
void sim_disown(struct end *end);

struct chunk *sim_chunk_get(struct sim_network *n, size_t bytes);
void sim_chunk_put(struct sim_network *n, struct chunk *c);
struct chunk *sim_inbox_pop(struct end *end);

/* Onto the wire to an end, behind what is there already. */
void sim_transmit(struct sim_network *n, struct end *to, struct chunk *c);
/* The last that an end will ever see; later calls do nothing. */
void sim_transmit_end(struct sim_network *n, struct end *to, int code, const char *reason);

void sim_make_ready(struct end *end);
struct end *sim_next_ready(struct engine *g);

/* The heap's first entry: what is due goes to the inbox. */
void sim_arrive(struct sim_network *n);
uint64_t sim_next_arrival(const struct sim_network *n);          /* UINT64_MAX: none */
bool sim_is_cut(const struct sim_network *n, int serial_a, int serial_b);
/* After a cut was joined: what it held back goes on its way. */
void sim_release_held(struct sim_network *n, struct engine *g);

#endif
