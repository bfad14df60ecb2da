/* generation.h - one choice of one completion: prompt in, tokens and text out.
 *
 * Joins a session (hidden states through the swarm) to the edges (embedding, LM head,
 * sampler), the detokenizer and the stop strings.
 *
 *   from       to          by
 *   -          OPENING     generation_open(): route and prompt embedding, side by side
 *   OPENING    PREFILL     session opened and prompt embedded: prompt pushed
 *   PREFILL    CHOOSING    the prompt's last row came back
 *   CHOOSING   DECODING    token chosen and its embedding pushed
 *   DECODING   CHOOSING    its row came back
 *   any        DONE        stop, length, failure, or generation_close()
 *
 * Threads    The gateway's core thread.
 * Ownership  generations_open() / _close() own the shared part; generation_open() /
 *            generation_close() one choice.  Options are copied.  Events may close it.
 * Units      Tokens; _ns.
 * Errors     finished() with FINISH_ERROR, a code and a sentence.
 */
#ifndef PETALS_CONTROL_GENERATION_H
#define PETALS_CONTROL_GENERATION_H

#include "compute/edge_batch.h"
#include "compute/text/stop.h"
#include "compute/text/tokenizer.h"
#include "control/session.h"

struct generations;
struct generation;

enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_ERROR };

struct generation_token {
	const struct choice *choice;    /* token, logprob, alternatives */
	bool hidden;                    /* ended the text (eos, stop id): not part of it */
	const char *text;               /* text that became sure with it, may be "" */
	size_t text_bytes;
};

struct generation_usage { uint32_t prompt_tokens, completion_tokens; };

struct generation_events {
	/* Echoed prompt with scores, when asked for: one choice per prompt token, the first
	 * without a score.
	 */
	void (*prompt)(void *ctx, const struct choice *choices, uint32_t count);
	void (*token)(void *ctx, const struct generation_token *t);
	/* text: what was still held back.  stop: the stop string found, or NULL. */
	void (*finished)(void *ctx, enum finish finish, const char *text, size_t text_bytes,
			 const char *stop, int code, const char *reason);
};

struct generation_options {
	const uint32_t *prompt; uint32_t prompt_count;
	uint32_t max_tokens;            /* 0: only score the prompt */
	struct sampler_options sampler; /* stop_ids: besides the model's own eos */
	const char *const *stops; uint32_t stop_count;
	bool ignore_eos;
	bool skip_special;              /* leave special tokens out of the text */
	bool score_prompt;
	uint64_t deadline_ns;           /* absolute */
	struct generation_events events;
	void *ctx;
};

struct generations_options {
	struct node *node;
	struct sessions *sessions;
	const struct model_config *config;
	const struct tokenizer *tokenizer;      /* NULL: tokens only, no text */
	const struct backend *backend;
	struct edge *edge;
	uint32_t generations_max;
	uint32_t logit_rows_max;        /* rows that share a pass over the LM head */
	bool threaded;
	uint64_t cost_ns;               /* simulations */
};

int generations_open(struct generations **out, const struct generations_options *o,
		     struct error *e);
void generations_close(struct generations *g);           /* NULL is fine */
struct counters *generations_counters(struct generations *g);

int generation_open(struct generation **out, struct generations *g,
		    const struct generation_options *o, struct error *e);
void generation_close(struct generation *g);             /* NULL is fine */
struct generation_usage generation_usage(const struct generation *g);
uint64_t generation_session(const struct generation *g);
const struct session_stats *generation_stats(const struct generation *g);

#endif
