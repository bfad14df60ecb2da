/* bench_swarm_life.c - what a server's life costs: its start, its death, its neighbours.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "control/throwaway.h"
#include "dataplane/base/clock.h"
#include "tools/stats.h"
#include "tools/bench_swarm.h"

enum { STARTS = 5, PAUSE_TOKENS = 160, PAUSE_PROMPT = 32 };
#define READY_NS (120 * NS_PER_S)

static int start_server(struct child *server, const struct bench_swarm_flags *f,
			const char *directory, const struct throwaway *t, json_t **ready,
			struct error *e)
{
	char threads[24];
	char *const args[] = { "petals-server", "--json", "--directory", (char *)directory,
			       "--model", f->model, "--compute", f->compute, "--threads", threads,
			       "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0",
			       "--log-level", "warn", "--credentials",
			       (char *)throwaway_credentials(t, PRINCIPAL_SERVER), NULL };
	int rc;

	/* No --blocks: the directory gives all of them to the only server there is. */
	snprintf(threads, sizeof(threads), "%lld", (long long)f->threads);
	rc = child_start(server, args, e);
	return rc < 0 ? rc : child_ready(server, READY_NS, ready, e);
}

/* One start: how long it took, and what the server holds beyond its weights. */
static int start_once(const struct bench_swarm_flags *f, const char *directory,
		      const struct throwaway *t, double *seconds, double *beyond, struct error *e)
{
	struct child server;
	struct child_memory m = { 0 };
	struct buffer page = { 0 };
	json_t *ready = NULL;
	int rc = start_server(&server, f, directory, t, &ready, e), status;

	*seconds = (double)(clock_ns(clock_real()) - server.started_ns) / NS_PER_S;
	if (rc == 0)
		rc = child_memory(server.pid, &m, e);
	if (rc == 0)
		rc = http_get(json_string_value(json_object_get(ready, "metrics")), &page, e);
	*beyond = (double)(m.pss_anonymous + m.pss_shared) -
		  metric_sum(buffer_string(&page), "petals_server_weights_bytes");
	buffer_close(&page);
	json_decref(ready);
	status = child_stop(&server);
	if (rc == 0 && status != 0)
		rc = error_set(e, -EIO, "petals-server ended with status %d", status);
	return rc;
}

static int measure_starts(const struct bench_swarm_flags *f, const struct throwaway *t,
			  json_t *into, struct error *e)
{
	char *const args[] = { "petals-directory", "--json", "--listen", "127.0.0.1:0", "--store",
			       ":memory:", "--log-level", "warn", "--credentials",
			       (char *)throwaway_credentials(t, PRINCIPAL_DIRECTORY), NULL };
	double seconds[STARTS], beyond[STARTS];
	struct child directory;
	json_t *ready = NULL;
	int rc = child_start(&directory, args, e);

	if (rc == 0)
		rc = child_ready(&directory, READY_NS, &ready, e);
	for (int i = 0; i < STARTS && rc == 0; i++)
		rc = start_once(f, json_string_value(json_object_get(ready, "address")), t,
				&seconds[i], &beyond[i], e);
	if (rc == 0) {
		json_object_set_new(into, "start_to_serving_seconds",
				    json_real(stats_median(seconds, STARTS)));
		json_object_set_new(into, "memory_beyond_mb_started",
				    json_real(stats_median(beyond, STARTS) / 1e6));
	}
	json_decref(ready);
	child_stop(&directory);
	return rc;
}

int swarm_measure_start(const struct bench_swarm_flags *f, json_t *into, struct error *e)
{
	struct throwaway *t;
	int rc = throwaway_open(&t, clock_real(), e);

	if (rc == 0)
		rc = measure_starts(f, t, into, e);
	throwaway_close(t);
	return rc;
}

/* Kills the carrier of a hop when the answer is half done.  Who that is is asked at the first
 * token: the swarm does not wait for us to look.
 */
struct killer {
	const struct local_swarm *swarm;
	uint32_t hop, hops, at;
	int victim;                     /* -1: nobody says that it carries the hop */
};

static void on_token(void *ctx, uint32_t client, uint32_t count)
{
	struct killer *k = ctx;

	if (count == 1)
		k->victim = local_swarm_carrier(k->swarm, k->hop, k->hops);
	if (count == k->at && k->victim >= 0)
		kill(local_swarm_pid(k->swarm, (uint32_t)k->victim), SIGKILL);
}

static const struct serve_options pause_options = {
	.clients = 1, .tokens = PAUSE_TOKENS, .prompt_tokens = PAUSE_PROMPT,
};

static int hops_replaced(const struct local_swarm *s, double *out, struct error *e)
{
	struct buffer page = { 0 };
	char url[512];
	int rc;

	snprintf(url, sizeof(url), "%s/metrics", s->gateway);
	rc = http_get(url, &page, e);
	*out = metric_sum(buffer_string(&page), "petals_session_hops_replaced_total");
	buffer_close(&page);
	return rc;
}

