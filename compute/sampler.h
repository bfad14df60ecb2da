/* sampler.h - picks the next token from logits.
 *
 * Order: penalties over the tokens so far, logit bias, temperature, top-k,
 * top-p, min-p, then a draw.  The draw of step n depends on (seed, n) alone, so
 * the same seed gives the same text, across repairs too.  Temperature 0 is greedy:
 * the largest logit, the lowest id among equals.  Log-probabilities are those of the
 * unmodified distribution at temperature 1, in f32 from a fixed-order sum.
 *
 * Threads    A sampler belongs to its holder.
 * Ownership  sampler_open() / sampler_close().
 * Units      Tokens.
 * Errors     -ENOMEM; -EINVAL with a sentence naming the parameter and its range.
 */
#ifndef PETALS_COMPUTE_SAMPLER_H
#define PETALS_COMPUTE_SAMPLER_H

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

enum { SAMPLER_TOP_MAX = 20 };       /* alternatives reported per token */

struct logit_bias { uint32_t token; float bias; };

struct sampler_options {
	float temperature;           /* 0: greedy; 0..2 */
	uint32_t top_k;              /* 0: all */
	float top_p;                 /* (0, 1] */
	float min_p;                 /* [0, 1] */
	float repetition_penalty;    /* > 0, 1: none; over prompt and output */
	float presence_penalty, frequency_penalty;   /* -2..2; over output */
	uint64_t seed;
	bool logprobs;               /* wanted; else those of choices made are NaN, and a pass
				      * over the logits is saved */
	uint32_t top_logprobs;       /* alternatives wanted, too, <= SAMPLER_TOP_MAX */
	const struct logit_bias *bias; uint32_t bias_count;
	/* Never chosen while fewer than min_tokens were generated. */
	const uint32_t *stop_ids; uint32_t stop_id_count;
	uint32_t min_tokens;
};
void sampler_options_default(struct sampler_options *o);
int sampler_options_check(const struct sampler_options *o, uint32_t vocabulary, struct error *e);

struct choice {
	uint32_t token;
	float logprob;
	uint32_t top_count;
	struct { uint32_t token; float logprob; } top[SAMPLER_TOP_MAX];   /* best first */
};

struct sampler;
struct logits_draw;
struct logits_summary;
/* Copies what options point to. */
int sampler_open(struct sampler **out, const struct sampler_options *o, uint32_t vocabulary);
void sampler_close(struct sampler *s);                  /* NULL is fine */
void sampler_prompt(struct sampler *s, const uint32_t *tokens, uint32_t count);
/* May scribble over logits (vocabulary numbers). */
void sampler_next(struct sampler *s, float *logits, struct choice *out);
/* Whether a summary of the logits (sampler_math.h) will do, and what is to be drawn for it:
 * nothing changes logits, and no alternatives are wanted.
 */
bool sampler_is_plain(const struct sampler *s, struct logits_draw *draw);
void sampler_next_plain(struct sampler *s, const struct logits_summary *l, struct choice *out);
/* Log-probabilities of a given token, for echoed prompts; advances nothing. */
void sampler_score(const struct sampler *s, const float *logits, uint32_t token,
		   struct choice *out);

#endif
