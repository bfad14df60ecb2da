/* generation.c - owns one choice in progress: its states, its edge jobs, its text.
 *
 * Leaves the route and its repair to session.c, batching at the edges to edge_batch.c, and
 * what all of them share to generations.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/generation_private.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { GENERATION_HOLDER };

static void generation_free(struct generation *g)
{
	struct generations *t = g->table;

	if (g->untold)
		g->untold->generation = NULL;
	if (g->newer)
		g->newer->older = g->older;
	else
		t->newest = g->older;
	if (g->older)
		g->older->newer = g->newer;
	t->count--;
	counters_set(t->counters, GENERATIONS_OPEN, 0, t->count);
	sampler_close(g->sampler);
	stop_close(g->stop);
	buffer_close(&g->text);
	buffer_close(&g->piece);
	mem_free(g->prompt);
	mem_free(g->rows);
	mem_free(g->row);
	mem_free(g->scores);
	pool_put(t->pool, GENERATION_HOLDER, g);
}

void generation_hold(struct generation *g)
{
	assert(!g->held);
	g->held = true;
}

void generation_release(struct generation *g)
{
	g->held = false;
	if (g->closed && !g->job_out)
		generation_free(g);
}

static void tell_token(struct generation *g)
{
	const struct generation_token token = {
		.choice = &g->choice, .hidden = g->ends,
		.text = g->ends ? "" : buffer_string(&g->text),
		.text_bytes = g->ends ? 0 : g->text.length,
	};

	g->untold->generation = NULL;
	g->untold = NULL;
	g->options.events.token(g->options.ctx, &token);
}

static void finish(struct generation *g, enum finish how, int code, const char *reason)
{
	struct generations *t = g->table;
	int stop;

	if (g->untold)
		generation_tell(g);         /* it may be the last */
	if (g->state == GENERATION_DONE)
		return;
	g->state = GENERATION_DONE;
	session_close(g->session);
	g->session = NULL;
	counters_add(t->counters, GENERATIONS_TOTAL, t->series_finish[how], 1);
	buffer_clear(&g->piece);
	buffer_clear(&g->text);
	stop = stop_found(g->stop);
	if (stop < 0 && t->options.tokenizer) {
		detokenizer_finish(&g->detokenizer, &g->piece);
		if (stop_push(g->stop, buffer_string(&g->piece), g->piece.length, &g->text))
			how = how == FINISH_ERROR ? how : FINISH_STOP;
		stop_finish(g->stop, &g->text);
		stop = stop_found(g->stop);
	}
	g->options.events.finished(g->options.ctx, how, buffer_string(&g->text), g->text.length,
				   stop >= 0 ? g->options.stops[stop] : NULL, code, reason);
}

static void submit(struct generation *g, enum edge_kind kind, uint32_t count)
{
	g->job.kind = kind;
	g->job.count = count;
	g->job.owner = g;
	g->job_out = true;
	if (!runner_submit(g->table->runner, &g->job))
		assert(!"the runner's ring is as large as the pool of generations");
}

static void choose_next(struct generation *g)
{
	g->state = GENERATION_CHOOSING;
	g->row_ns = node_now(g->table->options.node);
	g->job = (struct edge_job){
		.rows = g->row, .embedded = g->row + g->table->options.config->hidden,
		.sampler = g->sampler, .choices = &g->choice,
		.position = g->options.prompt_count + g->generated,
	};
	submit(g, EDGE_NEXT, 1);
}

/* Both halves of OPENING are done: the prompt goes out. */
static void push_prompt(struct generation *g)
{
	int rc;

	if (!g->opened || !g->embedded || g->state != GENERATION_OPENING)
		return;
	g->state = GENERATION_PREFILL;
	rc = session_step(g->session, g->rows, g->options.prompt_count, g->options.score_prompt);
	if (rc < 0) {
		finish(g, FINISH_ERROR, rc, error_describe(rc));
		return;
	}
	if (!g->options.score_prompt) {
		mem_free(g->rows);
		g->rows = NULL;
	}
}

static bool ends_generation(const struct generation *g, uint32_t token)
{
	const struct model_config *config = g->table->options.config;
	const struct sampler_options *o = &g->options.sampler;

	for (uint32_t i = 0; i < o->stop_id_count; i++)
		if (o->stop_ids[i] == token)
			return true;
	for (uint32_t i = 0; i < config->eos_count && !g->options.ignore_eos; i++)
		if ((uint32_t)config->eos[i] == token)
			return true;
	return false;
}

