/* sampler_math.h - the sampler's passes over a vocabulary of logits.
 *
 * Sixteen lanes wherever numbers are added, then one fixed tree, and exponentials of
 * our own: the same logits give the same bits whatever the instruction set.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      Logits are natural logarithms.
 * Errors     None.  NaN counts as -infinity.
 */
#ifndef PETALS_COMPUTE_SAMPLER_MATH_H
#define PETALS_COMPUTE_SAMPLER_MATH_H

#include "dataplane/base/types.h"

/* What choosing a token leaves of logits. */
struct logits_summary {
	uint32_t token;                 /* logits_best(), or what was drawn */
	float logit;                    /* its logit */
	float largest;                  /* the best one's, but for logits that are no numbers */
	float sum;                      /* of exp(logit - largest), unless that is infinite */
};
void logits_summarise(const float *logits, uint32_t count, struct logits_summary *out);
/* log(sum(exp(logits))). */
float logits_summary_log_sum(const struct logits_summary *s);

/* How a token is drawn of logits (sampler.h); zeros: it is the best one. */
struct logits_draw {
	double share;                   /* of all weights, what lies before the token */
	float scale;                    /* 1 / temperature; 0: the best one */
	float top_p, min_p;
	uint32_t top_k;
};

/* The largest logit, the lowest id among equals. */
uint32_t logits_best(const float *logits, uint32_t count);
/* log(sum(exp(logits))). */
float logits_log_sum(const float *logits, uint32_t count);
/* out[i] = exp((logits[i] - largest) * scale), 0 below `least`; returns their sum. */
double logits_weigh(const float *logits, uint32_t count, float largest, float scale,
		    float least, float *out);
/* Where a walk along the weights has used up `share` of their sum: the last id with a
 * weight if rounding ate the end, `count` if no id has one.
 */
uint32_t weights_find(const float *weights, uint32_t count, double share);

struct candidate {
	uint32_t token;
	float logit;
};

/* Those with logit >= least, in the order of ids. */
uint32_t candidates_gather(const float *logits, uint32_t count, float least,
			   struct candidate *out);
/* Largest first, the order of ids among equals; scratch has room for as many. */
void candidates_sort(struct candidate *c, uint32_t count, struct candidate *scratch);

#endif
