/* sampler.c - from logits to a token, in a fixed order of operations.
 *
 * The candidates of top-k and top-p are found without sorting the vocabulary:
 * only what lies within a few units of the largest logit is gathered, further
 * down if that was too little, and sorted.  The passes over the vocabulary are
 * sampler_math.h's.
 */
#include "compute/sampler.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "compute/sampler_math.h"
#include "dataplane/base/memory.h"

struct sampler {
	struct sampler_options options;
	uint32_t vocabulary;
	uint64_t step;                  /* tokens chosen so far */

	/* With penalties only: what was seen, and the distinct tokens of it. */
	uint32_t *counts;               /* (vocabulary) times in the output */
	uint8_t *seen;                  /* (vocabulary) in prompt or output */
	uint32_t *distinct;
	uint32_t distinct_count;

	float *original;                /* (vocabulary) before penalties and biases; if any */
	float *weights;                 /* (vocabulary) unless greedy */
	struct candidate *candidates;   /* 2 x vocabulary: the second half for sorting */
};

void sampler_options_default(struct sampler_options *o)
{
	*o = (struct sampler_options){
		.temperature = 1,
		.top_p = 1,
		.repetition_penalty = 1,
		.logprobs = true,
	};
}

static int check_range(double value, double least, double most, const char *name,
		       struct error *e)
{
	if (value >= least && value <= most)
		return 0;
	return error_set(e, -EINVAL, "%s is %g; it must be between %g and %g", name, value, least,
			 most);
}

static int check_ids(const struct sampler_options *o, uint32_t vocabulary, struct error *e)
{
	for (uint32_t i = 0; i < o->bias_count; i++) {
		if (o->bias[i].token >= vocabulary)
			return error_set(e, -EINVAL, "logit_bias names token %u; ids are below %u",
					 o->bias[i].token, vocabulary);
		if (!(fabsf(o->bias[i].bias) <= 100))
			return error_set(e, -EINVAL, "logit_bias of token %u is %g; it must be "
					 "between -100 and 100", o->bias[i].token,
					 (double)o->bias[i].bias);
	}
	for (uint32_t i = 0; i < o->stop_id_count; i++)
		if (o->stop_ids[i] >= vocabulary)
			return error_set(e, -EINVAL, "stop_token_ids names token %u; ids are below "
					 "%u", o->stop_ids[i], vocabulary);
	return 0;
}

