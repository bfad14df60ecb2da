/* edge_batch.c - owns the queue of edge jobs and the logits buffer they share.
 */
#include "compute/edge_batch.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

struct edge_batch {
	const struct backend *backend;
	struct edge *edge;
	uint32_t vocabulary, hidden, rows_max;
	struct edge_job *first, *last;
	float *rows;                    /* (rows_max, hidden) */
	float *logits;                  /* (rows_max, vocabulary) */
	/* Where the backend gives summaries: */
	struct logits_draw *draws;      /* (rows_max) */
	bool *whole;                    /* (rows_max) these rows need all of their logits */
	struct logits_summary *summary; /* (rows_max) */
};

int edge_batch_open(struct edge_batch **out, const struct backend *backend, struct edge *edge,
		    uint32_t vocabulary, uint32_t hidden, uint32_t rows_max)
{
	struct edge_batch *b = mem_calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	*b = (struct edge_batch){
		.backend = backend, .edge = edge, .vocabulary = vocabulary,
		.hidden = hidden, .rows_max = rows_max,
	};
	b->rows = mem_aligned(64, align_up((uint64_t)rows_max * hidden * sizeof(float), 64));
	b->logits = mem_aligned(64, align_up((uint64_t)rows_max * vocabulary * sizeof(float), 64));
	if (backend->edge_summary) {
		b->draws = mem_calloc(rows_max, sizeof(*b->draws));
		b->whole = mem_calloc(rows_max, sizeof(*b->whole));
		b->summary = mem_calloc(rows_max, sizeof(*b->summary));
	}
	if (!b->rows || !b->logits ||
	    (backend->edge_summary && (!b->draws || !b->whole || !b->summary))) {
		edge_batch_close(b);
		return -ENOMEM;
	}
	*out = b;
	return 0;
}

void edge_batch_close(struct edge_batch *b)
{
	if (!b)
		return;
	assert(!b->first);
	mem_free(b->rows);
	mem_free(b->logits);
	mem_free(b->draws);
	mem_free(b->whole);
	mem_free(b->summary);
	mem_free(b);
}

static void submit(void *ctx, void *job)
{
	struct edge_batch *b = ctx;
	struct edge_job *j = job;

	j->next = NULL;
	j->done = 0;
	j->status = 0;
	if (b->last)
		b->last->next = j;
	else
		b->first = j;
	b->last = j;
}

static bool wants_whole(const struct edge_job *j, struct logits_draw *draw)
{
	*draw = (struct logits_draw){ 0 };
	return j->kind != EDGE_NEXT || !sampler_is_plain(j->sampler, draw);
}

/* Rows of the queue's head jobs that fit one pass over the head; their number. */
static uint32_t gather(struct edge_batch *b)
{
	uint32_t rows = 0;

	for (const struct edge_job *j = b->first; j && rows < b->rows_max; j = j->next) {
		uint32_t take = MIN(j->count - j->done, b->rows_max - rows);

		if (j->kind == EDGE_EMBED)
			continue;
		memcpy(b->rows + (uint64_t)rows * b->hidden,
		       j->rows + (uint64_t)j->done * b->hidden,
		       (uint64_t)take * b->hidden * sizeof(float));
		for (uint32_t i = 0; i < take && b->whole; i++)
			b->whole[rows + i] = wants_whole(j, &b->draws[rows + i]);
		rows += take;
	}
	return rows;
}

/* What the rows' logits are, or what they come to. */
static int run_head(struct edge_batch *b, uint32_t rows)
{
	if (rows == 0)
		return 0;
	if (b->summary)
		return b->backend->edge_summary(b->edge, b->rows, rows, b->draws, b->whole,
						b->summary, b->logits);
	return b->backend->edge_logits(b->edge, b->rows, rows, b->logits);
}

/* The next token of a generation, by row `at`, and its embedding. */
static void choose_next(struct edge_batch *b, struct edge_job *j, uint32_t at)
{
	if (b->summary && !b->whole[at])
		sampler_next_plain(j->sampler, &b->summary[at], j->choices);
	else
		sampler_next(j->sampler, b->logits + (uint64_t)at * b->vocabulary, j->choices);
	j->status = b->backend->edge_embed(b->edge, &j->choices->token, 1, j->position,
					   j->embedded);
}

/* One job's share of the rows, those from `at` on, `rows` at most; how many it took. */
static uint32_t choose(struct edge_batch *b, struct edge_job *j, uint32_t at, uint32_t rows)
{
	uint32_t take = MIN(j->count - j->done, rows);

	if (j->kind == EDGE_NEXT)
		choose_next(b, j, at);
	else
		for (uint32_t i = 0; i < take; i++)
			sampler_score(j->sampler, b->logits + (uint64_t)(at + i) * b->vocabulary,
				      j->tokens[j->done + i], &j->choices[j->done + i]);
	j->done += take;
	return take;
}

static bool turn(void *ctx, void (*done)(void *done_ctx, void *job), void *done_ctx)
{
	struct edge_batch *b = ctx;
	uint32_t rows = gather(b), used = 0;
	int rc = run_head(b, rows);

	for (struct edge_job **at = &b->first, *j; (j = *at);) {
		if (j->kind == EDGE_EMBED) {
			j->status = b->backend->edge_embed(b->edge, j->tokens, j->count,
							   j->position, j->embedded);
			j->done = j->count;
		} else if (rc < 0) {
			j->status = rc;
			j->done = j->count;
		} else if (used < rows) {
			used += choose(b, j, used, rows - used);
		}
		if (j->done < j->count) {
			at = &j->next;
			continue;
		}
		*at = j->next;
		done(done_ctx, j);
	}
	b->last = b->first;
	while (b->last && b->last->next)
		b->last = b->last->next;
	return b->first != NULL;
}

const struct runner_table edge_batch_table = { submit, turn };