static int kill_hop(const struct local_swarm *s, uint32_t hop, uint32_t hops,
		    const struct serve_result *quiet, double *pause_s, struct error *e)
{
	struct killer killer = { s, hop, hops, PAUSE_TOKENS / 2, -1 };
	struct serve_options o = pause_options;
	struct serve_result r = { 0 };
	double before = 0, after = 0;
	int rc = hops_replaced(s, &before, e);

	o.on_token = on_token;
	o.ctx = &killer;
	if (rc == 0)
		rc = local_swarm_serve(s, o, &r, e);
	if (rc < 0)
		return error_wrap(e, "hop %u of %u killed", hop + 1, hops);
	rc = hops_replaced(s, &after, e);
	if (rc == 0 && killer.victim < 0)
		rc = error_set(e, -ESRCH, "no server says that it carries hop %u", hop + 1);
	else if (rc == 0 && after <= before)
		rc = error_set(e, -EAGAIN, "hop %u was killed after the answer had ended", hop + 1);
	else if (rc == 0 && !serve_same(quiet, 0, &r, 0))
		rc = error_set(e, -EBADMSG, "hop %u of %u killed: other tokens than undisturbed",
			       hop + 1, hops);
	*pause_s = r.itl_most - r.itl_p50;
	serve_result_close(&r);
	return rc;
}

int swarm_measure_pause(const struct bench_swarm_flags *f, json_t *into, struct error *e)
{
	uint32_t hops = (uint32_t)f->servers;
	const struct { const char *name; uint32_t hop; } kills[] = {
		{ "first", 0 }, { "middle", hops / 2 }, { "last", hops - 1 },
	};
	struct serve_result quiet = { 0 };
	struct local_swarm s;
	json_t *pauses = json_object();
	int rc = local_swarm_open(&s, f, f->servers, 2, f->threads, e);

	if (rc == 0)
		rc = local_swarm_serve(&s, pause_options, &quiet, e);
	for (size_t i = 0; i < ARRAY_LENGTH(kills) && rc == 0; i++) {
		double pause_s = 0;

		if (i && kills[i].hop == kills[i - 1].hop)
			continue;
		rc = kill_hop(&s, kills[i].hop, hops, &quiet, &pause_s, e);
		if (rc == 0)
			json_object_set_new(pauses, kills[i].name, json_real(pause_s * 1e3));
	}
	json_object_set_new(into, "pause_after_kill_ms", pauses);
	serve_result_close(&quiet);
	/* It lost servers, and says so by its status. */
	local_swarm_close(&s, NULL);
	return rc;
}

static int decode_rate(const struct local_swarm *s, const struct bench_swarm_flags *f,
		       double *rate, struct error *e)
{
	const struct serve_options o = {
		.clients = 1, .tokens = (uint32_t)f->tokens,
		.prompt_tokens = (uint32_t)f->prompt_tokens,
	};
	double rates[SWARM_ROUNDS];
	int rc = 0;

	for (int i = 0; i < SWARM_ROUNDS && rc == 0; i++) {
		struct serve_result r;

		rc = local_swarm_serve(s, o, &r, e);
		rates[i] = r.decode_per_second;
		serve_result_close(&r);
	}
	if (rc == 0)
		*rate = stats_median(rates, SWARM_ROUNDS);
	return rc;
}

/* The first `count` cores of those we may use. */
static void first_cores(const cpu_set_t *all, int count, cpu_set_t *out)
{
	CPU_ZERO(out);
	for (int i = 0; i < CPU_SETSIZE && count > 0; i++) {
		if (CPU_ISSET(i, all)) {
			CPU_SET(i, out);
			count--;
		}
	}
}

/* Two cores for the swarm, whatever the machine has, and a foreign process on one of them. */
int swarm_measure_busy(const struct bench_swarm_flags *f, json_t *into, struct error *e)
{
	struct child busy = { .out = -1 };
	struct local_swarm s;
	double quiet = 0, beside = 0;
	cpu_set_t all, cores;
	int rc;

	sched_getaffinity(0, sizeof(all), &all);
	first_cores(&all, 2, &cores);
	sched_setaffinity(0, sizeof(cores), &cores);
	rc = local_swarm_open(&s, f, 1, 1, 2, e);
	if (rc == 0)
		rc = decode_rate(&s, f, &quiet, e);
	first_cores(&all, 1, &cores);
	sched_setaffinity(0, sizeof(cores), &cores);
	if (rc == 0)
		rc = child_busy_loop(&busy, e);
	sched_setaffinity(0, sizeof(all), &all);
	if (rc == 0)
		rc = decode_rate(&s, f, &beside, e);
	child_stop(&busy);
	if (rc == 0)
		json_object_set_new(into, "busy_neighbour", json_pack(
			"{s:f,s:f,s:f}", "ratio", beside / quiet,
			"quiet_tokens_per_second", quiet, "busy_tokens_per_second", beside));
	local_swarm_close(&s, NULL);
	return rc;
}
