/* bench_device.h - what a device itself can do now: the ceilings that steps are compared with.
 *
 * Threads    main()'s.
 * Ownership  Plain storage.
 * Units      GB (1e9) and TFLOP (1e12) per second.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_BENCH_DEVICE_H
#define PETALS_TOOLS_BENCH_DEVICE_H

#include "compute/backend.h"

struct bench_rates {
	double read_gb;                 /* weights cannot be read faster */
	double tflop;                   /* of bf16 products; 0: not known */
};

/* threads: of the CPU, 0: one per core that this process may use. */
int bench_rates_measure(struct bench_rates *out, const struct backend *b, struct device *d,
			uint32_t threads, struct error *e);

#endif
