/* bench_print.c - owns how petals-bench prints results and failures.
 */
#include "tools/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int bench_fail(const char *verb, const struct error *e)
{
	fprintf(stderr, "petals-bench %s: %s\n", verb, e->text);
	return 1;
}

static void print_number(double v)
{
	if (v == 0 || fabs(v) >= 100)
		printf("%.0f\n", v);
	else
		printf("%.*f\n", fabs(v) >= 10 ? 1 : fabs(v) >= 0.1 ? 2 : 4, v);
}

static void print_object(json_t *object, int depth)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		if (json_is_object(value)) {
			printf("%*s%s\n", 2 * depth, "", key);
			print_object(value, depth + 1);
			continue;
		}
		printf("%*s%-*s", 2 * depth, "", 34 - 2 * depth, key);
		if (json_is_real(value))
			print_number(json_real_value(value));
		else if (json_is_integer(value))
			printf("%lld\n", (long long)json_integer_value(value));
		else if (json_is_boolean(value))
			printf("%s\n", json_is_true(value) ? "yes" : "no");
		else
			printf("%s\n", json_is_string(value) ? json_string_value(value) : "-");
	}
}

int bench_print(json_t *object, bool json)
{
	if (json) {
		char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));

		if (text)
			puts(text);
		free(text);
	} else {
		print_object(object, 0);
	}
	json_decref(object);
	return 0;
}
