/* sim_program.h - a program on the simulated network, for tests of control/.
 *
 * Threads    The test's.
 * Ownership  sim_program_open() / sim_program_close(); the network outlives its programs.
 * Units      _ns of virtual time.
 * Errors     Failures fail the test.
 */
#ifndef PETALS_TESTS_SIM_PROGRAM_H
#define PETALS_TESTS_SIM_PROGRAM_H

#include "control/rpc.h"
#include "dataplane/transport_sim.h"

struct sim_program {
	struct sim_network *network;
	struct node *node;
	struct rpc *rpc;
	int id;                         /* on the network */
};

struct sim_network *test_network(void);                  /* of test_seed() */
void sim_program_open(struct sim_program *p, struct sim_network *n, enum wire_role role,
		  const char *name);
/* ... with TLS, as whom the identity says; NULL: in the clear. */
void sim_program_open_as(struct sim_program *p, struct sim_network *n, enum wire_role role,
			 const char *name, struct identity *id);
/* Listens on an address such as "sim:7700". */
void sim_program_listen(struct sim_program *p, const char *address);
/* Takes the program off the network; what hangs on its node is closed between these. */
void sim_program_detach(struct sim_program *p);
void sim_program_close(struct sim_program *p);

/* Lets virtual time pass; run_until() says whether it came true in that time. */
void run_for(struct sim_network *n, uint64_t ns);
bool run_until(struct sim_network *n, uint64_t ns, bool (*done)(void *ctx), void *ctx);

/* A call and its outcome, run to its end. */
struct call_answer {
	bool done;
	int code;
	char message[512];
	json_t *result;                 /* a reference, or NULL */
};

void call_start(struct sim_program *p, uint32_t peer, const char *method, json_t *params,
		struct call_answer *a);
/* Waits for the answer; its result must be dropped with json_decref(). */
struct call_answer call(struct sim_program *p, uint32_t peer, const char *method, json_t *params);

#endif
