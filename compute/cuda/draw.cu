/* draw.cu - draws a token of a row of logits, as sampler.c does, bit for bit: top-k, top-p and
 * min-p, then a walk along the weights.
 *
 * A thread block takes a row that best.cu has been over.  In the order of candidates, largest
 * first, a cut keeps those up to some last one, so that one is all there is to know of it.
 * It is found among the candidates near the largest logit; a row that needs more of them
 * than there is room for is left to the host.  Sums in double are one thread's, whose order
 * sampler.c sets; there is one for each 256 tokens, and for each candidate.
 */
#include "compute/cuda/logits.cuh"

enum {
	BLOCK = 16 * LOGITS_LANES,      /* weights summed together */
	WARPS = DRAW_THREADS / WARP,
};
#define DEPTH_LEAST 0.01f               /* below the largest logit */
static_assert((int)BLOCK <= (int)DRAW_THREADS && DRAW_SUMS(BLOCK) == 1 && DRAW_SUMS(BLOCK + 1) == 2,
	      "a thread for each weight of a block, and room for their sums");

struct row {
	const float *logits;
	float *sums;                    /* of the weights of each BLOCK tokens */
	uint32_t count;                 /* of logits */
	float largest;
	struct cuda_draw how;
};

struct shared {
	struct candidate found[DRAW_CANDIDATES];        /* in the order of ids */
	float weights[DRAW_CANDIDATES];
	uint32_t order[DRAW_CANDIDATES];                /* largest first: places in `found` */
	uint32_t of_warp[WARPS];
	/* one thread's findings */
	bool enough;                    /* candidates */
	struct candidate last;
	double total;
	uint32_t block;
	double inside;
};

DEVICE float weight_of(const struct row *r, float logit)
{
	return exponential((logit - r->largest) * r->how.scale);
}

/* Token i's weight, 0 for what was cut away and past the end. */
DEVICE float kept_weight(const struct row *r, uint32_t i, struct candidate last, float least)
{
	struct candidate c = { i < r->count ? r->logits[i] : -INFINITY, i };
	float weight = comes_before(last, c) ? 0.0f : weight_of(r, c.logit);

	return weight >= least ? weight : 0.0f;
}

/* The kept weights' sum of each BLOCK tokens; half a warp adds one up. */
DEVICE void add_up(const struct row *r, struct candidate last, float least)
{
	uint32_t lane = threadIdx.x % LOGITS_LANES;

	for (uint32_t at = 0; at < r->count; at += DRAW_THREADS / LOGITS_LANES * BLOCK) {
		uint32_t first = at + threadIdx.x / LOGITS_LANES * BLOCK;
		float sum = 0;

		for (uint32_t i = lane; i < BLOCK; i += LOGITS_LANES)
			sum += kept_weight(r, first + i, last, least);
		sum = lanes_sum(sum);
		if (lane == 0 && first < r->count)
			r->sums[first / BLOCK] = sum;
	}
	__syncthreads();
}

/* The same, and all of it in s->total. */
DEVICE double weigh(const struct row *r, struct candidate last, float least, struct shared *s)
{
	add_up(r, last, least);
	if (threadIdx.x == 0) {
		s->total = 0;
		for (uint32_t i = 0; i * BLOCK < r->count; i++)
			s->total += (double)r->sums[i];
	}
	__syncthreads();
	return s->total;
}

/* ---- cuts ---- */

/* Tokens with logits of at least `least`: how many, and those that there is room for. */
DEVICE uint32_t gather(const struct row *r, float least, struct shared *s)
{
	uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	uint32_t each = (r->count + DRAW_THREADS - 1) / DRAW_THREADS * WARP;
	uint32_t first = warp * each, end = min(first + each, r->count), mine = 0, at = 0, all = 0;

	for (uint32_t i = first; i < end; i += WARP)
		mine += __popc(__ballot_sync(ALL_LANES, i + lane < end &&
						       r->logits[i + lane] >= least));
	if (lane == 0)
		s->of_warp[warp] = mine;
	__syncthreads();
	for (uint32_t w = 0; w < WARPS; w++) {
		at += w < warp ? s->of_warp[w] : 0;
		all += s->of_warp[w];
	}
	for (uint32_t i = first; i < end; i += WARP) {
		struct candidate c = { i + lane < end ? r->logits[i + lane] : -INFINITY, i + lane };
		bool in = i + lane < end && c.logit >= least;
		uint32_t votes = __ballot_sync(ALL_LANES, in);
		uint32_t to = at + __popc(votes & ((1u << lane) - 1));

		if (in && to < DRAW_CANDIDATES)
			s->found[to] = c;
		at += __popc(votes);
	}
	__syncthreads();
	return all;
}

/* Whether the candidates found have `share` of the weights. */
DEVICE bool is_enough(struct shared *s, uint32_t count, double share)
{
	if (threadIdx.x == 0) {
		double total = 0;

		for (uint32_t i = 0; i < count; i++)
			total += (double)s->weights[i];
		s->enough = total >= share;
	}
	__syncthreads();
	return s->enough;
}

/* The candidates of top-k and top-p, in s->found, or as many of the best as there is room for
 * (*some): a cut that ends among them is the same.  More than DRAW_CANDIDATES: there is no room.
 */
