/* bench_diary.c - petals-bench diary: every measurement in one run, as Markdown for the diary.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/bench.h"

enum { THREADS_TRIED = 2 };

static int compute_of(const char *name, int *out, struct error *e)
{
	static const char *const names[] = { "auto", "f32", "bf16", "int8" };

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (int)i;
			return 0;
		}
	}
	return error_set(e, -EINVAL, "--compute %s: one of auto, f32, bf16, int8", name);
}

/* The ceilings, before and after what is measured against them: the better ones. */
static int measure_machine(json_t *into, struct error *e)
{
	json_t *now, *known = json_object_get(into, "machine"), *value;
	const char *key;
	int rc = bench_machine_measure(&now, e);

	if (rc < 0)
		return rc;
	json_object_foreach(known, key, value)
		if (json_number_value(value) > json_number_value(json_object_get(now, key)))
			json_object_set(now, key, value);
	json_object_set_new(into, "machine", now);
	return 0;
}

static int measure_local(const struct bench_swarm_flags *f, json_t *into, struct error *e)
{
	struct bench_local l = {
		.model = f->model, .device = "cpu", .sequences = 1, .rows = 256, .repeats = 5,
	};
	int rc = compute_of(f->compute, &l.compute, e);

	if (rc == 0)
		rc = measure_machine(into, e);
	for (int threads = 1; threads <= THREADS_TRIED && rc == 0; threads++) {
		json_t *decode = NULL, *prefill = NULL;
		char key[24];

		l.threads = threads;
		l.tokens = 64;
		rc = bench_local_measure(&l, false, &decode, e);
		l.tokens = 512;
		if (rc == 0)
			rc = bench_local_measure(&l, true, &prefill, e);
		snprintf(key, sizeof(key), "threads_%d", threads);
		if (rc == 0)
			json_object_set_new(into, key, json_pack("{s:O,s:O}", "decode", decode,
								 "prefill", prefill));
		json_decref(decode);
		json_decref(prefill);
	}
	return rc < 0 ? rc : measure_machine(into, e);
}

/* A number by its path: "swarm.ratios.servers_decode"; 0 when it is not there. */
static double at(const json_t *o, const char *path)
{
	while (o && *path) {
		size_t length = strcspn(path, ".");
		char key[64];

		snprintf(key, sizeof(key), "%.*s", (int)length, path);
		o = json_object_get(o, key);
		path += length + (path[length] == '.');
	}
	return json_number_value(o);
}

static void print_ratios(const json_t *r)
{
	double bus[] = { at(r, "machine.read_1_thread_gb_per_second"),
			 at(r, "machine.read_2_threads_gb_per_second") };

	printf("| ratio | |\n|---|---|\n");
	printf("| decode, weights read / read bandwidth, 1 thread | %.2f |\n",
	       at(r, "threads_1.decode.read_gb_per_second") / bus[0]);
	printf("| decode, weights read / read bandwidth, 2 threads | %.2f |\n",
	       at(r, "threads_2.decode.read_gb_per_second") / bus[1]);
	printf("| several servers / one server, decode of one client | %.2f |\n",
	       at(r, "swarm.ratios.servers_decode"));
	printf("| several servers / one server, many clients | %.2f |\n",
	       at(r, "swarm.ratios.servers_crowd"));
	printf("| several servers / one server, prefill of 512 | %.2f |\n",
	       at(r, "swarm.ratios.servers_prefill"));
	printf("| many clients / one client, one server, decode | %.2f |\n",
	       at(r, "swarm.ratios.crowd_decode_over_one_client"));
	printf("| many clients / one client, several servers, decode | %.2f |\n",
	       at(r, "swarm.ratios.crowd_decode_over_one_client_servers"));
	printf("| many clients / one client, one server, with their prompts | %.2f |\n",
	       at(r, "swarm.ratios.crowd_over_one_client"));
	printf("| many clients / one client, several servers, with their prompts | %.2f |\n",
	       at(r, "swarm.ratios.crowd_over_one_client_servers"));
	printf("| one of two cores taken by a busy loop / quiet, 2 threads | %.2f |\n\n",
	       at(r, "swarm.busy_neighbour.ratio"));
}

