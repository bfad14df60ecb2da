/* bench_swarm.c - petals-bench swarm: the verb, and the rates of one server beside several.
 */
#include "tools/bench_swarm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/clock.h"
#include "tools/stats.h"

enum { PREFILL_TOKENS = 512, SHAPES = 2 };

/* What the rounds of one shape gave. */
struct shape {
	struct local_swarm swarm;
	/* Tokens per second after the first ones, of one client and of all. */
	double single[SWARM_ROUNDS], crowd_decode[SWARM_ROUNDS];
	double alone[SWARM_ROUNDS], crowd[SWARM_ROUNDS];   /* with the prompt's time */
	double prefill[SWARM_ROUNDS], itl[SWARM_ROUNDS];
	struct step_times times;        /* of the single client's steps, all rounds */
	struct batches batches;         /* of the crowds, all rounds */
	struct serve_result last_single, last_crowd;
	double beyond_most;             /* bytes: the largest server */
};

static int add_steps(struct shape *s, const struct step_times *before, struct error *e)
{
	struct step_times after;
	int rc = local_swarm_steps(&s->swarm, &after, e);

	if (rc < 0)
		return rc;
	s->times.steps += after.steps - before->steps;
	s->times.step_s += after.step_s - before->step_s;
	s->times.queue_s += after.queue_s - before->queue_s;
	s->times.compute_s += after.compute_s - before->compute_s;
	s->times.wire_s += after.wire_s - before->wire_s;
	return 0;
}

/* Prompts of the crowd have the numbers from 0 on. */
static int serve(const struct shape *s, const struct bench_swarm_flags *f, uint32_t clients,
		 uint32_t first_prompt, struct serve_result *out, struct error *e)
{
	const struct serve_options o = {
		.clients = clients, .tokens = (uint32_t)f->tokens,
		.prompt_tokens = (uint32_t)f->prompt_tokens, .first_prompt = first_prompt,
	};

	return local_swarm_serve(&s->swarm, o, out, e);
}

static int serve_crowd(struct shape *s, const struct bench_swarm_flags *f, struct error *e)
{
	struct batches before, after;
	int rc = local_swarm_batches(&s->swarm, &before, e);

	serve_result_close(&s->last_crowd);
	if (rc == 0)
		rc = serve(s, f, (uint32_t)f->clients, 0, &s->last_crowd, e);
	if (rc == 0)
		rc = local_swarm_batches(&s->swarm, &after, e);
	if (rc < 0)
		return rc;
	s->batches.steps += after.steps - before.steps;
	s->batches.rows += after.rows - before.rows;
	return 0;
}

static int run_round(struct shape *s, const struct bench_swarm_flags *f, int round,
		     struct error *e)
{
	const struct serve_options long_prompt = {
		.clients = 1, .tokens = 1, .prompt_tokens = PREFILL_TOKENS,
	};
	struct step_times before;
	struct serve_result prefill = { 0 };
	int rc = local_swarm_steps(&s->swarm, &before, e);

	serve_result_close(&s->last_single);
	if (rc == 0)
		rc = serve(s, f, 1, 0, &s->last_single, e);
	if (rc == 0)
		rc = add_steps(s, &before, e);
	if (rc == 0)
		rc = serve_crowd(s, f, e);
	if (rc == 0)
		rc = local_swarm_serve(&s->swarm, long_prompt, &prefill, e);
	if (rc < 0)
		return rc;
	s->single[round] = s->last_single.decode_per_second;
	s->alone[round] = s->last_single.tokens_per_second;
	s->itl[round] = s->last_single.itl_p50;
	s->crowd_decode[round] = s->last_crowd.decode_per_second * (double)f->clients;
	s->crowd[round] = s->last_crowd.tokens_per_second;
	s->prefill[round] = prefill.prefill_per_second;
	serve_result_close(&prefill);
	return 0;
}

/* Each prompt of the crowd (half as many as clients): alone through one server, alone through
 * several, and in either crowd.
 */
static int check_same(const struct shape shapes[SHAPES], const struct bench_swarm_flags *f,
		      struct error *e)
{
	for (uint32_t prompt = 0; prompt < ((uint32_t)f->clients + 1) / 2; prompt++) {
		struct serve_result alone[SHAPES] = { 0 };
		bool same = true;
		int rc = 0;

		for (int i = 0; i < SHAPES && rc == 0; i++) {
			rc = serve(&shapes[i], f, 1, prompt, &alone[i], e);
			same = same && rc == 0 && serve_same(&alone[0], 0, &alone[i], 0) &&
			       serve_same(&alone[0], 0, &shapes[i].last_crowd, prompt);
		}
		for (int i = 0; i < SHAPES; i++)
			serve_result_close(&alone[i]);
		if (rc < 0)
			return rc;
		if (!same)
			return error_set(e, -EBADMSG, "prompt %u got other tokens among %lld, or "
					 "through %u servers, than alone through one", prompt,
					 (long long)f->clients, shapes[1].swarm.servers);
	}
	return 0;
}

