/* measure_fp8.c - what cuBLASLt makes of 8-bit floats (e4m3) with a scale for each row and each
 * feature: the question that an fp8 path would begin with.
 *
 * One random matrix and random rows; candidates run in turn, the fastest that is right counts.
 */
#include <errno.h>
#include <math.h>

#include "compute/cuda/lt_plan.h"
#include "compute/cuda/measure.h"
#include "compute/cuda/noise.h"

enum { CANDIDATES = 8, WARM = 2, DIMENSION_STEP = 16, CHECKED = 2 };
#define ERROR_MOST 0.005                /* of a bf16 result, whose products are exact in f32 */

struct fp8 {
	struct measure_run *run;
	struct cuda_lt *lt;
	cublasLtMatmulDesc_t product;
	cublasLtMatrixLayout_t a, b, d;
	cublasLtMatmulHeuristicResult_t candidates[CANDIDATES];
	int count;
	uint8_t *matrix, *operand;      /* (features, columns), (rows, columns) e4m3 */
	float *feature_scales, *row_scales;
	uint16_t *out;                  /* (rows, features) bf16 */
	/* Pinned: of the first and the last element, its row of the matrix, its row, scales. */
	uint8_t *host;
};

static const float scale_used = 0.0625f;

/* ---- opening ---- */

static cublasStatus_t set(struct fp8 *f, cublasLtMatmulDescAttributes_t attribute,
			  const void *value, size_t bytes)
{
	return f->lt->cublasLtMatmulDescSetAttribute(f->product, attribute, value, bytes);
}

static cublasStatus_t describe(struct fp8 *f)
{
	const struct measure *m = f->run->ask;
	cublasOperation_t transposed = CUBLAS_OP_T;
	int32_t mode = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
	struct cuda_lt *lt = f->lt;
	cublasStatus_t status;

	status = lt->cublasLtMatmulDescCreate(&f->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = set(f, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = set(f, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &mode, sizeof(mode));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = set(f, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &mode, sizeof(mode));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = set(f, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &f->feature_scales,
			     sizeof(f->feature_scales));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = set(f, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &f->row_scales,
			     sizeof(f->row_scales));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&f->a, CUDA_R_8F_E4M3, m->columns,
							m->features, m->columns);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&f->b, CUDA_R_8F_E4M3, m->columns,
							m->rows, m->columns);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&f->d, CUDA_R_16BF, m->features, m->rows,
							m->features);
	return status;
}

static cublasStatus_t propose(struct fp8 *f)
{
	size_t workspace = CUDA_LT_WORKSPACE_BYTES;
	cublasLtMatmulPreference_t preference = NULL;
	struct cuda_lt *lt = f->lt;
	cublasStatus_t status = lt->cublasLtMatmulPreferenceCreate(&preference);

	if (status != CUBLAS_STATUS_SUCCESS)
		return status;
	status = lt->cublasLtMatmulPreferenceSetAttribute(
		preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
		sizeof(workspace));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatmulAlgoGetHeuristic(lt->handle, f->product, f->a, f->b,
							    f->d, f->d, preference, CANDIDATES,
							    f->candidates, &f->count);
	lt->cublasLtMatmulPreferenceDestroy(preference);
	return status == CUBLAS_STATUS_SUCCESS && f->count == 0 ? CUBLAS_STATUS_NOT_SUPPORTED :
								  status;
}

static int open_memory(struct fp8 *f, struct error *e)
{
	struct measure_run *r = f->run;
	const struct measure *m = r->ask;
	uint64_t matrix_bytes = (uint64_t)m->features * m->columns;
	uint64_t operand_bytes = (uint64_t)m->rows * m->columns;
	uint32_t longest = MAX(m->features, m->rows);
	void *host;
	int rc;

	cuda_arena_want(&r->arena, &f->matrix, matrix_bytes);
	cuda_arena_want(&r->arena, &f->operand, operand_bytes);
	cuda_arena_want(&r->arena, &f->out, (uint64_t)m->rows * m->features * 2);
	cuda_arena_want(&r->arena, &f->feature_scales, m->features * sizeof(float));
	cuda_arena_want(&r->arena, &f->row_scales, m->rows * sizeof(float));
	rc = cuda_arena_open(&r->arena, r->device, "an fp8 product", e);
	if (rc == 0)
		rc = cuda_noise(&r->queue, f->matrix, matrix_bytes, NOISE_FP8, e);
	if (rc == 0)
		rc = cuda_noise(&r->queue, f->operand, operand_bytes, NOISE_FP8, e);
	if (rc == 0)
		rc = cuda_host_alloc(r->device, &r->host,
				     MAX(longest * sizeof(float), 4ull * m->columns + 64), e);
	if (rc < 0)
		return rc;
	host = r->host;
	f->host = host;
	for (uint32_t i = 0; i < longest; i++)
		((float *)host)[i] = i % 2 ? scale_used : 2 * scale_used;
	cuda_copy_in(&r->queue, f->feature_scales, host, m->features * sizeof(float));
	cuda_copy_in(&r->queue, f->row_scales, host, m->rows * sizeof(float));
	rc = cuda_queue_wait(&r->queue);
	return rc < 0 ? error_set(e, rc, "cuda:%u: an fp8 product could not be prepared",
				  r->device->index) : 0;
}

