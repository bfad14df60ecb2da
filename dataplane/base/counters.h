/* counters.h - what a part of a program counts, for Prometheus and people.
 *
 * A module describes its counters in one constant table; rows are named by
 * an enum.  Values never reset.  A row may carry one label; its series are
 * made on first use, at most `COUNTER_SERIES_MAX` of them, the rest counted
 * under the value "other".
 *
 *	enum { STEPS, STEP_SECONDS };
 *	static const struct counter_row rows[] = {
 *		[STEPS] = { COUNTER, "petals_server_steps_total",
 *			    "Steps run.", "kind" },
 *		[STEP_SECONDS] = { HISTOGRAM, "petals_server_compute_seconds",
 *			    "Time a step took on the device.", NULL, seconds_buckets },
 *	};
 *	counters_open(&c, rows, ARRAY_LENGTH(rows));
 *	counters_add(c, STEPS, counters_series(c, STEPS, "decode"), 1);
 *	counters_observe(c, STEP_SECONDS, 0, 0.0042);
 *
 * Threads    Any thread may add, set, observe and render (relaxed atomics);
 *            counters_series() takes a lock, so ask once and keep the index.
 * Ownership  counters_open() / counters_close(); rows outlive the counters.
 * Units      Base units: seconds, bytes, ratios; names end accordingly.
 * Errors     counters_open(): -ENOMEM.  The rest cannot fail.
 */
#ifndef PETALS_BASE_COUNTERS_H
#define PETALS_BASE_COUNTERS_H

#include "dataplane/base/buffer.h"
#include "dataplane/base/types.h"

enum { COUNTER_SERIES_MAX = 64, COUNTER_BUCKETS_MAX = 24 };

enum counter_kind { COUNTER, GAUGE, HISTOGRAM };

struct counter_row {
	enum counter_kind kind;
	const char *name;          /* petals_..., base unit suffix, _total on counters */
	const char *help;          /* one sentence */
	const char *label;         /* label name, or NULL */
	const double *buckets;     /* histograms: upper bounds, ascending, 0-terminated */
};

/* 10 us to 60 s, and powers of two from 1 to 4096. */
extern const double seconds_buckets[];
extern const double size_buckets[];

struct counters;

int counters_open(struct counters **out, const struct counter_row *rows, uint32_t count);
void counters_close(struct counters *c);                   /* NULL is fine */

/* The series of a labelled row; 0 is the only series of an unlabelled one. */
uint32_t counters_series(struct counters *c, uint32_t row, const char *label_value);
void counters_add(struct counters *c, uint32_t row, uint32_t series, uint64_t n);
void counters_set(struct counters *c, uint32_t row, uint32_t series, double value);
void counters_observe(struct counters *c, uint32_t row, uint32_t series, double value);
double counters_value(const struct counters *c, uint32_t row, uint32_t series);

/* Prometheus text format 0.0.4 for several sets, families in table order. */
void counters_render(struct counters *const *sets, uint32_t count, struct buffer *out);

#endif