/* What a server holds beyond its weights and the KV pages the crowd needed: anonymous and
 * shared memory.  Pages of the model file and the program are left out: they are clean, and
 * the kernel takes them back when it wants them.
 */
static int measure_memory(struct shape *s, const struct bench_swarm_flags *f, struct error *e)
{
	for (uint32_t i = 0; i < s->swarm.servers; i++) {
		struct child_memory m;
		struct buffer page = { 0 };
		double weights, kv, pages;
		int rc = child_memory(local_swarm_pid(&s->swarm, i), &m, e);

		if (rc == 0)
			rc = local_swarm_metrics(&s->swarm, i, &page, e);
		weights = metric_sum(buffer_string(&page), "petals_server_weights_bytes");
		kv = metric_sum(buffer_string(&page), "petals_server_kv_page_bytes");
		buffer_close(&page);
		if (rc < 0)
			return rc;
		pages = (double)f->clients * (double)((f->tokens + f->prompt_tokens + 15) / 16);
		pages = MAX(pages, PREFILL_TOKENS / 16);
		s->beyond_most = MAX(s->beyond_most, (double)(m.pss_anonymous + m.pss_shared) -
						     weights - kv * pages);
	}
	return 0;
}

static json_t *describe_shape(struct shape *s)
{
	double steps = MAX(s->times.steps, 1);

	return json_pack("{s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}",
			 "servers", (int)s->swarm.servers,
			 "decode_tokens_per_second", stats_median(s->single, SWARM_ROUNDS),
			 "crowd_decode_tokens_per_second",
			 stats_median(s->crowd_decode, SWARM_ROUNDS),
			 "alone_tokens_per_second", stats_median(s->alone, SWARM_ROUNDS),
			 "crowd_tokens_per_second", stats_median(s->crowd, SWARM_ROUNDS),
			 "crowd_batch_rows", s->batches.rows / MAX(s->batches.steps, 1),
			 "prefill_512_tokens_per_second", stats_median(s->prefill, SWARM_ROUNDS),
			 "inter_token_ms", stats_median(s->itl, SWARM_ROUNDS) * 1e3,
			 "step_us_wire", s->times.wire_s / steps * 1e6,
			 "step_us_queue", s->times.queue_s / steps * 1e6,
			 "step_us_compute", s->times.compute_s / steps * 1e6,
			 "memory_beyond_mb_loaded", s->beyond_most / 1e6);
}

static double median_ratio(const double *over, const double *under)
{
	double ratios[SWARM_ROUNDS];

	for (int i = 0; i < SWARM_ROUNDS; i++)
		ratios[i] = under[i] > 0 ? over[i] / under[i] : 0;
	return stats_median(ratios, SWARM_ROUNDS);
}

static json_t *describe_ratios(const struct shape shapes[SHAPES])
{
	return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f}",
			 "servers_decode", median_ratio(shapes[1].single, shapes[0].single),
			 "servers_crowd", median_ratio(shapes[1].crowd, shapes[0].crowd),
			 "servers_prefill", median_ratio(shapes[1].prefill, shapes[0].prefill),
			 "crowd_decode_over_one_client",
			 median_ratio(shapes[0].crowd_decode, shapes[0].single),
			 "crowd_decode_over_one_client_servers",
			 median_ratio(shapes[1].crowd_decode, shapes[1].single),
			 "crowd_over_one_client", median_ratio(shapes[0].crowd, shapes[0].alone),
			 "crowd_over_one_client_servers",
			 median_ratio(shapes[1].crowd, shapes[1].alone));
}

/* What two more hops add to a step, divided by two: by the gateway's own figures (what is
 * neither queue nor compute), and all in, by the clock of a client.
 */
static void describe_hop(const struct shape shapes[SHAPES], json_t *into)
{
	double more = (double)shapes[1].swarm.servers - 1;
	double wire[SHAPES], itl[SHAPES];

	for (int i = 0; i < SHAPES; i++) {
		double each[SWARM_ROUNDS];

		memcpy(each, shapes[i].itl, sizeof(each));
		itl[i] = stats_median(each, SWARM_ROUNDS);
		wire[i] = shapes[i].times.wire_s / MAX(shapes[i].times.steps, 1);
	}
	json_object_set_new(into, "hop_us_wire", json_real((wire[1] - wire[0]) / more * 1e6));
	json_object_set_new(into, "hop_us_all_in", json_real((itl[1] - itl[0]) / more * 1e6));
}

