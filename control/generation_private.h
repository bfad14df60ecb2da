/* generation_private.h - what generation.c (one choice's life) and generations.c (the table, its
 * runner, what is told when) share.
 *
 * Threads    The gateway's core thread; edge jobs run in the runner's.
 * Ownership  struct generations owns its generations; a generation its session and memory.
 * Units      As generation.h.
 * Errors     As generation.h.
 */
#ifndef PETALS_CONTROL_GENERATION_PRIVATE_H
#define PETALS_CONTROL_GENERATION_PRIVATE_H

#include "control/generation.h"
#include "dataplane/base/pool.h"

enum generation_state {
	GENERATION_OPENING, GENERATION_PREFILL, GENERATION_CHOOSING, GENERATION_DECODING,
	GENERATION_DONE
};

struct generation {
	struct generations *table;
	struct generation *newer, *older;
	struct generation_options options;
	enum generation_state state;
	bool closed;                    /* by its owner: freed when no job is out, nor we in it */
	bool held;                      /* one of our functions is in it, maybe in an event */
	bool opened, embedded;          /* the two halves of OPENING */
	struct session *session;
	struct sampler *sampler;
	struct stop *stop;
	struct detokenizer detokenizer;

	uint32_t *prompt;
	float *rows;                    /* (prompt_count, hidden): embeddings, then hidden states
					 * when they are to be scored */
	float *row;                     /* (2, hidden): last hidden state, next embedding */
	uint32_t generated;
	uint64_t opened_ns, last_token_ns, row_ns;      /* row_ns: when `row` came */
	struct choice choice;
	struct untold *untold;          /* the choice is not told yet, NULL: it is */
	bool ends, stopped;             /* by an id, by a stop string */
	int step_rc;                    /* of the step that follows it */
	struct choice *scores;
	struct edge_job job;
	bool job_out;
	struct buffer text, piece;
};

/* Chosen tokens in the order they are to be told in. */
struct untold { struct generation *generation; };       /* NULL: closed meanwhile */

enum generations_counter {
	GENERATIONS_TOTAL, GENERATIONS_OPEN, GENERATIONS_PROMPT, GENERATIONS_TOKENS,
	GENERATIONS_FIRST, GENERATIONS_INTER, GENERATIONS_EDGE, GENERATIONS_COUNTERS
};

struct generations {
	struct generations_options options;
	struct pool *pool;
	struct edge_batch *edges;
	struct runner *runner;
	struct generation *newest;
	uint32_t count;
	struct untold *untold;          /* generations_max of room */
	uint32_t untold_count;
	struct counters *counters;
	uint32_t series_finish[3];
};

/* generation.c */
/* Its edge job is done. */
void generation_collect(struct generation *g);
/* Its owner hears of the token chosen last, and of the end if it was the last one. */
void generation_tell(struct generation *g);
/* Between these an event may close the generation without its being freed under us. */
void generation_hold(struct generation *g);
void generation_release(struct generation *g);

#endif