static void measure_token(struct generation *g)
{
	struct counters *c = g->table->counters;
	uint64_t now = node_now(g->table->options.node);

	counters_add(c, GENERATIONS_TOKENS, 0, 1);
	counters_observe(c, GENERATIONS_EDGE, 0, (double)(now - g->row_ns) / NS_PER_S);
	if (g->generated == 1)
		counters_observe(c, GENERATIONS_FIRST, 0, (double)(now - g->opened_ns) / NS_PER_S);
	else
		counters_observe(c, GENERATIONS_INTER, 0,
				 (double)(now - g->last_token_ns) / NS_PER_S);
	g->last_token_ns = now;
}

/* Text that became sure with the chosen token; whether a stop string ended it. */
static bool take_text(struct generation *g)
{
	buffer_clear(&g->text);
	buffer_clear(&g->piece);
	if (!g->table->options.tokenizer)
		return false;
	detokenizer_push(&g->detokenizer, g->choice.token, &g->piece);
	return stop_push(g->stop, buffer_string(&g->piece), g->piece.length, &g->text);
}

/* The next steps of a batch set out before anybody hears of its tokens: those are told in the
 * core's next turn.
 */
static void take_token(struct generation *g)
{
	struct generations *t = g->table;

	g->ends = ends_generation(g, g->choice.token);
	g->stopped = !g->ends && take_text(g);
	g->step_rc = 0;
	g->generated++;
	measure_token(g);
	if (!g->ends && !g->stopped && g->generated < g->options.max_tokens) {
		g->state = GENERATION_DECODING;
		g->step_rc = session_step(g->session, g->job.embedded, 1, false);
	}
	assert(t->untold_count < t->options.generations_max);
	g->untold = &t->untold[t->untold_count++];
	g->untold->generation = g;
}

void generation_tell(struct generation *g)
{
	tell_token(g);
	if (g->closed)
		return;
	if (buffer_failed(&g->text) || buffer_failed(&g->piece))
		finish(g, FINISH_ERROR, -ENOMEM, "out of memory for the text");
	else if (g->step_rc < 0)
		finish(g, FINISH_ERROR, g->step_rc, error_describe(g->step_rc));
	else if (g->ends || g->stopped)
		finish(g, FINISH_STOP, 0, NULL);
	else if (g->generated == g->options.max_tokens)
		finish(g, FINISH_LENGTH, 0, NULL);
}

static void scored(struct generation *g)
{
	const struct choice unscored = { .token = g->prompt[0] };

	g->scores[0] = unscored;
	g->options.events.prompt(g->options.ctx, g->scores, g->options.prompt_count);
	if (g->closed)
		return;
	if (g->options.max_tokens == 0)
		finish(g, FINISH_LENGTH, 0, NULL);
	else
		choose_next(g);
}

/* The whole prompt's hidden states are back: score each by the token that followed. */
static void score_prompt(struct generation *g)
{
	uint32_t count = g->options.prompt_count;

	memcpy(g->row, g->rows + (uint64_t)(count - 1) * g->table->options.config->hidden,
	       g->table->options.config->hidden * sizeof(float));
	g->state = GENERATION_CHOOSING;
	if (count == 1) {
		scored(g);
		return;
	}
	g->job = (struct edge_job){
		.rows = g->rows, .tokens = g->prompt + 1, .sampler = g->sampler,
		.choices = g->scores + 1,
	};
	submit(g, EDGE_SCORE, count - 1);
}

static void on_opened(void *ctx)
{
	struct generation *g = ctx;

	generation_hold(g);
	g->opened = true;
	push_prompt(g);
	generation_release(g);
}

static void take_result(struct generation *g, uint32_t end, uint32_t count,
			enum wire_encoding encoding, const void *data)
{
	uint32_t hidden = g->table->options.config->hidden;

	if (g->state == GENERATION_PREFILL && g->options.score_prompt) {
		row_decode((enum row_encoding)encoding, data, count, hidden,
			   g->rows + (uint64_t)(end - count) * hidden);
		if (end == g->options.prompt_count)
			score_prompt(g);
		return;
	}
	if (g->state != GENERATION_PREFILL && g->state != GENERATION_DECODING)
		return;
	row_decode((enum row_encoding)encoding,
		   (const uint8_t *)data +
		   (count - 1) * row_bytes((enum row_encoding)encoding, hidden),
		   1, hidden, g->row);
	choose_next(g);
}

static void on_result(void *ctx, uint32_t end, uint32_t count, enum wire_encoding encoding,
		      const void *data)
{
	struct generation *g = ctx;

	generation_hold(g);
	take_result(g, end, count, encoding, data);
	generation_release(g);
}

static void on_failed(void *ctx, int code, const char *reason)
{
	struct generation *g = ctx;

	generation_hold(g);
	finish(g, FINISH_ERROR, code, reason);
	generation_release(g);
}

static void take_job(struct generation *g)
{
	if (g->state == GENERATION_DONE)
		return;
	if (g->job.status < 0) {
		finish(g, FINISH_ERROR, g->job.status, "the LM head failed");
	} else if (g->job.kind == EDGE_EMBED) {
		g->embedded = true;
		push_prompt(g);
	} else if (g->job.kind == EDGE_SCORE) {
		scored(g);
	} else {
		take_token(g);
	}
}

