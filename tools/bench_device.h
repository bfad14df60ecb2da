/* bench_device.h - what a device itself can do now: the ceilings that steps are compared with.
 *
 * Threads    main()'s.
 * Ownership  bench_device_measure()'s object is the caller's.
 * Units      GB (1e9) and TFLOP (1e12) per second.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_BENCH_DEVICE_H
#define PETALS_TOOLS_BENCH_DEVICE_H

#include <jansson.h>

#include "compute/backend.h"

struct bench_rates {
	double read_gb;                 /* weights cannot be read faster */
	double tflop;                   /* of bf16 products; 0: not known */
};

/* How much is moved and multiplied to find out: enough to pass every cache. */
struct bench_sizes { uint64_t bytes; uint32_t product; };

/* threads: of the CPU, 0: one per core that this process may use. */
int bench_rates_measure(struct bench_rates *out, const struct backend *b, struct device *d,
			uint32_t threads, struct error *e);
/* Everything that petals-bench machine tells of a device with a measure verb. */
int bench_device_measure(json_t **out, const struct backend *b, struct device *d,
			 struct bench_sizes sizes, struct error *e);

#endif
