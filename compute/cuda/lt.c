/* lt.c - owns cuBLASLt's handle, its workspace and the plans.
 *
 * In the library's column-major words: out (features x rows) = matrix (columns x features)
 * transposed, times operand (columns x rows); f32 sums of bf16 products.
 */
#include "compute/cuda/lt.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <errno.h>

#include "compute/cuda/arena.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { PLANS_MAX = 160 };

#define LT_CALLS(CALL)                                                                       \
	CALL(cublasLtCreate) CALL(cublasLtDestroy) CALL(cublasLtGetStatusString)             \
	CALL(cublasLtMatmulDescCreate) CALL(cublasLtMatmulDescDestroy)                       \
	CALL(cublasLtMatmulDescSetAttribute) CALL(cublasLtMatrixLayoutCreate)                \
	CALL(cublasLtMatrixLayoutDestroy) CALL(cublasLtMatrixLayoutSetAttribute)             \
	CALL(cublasLtMatmulPreferenceCreate) CALL(cublasLtMatmulPreferenceDestroy)           \
	CALL(cublasLtMatmulPreferenceSetAttribute) CALL(cublasLtMatmulAlgoGetHeuristic)      \
	CALL(cublasLtMatmul)

struct plan {
	uint32_t features, columns, rows;       /* rows: up to so many */
	bool bias;
	cublasLtMatmulDesc_t product;
	cublasLtMatrixLayout_t matrix, operand, out;
	cublasLtMatmulAlgo_t algorithm;
};

struct cuda_lt {
	struct cuda_queue *queue;
	uint32_t rows_max;
	void *library;
#define CALL(name) typeof(&name) name;
	LT_CALLS(CALL)
#undef CALL
	cublasLtHandle_t handle;
	struct cuda_arena arena;
	void *workspace;
	struct plan plans[PLANS_MAX];
	uint32_t count;
};

static const struct { const char *name; size_t offset; } calls[] = {
#define CALL(name) { #name, offsetof(struct cuda_lt, name) },
	LT_CALLS(CALL)
#undef CALL
};

static int lt_error(const struct cuda_lt *lt, cublasStatus_t status, struct error *e,
		    const char *what)
{
	return error_set(e, status == CUBLAS_STATUS_ALLOC_FAILED ? -ENOMEM : -EIO,
			 "cuda:%u: cuBLASLt: %s: %s", lt->queue->device->index, what,
			 lt->cublasLtGetStatusString(status));
}

/* ---- opening ---- */

static int open_library(struct cuda_lt *lt, struct error *e)
{
	const char *why;

	lt->library = cuda_library_open("libcublasLt.so.13", &why);
	if (!lt->library)
		return error_set(e, -ENOTSUP, "the fast mode needs libcublasLt.so.13, which is not "
				 "on this host (%s)", why);
	for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
		void *call = dlsym(lt->library, calls[i].name);

		if (!call)
			return error_set(e, -ENOTSUP, "libcublasLt.so.13 lacks %s", calls[i].name);
		memcpy((uint8_t *)lt + calls[i].offset, &call, sizeof(call));
	}
	return 0;
}

int cuda_lt_open(struct cuda_lt **out, struct cuda_queue *q, uint32_t rows_max, struct error *e)
{
	struct cuda_lt *lt = mem_calloc(1, sizeof(*lt));
	cublasStatus_t status;
	int rc;

	*out = NULL;
	if (!lt)
		return error_set(e, -ENOMEM, "out of memory for cuBLASLt's plans");
	lt->queue = q;
	lt->rows_max = rows_max;
	rc = open_library(lt, e);
	if (rc == 0) {
		cuda_arena_want(&lt->arena, &lt->workspace, CUDA_LT_WORKSPACE_BYTES);
		rc = cuda_arena_open(&lt->arena, q->device, "cuBLASLt's workspace", e);
	}
	if (rc == 0) {
		status = lt->cublasLtCreate(&lt->handle);
		if (status != CUBLAS_STATUS_SUCCESS)
			rc = lt_error(lt, status, e, "it does not start");
	}
	if (rc < 0) {
		cuda_lt_close(lt);
		return rc;
	}
	*out = lt;
	return 0;
}

static void plan_close(struct cuda_lt *lt, struct plan *p)
{
	if (p->product)
		lt->cublasLtMatmulDescDestroy(p->product);
	if (p->matrix)
		lt->cublasLtMatrixLayoutDestroy(p->matrix);
	if (p->operand)
		lt->cublasLtMatrixLayoutDestroy(p->operand);
	if (p->out)
		lt->cublasLtMatrixLayoutDestroy(p->out);
}

void cuda_lt_close(struct cuda_lt *lt)
{
	if (!lt)
		return;
	for (uint32_t i = 0; i < lt->count; i++)
		plan_close(lt, &lt->plans[i]);
	if (lt->handle)
		lt->cublasLtDestroy(lt->handle);
	cuda_arena_close(&lt->arena);
	if (lt->library)
		dlclose(lt->library);
	mem_free(lt);
}

/* ---- plans ---- */

