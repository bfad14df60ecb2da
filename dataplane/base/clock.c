/* clock.c - the one reader of the system clock, and a clock for simulations. */
#include "dataplane/base/clock.h"

#include <time.h>

static uint64_t real_now_ns(const struct clock *c)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t real_unix_ms(const struct clock *c)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / NS_PER_MS;
}

static const struct clock real = { real_now_ns, real_unix_ms };

const struct clock *clock_real(void)
{
	return &real;
}

static const struct simulated_clock *simulated(const struct clock *c)
{
	return CONTAINER_OF(c, const struct simulated_clock, clock);
}

static uint64_t simulated_now_ns(const struct clock *c)
{
	return simulated(c)->now_ns;
}

/* A simulation begins at the epoch, so that its output is the same each run. */
static uint64_t simulated_unix_ms(const struct clock *c)
{
	return simulated(c)->now_ns / NS_PER_MS;
}

void simulated_clock_init(struct simulated_clock *s, uint64_t now_ns)
{
	s->clock = (struct clock){ simulated_now_ns, simulated_unix_ms };
	s->now_ns = now_ns;
}

void simulated_clock_advance_to(struct simulated_clock *s, uint64_t now_ns)
{
	assert(now_ns >= s->now_ns);
	s->now_ns = now_ns;
}
