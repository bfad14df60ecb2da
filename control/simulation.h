/* simulation.h - a whole swarm in one process and virtual time: a directory, servers with real
 * blocks, a client that generates, on a seeded network with faults.
 *
 * The parts are the product's own (directory.c, server.c, session.c, generation.c); only the
 * transport, the clock and the runners' threads are replaced.  The same options and calls
 * give the same run.
 *
 * Threads    One thread drives a simulation.
 * Ownership  simulation_open() / simulation_close().
 * Units      _ns of virtual time; tokens.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_CONTROL_SIMULATION_H
#define PETALS_CONTROL_SIMULATION_H

#include "control/generation.h"
#include "dataplane/transport_sim.h"

struct simulation;

enum { SIMULATION_SERVERS_MAX = 64, SIMULATION_WEIGHTS = 2 };

struct simulation_options {
	uint64_t seed;
	const char *model;              /* path */
	uint32_t spans, replicas;       /* servers = spans x replicas; number i hosts span
					 * i % spans */
	const char *device;             /* of servers and client: "cpu", "cuda:0" */
	enum compute_mode compute;
	/* Of replica number i: i % SIMULATION_WEIGHTS. */
	enum weight_format weights[SIMULATION_WEIGHTS];
	enum weight_format head;        /* the client's */
	enum row_encoding round;
	uint32_t page_tokens;           /* 16 or more */
	uint64_t kv_bytes;              /* per server */
	uint32_t rows_max;              /* of a batch and of a step */
	uint64_t batch_ns;              /* virtual cost of a batch */
	struct sim_options network;     /* seed is taken from above */
};
/* Sensible values for all but seed and model. */
void simulation_options_default(struct simulation_options *o);

int simulation_open(struct simulation **out, const struct simulation_options *o,
		    struct error *e);
void simulation_close(struct simulation *s);             /* NULL is fine */

struct sim_network *simulation_network(struct simulation *s);
struct sessions *simulation_sessions(struct simulation *s);
struct generations *simulation_generations(struct simulation *s);
const struct view *simulation_view(const struct simulation *s);      /* the client's */
const struct model_config *simulation_config(const struct simulation *s);
/* Runs until every server serves and the client sees them all; false: it did not within
 * 10 virtual seconds.
 */
bool simulation_settle(struct simulation *s);
void simulation_run(struct simulation *s, uint64_t for_ns);

/* Faults.  A killed server can be started again as a new process. */
void simulation_kill(struct simulation *s, uint32_t server);
int simulation_start(struct simulation *s, uint32_t server, struct error *e);
void simulation_freeze(struct simulation *s, uint32_t server, bool frozen);
void simulation_drain(struct simulation *s, uint32_t server, uint64_t within_ns);
void simulation_cut_servers(struct simulation *s, uint32_t a, uint32_t b, bool cut);
void simulation_cut_client(struct simulation *s, uint32_t server, bool cut);
void simulation_slow(struct simulation *s, uint32_t server, uint64_t extra_ns);
void simulation_slow_device(struct simulation *s, uint32_t server, uint64_t batch_ns);
void simulation_kill_directory(struct simulation *s);
int simulation_start_directory(struct simulation *s, struct error *e);
bool simulation_alive(const struct simulation *s, uint32_t server);
/* The server that carries hop `hop` of the answer's session, -1: none now. */
int simulation_hop_server(struct simulation *s, uint64_t session, uint32_t hop);
uint32_t simulation_hops(struct simulation *s, uint64_t session);
/* The server that a hop of it is about to move to, or has moved from and may come back to;
 * -1: none.
 */
int simulation_move_server(struct simulation *s, uint64_t session);
uint32_t simulation_server_sessions(const struct simulation *s, uint32_t server);
uint32_t simulation_server_pages_held(const struct simulation *s, uint32_t server);

/* One generation and what came of it. */
struct answer {
	struct simulation *simulation;
	struct generation *generation;  /* NULL once finished */
	uint64_t session;
	uint32_t *tokens; float *logprobs;
	uint32_t count, room;
	bool finished;
	enum finish finish;
	int code;
	char reason[256];
	uint32_t repairs, moves;        /* of its route, until the token taken in last */
	/* Called before token `count` is taken in; may inject faults. */
	void (*on_token)(void *ctx, struct answer *a);
	void *ctx;
};

/* Greedy, `tokens` long, no end of text.  prompt is copied. */
int answer_begin(struct answer *a, struct simulation *s, const uint32_t *prompt,
		 uint32_t prompt_count, uint32_t tokens, uint64_t within_ns, struct error *e);
/* Runs until all answers are finished; false: not within `for_ns`. */
bool answers_wait(struct simulation *s, struct answer *const *answers, uint32_t count,
		  uint64_t for_ns);
void answer_close(struct answer *a);

#endif