void generation_collect(struct generation *g)
{
	generation_hold(g);
	g->job_out = false;
	if (!g->closed)
		take_job(g);
	generation_release(g);
}

/* The model's eos joins the ids that min_tokens holds back. */
static int open_sampler(struct generation *g)
{
	const struct model_config *config = g->table->options.config;
	struct sampler_options o = g->options.sampler;
	uint32_t *ids = NULL;
	int rc;

	if (o.min_tokens && !g->options.ignore_eos) {
		ids = mem_calloc(o.stop_id_count + config->eos_count + 1, sizeof(*ids));
		if (!ids)
			return -ENOMEM;
		if (o.stop_id_count)
			memcpy(ids, o.stop_ids, o.stop_id_count * sizeof(*ids));
		for (uint32_t i = 0; i < config->eos_count; i++)
			ids[o.stop_id_count + i] = (uint32_t)config->eos[i];
		o.stop_id_count += config->eos_count;
		o.stop_ids = ids;
	}
	rc = sampler_open(&g->sampler, &o, config->vocabulary);
	if (rc == 0)
		sampler_prompt(g->sampler, g->prompt, g->options.prompt_count);
	mem_free(ids);
	return rc;
}

static int open_memory(struct generation *g, struct error *e)
{
	uint32_t count = g->options.prompt_count, hidden = g->table->options.config->hidden;
	int rc;

	g->prompt = mem_calloc(count, sizeof(*g->prompt));
	g->rows = mem_aligned(64, align_up((uint64_t)count * hidden * sizeof(float), 64));
	g->row = mem_aligned(64, align_up(2ull * hidden * sizeof(float), 64));
	if (g->options.score_prompt)
		g->scores = mem_calloc(count, sizeof(*g->scores));
	if (!g->prompt || !g->rows || !g->row || (g->options.score_prompt && !g->scores))
		return error_set(e, -ENOMEM, "out of memory for a prompt of %u tokens", count);
	memcpy(g->prompt, g->options.prompt, count * sizeof(*g->prompt));
	rc = stop_open(&g->stop, g->options.stops, g->options.stop_count, e);
	return rc < 0 ? rc : open_sampler(g);
}

static struct generation *generation_new(struct generations *t, const struct generation_options *o)
{
	struct generation *g = pool_get(t->pool, GENERATION_HOLDER);

	if (!g)
		return NULL;
	g->table = t;
	g->options = *o;
	g->opened_ns = node_now(t->options.node);
	g->older = t->newest;
	if (t->newest)
		t->newest->newer = g;
	t->newest = g;
	t->count++;
	counters_set(t->counters, GENERATIONS_OPEN, 0, t->count);
	detokenizer_start(&g->detokenizer, t->options.tokenizer, o->skip_special);
	/* What is generated goes on after the prompt: its leading space is part of it. */
	g->detokenizer.started = true;
	return g;
}

int generation_open(struct generation **out, struct generations *t,
		    const struct generation_options *o, struct error *e)
{
	const struct session_options session = {
		.tokens_max = o->prompt_count + o->max_tokens,
		.deadline_ns = o->deadline_ns,
		.events = { on_opened, on_result, on_failed },
	};
	struct session_options mine = session;
	struct generation *g;
	int rc;

	if (o->prompt_count == 0)
		return error_set(e, -EINVAL, "the prompt has no tokens");
	g = generation_new(t, o);
	if (!g)
		return error_set(e, -EBUSY, "%u generations are running, no more are taken",
				 t->options.generations_max);
	mine.ctx = g;
	rc = open_memory(g, e);
	if (rc == 0)
		rc = session_open(&g->session, t->options.sessions, &mine, e);
	if (rc < 0) {
		generation_free(g);
		return rc;
	}
	counters_add(t->counters, GENERATIONS_PROMPT, 0, o->prompt_count);
	g->job = (struct edge_job){ .tokens = g->prompt, .embedded = g->rows };
	submit(g, EDGE_EMBED, o->prompt_count);
	*out = g;
	return 0;
}

void generation_close(struct generation *g)
{
	if (!g || g->closed)
		return;
	g->closed = true;
	g->state = GENERATION_DONE;
	session_close(g->session);
	g->session = NULL;
	if (!g->job_out && !g->held)
		generation_free(g);
}

struct generation_usage generation_usage(const struct generation *g)
{
	return (struct generation_usage){ g->options.prompt_count, g->generated };
}

uint64_t generation_session(const struct generation *g)
{
	return g->session ? session_id(g->session) : 0;
}

const struct session_stats *generation_stats(const struct generation *g)
{
	return g->session ? session_stats(g->session) : NULL;
}