int sampler_options_check(const struct sampler_options *o, uint32_t vocabulary, struct error *e)
{
	const struct { double value, least, most; const char *name; } ranges[] = {
		{ o->temperature, 0, 2, "temperature" },
		{ o->min_p, 0, 1, "min_p" },
		{ o->presence_penalty, -2, 2, "presence_penalty" },
		{ o->frequency_penalty, -2, 2, "frequency_penalty" },
		{ o->top_logprobs, 0, SAMPLER_TOP_MAX, "top_logprobs" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(ranges); i++) {
		int rc = check_range(ranges[i].value, ranges[i].least, ranges[i].most,
				     ranges[i].name, e);

		if (rc < 0)
			return rc;
	}
	if (!(o->top_p > 0 && o->top_p <= 1))
		return error_set(e, -EINVAL, "top_p is %g; it must be above 0 and at most 1",
				 (double)o->top_p);
	if (!(o->repetition_penalty > 0 && isfinite(o->repetition_penalty)))
		return error_set(e, -EINVAL, "repetition_penalty is %g; it must be above 0",
				 (double)o->repetition_penalty);
	return check_ids(o, vocabulary, e);
}

static bool has_penalties(const struct sampler_options *o)
{
	return o->repetition_penalty != 1 || o->presence_penalty != 0 || o->frequency_penalty != 0;
}

/* A copy, or NULL for nothing; *failed when there was no memory. */
static void *copy(const void *data, size_t bytes, bool *failed)
{
	void *to;

	if (bytes == 0)
		return NULL;
	to = mem_alloc(bytes);
	if (!to) {
		*failed = true;
		return NULL;
	}
	return memcpy(to, data, bytes);
}

int sampler_open(struct sampler **out, const struct sampler_options *o, uint32_t vocabulary)
{
	struct sampler *s;
	bool failed = false;

	*out = NULL;
	assert(vocabulary > 0 && o->top_logprobs <= SAMPLER_TOP_MAX);
	assert(o->logprobs || o->top_logprobs == 0);
	s = mem_calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->options = *o;
	s->vocabulary = vocabulary;
	s->options.bias = copy(o->bias, o->bias_count * sizeof(*o->bias), &failed);
	s->options.stop_ids = copy(o->stop_ids, o->stop_id_count * sizeof(*o->stop_ids), &failed);
	if (has_penalties(o)) {
		s->counts = mem_calloc(vocabulary, sizeof(*s->counts));
		s->seen = mem_calloc(vocabulary, sizeof(*s->seen));
		s->distinct = mem_calloc(vocabulary, sizeof(*s->distinct));
		failed |= !s->counts || !s->seen || !s->distinct;
	}
	if (has_penalties(o) || o->bias_count > 0 || (o->stop_id_count > 0 && o->min_tokens > 0)) {
		s->original = mem_calloc(vocabulary, sizeof(*s->original));
		failed |= !s->original;
	}
	if (o->temperature > 0) {
		s->weights = mem_calloc(vocabulary, sizeof(*s->weights));
		s->candidates = mem_calloc((size_t)vocabulary * 2, sizeof(*s->candidates));
		failed |= !s->weights || !s->candidates;
	}
	if (failed) {
		sampler_close(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void sampler_close(struct sampler *s)
{
	if (!s)
		return;
	mem_free(s->candidates);
	mem_free(s->weights);
	mem_free(s->original);
	mem_free(s->distinct);
	mem_free(s->seen);
	mem_free(s->counts);
	mem_free((void *)s->options.stop_ids);
	mem_free((void *)s->options.bias);
	mem_free(s);
}

static void note_seen(struct sampler *s, uint32_t token)
{
	if (s->seen[token])
		return;
	s->seen[token] = 1;
	s->distinct[s->distinct_count++] = token;
}

void sampler_prompt(struct sampler *s, const uint32_t *tokens, uint32_t count)
{
	for (uint32_t i = 0; i < count && s->seen; i++)
		if (tokens[i] < s->vocabulary)
			note_seen(s, tokens[i]);
}

static void apply_penalties(const struct sampler *s, float *logits)
{
	const struct sampler_options *o = &s->options;

	for (uint32_t i = 0; i < s->distinct_count; i++) {
		uint32_t token = s->distinct[i];
		float *l = &logits[token];

		*l = *l > 0 ? *l / o->repetition_penalty : *l * o->repetition_penalty;
		if (s->counts[token] > 0)
			*l -= o->presence_penalty + o->frequency_penalty * (float)s->counts[token];
	}
}

/* What changes the distribution before temperature and cuts. */
static void shape_logits(const struct sampler *s, float *logits)
{
	const struct sampler_options *o = &s->options;

	if (s->seen)
		apply_penalties(s, logits);
	for (uint32_t i = 0; i < o->bias_count; i++)
		logits[o->bias[i].token] += o->bias[i].bias;
	for (uint32_t i = 0; i < o->stop_id_count && s->step < o->min_tokens; i++)
		logits[o->stop_ids[i]] = -INFINITY;
}

/* The top_logprobs largest, best first, lowest id first among equals. */
static void find_top(const struct sampler *s, const float *logits, float log_sum,
		     struct choice *out)
{
	uint32_t want = MIN(s->options.top_logprobs, s->vocabulary), count = 0;

	for (uint32_t i = 0; i < s->vocabulary && want > 0; i++) {
		uint32_t at = count;

		if (count == want && !(logits[i] > out->top[count - 1].logprob))
			continue;
		count = MIN(count + 1, want);
		at = MIN(at, count - 1);
		for (; at > 0 && out->top[at - 1].logprob < logits[i]; at--)
			out->top[at] = out->top[at - 1];
		out->top[at].token = i;
		out->top[at].logprob = logits[i];
	}
	for (uint32_t i = 0; i < count; i++)
		out->top[i].logprob -= log_sum;
	out->top_count = count;
}

void sampler_score(const struct sampler *s, const float *logits, uint32_t token,
		   struct choice *out)
{
	float log_sum = logits_log_sum(logits, s->vocabulary);

	assert(token < s->vocabulary);
	out->token = token;
	out->logprob = logits[token] - log_sum;
	find_top(s, logits, log_sum, out);
}

/* [0, 1), from the seed and the step alone (splitmix64's mixing, twice). */
static double draw(uint64_t seed, uint64_t step)
{
	uint64_t z = seed;

	for (int round = 0; round < 2; round++) {
		z += 0x9e3779b97f4a7c15 * (step + 1);
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
		z = (z ^ z >> 27) * 0x94d049bb133111eb;
		z ^= z >> 31;
	}
	return (double)(z >> 11) * 0x1p-53;
}

/* The candidates of top-k and top-p, best first. */
static uint32_t best_candidates(struct sampler *s, const float *logits, float largest,
				double share)
{
	uint32_t k = s->options.top_k > 0 ? s->options.top_k : UINT32_MAX, count;
	struct candidate *scratch = s->candidates + s->vocabulary;
	double total = 0;

	for (float depth = 4; ; depth *= 2) {
		if (depth > 1e4f)
			depth = INFINITY;
		count = candidates_gather(logits, s->vocabulary, largest - depth, s->candidates);
		if (depth == INFINITY || count >= k)
			break;
		if (k < s->vocabulary)
			continue;
		total = 0;
		for (uint32_t i = 0; i < count; i++)
			total += (double)s->weights[s->candidates[i].token];
		if (total >= share)
			break;
	}
	candidates_sort(s->candidates, count, scratch);
	return MIN(count, k);
}

/* Leaves in weights what top-k, top-p and min-p allow; returns their sum. */
static double cut(struct sampler *s, const float *logits, float largest)
{
	const struct sampler_options *o = &s->options;
	float inverse = 1 / o->temperature;
	bool ranked = o->top_p < 1 || (o->top_k > 0 && o->top_k < s->vocabulary);
	double total, sum = 0, kept = 0;
	uint32_t count;

	total = logits_weigh(logits, s->vocabulary, largest, inverse, ranked ? 0 : o->min_p,
			     s->weights);
	if (!ranked)
		return total;
	count = best_candidates(s, logits, largest, (double)o->top_p * total);
	if (o->top_k > 0 && o->top_k < s->vocabulary) {
		total = 0;
		for (uint32_t i = 0; i < count; i++)
			total += (double)s->weights[s->candidates[i].token];
	}
	for (uint32_t i = 0; i < count; i++)
		s->candidates[i].logit = s->weights[s->candidates[i].token];
	memset(s->weights, 0, s->vocabulary * sizeof(*s->weights));
	for (uint32_t i = 0; i < count && (i == 0 || sum < (double)o->top_p * total); i++) {
		float weight = s->candidates[i].logit;

		sum += (double)weight;
		/* The largest weight is 1. */
		if (weight < o->min_p)
			break;
		s->weights[s->candidates[i].token] = weight;
		kept += (double)weight;
	}
	return kept;
}

static uint32_t draw_token(struct sampler *s, const float *logits, uint32_t best)
{
	double total;
	uint32_t token;

	if (!isfinite(logits[best]))
		return best;
	total = cut(s, logits, logits[best]);
	token = weights_find(s->weights, s->vocabulary, draw(s->options.seed, s->step) * total);
	return token < s->vocabulary ? token : best;
}

bool sampler_is_plain(const struct sampler *s, struct logits_draw *draw_of)
{
	const struct sampler_options *o = &s->options;

	*draw_of = (struct logits_draw){ 0 };
	if (o->top_logprobs > 0 || s->original)
		return false;
	if (o->temperature > 0)
		*draw_of = (struct logits_draw){
			.share = draw(o->seed, s->step), .scale = 1 / o->temperature,
			.top_p = o->top_p, .min_p = o->min_p, .top_k = o->top_k,
		};
	return true;
}

void sampler_next_plain(struct sampler *s, const struct logits_summary *l, struct choice *out)
{
	assert(s->options.top_logprobs == 0 && !s->original);
	out->token = l->token;
	out->logprob = s->options.logprobs ? l->logit - logits_summary_log_sum(l) : NAN;
	out->top_count = 0;
	s->step++;
}

void sampler_next(struct sampler *s, float *logits, struct choice *out)
{
	const struct sampler_options *o = &s->options;
	const float *original = logits;
	float log_sum = o->logprobs ? logits_log_sum(logits, s->vocabulary) : NAN;
	uint32_t best;

	find_top(s, logits, log_sum, out);
	if (s->original) {
		memcpy(s->original, logits, s->vocabulary * sizeof(*logits));
		original = s->original;
		shape_logits(s, logits);
	}
	best = logits_best(logits, s->vocabulary);
	out->token = o->temperature > 0 ? draw_token(s, logits, best) : best;
	out->logprob = original[out->token] - log_sum;
	if (s->seen) {
		note_seen(s, out->token);
		s->counts[out->token]++;
	}
	s->step++;
}
