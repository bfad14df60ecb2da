/* clock.h - time that a test can drive.
 *
 * Nothing in the product reads the system clock but clock.c.  Programs use
 * clock_real(); simulations hand out a struct simulated_clock.
 *
 * Threads    clock_real() is safe anywhere; a simulated clock belongs to the
 *            thread that advances it.
 * Ownership  Clocks are borrowed by their users.
 * Units      _ns: monotonic nanoseconds from an arbitrary origin.
 *            _unix_ms: milliseconds since 1970, for people only.
 * Errors     None.
 */
#ifndef PETALS_BASE_CLOCK_H
#define PETALS_BASE_CLOCK_H

#include "dataplane/base/types.h"

struct clock {
	uint64_t (*now_ns)(const struct clock *c);
	uint64_t (*unix_ms)(const struct clock *c);
};

const struct clock *clock_real(void);

static inline uint64_t clock_ns(const struct clock *c)
{
	return c->now_ns(c);
}

static inline uint64_t clock_unix_ms(const struct clock *c)
{
	return c->unix_ms(c);
}

struct simulated_clock {
	struct clock clock;
	uint64_t now_ns;
};

void simulated_clock_init(struct simulated_clock *s, uint64_t now_ns);
void simulated_clock_advance_to(struct simulated_clock *s, uint64_t now_ns);

#endif
