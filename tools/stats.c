/* stats.c - medians and quantiles.
 */
#include "tools/stats.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

void stats_sort(double *values, size_t count)
{
	if (count)
		qsort(values, count, sizeof(*values), ascending);
}

double stats_quantile(const double *sorted, size_t count, double q)
{
	double at = q * (double)(count ? count - 1 : 0);
	size_t i = (size_t)at;

	if (count == 0)
		return 0;
	if (i + 1 >= count)
		return sorted[count - 1];
	return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

double stats_median(double *values, size_t count)
{
	stats_sort(values, count);
	return stats_quantile(values, count, 0.5);
}
