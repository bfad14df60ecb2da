/* lt_race.c - which of cuBLASLt's candidates a plan runs: the one that is remembered, else the
 * fastest of those that compute what our own kernels compute.
 *
 * A race is run on the matrix itself and random rows, with a cache that holds neither.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "compute/cuda/lt_plan.h"
#include "compute/cuda/noise.h"
#include "compute/cuda/timer.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum {
	CANDIDATES = 8, LAPS = 7,
	CHECKED_ROWS = 16,              /* the first, and the last */
	WORDS = 8,                      /* of a cublasLtMatmulAlgo_t */
};
#define EVICTED_LEAST (4ull << 20)      /* smaller matrices stay in any cache, as in a step */
#define ERROR_MOST 1e-3                 /* norm-relative; a sum rounded to bf16 has 4e-3 */

static_assert(sizeof(cublasLtMatmulAlgo_t) == WORDS * sizeof(uint64_t), "kept as words");
static_assert(2 * CHECKED_ROWS < CUDA_FAST_ROWS, "checked by our own kernels");

struct race {
	struct cuda_lt *lt;
	struct cuda_lt_plan *plan;
	const struct cuda_matrix *matrix;
	cublasLtMatmulHeuristicResult_t candidates[CANDIDATES];
	int count;

	struct cuda_timer timer;
	struct cuda_arena arena;
	uint8_t *operand;               /* (rows, columns) bf16 */
	float *out;                     /* (rows, features) */
	float *expect;                  /* (2, CHECKED_ROWS, features): first and last rows */
	void *evict;
	uint64_t evict_bytes;
	uint32_t *sums;
	float *host;                    /* pinned: expect, and the same of `out` */
};

/* ---- the table ---- */