int swarm_measure_rates(const struct bench_swarm_flags *f, json_t *into, struct error *e)
{
	struct shape shapes[SHAPES] = { 0 };
	int rc = 0;

	for (int i = 0; i < SHAPES; i++)
		shapes[i].swarm.up.out = -1;
	for (int i = 0; i < SHAPES && rc == 0; i++)
		rc = local_swarm_open(&shapes[i].swarm, f, i ? f->servers : 1, 1, f->threads, e);
	/* In turn: what drifts, drifts for both.  Round -1 warms them. */
	for (int round = -1; round < SWARM_ROUNDS && rc == 0; round++) {
		for (int i = 0; i < SHAPES && rc == 0; i++) {
			rc = run_round(&shapes[i], f, MAX(round, 0), e);
			if (round >= 0)
				continue;
			shapes[i].times = (struct step_times){ 0 };
			shapes[i].batches = (struct batches){ 0 };
		}
	}
	if (rc == 0)
		rc = check_same(shapes, f, e);
	for (int i = 0; i < SHAPES && rc == 0; i++)
		rc = measure_memory(&shapes[i], f, e);
	if (rc == 0) {
		json_object_set_new(into, "ratios", describe_ratios(shapes));
		describe_hop(shapes, into);
		json_object_set_new(into, "one_server", describe_shape(&shapes[0]));
		json_object_set_new(into, "several_servers", describe_shape(&shapes[1]));
	}
	for (int i = 0; i < SHAPES; i++) {
		int ended = local_swarm_close(&shapes[i].swarm, rc < 0 ? NULL : e);

		rc = rc < 0 ? rc : ended;
		serve_result_close(&shapes[i].last_single);
		serve_result_close(&shapes[i].last_crowd);
	}
	return rc;
}

int bench_swarm_measure(const struct bench_swarm_flags *f, json_t **out, struct error *e)
{
	static int (*const parts[])(const struct bench_swarm_flags *f, json_t *into,
				    struct error *e) = {
		swarm_measure_rates, swarm_measure_start, swarm_measure_pause, swarm_measure_busy,
	};
	json_t *machine = NULL, *result = json_object();
	int rc = bench_machine_measure(&machine, e);

	if (rc == 0)
		json_object_set_new(result, "machine", machine);
	for (size_t i = 0; i < ARRAY_LENGTH(parts) && rc == 0; i++)
		rc = parts[i](f, result, e);
	if (rc < 0)
		json_decref(result);
	else
		*out = result;
	return rc;
}

#define AT(field) offsetof(struct bench_swarm_flags, field)

const struct option bench_swarm_options[BENCH_SWARM_OPTIONS] = {
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH", .required = true,
	  .help = "Hugging Face directory or .gguf file" },
	{ "compute", OPTION_TEXT, AT(compute), "auto", .metavar = "MODE",
	  .help = "arithmetic of servers and gateway: auto, f32, bf16, int8" },
	{ "servers", OPTION_INTEGER, AT(servers), "3", 2, 32,
	  .help = "servers to compare with one" },
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,
	  .help = "compute threads of each server, 0: one per core" },
	{ "gateway-threads", OPTION_INTEGER, AT(gateway_threads), "0", 0, 1024,
	  .help = "compute threads of the gateway, 0: one per core" },
	{ "clients", OPTION_INTEGER, AT(clients), "16", 2, 1024, .help = "requests at once" },
	{ "tokens", OPTION_INTEGER, AT(tokens), "64", 16, 1 << 20,
	  .help = "tokens each of them generates" },
	{ "prompt-tokens", OPTION_INTEGER, AT(prompt_tokens), "32", 1, 1 << 20,
	  .help = "length of each prompt" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object" },
};

static int run(void *target, int operand_count, char **operands)
{
	const struct bench_swarm_flags *f = target;
	struct error e = { 0 };
	json_t *result;

	if (bench_swarm_measure(f, &result, &e) < 0)
		return bench_fail("swarm", &e);
	return bench_print(result, f->json);
}

const struct program bench_swarm = {
	.name = "swarm", .summary = "starts swarms here and measures rates, hops, memory, repair",
	.description =
		"Runs one server and several beside each other, in turn, with one client and with "
		"many, who must get the tokens that their prompts get alone; then what a server "
		"needs to start, what an answer waits for when a hop is killed, and what a foreign "
		"busy process costs.\n\n"
		"memory_beyond_mb: anonymous and shared memory (smaps_rollup, proportional) minus "
		"weights minus KV pages in use.  Pages of the model file and of programs are clean "
		"and not counted.",
	.options = bench_swarm_options, .option_count = BENCH_SWARM_OPTIONS,
	.target_bytes = sizeof(struct bench_swarm_flags), .run = run,
};
