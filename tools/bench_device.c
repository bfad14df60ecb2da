/* bench_device.c - asks each kind of device for its ceilings. */
#include "tools/bench_device.h"

#include <sched.h>

#include "tools/bench.h"

static uint32_t cores(void)
{
	cpu_set_t may;

	return sched_getaffinity(0, sizeof(may), &may) < 0 ? 1 : (uint32_t)CPU_COUNT(&may);
}

int bench_rates_measure(struct bench_rates *out, const struct backend *b, struct device *d,
			uint32_t threads, struct error *e)
{
	*out = (struct bench_rates){ 0 };
	if (b == &backend_cpu)
		return bench_read_measure(threads ? threads : cores(), &out->read_gb, e);
	return 0;
}
