/* canary.h - whether the swarm answers: a generation of one token, tried whenever every block
 * has a server and the last one did not go through.
 *
 * Threads    The core thread.
 * Ownership  canary_open() on zeroed storage / canary_close().
 * Units      _ns.
 * Errors     None; canary_why_not() says what is wrong.
 */
#ifndef PETALS_CONTROL_CANARY_H
#define PETALS_CONTROL_CANARY_H

#include "control/generation.h"

struct canary {
	struct generations *generations;
	struct sessions *sessions;
	uint32_t token;
	struct generation *generation;
	bool finished, passed;
	uint64_t next_ns;               /* not tried again before then */
	uint64_t tried, failed;
	char why_not[512];              /* "" once passed */
};

void canary_open(struct canary *c, struct generations *g, struct sessions *s, uint32_t token);
void canary_close(struct canary *c);
/* Looks at the coverage, starts and ends tries; returns whether the answer changed. */
bool canary_turn(struct canary *c, uint64_t now_ns);
/* Something went wrong elsewhere: try again. */
void canary_doubt(struct canary *c);
bool canary_passed(const struct canary *c);
const char *canary_why_not(const struct canary *c);

#endif
