/* process_test.c - the figures of this very process are plausible. */
#include "control/process.h"

#include <stdlib.h>

#include "tests/test.h"

static double value_of(const struct buffer *b, const char *name)
{
	char line[96];
	const char *at;

	snprintf(line, sizeof(line), "\n%s ", name);
	at = strstr(buffer_string(b), line);
	if (!at)
		fail_msg("%s is missing", name);
	return strtod(at + strlen(line), NULL);
}

/* Goal: every figure is there and within reason. */
TEST(process_print__is_plausible)
{
	struct buffer b = { 0 };

	process_print("petals-test", &b);
	CHECK(strstr(buffer_string(&b), "petals_build_info{program=\"petals-test\",version=\""));
	CHECK(value_of(&b, "process_resident_memory_bytes") > 1 << 20);
	CHECK(value_of(&b, "process_virtual_memory_bytes") > 1 << 20);
	CHECK(value_of(&b, "process_cpu_seconds_total") >= 0);
	CHECK(value_of(&b, "process_open_fds") >= 3);
	CHECK(value_of(&b, "process_threads") >= 1);
	CHECK(value_of(&b, "process_start_time_seconds") > 1.5e9);
	buffer_close(&b);
}
