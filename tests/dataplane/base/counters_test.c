/* counters_test.c - values add up and read as Prometheus wants them. */
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "dataplane/base/counters.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

static const double few_buckets[] = { 0.5, 2, 0 };

enum { STEPS, PAGES, SECONDS, WAIT, ROWS };
static const struct counter_row rows[ROWS] = {
	[STEPS] = { COUNTER, "petals_test_steps_total", "Steps run.", "kind", NULL },
	[PAGES] = { GAUGE, "petals_test_free_pages", "Pages \\ free.", NULL, NULL },
	[SECONDS] = { HISTOGRAM, "petals_test_compute_seconds", "Time of a step.", NULL,
		      few_buckets },
	[WAIT] = { HISTOGRAM, "petals_test_wait_seconds", "Time waited.", "queue", few_buckets },
};

static struct counters *open_counters(void)
{
	struct counters *c;

	CHECK_EQ(counters_open(&c, rows, ROWS), 0);
	return c;
}

/* Goal: the text is exactly the exposition format, in table order. */
TEST(counters_render__is_prometheus_text)
{
	struct counters *c = open_counters();
	struct buffer out = { 0 };
	uint32_t decode = counters_series(c, STEPS, "decode");

	counters_add(c, STEPS, decode, 3);
	counters_add(c, STEPS, counters_series(c, STEPS, "a\"b\\c\n"), 1);
	counters_add(c, STEPS, decode, 4);
	counters_set(c, PAGES, 0, 0.1);
	counters_observe(c, SECONDS, 0, 0.5);
	counters_observe(c, SECONDS, 0, 1);
	counters_observe(c, SECONDS, 0, 99);
	counters_render(&c, 1, &out);
	CHECK_TEXT(buffer_string(&out),
		   "# HELP petals_test_steps_total Steps run.\n"
		   "# TYPE petals_test_steps_total counter\n"
		   "petals_test_steps_total{kind=\"decode\"} 7\n"
		   "petals_test_steps_total{kind=\"a\\\"b\\\\c?\"} 1\n"
		   "# HELP petals_test_free_pages Pages \\\\ free.\n"
		   "# TYPE petals_test_free_pages gauge\n"
		   "petals_test_free_pages 0.1\n"
		   "# HELP petals_test_compute_seconds Time of a step.\n"
		   "# TYPE petals_test_compute_seconds histogram\n"
		   "petals_test_compute_seconds_bucket{le=\"0.5\"} 1\n"
		   "petals_test_compute_seconds_bucket{le=\"2\"} 2\n"
		   "petals_test_compute_seconds_bucket{le=\"+Inf\"} 3\n"
		   "petals_test_compute_seconds_sum 100.5\n"
		   "petals_test_compute_seconds_count 3\n"
		   "# HELP petals_test_wait_seconds Time waited.\n"
		   "# TYPE petals_test_wait_seconds histogram\n");
	buffer_close(&out);
	counters_close(c);
	counters_close(NULL);
}

/* Goal: the number of series is bounded; the rest share "other". */
TEST(counters_series__is_bounded)
{
	struct counters *c = open_counters();
	struct buffer out = { 0 };
	uint32_t other = 0, again;
	char name[300];

	for (int i = 0; i < COUNTER_SERIES_MAX + 20; i++) {
		snprintf(name, sizeof(name), "v%d", i);
		other = counters_series(c, STEPS, name);
		counters_add(c, STEPS, other, 1);
		if (i < COUNTER_SERIES_MAX)
			CHECK_EQ(other, i);
	}
	CHECK_EQ(counters_value(c, STEPS, other), 20);
	CHECK_EQ(counters_series(c, STEPS, "v5"), 5);
	CHECK_EQ(counters_series(c, STEPS, "other"), other);
	counters_render(&c, 1, &out);
	CHECK(strstr(buffer_string(&out), "{kind=\"other\"} 20\n") != NULL);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	again = counters_series(c, WAIT, name);
	CHECK_EQ(counters_series(c, WAIT, name), again);
	CHECK_EQ(counters_series(c, PAGES, "ignored"), 0);
	buffer_close(&out);
	counters_close(c);
}

