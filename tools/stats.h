/* stats.h - medians and quantiles of measurements.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      The caller's.
 * Errors     None; of no values every figure is 0.
 */
#ifndef PETALS_TOOLS_STATS_H
#define PETALS_TOOLS_STATS_H

#include <stddef.h>

void stats_sort(double *values, size_t count);
/* Of sorted values, between neighbours by proportion; q in [0, 1]. */
double stats_quantile(const double *sorted, size_t count, double q);
double stats_median(double *values, size_t count);       /* sorts them */

#endif