static void key_of(const struct cuda_lt *lt, const struct cuda_lt_plan *p, char *key)
{
	const struct device *d = lt->queue->device;

	snprintf(key, CUDA_TUNING_TEXT_BYTES, "cublasLt %zu, %s, sm_%d%d, driver %d, bf16 x bf16 "
		 "= f32, %u x %u%s, rows %u", lt->cublasLtGetVersion(), d->info.name, d->major,
		 d->minor, d->driver.version, p->features, p->columns,
		 p->bias ? " + bias" : "", p->rows);
	for (char *at = key; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

/* "WORD ... WORD us 12.3": false when it is something else, or of no use here. */
static bool take(struct cuda_lt *lt, struct cuda_lt_plan *p, const char *value)
{
	cublasLtMatmulHeuristicResult_t result = { 0 };
	uint64_t words[WORDS];

	for (int i = 0, used; i < WORDS; i++, value += used)
		if (sscanf(value, "%16" SCNx64 " %n", &words[i], &used) != 1)
			return false;
	memcpy(&p->algorithm, words, sizeof(words));
	return lt->cublasLtMatmulAlgoCheck(lt->handle, p->product, p->matrix, p->operand, p->out,
					   p->out, &p->algorithm, &result) ==
		       CUBLAS_STATUS_SUCCESS && result.workspaceSize <= CUDA_LT_WORKSPACE_BYTES;
}

static void remember(struct cuda_lt *lt, const struct cuda_lt_plan *p, double us)
{
	char key[CUDA_TUNING_TEXT_BYTES], value[CUDA_TUNING_TEXT_BYTES];
	struct error e = { 0 };
	uint64_t words[WORDS];
	int at = 0;

	if (!lt->tuning)
		return;
	memcpy(words, &p->algorithm, sizeof(words));
	for (int i = 0; i < WORDS; i++)
		at += snprintf(value + at, sizeof(value) - (size_t)at, "%016" PRIx64 " ",
			       words[i]);
	snprintf(value + at, sizeof(value) - (size_t)at, "us %.1f", us);
	key_of(lt, p, key);
	if (cuda_tuning_add(lt->tuning, key, value, &e) < 0)
		log_warn("cuda", "a race is not remembered: %s", e.text);
}

/* ---- the candidates ---- */

static cublasStatus_t propose(struct race *r)
{
	struct cuda_lt *lt = r->lt;
	struct cuda_lt_plan *p = r->plan;
	cublasLtMatmulPreference_t preference = NULL;
	size_t workspace = CUDA_LT_WORKSPACE_BYTES;
	cublasStatus_t status = lt->cublasLtMatmulPreferenceCreate(&preference);

	if (status != CUBLAS_STATUS_SUCCESS)
		return status;
	status = lt->cublasLtMatmulPreferenceSetAttribute(
		preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
		sizeof(workspace));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatmulAlgoGetHeuristic(lt->handle, p->product, p->matrix,
							    p->operand, p->out, p->out, preference,
							    CANDIDATES, r->candidates, &r->count);
	lt->cublasLtMatmulPreferenceDestroy(preference);
	return status == CUBLAS_STATUS_SUCCESS && r->count == 0 ? CUBLAS_STATUS_NOT_SUPPORTED :
								  status;
}

/* ---- the course ---- */

static uint64_t checked_bytes(const struct race *r)
{
	return (uint64_t)MIN(r->plan->rows, CHECKED_ROWS) * r->plan->features * sizeof(float);
}

static const uint8_t *last_rows(const struct race *r, const void *all, uint64_t row_bytes)
{
	return (const uint8_t *)all +
	       (r->plan->rows - MIN(r->plan->rows, CHECKED_ROWS)) * row_bytes;
}

/* What our own kernels make of the first rows and of the last. */
static void expect(struct race *r)
{
	struct cuda_queue *q = r->lt->queue;
	uint32_t rows = MIN(r->plan->rows, CHECKED_ROWS);
	uint8_t *second = (uint8_t *)r->expect + checked_bytes(r);

	cuda_linear(q, r->matrix, r->operand, rows, NULL, r->expect);
	cuda_linear(q, r->matrix, last_rows(r, r->operand, r->plan->columns * 2ull), rows, NULL,
		    (float *)(void *)second);
	cuda_copy_out(q, r->host, r->expect, 2 * checked_bytes(r));
}

static int open_course(struct race *r, struct error *e)
{
	const struct cuda_lt_plan *p = r->plan;
	struct cuda_queue *q = r->lt->queue;
	uint64_t operand_bytes = (uint64_t)p->rows * p->columns * 2;
	void *host = NULL;
	int rc;

	if (cuda_matrix_bytes(r->matrix) >= EVICTED_LEAST)
		r->evict_bytes = CUDA_EVICT_BYTES;
	cuda_arena_want(&r->arena, &r->operand, operand_bytes);
	cuda_arena_want(&r->arena, &r->out, (uint64_t)p->rows * p->features * sizeof(float));
	cuda_arena_want(&r->arena, &r->expect, 2 * checked_bytes(r));
	cuda_arena_want(&r->arena, &r->evict, r->evict_bytes);
	cuda_arena_want(&r->arena, &r->sums, CUDA_PASS_THREADS * sizeof(*r->sums));
	rc = cuda_arena_open(&r->arena, q->device, "a race", e);
	if (rc == 0)
		rc = cuda_host_alloc(q->device, &host, 4 * checked_bytes(r), e);
	r->host = host;
	if (rc == 0)
		rc = cuda_timer_open(&r->timer, q, e);
	if (rc == 0)
		rc = cuda_noise(q, r->operand, operand_bytes, NOISE_BF16, e);
	if (rc < 0)
		return rc;
	expect(r);
	rc = cuda_queue_wait(q);
	return rc < 0 ? error_set(e, rc, "cuda:%u: a race could not be prepared",
				  q->device->index) : 0;
}

static void close_course(struct race *r)
{
	/* What was queued before something failed uses all of it. */
	(void)cuda_queue_wait(r->lt->queue);
	if (r->timer.queue)
		cuda_timer_close(&r->timer);
	cuda_host_free(r->lt->queue->device, r->host);
	cuda_arena_close(&r->arena);
}

/* Whether the first and last rows of `out` are what was expected. */
static bool is_right(struct race *r)
{
	struct cuda_queue *q = r->lt->queue;
	uint64_t bytes = checked_bytes(r), count = 2 * bytes / sizeof(float);
	uint64_t row_bytes = r->plan->features * sizeof(float);
	const float *want = r->host;
	float *got = r->host + count;
	double off = 0, norm = 0;

	cuda_copy_out(q, got, r->out, bytes);
	cuda_copy_out(q, got + count / 2, last_rows(r, r->out, row_bytes), bytes);
	if (cuda_queue_wait(q) < 0)
		return false;
	for (uint64_t i = 0; i < count; i++) {
		off += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
		norm += (double)want[i] * (double)want[i];
	}
	/* A NaN is not right. */
	return sqrt(off) <= ERROR_MOST * sqrt(norm);
}

/* One candidate over all laps; 0 when it is refused. */
static int run_candidate(struct race *r, int which, double *us)
{
	struct cuda_lt_plan *p = r->plan;
	struct cuda_queue *q = r->lt->queue;
	double laps[LAPS], best;
	int rc = 0;

	p->algorithm = r->candidates[which].algo;
	*us = 0;
	cuda_fill_zero(q, r->out, (uint64_t)p->rows * p->features * sizeof(float));
	if (r->candidates[which].state != CUBLAS_STATUS_SUCCESS ||
	    cuda_lt_run(r->lt, p, r->matrix, r->operand, p->rows, NULL, r->out) !=
		    CUBLAS_STATUS_SUCCESS)
		return cuda_queue_wait(q);
	if (!is_right(r)) {
		log_warn("cuda", "cuda:%u: cuBLASLt's candidate %d for %u rows, %u x %u, computes "
			 "something else: refused", q->device->index, which, p->rows, p->features,
			 p->columns);
		return q->status;
	}
	for (int i = 0; i < LAPS && rc == 0; i++) {
		cuda_pass_over(q, r->evict, r->evict_bytes, r->sums);
		cuda_timer_start(&r->timer);
		if (cuda_lt_run(r->lt, p, r->matrix, r->operand, p->rows, NULL, r->out) !=
		    CUBLAS_STATUS_SUCCESS)
			return -EIO;
		rc = cuda_timer_stop(&r->timer, &laps[i]);
	}
	if (rc == 0)
		cuda_timer_sum_up(laps, LAPS, us, &best);
	return rc;
}

static int run_race(struct race *r, double *best_us, struct error *e)
{
	const struct cuda_lt_plan *p = r->plan;
	uint32_t index = r->lt->queue->device->index;
	double first_us = 0;
	int best = -1;

	for (int i = 0; i < r->count; i++) {
		double us;
		int rc = run_candidate(r, i, &us);

		if (rc < 0)
			return error_set(e, rc, "cuda:%u: a race of cuBLASLt's candidates for %u x "
					 "%u broke off", index, p->features, p->columns);
		if (i == 0)
			first_us = us;
		if (us > 0 && (best < 0 || us < *best_us)) {
			best = i;
			*best_us = us;
		}
	}
	if (best < 0)
		return error_set(e, -EIO, "cuda:%u: none of cuBLASLt's %d candidates for %u rows, "
				 "%u x %u, computes what it should; serve without --fast", index,
				 r->count, p->rows, p->features, p->columns);
	r->plan->algorithm = r->candidates[best].algo;
	log_info("cuda", "cuda:%u: %u rows, %u x %u: candidate %d of %d, %.1f us (the first: %.1f)",
		 index, p->rows, p->features, p->columns, best, r->count, *best_us, first_us);
	return 0;
}

int cuda_lt_choose(struct cuda_lt *lt, struct cuda_lt_plan *p, const struct cuda_matrix *m,
		   struct error *e)
{
	struct race r = { .lt = lt, .plan = p, .matrix = m };
	char key[CUDA_TUNING_TEXT_BYTES];
	const char *value;
	cublasStatus_t status;
	double us = 0;
	int rc;

	key_of(lt, p, key);
	value = lt->tuning ? cuda_tuning_find(lt->tuning, key) : NULL;
	if (value && take(lt, p, value))
		return 0;
	status = propose(&r);
	if (status != CUBLAS_STATUS_SUCCESS)
		return cuda_lt_error(lt, status, e, "no candidate for a plan");
	rc = open_course(&r, e);
	if (rc == 0)
		rc = run_race(&r, &us, e);
	close_course(&r);
	if (rc == 0)
		remember(lt, p, us);
	if (rc != -ENOMEM || lt->queue->status < 0)
		return rc;
	log_warn("cuda", "cuda:%u: no memory to race %u rows, %u x %u: the library's first choice "
		 "is taken", lt->queue->device->index, p->rows, p->features, p->columns);
	p->algorithm = r.candidates[0].algo;
	return 0;
}
