/* bench_local_swarm.c - owns the swarm of a measurement.
 */
#include "tools/bench_local_swarm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { IDS_BELOW = 20000 };
#define READY_NS (120 * NS_PER_S)

int local_swarm_open(struct local_swarm *s, const struct bench_swarm_flags *f, int64_t servers,
		     int64_t replicas, int64_t threads, struct error *e)
{
	char numbers[4][24];
	const int64_t values[] = { servers, replicas, threads, f->gateway_threads };
	char *const args[] = {
		"petalsctl", "up", "--json", "--model", f->model, "--compute", f->compute,
		"--servers", numbers[0], "--replicas", numbers[1], "--threads", numbers[2],
		"--gateway-threads", numbers[3], "--base-port", "0", "--listen", "127.0.0.1:0",
		NULL };
	int rc;

	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
		snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)values[i]);
	*s = (struct local_swarm){ .up = { .out = -1 } };
	rc = child_start(&s->up, args, e);
	if (rc == 0)
		rc = child_ready(&s->up, READY_NS, &s->ready, e);
	if (rc == 0) {
		s->gateway = json_string_value(json_object_get(s->ready, "gateway"));
		s->servers = (uint32_t)json_array_size(json_object_get(s->ready, "servers"));
		if (!s->gateway)
			rc = error_set(e, -EPROTO, "petalsctl up names no gateway");
	}
	if (rc < 0)
		local_swarm_close(s, NULL);
	return rc;
}

int local_swarm_close(struct local_swarm *s, struct error *e)
{
	bool running = s->up.pid != 0;
	int status = child_stop(&s->up);

	json_decref(s->ready);
	s->ready = NULL;
	s->gateway = NULL;
	if (running && status != 0)
		return error_set(e, -EIO, "petalsctl up ended with status %d", status);
	return 0;
}

static json_t *server_of(const struct local_swarm *s, uint32_t server)
{
	return json_array_get(json_object_get(s->ready, "servers"), server);
}

pid_t local_swarm_pid(const struct local_swarm *s, uint32_t server)
{
	return (pid_t)json_integer_value(json_object_get(server_of(s, server), "pid"));
}

int local_swarm_metrics(const struct local_swarm *s, uint32_t server, struct buffer *page,
			struct error *e)
{
	const char *url = json_string_value(json_object_get(server_of(s, server), "metrics"));

	*page = (struct buffer){ 0 };
	return url ? http_get(url, page, e) :
		     error_set(e, -EPROTO, "petalsctl up names no metrics of server %u", server);
}

int local_swarm_carrier(const struct local_swarm *s, uint32_t hop, uint32_t hops)
{
	for (uint32_t i = hop; i < s->servers; i += hops) {
		struct buffer page;
		struct error e;
		bool carries = local_swarm_metrics(s, i, &page, &e) == 0 &&
			       metric_sum(buffer_string(&page), "petals_server_sessions") > 0;

		buffer_close(&page);
		if (carries)
			return (int)i;
	}
	return -1;
}

int local_swarm_steps(const struct local_swarm *s, struct step_times *out, struct error *e)
{
	struct buffer page = { 0 };
	char url[512];
	const char *text;
	int rc;

	snprintf(url, sizeof(url), "%s/metrics", s->gateway);
	rc = http_get(url, &page, e);
	text = buffer_string(&page);
	if (rc == 0)
		*out = (struct step_times){
			metric_sum(text, "petals_session_step_seconds_count"),
			metric_sum(text, "petals_session_step_seconds_sum"),
			metric_sum(text, "petals_session_step_queue_seconds_sum"),
			metric_sum(text, "petals_session_step_compute_seconds_sum"),
			metric_sum(text, "petals_session_step_wire_seconds_sum"),
		};
	buffer_close(&page);
	return rc;
}

int local_swarm_batches(const struct local_swarm *s, struct batches *out, struct error *e)
{
	int rc = 0;

	*out = (struct batches){ 0 };
	for (uint32_t i = 0; i < s->servers && rc == 0; i++) {
		struct buffer page = { 0 };
		const char *text;

		rc = local_swarm_metrics(s, i, &page, e);
		text = buffer_string(&page);
		out->steps += metric_sum(text, "petals_server_batch_rows_count");
		out->rows += metric_sum(text, "petals_server_batch_rows_sum");
		buffer_close(&page);
	}
	return rc;
}

int local_swarm_serve(const struct local_swarm *s, struct serve_options o,
		      struct serve_result *out, struct error *e)
{
	o.gateway = s->gateway;
	o.ids_below = IDS_BELOW;
	return serve_measure(&o, out, e);
}