static void fp8_close(struct fp8 *f)
{
	struct cuda_lt *lt = f->lt;

	(void)cuda_queue_wait(&f->run->queue);
	if (!lt)
		return;
	if (f->product)
		lt->cublasLtMatmulDescDestroy(f->product);
	if (f->a)
		lt->cublasLtMatrixLayoutDestroy(f->a);
	if (f->b)
		lt->cublasLtMatrixLayoutDestroy(f->b);
	if (f->d)
		lt->cublasLtMatrixLayoutDestroy(f->d);
	cuda_lt_close(lt);
}

/* ---- running ---- */

static cublasStatus_t run_once(struct fp8 *f, int which)
{
	const float one = 1, zero = 0;

	return f->lt->cublasLtMatmul(f->lt->handle, f->product, &one, f->matrix, f->a, f->operand,
				     f->b, &zero, f->out, f->d, f->out, f->d,
				     &f->candidates[which].algo, f->lt->workspace,
				     CUDA_LT_WORKSPACE_BYTES, (void *)f->run->queue.stream);
}

/* e4m3: sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinities. */
static double value_of(uint8_t bits)
{
	int exponent = bits >> 3 & 15, mantissa = bits & 7;
	double v = exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);

	return bits & 0x80 ? -v : v;
}

/* Whether element (row, feature) is what its row of the matrix and its row make of it. */
static bool is_right(struct fp8 *f, uint32_t row, uint32_t feature)
{
	const struct measure *m = f->run->ask;
	struct cuda_queue *q = &f->run->queue;
	uint8_t *w = f->host, *x = f->host + m->columns, *got = x + m->columns;
	double sum = 0, scale = (double)scale_used * (double)scale_used;
	uint16_t bits;

	cuda_copy_out(q, w, f->matrix + (uint64_t)feature * m->columns, m->columns);
	cuda_copy_out(q, x, f->operand + (uint64_t)row * m->columns, m->columns);
	cuda_copy_out(q, got, f->out + (uint64_t)row * m->features + feature, sizeof(bits));
	if (cuda_queue_wait(q) < 0)
		return false;
	for (uint32_t k = 0; k < m->columns; k++)
		sum += value_of(w[k]) * value_of(x[k]);
	sum *= scale * (row % 2 ? 1 : 2) * (feature % 2 ? 1 : 2);
	memcpy(&bits, got, sizeof(bits));
	/* Beside what a sum of so many may cancel. */
	return fabs((double)f32_of_bf16(bits) - sum) <=
	       ERROR_MOST * (fabs(sum) + scale * sqrt(m->columns));
}

/* 0 and no time: the candidate is no good. */
static int run_candidate(struct fp8 *f, int which, struct measured *best)
{
	struct measure_run *r = f->run;
	const struct measure *m = r->ask;
	struct measured got;
	int rc = 0;

	for (int i = -WARM; i < (int)m->repeats && rc == 0; i++) {
		double us;

		cuda_timer_start(&r->timer);
		if (run_once(f, which) != CUBLAS_STATUS_SUCCESS)
			return cuda_queue_wait(&r->queue);
		rc = cuda_timer_stop(&r->timer, &us);
		if (i >= 0)
			r->us[i] = us;
	}
	if (rc < 0 || !is_right(f, 0, 0) || !is_right(f, m->rows - 1, m->features - 1))
		return rc;
	cuda_timer_sum_up(r->us, m->repeats, &got.median_us, &got.best_us);
	if (best->median_us == 0 || got.median_us < best->median_us) {
		best->median_us = got.median_us;
		best->best_us = got.best_us;
	}
	return 0;
}

static int run_all(struct fp8 *f, struct measured *out, struct error *e)
{
	const struct device *d = f->run->device;
	int rc = 0;

	for (int i = 0; i < f->count && rc == 0; i++)
		rc = run_candidate(f, i, out);
	if (rc == 0 && out->median_us == 0)
		rc = -EIO;
	return rc < 0 ? error_set(e, rc, "cuda:%u: no fp8 product of cuBLASLt's came out right",
				  d->index) : 0;
}

int cuda_measure_fp8(struct measure_run *r, struct measured *out, struct error *e)
{
	const struct measure *m = r->ask;
	struct fp8 f = { .run = r };
	cublasStatus_t status;
	int rc;

	if (m->rows % DIMENSION_STEP || m->features % DIMENSION_STEP ||
	    m->columns % DIMENSION_STEP)
		return error_set(e, -EINVAL, "an fp8 product of %u x %u x %u: each must be a "
				 "multiple of %d", m->rows, m->features, m->columns,
				 DIMENSION_STEP);
	rc = cuda_lt_open(&f.lt, &r->queue, m->rows, m->rows, e);
	if (rc == 0)
		rc = open_memory(&f, e);
	if (rc == 0) {
		status = describe(&f);
		if (status == CUBLAS_STATUS_SUCCESS)
			status = propose(&f);
		if (status != CUBLAS_STATUS_SUCCESS) {
			rc = cuda_lt_error(f.lt, status, e, "an fp8 product");
			if (status == CUBLAS_STATUS_NOT_SUPPORTED)
				rc = error_set(e, -ENOTSUP, "fp8 products with scales by row are "
					       "not there on cuda:%u (sm_%d%d)", r->device->index,
					       r->device->major, r->device->minor);
		}
	}
	if (rc == 0)
		rc = run_all(&f, out, e);
	out->bytes = (double)m->features * m->columns;
	out->flop = 2.0 * m->rows * m->features * m->columns;
	fp8_close(&f);
	return rc;
}
