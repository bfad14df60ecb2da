/* generations.c - owns the table of choices in progress: the runner of their edges, in what order
 * their tokens are told, their counters.
 */
#include <errno.h>

#include "control/generation_private.h"
#include "dataplane/base/memory.h"

static const struct counter_row rows[GENERATIONS_COUNTERS] = {
	[GENERATIONS_TOTAL] = { COUNTER, "petals_generations_total",
		"Generations ended, by how.", "finish", NULL },
	[GENERATIONS_OPEN] = { GAUGE, "petals_generations_running",
		"Generations in progress.", NULL, NULL },
	[GENERATIONS_PROMPT] = { COUNTER, "petals_prompt_tokens_total",
		"Prompt tokens taken in.", NULL, NULL },
	[GENERATIONS_TOKENS] = { COUNTER, "petals_generation_tokens_total",
		"Tokens generated.", NULL, NULL },
	[GENERATIONS_FIRST] = { HISTOGRAM, "petals_time_to_first_token_seconds",
		"From taking a generation in to its first token.", NULL, seconds_buckets },
	[GENERATIONS_INTER] = { HISTOGRAM, "petals_inter_token_seconds",
		"From one token to the next.", NULL, seconds_buckets },
	[GENERATIONS_EDGE] = { HISTOGRAM, "petals_edge_seconds",
		"From a hidden state's arrival to its token: LM head and sampler.", NULL,
		seconds_buckets },
};

static int tell_all(struct generations *t)
{
	int count = (int)t->untold_count;

	for (uint32_t i = 0; i < t->untold_count; i++) {
		struct generation *g = t->untold[i].generation;

		if (!g)
			continue;
		generation_hold(g);
		generation_tell(g);
		generation_release(g);
	}
	t->untold_count = 0;
	return count;
}

static int poll(void *ctx, uint64_t now_ns)
{
	struct generations *t = ctx;
	int count = tell_all(t);
	struct edge_job *job;

	for (; (job = runner_collect(t->runner)); count++)
		generation_collect(job->owner);
	runner_flush(t->runner, t->count);
	return count;
}

static uint64_t deadline(void *ctx)
{
	const struct generations *t = ctx;

	return t->untold_count ? 0 : runner_deadline(t->runner);
}

static void wake(void *ctx)
{
	struct generations *t = ctx;

	node_wake(t->options.node);
}

static int open_runner(struct generations *t)
{
	const struct generations_options *o = &t->options;
	struct runner_options runner = {
		.name = "edges", .table = &edge_batch_table, .wake = wake, .wake_ctx = t,
		.jobs_max = 1, .threaded = o->threaded, .clock = node_clock(o->node),
		.cost_ns = o->cost_ns,
	};
	int rc = edge_batch_open(&t->edges, o->backend, o->edge, o->config->vocabulary,
				 o->config->hidden, o->logit_rows_max);

	while (runner.jobs_max < o->generations_max)
		runner.jobs_max *= 2;
	runner.ctx = t->edges;
	return rc < 0 ? rc : runner_open(&t->runner, &runner);
}

int generations_open(struct generations **out, const struct generations_options *o,
		     struct error *e)
{
	static const char *const finishes[] = { "stop", "length", "error" };
	struct generations *t = mem_calloc(1, sizeof(*t));
	const struct pool_holder holder = { "generations", o->generations_max };
	const struct poller poller = { "generations", t, poll, deadline };
	int rc;

	if (!t)
		return error_errno(e, -ENOMEM, "table of generations");
	t->options = *o;
	rc = pool_open(&t->pool, sizeof(struct generation), &holder, 1);
	t->untold = mem_calloc(o->generations_max, sizeof(*t->untold));
	if (rc == 0 && !t->untold)
		rc = -ENOMEM;
	if (rc == 0)
		rc = counters_open(&t->counters, rows, GENERATIONS_COUNTERS);
	if (rc == 0)
		rc = open_runner(t);
	if (rc < 0) {
		generations_close(t);
		return error_errno(e, rc, "table of %u generations", o->generations_max);
	}
	for (uint32_t i = 0; i < ARRAY_LENGTH(finishes); i++)
		t->series_finish[i] = counters_series(t->counters, GENERATIONS_TOTAL, finishes[i]);
	core_add(node_core(o->node), &poller);
	*out = t;
	return 0;
}

void generations_close(struct generations *t)
{
	struct edge_job *job;

	if (!t)
		return;
	for (struct generation *g = t->newest, *next; g; g = next) {
		next = g->older;
		generation_close(g);
	}
	if (t->runner) {
		runner_finish(t->runner);
		while ((job = runner_collect(t->runner)))
			generation_collect(job->owner);
	}
	runner_close(t->runner);
	edge_batch_close(t->edges);
	counters_close(t->counters);
	mem_free(t->untold);
	pool_close(t->pool);
	mem_free(t);
}

struct counters *generations_counters(struct generations *t)
{
	return t->counters;
}
