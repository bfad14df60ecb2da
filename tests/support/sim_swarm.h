/* sim_swarm.h - simulated swarms for whole-swarm tests, and what they must say: the tokens and
 * log-probabilities of an undisturbed run of one server.
 *
 * Threads    The test's.
 * Ownership  sim_swarm_open() is closed with simulation_close().
 * Units      Tokens.
 * Errors     Failures fail the test, with the seed.
 */
#ifndef PETALS_TESTS_SIM_SWARM_H
#define PETALS_TESTS_SIM_SWARM_H

#include "control/simulation.h"

enum { SIM_TOKENS = 20 };
#define SIM_ANSWER_NS (60 * NS_PER_S)

/* Defaults on a small model; PETALS_SIM_LOG=1 shows what the swarm says. */
void sim_swarm_options(struct simulation_options *o, uint64_t seed);
struct simulation *sim_swarm_open(const struct simulation_options *o);
/* Two spans of another small model, with nobody to spare: for what is no swarm's business. */
struct simulation *sim_swarm_open_plain(void);
void sim_answer_begin(struct answer *a, struct simulation *s);
void sim_answer_begin_within(struct answer *a, struct simulation *s, uint64_t within_ns);
/* Runs the answer to its end, and checks it. */
void sim_answer_finish(struct answer *a, struct simulation *s, uint64_t seed);
/* SIM_TOKENS tokens, equal to the last bit. */
void sim_answer_check(const struct answer *a, uint64_t seed);

/* Several answers at once. */
struct sim_crowd {
	struct answer answers[3];
	uint32_t count;
};
void sim_crowd_begin(struct sim_crowd *c, struct simulation *s, uint32_t count);
/* Finishes and closes all of them. */
void sim_crowd_finish(struct sim_crowd *c, struct simulation *s, uint64_t seed);

/* After the answers are gone, nobody holds anything for them. */
void sim_swarm_check_clean(struct simulation *s, uint32_t servers);
/* A series ("petals_x_total{server=\"%s\"}") on the page of these counters; NAN: not there. */
__attribute__((format(printf, 2, 3)))
double sim_metric(struct counters *c, const char *series, ...);
/* A count from an environment variable, for longer runs. */
uint64_t sim_count(const char *variable, uint64_t usual);

#endif
