/* sim_report.c - owns the figures and the lines of petals-sim.
 */
#include "tools/sim_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "tools/stats.h"

void sim_report_begin(struct sim_report *r)
{
	r->terminal = isatty(STDERR_FILENO);
	r->started_ns = r->shown_ns = clock_ns(clock_real());
}

void sim_report_close(struct sim_report *r)
{
	mem_free(r->pauses_ms);
	r->pauses_ms = NULL;
}

int sim_report_pause(struct sim_report *r, uint64_t seed, uint64_t pause_ns, struct error *e)
{
	if (pause_ns > r->longest_ns) {
		r->longest_ns = pause_ns;
		r->longest_seed = seed;
	}
	if (r->pause_count == r->pause_room) {
		uint32_t room = r->pause_room ? 2 * r->pause_room : 256;
		double *grown = mem_realloc(r->pauses_ms, room * sizeof(*grown));

		if (!grown)
			return error_errno(e, -ENOMEM, "%u pauses", room);
		r->pauses_ms = grown;
		r->pause_room = room;
	}
	r->pauses_ms[r->pause_count++] = (double)pause_ns / 1e6;
	return 0;
}

static void clear_line(const struct sim_report *r)
{
	if (r->terminal)
		fprintf(stderr, "\r\033[K");
}

void sim_report_failure(struct sim_report *r, uint64_t seed, const char *what)
{
	if (!r->failed++)
		r->first_failed = seed;
	clear_line(r);
	fprintf(stderr, "seed %llu: %s\n  repeat: %s %llu\n", (unsigned long long)seed, what,
		r->command, (unsigned long long)seed);
}

void sim_report_progress(struct sim_report *r)
{
	uint64_t now_ns = clock_ns(clock_real());

	if (now_ns - r->shown_ns < (r->terminal ? 100 * NS_PER_MS : 5 * NS_PER_S))
		return;
	r->shown_ns = now_ns;
	fprintf(stderr, "%s%llu of %llu swarms, %llu faults, %llu hops replaced, %llu failed%s",
		r->terminal ? "\r" : "", (unsigned long long)r->swarms,
		(unsigned long long)r->total, (unsigned long long)r->faults,
		(unsigned long long)r->repairs, (unsigned long long)r->failed,
		r->terminal ? "  " : "\n");
}

static void print_json(const struct sim_report *r, double seconds)
{
	json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:I,s:f}",
			      "swarms", (json_int_t)r->swarms,
			      "generations", (json_int_t)r->generations,
			      "faults", (json_int_t)r->faults,
			      "hops_replaced", (json_int_t)r->repairs,
			      "failed", (json_int_t)r->failed,
			      "pause_p50_ms", stats_quantile(r->pauses_ms, r->pause_count, 0.5),
			      "pause_p99_ms", stats_quantile(r->pauses_ms, r->pause_count, 0.99),
			      "pause_max_ms", stats_quantile(r->pauses_ms, r->pause_count, 1),
			      "pause_max_seed", (json_int_t)r->longest_seed,
			      "seconds", seconds);
	char *text;

	if (r->failed) {
		json_object_set_new(o, "first_failed_seed",
				    json_integer((json_int_t)r->first_failed));
		json_object_set_new(o, "repeat", json_sprintf("%s %llu", r->command,
							      (unsigned long long)r->first_failed));
	}
	text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));
	if (text)
		puts(text);
	free(text);
	json_decref(o);
}

void sim_report_print(struct sim_report *r)
{
	double seconds = (double)(clock_ns(clock_real()) - r->started_ns) / NS_PER_S;

	clear_line(r);
	stats_sort(r->pauses_ms, r->pause_count);
	if (r->json) {
		print_json(r, seconds);
		return;
	}
	printf("%llu swarms, %llu answers, %llu faults, %llu hops replaced in %.1f s: ",
	       (unsigned long long)r->swarms, (unsigned long long)r->generations,
	       (unsigned long long)r->faults, (unsigned long long)r->repairs, seconds);
	if (r->failed)
		printf("%llu failed, first with\n  %s %llu\n", (unsigned long long)r->failed,
		       r->command, (unsigned long long)r->first_failed);
	else
		printf("every token and log-probability as undisturbed\n");
	if (r->pause_count)
		printf("longest gap after a fault, virtual ms: p50 %.1f, p99 %.1f, most %.1f "
		       "(seed %llu)\n",
		       stats_quantile(r->pauses_ms, r->pause_count, 0.5),
		       stats_quantile(r->pauses_ms, r->pause_count, 0.99),
		       stats_quantile(r->pauses_ms, r->pause_count, 1),
		       (unsigned long long)r->longest_seed);
}