/* Goal: sets of several cores read as one: same names and labels are summed. */
TEST(counters_render__sums_sets)
{
	struct counters *sets[2] = { open_counters(), open_counters() };
	struct buffer out = { 0 };
	const char *text;

	counters_add(sets[0], STEPS, counters_series(sets[0], STEPS, "a"), 1);
	counters_add(sets[1], STEPS, counters_series(sets[1], STEPS, "b"), 2);
	counters_add(sets[1], STEPS, counters_series(sets[1], STEPS, "a"), 4);
	counters_set(sets[0], PAGES, 0, 10);
	counters_set(sets[1], PAGES, 0, 20);
	counters_observe(sets[0], WAIT, counters_series(sets[0], WAIT, "q"), 1);
	counters_observe(sets[1], WAIT, counters_series(sets[1], WAIT, "q"), 3);
	counters_render(sets, 2, &out);
	text = buffer_string(&out);
	CHECK(strstr(text, "petals_test_steps_total{kind=\"a\"} 5\n"
			   "petals_test_steps_total{kind=\"b\"} 2\n") != NULL);
	CHECK(strstr(text, "petals_test_free_pages 30\n") != NULL);
	CHECK(strstr(text, "petals_test_wait_seconds_bucket{queue=\"q\",le=\"2\"} 1\n") != NULL);
	CHECK(strstr(text, "petals_test_wait_seconds_count{queue=\"q\"} 2\n") != NULL);
	text = strstr(text, "# TYPE petals_test_steps_total");
	CHECK(!strstr(text + 1, "# TYPE petals_test_steps_total"));
	buffer_close(&out);
	counters_close(sets[0]);
	counters_close(sets[1]);
}

static void *count_many(void *arg)
{
	struct counters *c = arg;
	uint32_t series = counters_series(c, STEPS, "shared");

	for (int i = 0; i < 5000; i++) {
		counters_add(c, STEPS, series, 1);
		counters_observe(c, SECONDS, 0, 1);
		counters_set(c, PAGES, 0, i);
	}
	return NULL;
}

/* Goal: threads lose no count, also while someone renders. */
TEST(counters__threads_lose_nothing)
{
	struct counters *c = open_counters();
	struct buffer out = { 0 };
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		pthread_create(&threads[i], NULL, count_many, c);
	for (int i = 0; i < 20; i++) {
		buffer_clear(&out);
		counters_render(&c, 1, &out);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(counters_value(c, STEPS, counters_series(c, STEPS, "shared")), 20000);
	CHECK_EQ(counters_value(c, SECONDS, 0), 20000);
	CHECK_EQ(counters_value(c, PAGES, 0), 4999);
	buffer_clear(&out);
	counters_render(&c, 1, &out);
	CHECK(strstr(buffer_string(&out), "petals_test_compute_seconds_sum 20000\n") != NULL);
	buffer_close(&out);
	counters_close(c);
}

/* Goal: the shared bucket tables ascend and fit. */
TEST(counters__bucket_tables_ascend)
{
	const double *tables[] = { seconds_buckets, size_buckets };

	for (size_t t = 0; t < ARRAY_LENGTH(tables); t++) {
		int n = 0;

		for (; tables[t][n] != 0; n++)
			CHECK(n == 0 || tables[t][n] > tables[t][n - 1]);
		CHECK(n > 10 && n <= COUNTER_BUCKETS_MAX);
	}
}

/* Goal: promtool finds nothing to say about the text. */
TEST(counters_render__is_clean_under_promtool)
{
	struct counters *c = open_counters();
	struct buffer out = { 0 };
	FILE *check;

	if (system("command -v promtool >/dev/null 2>&1") != 0) {
		counters_close(c);
		SKIP("promtool is not installed (Debian: prometheus)");
	}
	counters_add(c, STEPS, counters_series(c, STEPS, "decode"), 3);
	counters_observe(c, WAIT, counters_series(c, WAIT, "q"), 3);
	counters_render(&c, 1, &out);
	check = popen("promtool check metrics", "w");
	CHECK(check != NULL);
	fputs(buffer_string(&out), check);
	CHECK_EQ(pclose(check), 0);
	buffer_close(&out);
	counters_close(c);
}

#ifdef PETALS_FAULTS
/* Goal: a failed open leaves nothing behind, and nothing later allocates. */
TEST(counters_open__unwinds_every_failure)
{
	uint64_t before = mem_live_blocks();
	struct counters *c;
	int nth;

	for (nth = 1;; nth++) {
		int rc;

		fault_arm(nth);
		rc = counters_open(&c, rows, ROWS);
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -ENOMEM);
		CHECK_EQ(mem_live_blocks(), before);
	}
	CHECK_EQ(nth, 5);
	fault_arm(1);
	counters_add(c, STEPS, counters_series(c, STEPS, "x"), 1);
	CHECK(!fault_fired());
	fault_disarm();
	counters_close(c);
}
#endif