static void print_local(const json_t *r)
{
	printf("| in one process | 1 thread | 2 threads |\n|---|---|---|\n");
	printf("| read bandwidth, GB/s | %.1f | %.1f |\n",
	       at(r, "machine.read_1_thread_gb_per_second"),
	       at(r, "machine.read_2_threads_gb_per_second"));
	printf("| decode 64, tok/s | %.0f | %.0f |\n",
	       at(r, "threads_1.decode.tokens_per_second"),
	       at(r, "threads_2.decode.tokens_per_second"));
	printf("| prefill 512, tok/s | %.0f | %.0f |\n\n",
	       at(r, "threads_1.prefill.tokens_per_second"),
	       at(r, "threads_2.prefill.tokens_per_second"));
}

static void print_served(const struct bench_swarm_flags *f, const json_t *r)
{
	static const struct { const char *label, *key; int digits; } rows[] = {
		{ "decode, one client, tok/s", "decode_tokens_per_second", 0 },
		{ "decode, all clients, tok/s", "crowd_decode_tokens_per_second", 0 },
		{ "rows in the batch of a step of theirs", "crowd_batch_rows", 1 },
		{ "one client with its prompt, tok/s", "alone_tokens_per_second", 0 },
		{ "all clients with their prompts, tok/s", "crowd_tokens_per_second", 0 },
		{ "prefill 512, tok/s", "prefill_512_tokens_per_second", 0 },
		{ "between two tokens, ms", "inter_token_ms", 2 },
		{ "a step: compute, us", "step_us_compute", 0 },
		{ "a step: queue, us", "step_us_queue", 0 },
		{ "a step: wire and wake-ups, us", "step_us_wire", 0 },
		{ "memory beyond weights and KV, the largest server, MB",
		  "memory_beyond_mb_loaded", 0 },
	};

	printf("| through the gateway | 1 server | %lld servers |\n|---|---|---|\n",
	       (long long)f->servers);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		char one[96], several[96];

		snprintf(one, sizeof(one), "swarm.one_server.%s", rows[i].key);
		snprintf(several, sizeof(several), "swarm.several_servers.%s", rows[i].key);
		printf("| %s | %.*f | %.*f |\n", rows[i].label, rows[i].digits, at(r, one),
		       rows[i].digits, at(r, several));
	}
	printf("\nOne more hop: %.0f us of wire and wake-ups, %.0f us all in.  Start to serving: "
	       "%.2f s, then %.0f MB beyond weights.\nPause after kill -9 of the first, middle, "
	       "last hop: %.0f, %.0f, %.0f ms.  memcpy: %.1f GB/s.\n",
	       at(r, "swarm.hop_us_wire"), at(r, "swarm.hop_us_all_in"),
	       at(r, "swarm.start_to_serving_seconds"), at(r, "swarm.memory_beyond_mb_started"),
	       at(r, "swarm.pause_after_kill_ms.first"), at(r, "swarm.pause_after_kill_ms.middle"),
	       at(r, "swarm.pause_after_kill_ms.last"),
	       at(r, "machine.memcpy_gb_per_second"));
}

static int run(void *target, int operand_count, char **operands)
{
	const struct bench_swarm_flags *f = target;
	struct error e = { 0 };
	json_t *all = json_object(), *swarm = NULL, *decode;
	int rc = measure_local(f, all, &e);

	if (rc == 0)
		rc = bench_swarm_measure(f, &swarm, &e);
	if (rc < 0) {
		json_decref(all);
		return bench_fail("diary", &e);
	}
	json_object_set_new(all, "swarm", swarm);
	if (f->json)
		return bench_print(all, true);
	decode = json_object_get(json_object_get(all, "threads_1"), "decode");
	printf("compute %s, threads %lld (0: one per core), %lld clients, %lld + %lld tokens "
	       "each\n\n", json_string_value(json_object_get(decode, "compute")),
	       (long long)f->threads, (long long)f->clients, (long long)f->prompt_tokens,
	       (long long)f->tokens);
	print_ratios(all);
	print_local(all);
	print_served(f, all);
	json_decref(all);
	return 0;
}

const struct program bench_diary = {
	.name = "diary", .summary = "measures everything once and prints Markdown, ratios first",
	.options = bench_swarm_options, .option_count = BENCH_SWARM_OPTIONS,
	.target_bytes = sizeof(struct bench_swarm_flags), .run = run,
};
