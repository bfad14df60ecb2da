/* bench_serve.h - clients that stream completions from a gateway at the same time, and the
 * figures of what came back.
 *
 * Prompts are token ids made by a formula from their number, so that two runs ask the same.
 * Of several clients each prompt is asked by two, and must be answered alike.
 *
 * Threads    One: the clients share a curl multi handle.
 * Ownership  serve_result_close() frees the tokens.
 * Units      Seconds; tokens per second.
 * Errors     -errno with a sentence, when a request failed or equal prompts got different
 *            tokens.
 */
#ifndef PETALS_TOOLS_BENCH_SERVE_H
#define PETALS_TOOLS_BENCH_SERVE_H

#include <jansson.h>

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

struct serve_options {
	const char *gateway;            /* URL */
	uint32_t clients, tokens, prompt_tokens;
	uint32_t first_prompt;          /* number of the first client's prompt */
	uint32_t ids_below;             /* prompts hold ids [ids_below / 64, ids_below) */
	/* Called when a client got a token; count includes it.  NULL: nobody listens. */
	void (*on_token)(void *ctx, uint32_t client, uint32_t count);
	void *ctx;
};

struct serve_result {
	uint32_t clients, tokens, prompt_tokens;   /* per client */
	double seconds;                 /* first request to last byte */
	double tokens_per_second;       /* of all clients, prompts included in the time */
	double decode_per_second;       /* of one client after its first token, median */
	double prefill_per_second;      /* prompt tokens of all, until the last first token */
	double ttft_p50, ttft_p99, itl_p50, itl_p99, itl_most;
	uint32_t *ids;                  /* clients x tokens */
};

int serve_measure(const struct serve_options *o, struct serve_result *out, struct error *e);
void serve_result_close(struct serve_result *r);
json_t *serve_describe(const struct serve_result *r);
/* Whether a client of `a` and a client of `b` that asked alike were answered alike. */
bool serve_same(const struct serve_result *a, uint32_t client_a, const struct serve_result *b,
		uint32_t client_b);

#endif
