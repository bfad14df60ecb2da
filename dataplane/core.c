/* core.c - one turn after another: let the transport sleep until something
 * arrives or the nearest poller wants to run, then run the pollers.
 */
#include "dataplane/core.h"

#include <errno.h>
#include <stdatomic.h>

#include "dataplane/base/memory.h"

struct core {
	struct transport *transport;
	const struct clock *clock;
	struct poller pollers[CORE_POLLERS_MAX];
	int poller_count;
	atomic_bool stopping;
};

int core_open(struct core **out, struct transport *t, const struct clock *clock)
{
	struct core *c = mem_calloc(1, sizeof(*c));

	*out = c;
	if (!c)
		return -ENOMEM;
	c->transport = t;
	c->clock = clock;
	return 0;
}

void core_close(struct core *c)
{
	mem_free(c);
}

void core_add(struct core *c, const struct poller *p)
{
	assert(c->poller_count < CORE_POLLERS_MAX);
	c->pollers[c->poller_count++] = *p;
}

uint64_t core_deadline(const struct core *c)
{
	uint64_t deadline_ns = UINT64_MAX;

	for (int i = 0; i < c->poller_count; i++)
		deadline_ns = MIN(deadline_ns, c->pollers[i].deadline(c->pollers[i].ctx));
	return deadline_ns;
}

int core_turn(struct core *c, uint64_t timeout_ns)
{
	uint64_t deadline_ns = core_deadline(c), now_ns;
	int work;

	if (deadline_ns != UINT64_MAX && timeout_ns != 0) {
		now_ns = clock_ns(c->clock);
		timeout_ns = MIN(timeout_ns, deadline_ns > now_ns ? deadline_ns - now_ns : 0);
	}
	work = transport_poll(c->transport, timeout_ns);
	now_ns = clock_ns(c->clock);
	for (int i = 0; i < c->poller_count; i++)
		work += c->pollers[i].poll(c->pollers[i].ctx, now_ns);
	return work;
}

void core_run(struct core *c)
{
	while (!atomic_load_explicit(&c->stopping, memory_order_acquire))
		core_turn(c, UINT64_MAX);
}

void core_stop(struct core *c)
{
	atomic_store_explicit(&c->stopping, true, memory_order_release);
	transport_wake(c->transport);
}