DEVICE uint32_t find_candidates(const struct row *r, uint32_t k, double share, struct shared *s,
				bool *some)
{
	float depth = 4;

	for (*some = false;;) {
		uint32_t count = gather(r, r->largest - depth, s);

		if (count > DRAW_CANDIDATES) {
			if (depth > 4 || depth < DEPTH_LEAST)
				return count;
			*some = true;
			depth /= 2;
			continue;
		}
		for (uint32_t i = threadIdx.x; i < count; i += DRAW_THREADS)
			s->weights[i] = weight_of(r, s->found[i].logit);
		__syncthreads();
		if (*some || depth == INFINITY || count >= k)
			return count;
		if (k >= r->count && is_enough(s, count, share))
			return count;
		depth = depth > 5e3f ? INFINITY : 2 * depth;
	}
}

DEVICE void sort(struct shared *s, uint32_t count)
{
	for (uint32_t i = threadIdx.x; i < count; i += DRAW_THREADS) {
		uint32_t place = 0;

		for (uint32_t other = 0; other < count; other++)
			place += comes_before(s->found[other], s->found[i]);
		s->order[place] = i;
	}
	__syncthreads();
}

/* The last candidate that is kept, what all of them weigh, and whether more candidates would
 * have changed nothing; by one thread.
 */
DEVICE void cut(const struct row *r, uint32_t count, uint32_t k, double total, struct shared *s)
{
	uint32_t most = min(count, k), i;
	double sum = 0, kept = 0;

	if (k < r->count) {
		total = 0;
		for (i = 0; i < most; i++)
			total += (double)s->weights[s->order[i]];
	}
	for (i = 0; i < most && (i == 0 || sum < (double)r->how.top_p * total); i++) {
		float weight = s->weights[s->order[i]];

		sum += (double)weight;
		if (weight < r->how.min_p)
			break;
		s->last = s->found[s->order[i]];
		kept += (double)weight;
	}
	s->total = kept;
	s->enough = k < r->count ? most == k : i < most;
}

/* False: there was no room. */
DEVICE bool find_cut(const struct row *r, struct shared *s)
{
	const struct candidate everybody = { -INFINITY, 0xffffffff };
	uint32_t k = r->how.top_k > 0 ? r->how.top_k : 0xffffffff, count;
	double total = 0;
	bool some;

	/* Who counts candidates does not ask what everybody weighs. */
	if (k >= r->count)
		total = weigh(r, everybody, 0, s);
	count = find_candidates(r, k, (double)r->how.top_p * total, s, &some);
	if (count > DRAW_CANDIDATES)
		return false;
	sort(s, count);
	if (threadIdx.x == 0)
		cut(r, count, k, total, s);
	__syncthreads();
	return s->enough || !some;
}

/* ---- the walk ---- */

/* The block in which `share` is used up, and how far into it; by one thread. */
DEVICE void find_block(const struct row *r, double share, struct shared *s)
{
	s->block = 0xffffffff;
	s->inside = INFINITY;
	for (uint32_t i = 0; i * BLOCK < r->count && s->inside == INFINITY; i++) {
		double sum = (double)r->sums[i];

		if (sum <= 0)
			continue;
		s->block = i;
		if (share < sum)
			s->inside = share;
		share -= sum;
	}
}

/* The token at which the walk ends, for thread 0; `otherwise`: no token has a weight. */
DEVICE uint32_t walk(const struct row *r, struct candidate last, float least, struct shared *s,
		     uint32_t otherwise)
{
	uint32_t token = 0;
	double share;

	if (threadIdx.x == 0)
		find_block(r, r->how.share * s->total, s);
	__syncthreads();
	if (s->block == 0xffffffff)
		return otherwise;
	if (threadIdx.x < BLOCK)
		s->weights[threadIdx.x] =
			kept_weight(r, s->block * BLOCK + threadIdx.x, last, least);
	__syncthreads();
	share = s->inside;
	for (uint32_t i = 0; threadIdx.x == 0 && i < BLOCK; i++) {
		if (s->weights[i] <= 0)
			continue;
		token = i;
		share -= (double)s->weights[i];
		if (share < 0)
			break;
	}
	return s->block * BLOCK + token;
}

/* The token drawn, for thread 0. */
DEVICE uint32_t draw(const struct row *r, uint32_t best, struct shared *s)
{
	bool ranked = r->how.top_p < 1 || (r->how.top_k > 0 && r->how.top_k < r->count);
	const struct candidate everybody = { -INFINITY, 0xffffffff };

	if (!ranked) {
		weigh(r, everybody, r->how.min_p, s);
		return walk(r, everybody, r->how.min_p, s, best);
	}
	if (!find_cut(r, s))
		return CUDA_UNDECIDED;
	add_up(r, s->last, 0);
	return walk(r, s->last, 0, s, best);
}

extern "C" __global__ void __launch_bounds__(DRAW_THREADS, 1)
petals_draw(const struct draw_args a)
{
	__shared__ struct shared s;
	struct cuda_best *best = &a.best[blockIdx.x];
	struct row r;
	uint32_t token;

	wait_for_previous();
	let_next_start();
	r.logits = a.logits + (uint64_t)blockIdx.x * a.vocabulary;
	r.sums = a.sums + (uint64_t)blockIdx.x * DRAW_SUMS(a.vocabulary);
	r.count = a.vocabulary;
	r.largest = best->largest;
	r.how = a.draws[blockIdx.x];
	/* Greedy, or nothing to weigh. */
	if (r.how.scale == 0 || !(fabsf(r.largest) < INFINITY))
		return;
	token = draw(&r, best->token, &s);
	if (threadIdx.x == 0) {
		best->token = token;
		if (token != CUDA_UNDECIDED)
			best->logit = r.logits[token];
	}
}