/* The smallest bucket that takes `rows`. */
static struct plan *find(struct cuda_lt *lt, const struct cuda_matrix *m, uint32_t rows)
{
	struct plan *best = NULL;

	for (uint32_t i = 0; i < lt->count; i++) {
		struct plan *p = &lt->plans[i];

		if (p->features == m->rows && p->columns == m->stride && p->bias == !!m->bias &&
		    p->rows >= rows && (!best || p->rows < best->rows))
			best = p;
	}
	return best;
}

static cublasStatus_t describe(struct cuda_lt *lt, struct plan *p)
{
	cublasOperation_t transposed = CUBLAS_OP_T;
	cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
	cublasStatus_t status;

	status = lt->cublasLtMatmulDescCreate(&p->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSA,
							    &transposed, sizeof(transposed));
	if (status == CUBLAS_STATUS_SUCCESS && p->bias)
		status = lt->cublasLtMatmulDescSetAttribute(p->product,
							    CUBLASLT_MATMUL_DESC_EPILOGUE,
							    &epilogue, sizeof(epilogue));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&p->matrix, CUDA_R_16BF, p->columns,
							p->features, p->columns);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&p->operand, CUDA_R_16BF, p->columns,
							p->rows, p->columns);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutCreate(&p->out, CUDA_R_32F, p->features, p->rows,
							p->features);
	return status;
}

static cublasStatus_t choose(struct cuda_lt *lt, struct plan *p)
{
	cublasLtMatmulHeuristicResult_t result = { 0 };
	cublasLtMatmulPreference_t preference = NULL;
	size_t workspace = CUDA_LT_WORKSPACE_BYTES;
	cublasStatus_t status = lt->cublasLtMatmulPreferenceCreate(&preference);
	int found = 0;

	if (status != CUBLAS_STATUS_SUCCESS)
		return status;
	status = lt->cublasLtMatmulPreferenceSetAttribute(
		preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
		sizeof(workspace));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatmulAlgoGetHeuristic(lt->handle, p->product, p->matrix,
							    p->operand, p->out, p->out, preference,
							    1, &result, &found);
	lt->cublasLtMatmulPreferenceDestroy(preference);
	if (status == CUBLAS_STATUS_SUCCESS && found == 0)
		status = CUBLAS_STATUS_NOT_SUPPORTED;
	p->algorithm = result.algo;
	return status;
}

int cuda_lt_prepare(struct cuda_lt *lt, const struct cuda_matrix *m, struct error *e)
{
	assert(m->w && m->format == CUDA_BF16_ROWS);
	for (uint32_t rows = CUDA_FAST_ROWS;; rows *= 2) {
		struct plan *p = &lt->plans[lt->count];
		cublasStatus_t status;

		if (!find(lt, m, rows)) {
			assert(lt->count < PLANS_MAX);
			*p = (struct plan){ .features = m->rows, .columns = m->stride,
					    .rows = rows, .bias = m->bias != NULL };
			lt->count++;
			status = describe(lt, p);
			if (status == CUBLAS_STATUS_SUCCESS)
				status = choose(lt, p);
			if (status != CUBLAS_STATUS_SUCCESS)
				return lt_error(lt, status, e, "a plan");
		}
		if (rows >= lt->rows_max)
			return 0;
	}
}

/* ---- a step ---- */

static cublasStatus_t run(struct cuda_lt *lt, struct plan *p, const struct cuda_matrix *m,
			  const void *operand, uint64_t rows, const float *add, float *out)
{
	const float one = 1, beta = add ? 1 : 0;
	cublasStatus_t status;

	status = lt->cublasLtMatrixLayoutSetAttribute(p->operand, CUBLASLT_MATRIX_LAYOUT_COLS,
						      &rows, sizeof(rows));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatrixLayoutSetAttribute(p->out, CUBLASLT_MATRIX_LAYOUT_COLS,
							      &rows, sizeof(rows));
	if (status == CUBLAS_STATUS_SUCCESS && p->bias)
		status = lt->cublasLtMatmulDescSetAttribute(p->product,
							    CUBLASLT_MATMUL_DESC_BIAS_POINTER,
							    &m->bias, sizeof(m->bias));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = lt->cublasLtMatmul(lt->handle, p->product, &one, m->w, p->matrix, operand,
					    p->operand, &beta, add ? add : out, p->out, out,
					    p->out, &p->algorithm, lt->workspace,
					    CUDA_LT_WORKSPACE_BYTES, (void *)lt->queue->stream);
	return status;
}

void cuda_lt_linear(struct cuda_lt *lt, const struct cuda_matrix *m, const void *operand,
		    uint32_t rows, const float *add, float *out)
{
	struct plan *p = find(lt, m, rows);
	struct error e = { 0 };
	cublasStatus_t status;

	assert(p);
	if (lt->queue->status < 0)
		return;
	status = run(lt, p, m, operand, rows, add, out);
	if (status == CUBLAS_STATUS_SUCCESS)
		return;
	lt->queue->status = lt_error(lt, status, &e, "a product");
	log_error("cuda", "%s", e.text);
}
