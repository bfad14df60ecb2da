/* edge_batch.h - the edges of many generations, batched: embeds prompts, turns last hidden
 * states into tokens and their embeddings, scores echoed prompts.
 *
 * It is what a gateway's runner (runner.h) runs: jobs that want logits share one pass over
 * the LM head.
 *
 * Threads    edge_batch_open() / _close() by the owner; the table's functions in the
 *            runner's thread.
 * Ownership  A job's memory is the submitter's; it is the batch's to write until done.
 * Units      Rows are tokens.
 * Errors     job->status: 0 or -errno.
 */
#ifndef PETALS_COMPUTE_EDGE_BATCH_H
#define PETALS_COMPUTE_EDGE_BATCH_H

#include "compute/backend.h"
#include "compute/runner.h"
#include "compute/sampler.h"

enum edge_kind {
	EDGE_EMBED,        /* tokens[count] at position.. -> embedded */
	EDGE_NEXT,         /* rows[1] -> choices[0] by the sampler -> embedded (one row) */
	EDGE_SCORE,        /* rows[count], tokens[count] -> choices[count] */
};

struct edge_job {
	enum edge_kind kind;
	uint32_t count;
	uint32_t position;              /* of the first token that is embedded */
	const uint32_t *tokens;
	const float *rows;              /* count x hidden */
	float *embedded;                /* count x hidden */
	struct sampler *sampler;
	struct choice *choices;
	void *owner;

	int status;
	uint32_t done;                  /* rows of it that are scored */
	struct edge_job *next;
};

struct edge_batch;

int edge_batch_open(struct edge_batch **out, const struct backend *backend, struct edge *edge,
		    uint32_t vocabulary, uint32_t hidden, uint32_t rows_max);
void edge_batch_close(struct edge_batch *b);             /* NULL is fine; must be idle */
/* ctx of the table is the batch; jobs are struct edge_job. */
extern const struct runner_table edge_batch_table;

#endif
